"""The gradients of a user's own loss with respect to the states of every recurrent layer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recur._types import Array, Float, Int
from recur.flow._lognorm import Scaled, times_power
from recur.nn._layout import Result
from recur.nn._recurrences import Seen, call_options, counted, watch
from recur.nn._watch import watching
from recur.study._backward import Entering, Leaving, Path, back, elementwise, elementwise_sum, path

# Gradients whose binary exponents lie this close together go through the rest of a model at once, in float32.
BAND = 60


class _Cut(NamedTuple):
    """What a recurrence reads from the rest of a model: all that a gradient can leave it by."""

    xs: Any
    initial_state: Any
    reset_state: Any


def loss_log_norms(
    module: Callable[..., Any],
    loss: Callable[[Any], Float[Array, "*B"]],
    *inputs: Any,
    lengths: Int[Array, "*B"] | None = None,
) -> dict[str, Float[Array, "L *B"]]:
    """Measures where the gradient of your own loss is, and where it has vanished, in every recurrent layer.

        G(t, b) = ||d loss_b / d s_t[b]||_2

    the total derivative with respect to the whole state s at each boundary between steps: through the output that
    reads the state and through all later states, whatever stands above the layer (other layers, pooling, attention, a
    loss at every step). The fields of a state count each on its own: the c of an LSTM through later steps, not
    through the h beside it.

    A recurrence is carried back in a scale of its own, and what lies between recurrences in bands of a common scale,
    so that nothing underflows in float32, at whatever lag and through however many layers.

    Args:
        module: A Flax NNX module that runs layers of `recur.nn`, or a function that does (see `nn.recurrences`).
        loss: Takes what the module returns and gives the loss of each sequence ``[*B]``, or one number.
        *inputs: What the module is called with: ``outputs = module(*inputs)``.
        lengths: Steps that count in each sequence. Handed to the module as ``lengths=``, where it takes that.

    Returns:
        ``ln G`` by layer, as `nn.recurrences` names them, ``[T + 1, *B]``. A forward layer's entry t belongs to the
        state that has seen steps 0 to t - 1; a backward layer's to the state that has seen steps t onwards, so that
        its start is entry T, or that at the sequence's length. Beyond a sequence's length, and where a gradient is
        exactly zero, it is -inf.

    Raises:
        TypeError: A loss that is no floating array.
        ValueError: A module without recurrent layers, or a loss of another shape.

    Example:
        The mean of a classifier's outputs reads every step, so the gradient does not vanish though the cell's does:

        >>> import jax.numpy as jnp, recur
        >>> from flax import nnx
        >>> rnn = recur.nn.RNN(recur.cells.gru(4), 3, rngs=nnx.Rngs(0))
        >>> norms = recur.study.loss_log_norms(rnn, lambda y: jnp.sum(y[:, -1] ** 2, -1), jnp.ones((2, 50, 3)))
        >>> norms["rnn"].shape
        (51, 2)
    """
    return {name: norms for name, (norms, _) in traced_losses(module, loss, *inputs, lengths=lengths).items()}


def traced_losses(
    module: Callable[..., Any], loss: Callable[[Any], Any], *inputs: Any, lengths: Any = None
) -> dict[str, tuple[jax.Array, Seen]]:
    """Returns what `loss_log_norms` does, each beside the run that it was measured on."""
    options = call_options(module, lengths)
    seen, _ = watch(module, *inputs, **options)
    rest = _Rest(module, loss, inputs, options, seen)
    entering = rest.of_loss()
    found: dict[str, tuple[jax.Array, Seen]] = {}
    for index in reversed(range(len(seen))):
        one = seen[index]
        taken = path_of(one)
        left = back(taken, _turned(entering[index], one.reverse))
        norms = jnp.flip(left.log_norms, 0) if one.reverse else left.log_norms
        last = counted(one.sequences.mask) if lengths is None else jnp.asarray(lengths)
        found[one.name] = norms if last is None else _within(norms, last), one
        if index:
            rest.through(index, _cut(one, taken, left), entering)
    return {one.name: found[one.name] for one in seen}


def path_of(one: Seen) -> Path:
    """Runs a layer again as it ran in its module, step by step."""
    return path(
        one.cell,
        one.params,
        one.sequences.xs,
        initial_state=one.initial_state,
        reset_state=one.reset_state,
        mask=one.sequences.mask,
        reset=one.sequences.reset,
        reverse=one.reverse,
    )


def _within(norms: jax.Array, lengths: jax.Array) -> jax.Array:
    boundary = jax.lax.broadcasted_iota(jnp.int32, norms.shape, 0)
    return jnp.where(boundary <= lengths[None], norms, -jnp.inf)


def _turned(entering: Entering, reverse: bool) -> Entering:
    if not reverse:
        return entering
    return entering._replace(outputs=jax.tree.map(lambda leaf: jnp.flip(leaf, 0), entering.outputs))


def _cut(one: Seen, taken: Path, left: Leaving) -> _Cut:
    """Gradients at what a layer read, in the order of time; where resets set the initial state, its gradient has two
    shares.
    """
    xs = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), left.xs) if one.reverse else left.xs
    start = left.start
    if one.reset_state is None:
        start = elementwise_sum(start, left.restart, taken.mask.ndim - 1)
    return _Cut(
        xs,
        None if one.initial_state is None else start,
        None if one.reset_state is None else left.restart,
    )


class _Rest:
    """A model without its recurrences: from their outputs and last states to the loss, and to what each one reads.

    It is linearised once. A gradient that enters at what a recurrence reads comes out at the outputs of those before.
    """

    def __init__(self, module: Any, loss: Any, inputs: Sequence[Any], options: Any, seen: Sequence[Seen]):
        self._seen = seen
        # A module is copied, so that what its call counts or draws is as it was at the first call.
        graph = nnx.split(module) if isinstance(module, nnx.Module) else None

        def run(produced: list[tuple[jax.Array, Any]]) -> tuple[jax.Array, list[_Cut]]:
            cuts: list[_Cut] = []

            def handler(layer: Any, sequences: Any, initial_state: Any, reset_state: Any, **_: Any) -> Result:
                outputs, final = produced[len(cuts)]
                cell = seen[len(cuts)].cell
                cuts.append(_Cut(sequences.xs, initial_state, reset_state))
                return Result(outputs, cell.output(final), final)

            called = module if graph is None else nnx.merge(*graph)
            with watching(handler):
                lost = loss(called(*inputs, **options))
            return _checked_loss(lost, seen[0].sequences.batch_shape), cuts

        produced = [(one.result.outputs, one.result.state) for one in seen]
        (self._loss, self._cuts), pull = jax.vjp(run, produced)
        self._pull = jax.jit(pull)

    def of_loss(self) -> list[Entering]:
        """Returns the gradient of the loss where nothing but the rest of the model lies between."""
        nothing = jax.tree.map(jnp.zeros_like, self._cuts)
        (found,) = self._pull((jnp.ones_like(self._loss), nothing))
        return [self._entering(one, 0) for one in found]

    def through(self, index: int, cut: _Cut, entering: list[Entering]) -> None:
        """Adds to `entering` what comes from what the recurrence `index` reads."""
        bars = jax.tree.leaves(cut, is_leaf=_is_scaled)
        exponents = np.concatenate([_exponents(bar).ravel() for bar in bars])
        exponents = exponents[np.isfinite(exponents)]
        if not exponents.size:
            return
        top = int(exponents.max())
        for high in range(top, int(exponents.min()) - 1, -BAND):
            if not ((exponents <= high) & (exponents > high - BAND)).any():
                continue
            nothing = jax.tree.map(jnp.zeros_like, self._cuts)
            chosen = jax.tree.map(lambda bar, high=high: _in_band(bar, high), cut, is_leaf=_is_scaled)
            nothing[index] = jax.tree.map(lambda like, bar: bar.astype(like.dtype), self._cuts[index], chosen)
            (found,) = self._pull((jnp.zeros_like(self._loss), nothing))
            for place in range(index):
                more, axes = self._entering(found[place], high), self._seen[place].sequences.xs.ndim - 1
                entering[place] = Entering(
                    elementwise_sum(entering[place].outputs, more.outputs, axes),
                    elementwise_sum(entering[place].final, more.final, axes - 1),
                )

    def _entering(self, found: tuple[jax.Array, Any], exponent: int) -> Entering:
        outputs, final = found
        shape = outputs.shape[:-1]
        return Entering(
            elementwise(outputs, jnp.full(shape, exponent, jnp.int32), len(shape)),
            elementwise(final, jnp.full(shape[1:], exponent, jnp.int32), len(shape) - 1),
        )


def _is_scaled(node: Any) -> bool:
    return isinstance(node, Scaled)


def _exponents(bar: Scaled) -> np.ndarray:
    """Returns the exponents of what is not zero, nan elsewhere."""
    exponent = np.asarray(bar.exponent, np.float64)
    used = np.zeros(exponent.shape, bool)
    for leaf in jax.tree.leaves(bar.part):
        used |= (np.asarray(leaf) != 0).reshape(*exponent.shape, -1).any(axis=-1)
    return np.where(used, exponent, np.nan)


def _in_band(bar: Scaled, high: int) -> Any:
    """Returns what lies within `BAND` below ``2**high``, divided by that, and zero for the rest."""
    inside = (bar.exponent <= high) & (bar.exponent > high - BAND)

    def leaf(part: jax.Array) -> jax.Array:
        more = (1,) * (part.ndim - inside.ndim)
        shift = (bar.exponent - high).reshape(*bar.exponent.shape, *more)
        return jnp.where(inside.reshape(*inside.shape, *more), times_power(part, shift), 0)

    return jax.tree.map(leaf, bar.part)


def _checked_loss(lost: Any, batch: tuple[int, ...]) -> jax.Array:
    if not isinstance(lost, jax.Array) or not jnp.issubdtype(lost.dtype, jnp.floating):
        raise TypeError(f"loss: expected a function that returns a floating array, got {lost!r} from it")
    if lost.shape not in ((), batch):
        raise ValueError(
            f"loss: expected the loss of each sequence, shape {batch}, or one number, got shape {lost.shape}; sum or "
            "average over steps and features"
        )
    return lost


def last_output(one: Seen) -> Entering:
    """Returns the gradient of each sequence's own last output, ``H**-0.5`` in all entries, in the order of steps."""
    outputs = one.result.outputs
    counts = jnp.ones(outputs.shape[:-1], bool) if one.sequences.mask is None else one.sequences.mask
    if one.reverse:
        counts = jnp.flip(counts, 0)
    later = jnp.flip(jnp.cumsum(jnp.flip(counts, 0), 0), 0)
    is_last = (counts & (later == 1)).astype(outputs.dtype)
    part = jnp.broadcast_to(is_last[..., None] * outputs.shape[-1] ** -0.5, outputs.shape)
    zero = jax.tree.map(jnp.zeros_like, one.result.state)
    exponent = jnp.zeros(outputs.shape[1:-1], jnp.int32)
    shape = outputs.shape[:-1]
    return Entering(elementwise(part, jnp.zeros(shape, jnp.int32), len(shape)), Scaled(zero, exponent))
