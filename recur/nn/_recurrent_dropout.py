"""Three ways to drop something of a recurrence while it is trained, each of a key that comes in with the call."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._checks import brief, check_whole
from recur._types import Array, Float, Int, Key, Params, PyTree
from recur.cells import Cell
from recur.cells._base import parameter_shapes
from recur.cells._pointwise_cell import PointwiseCell
from recur.cells._regularized import MaskedRecurrenceCell, ZoneoutCell
from recur.nn._dropout import check_rate, drop

# What a cell calls the weights from its state to its gates.
RECURRENT_KERNEL = "recurrent_kernel"


Place = int | Int[Array, ""] | None


class Drawn(NamedTuple):
    """What runs in place of a cell, for one key."""

    cell: Cell
    params: Params
    xs: PyTree


class RecurrentDropout(abc.ABC):
    """A way to drop something of a recurrence."""

    draws_every_step = False
    """Whether the steps of a sequence drop other things, so that each has to say its place."""

    @property
    @abc.abstractmethod
    def drops_nothing(self) -> bool:
        """Whether it is as good as none."""

    @abc.abstractmethod
    def lack(self, cell: Cell, input_size: int) -> str:
        """Says what a cell lacks for it, in words that follow the cell's name and 'has'; '' if nothing."""

    def at_rest(self, cell: Cell) -> Cell:
        """Returns the cell as it is evaluated: by default as it is."""
        return cell

    @abc.abstractmethod
    def draw(
        self, key: Key[Array, ""], cell: Cell, params: Params, xs: Float[Array, "T *B X"], place: Place = None
    ) -> Drawn:
        """Draws what is dropped: the same key, the same result.

        Where the steps of a sequence come one by one, they share the key, and `place` is the number of the step.
        """


@dataclasses.dataclass(frozen=True)
class _OneRate(RecurrentDropout):
    rate: float

    def __post_init__(self) -> None:
        """Checks the rate."""
        object.__setattr__(self, "rate", check_rate(self.rate, "rate"))

    @property
    def drops_nothing(self) -> bool:
        """Whether the rate is 0."""
        return self.rate == 0


@dataclasses.dataclass(frozen=True)
class WeightDrop(_OneRate):
    """Drops entries of the recurrent kernel, the same at every step of every sequence.

    What is kept is divided by ``1 - rate``. Every engine runs it, as fast as without. In training on several devices
    each drops others.

    Args:
        rate: Probability that an entry is dropped, in [0, 1).

    Raises:
        TypeError: No number.
        ValueError: No probability below 1.

    Reference:
        Merity et al. (2018), "Regularizing and optimizing LSTM language models", https://arxiv.org/abs/1708.02182,
        section 2 (DropConnect on hidden-to-hidden weights).
    """

    def lack(self, cell: Cell, input_size: int) -> str:
        """Says that there is no such kernel, or nothing."""
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(parameter_shapes(cell, input_size))[0]]
        return "" if any(map(_is_recurrent_kernel, paths)) else f"no parameter {RECURRENT_KERNEL!r}"

    def draw(
        self, key: Key[Array, ""], cell: Cell, params: Params, xs: Float[Array, "T *B X"], place: Place = None
    ) -> Drawn:
        """Drops entries of every recurrent kernel, each kernel's by a key of its own."""
        del place
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        dropped = [
            drop(jax.random.fold_in(key, index), leaf, self.rate) if _is_recurrent_kernel(path) else leaf
            for index, (path, leaf) in enumerate(leaves)
        ]
        return Drawn(cell, treedef.unflatten(dropped), xs)


@dataclasses.dataclass(frozen=True)
class VariationalDropout(_OneRate):
    """Drops entries of the state on their way into the recurrent product, the same at all steps of a sequence.

        a_t = x_t W + (m * h_{t-1}) U + b,   m = 0 with probability rate, else 1 / (1 - rate), for each sequence

    What does not go through the product sees the state as it is. All gates share the mask, as the paper's tied weights
    have it; Keras (``recurrent_dropout``) draws one for each gate. Runs on `Scan`.

    Args:
        rate: Probability that an entry is dropped, in [0, 1).

    Raises:
        TypeError: No number.
        ValueError: No probability below 1.

    Reference:
        Gal and Ghahramani (2016), "A theoretically grounded application of dropout in recurrent neural networks",
        https://arxiv.org/abs/1512.05287, section 4.
    """

    def lack(self, cell: Cell, input_size: int) -> str:
        """Says that there is no such product, or nothing."""
        if not isinstance(cell, PointwiseCell):
            return "no product that is declared apart from its step, as recur.cells.pointwise does"
        prepared, state = jax.eval_shape(
            lambda params: (cell.prepare(params), cell.initial_state()), parameter_shapes(cell, input_size)
        )
        share = jax.eval_shape(cell.recurrent_share, prepared, state[0])
        return "no recurrent product" if share is None else ""

    def draw(
        self, key: Key[Array, ""], cell: Cell, params: Params, xs: Float[Array, "T *B X"], place: Place = None
    ) -> Drawn:
        """Draws a mask for each sequence."""
        del place
        masked = MaskedRecurrenceCell(cell, xs.shape[1:-1])
        ones = jnp.ones_like(cell.initial_state(xs.shape[1:-1])[0])
        return Drawn(masked, {"cell": params, "mask": drop(key, ones, self.rate)}, xs)


@dataclasses.dataclass(frozen=True)
class Zoneout(RecurrentDropout):
    """Keeps entries of the state as they were, others at every step.

        state_t = state_{t-1} with probability rate, else F(state_{t-1}, x_t)

    Evaluation takes the mean, ``rate state_{t-1} + (1 - rate) F(state_{t-1}, x_t)``. Runs on `Scan`. Steps that are
    taken one by one need their place, and keep other entries than a call with the same key.

    Args:
        rate: Probability in [0, 1), or one for each field of the state, as ``(0.05, 0.5)`` for h and c of an LSTM.

    Raises:
        TypeError: No number.
        ValueError: No probability below 1.

    Reference:
        Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden activations",
        https://arxiv.org/abs/1606.01305.
    """

    rate: float | tuple[float, ...]
    draws_every_step = True

    def __post_init__(self) -> None:
        """Checks the rates."""
        several = isinstance(self.rate, tuple)
        rates = tuple(check_rate(rate, "rate") for rate in (self.rate if several else (self.rate,)))
        object.__setattr__(self, "rate", rates if several else rates[0])

    @property
    def drops_nothing(self) -> bool:
        """Whether all rates are 0."""
        return not any(self.rate) if isinstance(self.rate, tuple) else self.rate == 0

    def lack(self, cell: Cell, input_size: int) -> str:
        """Says that it has another number of fields, or some of whole numbers, or nothing."""
        del input_size
        fields = jax.tree.leaves(jax.eval_shape(cell.initial_state))
        if not all(jnp.issubdtype(field.dtype, jnp.inexact) for field in fields):
            return "a state of whole numbers, which have no mean"
        alike = not isinstance(self.rate, tuple) or len(self.rate) == len(fields)
        return "" if alike else f"a state of {len(fields)} fields for {len(self.rate)} rates"

    def at_rest(self, cell: Cell) -> Cell:
        """Returns the cell whose steps are the mean."""
        return ZoneoutCell(cell, self._rates(cell))

    def draw(
        self, key: Key[Array, ""], cell: Cell, params: Params, xs: Float[Array, "T *B X"], place: Place = None
    ) -> Drawn:
        """Draws what is kept, beside the features."""
        key = key if place is None else jax.random.fold_in(key, place)
        rates, shapes = self._rates(cell), [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_state))]
        kept = [
            jax.random.bernoulli(jax.random.fold_in(key, field), rate, (*xs.shape[:-1], *shape)).astype(xs.dtype)
            for field, (rate, shape) in enumerate(zip(rates, shapes, strict=True))
        ]
        return Drawn(ZoneoutCell(cell, rates, drawn=True), params, (xs, kept))

    def _rates(self, cell: Cell) -> tuple[float, ...]:
        fields = len(jax.tree.leaves(jax.eval_shape(cell.initial_state)))
        return self.rate if isinstance(self.rate, tuple) else (self.rate,) * fields


def as_recurrent_dropout(given: Any, cell: Cell, input_size: int) -> RecurrentDropout | None:
    """Returns what was given as an object, a number as `WeightDrop`, 0 as None, or raises.

    Raises:
        TypeError: Something else.
        ValueError: No probability, or a way that the cell lacks something for.
    """
    if isinstance(given, RecurrentDropout):
        way = given
    elif isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(
            "recurrent_dropout: expected a probability in [0, 1), or a WeightDrop, VariationalDropout or Zoneout, got "
            f"{brief(given)}"
        )
    else:
        way = WeightDrop(check_rate(given, "recurrent_dropout"))
    if way.drops_nothing:
        return None
    if lack := way.lack(cell, input_size):
        raise ValueError(
            f"recurrent_dropout: expected 0 or another with {cell!r}, which has {lack}, got {brief(given)}"
        )
    return way


def _is_recurrent_kernel(path: tuple[Any, ...]) -> bool:
    return any(getattr(entry, "key", None) == RECURRENT_KERNEL for entry in path)


def check_place(place: Any) -> Place:
    """Returns the number of a step, or raises TypeError unless it is a whole number, or an array of one, or None."""
    if isinstance(place, jax.Array) and place.ndim == 0 and jnp.issubdtype(place.dtype, jnp.integer):
        return place
    return None if place is None else check_whole("place", place)
