"""The contract of a cell: one step of a recurrence, as a value."""

import abc
import functools
from collections import namedtuple
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._checks import brief, check_hashable, check_whole
from recur._types import Array, Float, Key, Params, State


class Affine(NamedTuple):
    """A step of the form ``z_t = decay_t z_{t-1} + drive_t``, entry by entry, real or complex.

    Args:
        decay: Tree like the linear state z; a leaf without the first axis is the same all along it.
        drive: Tree like the linear state.
    """

    decay: Any
    drive: Any


class Cell(abc.ABC):
    """One step of a recurrence: ``state_t = F(params, state_{t-1}, x_t)``, ``output_t`` read from ``state_t``.

    A cell is a value: a frozen, hashable dataclass that holds no arrays. Parameters and state are handed in.
    Everything broadcasts over leading batch axes ``*B``.

    A subclass defines `init`, `initial_state` and **either** `step` **or** `advance` (with `project`, if part of
    the step does not depend on the state: engines do that part for all time steps in one product).

    Example:
        A leaky integrator without parameters, ``h_t = 0.9 h_{t-1} + x_t``, written as a plain cell:

        >>> import dataclasses, jax.numpy as jnp, recur
        >>> @dataclasses.dataclass(frozen=True)
        ... class Leaky(recur.cells.Cell):
        ...     size: int
        ...     def init(self, key, input_size, dtype=jnp.float32):
        ...         return {}
        ...     def initial_state(self, batch_shape=(), dtype=jnp.float32):
        ...         return recur.cells.state_type("h")(h=jnp.zeros((*batch_shape, self.size), dtype))
        ...     def step(self, params, state, x):
        ...         h = 0.9 * state.h + x
        ...         return state._replace(h=h), h
        >>> recur.unroll(Leaky(1), {}, jnp.ones((3, 1))).outputs.ravel().round(2).tolist()
        [1.0, 1.899999976158142, 2.7100000381469727]
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a class that defines neither `step` nor `advance`, which would call each other forever."""
        super().__init_subclass__(**kwargs)
        if cls.step is Cell.step and cls.advance is Cell.advance:
            raise TypeError(f"{cls.__name__}: expected a cell that defines step(params, state, x), found none")
        if cls.prepare is not Cell.prepare and cls.advance is Cell.advance:
            raise TypeError(
                f"{cls.__name__}: expected prepare with advance(prepared, state, projected), found none; "
                f"a cell that defines step prepares its parameters there"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Cell":
        """Returns the cell itself: a copy of a jitted activation inside it would no longer compare equal."""
        return self

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws parameters for inputs of `input_size` features."""

    @abc.abstractmethod
    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns the state before the first step, each leaf ``[*batch_shape, ...]``."""

    def prepare(self, params: Params) -> Any:
        """Returns what `project` and `advance` read: computed from the parameters once a run, not once a step."""
        return params

    def project(self, params: Any, xs: Float[Array, "*A X"]) -> Any:
        """Returns the share of a step that does not depend on the state, for any leading axes ``*A``.

        `params` is what `prepare` returned, here and in `advance`.
        """
        del params
        return xs

    def advance(self, params: Any, state: State, projected: Any) -> State:
        """Returns the next state from the current one and ``projected = project(params, x)``."""
        stepped = self.step(params, state, projected)
        if not isinstance(stepped, tuple) or hasattr(stepped, "_fields") or len(stepped) != 2:
            raise TypeError(
                f"{type(self).__name__}.step: expected a pair (next state, output), got {brief(stepped)}; "
                f"return both, as in: return state, state[0]"
            )
        state, output = stepped
        # Anything but a tuple is no state: the caller says so, beside the state that it wants.
        if type(self).output is Cell.output and isinstance(state, tuple) and output is not state[0]:
            raise TypeError(
                f"{type(self).__name__}.step: expected the output to be the state's first field, "
                f"got another array; define output(state) to say how the output reads from the state"
            )
        return state

    def step(self, params: Params, state: State, x: Float[Array, "*B X"]) -> tuple[State, Float[Array, "*B H"]]:
        """Takes one step: ``(next state, its output)``."""
        prepared = self.prepare(params)
        state = self.advance(prepared, state, self.project(prepared, x))
        return state, self.output(state)

    @property
    def cudnn_name(self) -> str | None:
        """Name that libraries of kernels have for exactly these equations and order of gates; None without one."""
        return None

    @property
    def is_affine(self) -> bool:
        """Whether the step is affine in the linear state, entry by entry, as `affine` then says."""
        return False

    def affine(self, prepared: Any, projected: Any) -> Affine | None:
        """Returns decay and drive of a step that is affine in the linear state, entry by entry; None of any other.

        For any leading axes. What engines need to run the recurrence in parallel over time.
        """
        del prepared, projected

    def linear_state(self, state: State) -> Any:
        """Returns z, what of a state enters the next step, as `affine` has it: by default the state itself."""
        return state

    def from_linear_state(self, prepared: Any, linear: Any, projected: Any) -> State:
        """Returns the state whose linear part this is, after the step that `projected` belongs to."""
        del prepared, projected
        return linear

    def output(self, state: State) -> Float[Array, "*B H"]:
        """Reads the output from a state: its first field, ``h``."""
        return state[0]


def add_bias(values: Float[Array, "*A N"], bias: Float[Array, "N"]) -> Float[Array, "*A N"]:
    """Returns ``y + b``."""
    # As rows: the gradient of the bias is a sum over one axis then, twenty times faster than over two.
    return (values.reshape(-1, bias.size) + bias.reshape(1, -1)).reshape(values.shape)


@functools.cache
def state_type(*fields: str) -> type:
    """Returns the NamedTuple class with these fields: the same class for the same fields, whatever the cell."""
    cls = namedtuple("State", fields)
    # A class made at run time has no place that pickle could find it by.
    cls.__reduce__ = lambda self: (_restore, (self._fields, tuple(self)))
    return cls


def _restore(fields: tuple[str, ...], values: tuple) -> State:
    return state_type(*fields)(*values)


def check_cell(name: str, cell: Any) -> None:
    """Raises TypeError unless `cell` is a cell that can stand in a cache."""
    if not isinstance(cell, Cell):
        raise TypeError(f"{name}: expected a recur.cells.Cell such as recur.cells.lstm(128), got {brief(cell)}")
    check_hashable(name, cell)


def parameter_shapes(cell: Cell, input_size: int) -> Params:
    """Returns the tree of `jax.ShapeDtypeStruct` that ``cell.init`` makes, without drawing anything."""
    check_cell("cell", cell)
    return _parameter_shapes(cell, check_whole("input_size", input_size))


@functools.lru_cache(maxsize=256)
def _parameter_shapes(cell: Cell, input_size: int) -> Params:
    # The key only as a shape: one that is drawn would become part of a program that is being traced.
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(lambda key: cell.init(key, input_size), key)


def output_size(cell: Cell) -> int:
    """Returns the number of output features H of a cell."""
    check_cell("cell", cell)
    return _output_size(cell)


@functools.lru_cache(maxsize=256)
def _output_size(cell: Cell) -> int:
    return jax.eval_shape(lambda: cell.output(cell.initial_state())).shape[-1]
