"""Cells declared by one elementwise function: `pointwise`."""

import dataclasses
import functools
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import brief, check_positive
from recur._types import Array, Float, Initializer, Key, Params, State
from recur.cells._base import Affine, Cell, state_type
from recur.cells._declaration import Activation, Declaration, Shares
from recur.cells._derivatives import Derivatives, affine_parts, derivatives, structure
from recur.cells._gates import GateInit, expand_to, gate_init, project_gates, recurrent_share
from recur.cells._init import Chrono, InitSpec


@functools.cache
def _gates_type(names: tuple[str, ...]) -> type:
    return namedtuple("Gates", names)


@functools.cache
def _weights_type(names: tuple[str, ...]) -> type:
    return namedtuple("Weights", names)


@dataclasses.dataclass(frozen=True, repr=False)
class PointwiseCell(Cell):
    """A cell whose step is two matrix products and one elementwise function. Made by a `pointwise` factory.

    With ``pre = x W + b + h U`` gate by gate: ``state = update(activation(pre), state[, weights])``.
    """

    declaration: Declaration
    hidden_size: int
    inits: GateInit

    @property
    def name(self) -> str:
        """Name of the declared function."""
        return self.declaration.name

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``kernel [X, G, H]``, ``recurrent_kernel``, ``bias [G, H]`` and the weights ``[H]``.

        The recurrent kernel is ``[H, G, H]``; ``[G, H]`` where it is declared diagonal, absent where there is none.
        """
        return self.inits.draw(key, input_size, self.hidden_size, dtype, self.declaration.weights)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros ``[*batch_shape, H]`` for each field."""
        fields = self.declaration.state
        zeros = jnp.zeros((*batch_shape, self.hidden_size), dtype)
        return state_type(*fields)(**dict.fromkeys(fields, zeros))

    def project(self, params: Params, xs: Float[Array, "*A X"]) -> Float[Array, "*A G H"]:
        """Returns ``x W + b`` for all gates."""
        return project_gates(params, xs)

    def advance(self, params: Params, state: State, projected: Float[Array, "*B G H"]) -> State:
        """Returns the next state."""
        return self.update(params, self.activate(projected, self.recurrent_share(params, state[0])), state)

    def recurrent_share(self, params: Any, h: Float[Array, "*B H"]) -> Float[Array, "*B G H"] | None:
        """Returns ``h U`` for all gates; None where the gates do not see the state."""
        return recurrent_share(params, h, self.declaration.recurrence)

    def activate(self, projected: Float[Array, "*B G H"], recurrent: Float[Array, "*B G H"] | None) -> Any:
        """Returns the gates, by name: activated sums, or both shares where the gate is split."""
        declared = self.declaration
        values = []
        for index, (name, activation) in enumerate(declared.gates):
            x = projected[..., index, :]
            h = None if recurrent is None else recurrent[..., index, :]
            if name in declared.split:
                values.append(Shares(x, h))
            else:
                total = x if h is None else x + h
                values.append(total if activation is None else activation(total))
        return _gates_type(declared.gate_names)(*values)

    def update(self, params: Params, gates: Any, state: State) -> State:
        """Applies the declared function and checks that it returns the declared state."""
        declared = self.declaration
        arguments = [gates, state]
        if declared.weights:
            names = tuple(name for name, _ in declared.weights)
            arguments.append(_weights_type(names)(*(expand_to(params[n], state[0].ndim) for n in names)))
        fields = declared.update(*arguments)
        if not isinstance(fields, Mapping) or set(fields) != set(declared.state):
            got = sorted(fields) if isinstance(fields, Mapping) else type(fields).__name__
            raise TypeError(f"{self.name}: expected a dict with the state fields {list(declared.state)}, got {got}")
        return type(state)(**fields)

    def derivatives(self, prepared: Any, state: State, projected: Float[Array, "*B G H"]) -> Derivatives:
        """Returns the elementwise derivatives of a step, of which its Jacobian is made (see `Derivatives`)."""
        return derivatives(self, prepared, state, projected)

    @property
    def is_affine(self) -> bool:
        """Whether the declared step is affine in the state, unit by unit, as its program tells."""
        return structure(self).affine

    def affine(self, prepared: Any, projected: Float[Array, "*B G H"]) -> Affine | None:
        """Returns decay and drive where the declared step is affine in the state, unit by unit."""
        return affine_parts(self, prepared, projected)

    def __repr__(self) -> str:
        """Shows name and size; initialisers are left out."""
        return f"{self.name}({self.hidden_size})"


def pointwise(
    *,
    state: Sequence[str],
    gates: Mapping[str, Activation | None],
    split: Sequence[str] = (),
    weights: Mapping[str, Initializer] | None = None,
    keep: str | None = None,
    write: str | None = None,
    recurrence: str = "dense",
    name: str | None = None,
) -> Callable[[Callable[..., Mapping[str, jax.Array]]], Callable[..., PointwiseCell]]:
    """Declares a cell by one elementwise function ``update(gate, state[, weight]) -> {field: array}``.

    For every gate g, with parameters W_g ``[X, H]``, U_g ``[H, H]``, b_g ``[H]``:

        gate.g = activation_g(x W_g + b_g + h U_g)

    Args:
        state: Names of the state's fields, each ``[*B, H]``; the first must be ``h``, the output and what enters
            the recurrent product.
        gates: Activation of each gate by name, in the order of the gate axis; None leaves the gate linear.
        split: Gates handed over as two shares before any activation: ``gate.n.x = x W_n + b_n`` and
            ``gate.n.h = h U_n``.
        weights: Per-unit weights ``[H]`` by name with their initialisers; they come as third argument.
        keep: Gate that keeps the state, and
        write: gate that lets the input in: what `Chrono` initialises.
        recurrence: ``"dense"``: U_g ``[H, H]`` as above; ``"diagonal"``: u_g ``[H]``, every unit sees itself alone,
            ``h u_g`` entry by entry; ``"none"``: the gates do not see the state.
        name: Name in messages and reports; by default the function's.

    Returns:
        A decorator that turns the function into a factory:
        ``factory(hidden_size, *, kernel_init, recurrent_init, bias_init) -> PointwiseCell``. Each ``*_init`` is a
        name of `INITIALIZERS`, a number, an initialiser ``(key, shape, dtype) -> array``, or a mapping from gate
        to one of these; ``bias_init`` may be `Chrono`. By default recurrent kernels are orthogonal, diagonal ones
        uniform on [0, 1).

    Raises:
        ValueError: Names that clash or are unknown.
        TypeError: An activation or an initialiser that is no function.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> @recur.cells.pointwise(state=("h",), gates={"f": jax.nn.sigmoid, "n": jnp.tanh})
        ... def leaky(gate, state):
        ...     return {"h": gate.f * state.h + (1 - gate.f) * gate.n}
        >>> cell = leaky(8)
        >>> params = cell.init(jax.random.key(0), 3)
        >>> recur.unroll(cell, params, jnp.ones((100, 3))).outputs.shape
        (100, 8)
    """
    for argument, value in (("gates", gates), ("weights", {} if weights is None else weights)):
        if not isinstance(value, Mapping):
            raise TypeError(f"{argument}: expected a mapping from name to function, got {brief(value)}")

    def declare(update: Callable[..., Mapping[str, jax.Array]]) -> Callable[..., PointwiseCell]:
        declaration = Declaration(
            name=name or update.__name__,
            state=tuple(state),
            gates=tuple(gates.items()),
            split=tuple(split),
            weights=tuple((weights or {}).items()),
            keep=keep,
            write=write,
            update=update,
            recurrence=recurrence,
        )

        def factory(
            hidden_size: int,
            *,
            kernel_init: InitSpec = "glorot_uniform",
            recurrent_init: InitSpec | None = None,
            bias_init: InitSpec | Chrono = "zeros",
        ) -> PointwiseCell:
            inits = gate_init(
                declaration.gate_names,
                kernel_init=kernel_init,
                recurrent_init=recurrent_init,
                bias_init=bias_init,
                keep=keep,
                write=write,
                recurrence=recurrence,
            )
            return PointwiseCell(declaration, check_positive("hidden_size", hidden_size), inits)

        # Named after the declared function but with its own signature, which functools.wraps would hide.
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(factory, attribute, getattr(update, attribute))
        return factory

    return declare
