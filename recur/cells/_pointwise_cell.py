"""The cell that a declaration makes: its step in the parts that engines work with."""

import dataclasses
import functools
from collections import namedtuple
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._checks import check_batch_shape, check_dtype
from recur._types import Array, Float, Key, Params, State
from recur.cells._base import Affine, Cell, state_type
from recur.cells._declaration import Declaration
from recur.cells._gates import GateInit, affine_product, expand_to, product, tangent_product
from recur.cells._kept import Kept, Layout, gate_tangents, gates, keep, layout
from recur.cells._structure import Structure, affine_parts, structure


@functools.cache
def _named(name: str, fields: tuple[str, ...]) -> type:
    return namedtuple(name, fields)


class Prepared(NamedTuple):
    """Parameters with the gates laid by kind (see `recur.cells._kept`), all units of one gate, then those of the next.

    No dict, so that none is taken for the other.

    Args:
        kernel: ``[X, G * H]``.
        recurrent_kernel: ``[H, G * H]``, ``[G * H]`` where it is diagonal, None where there is none.
        bias: ``[G * H]``.
        weights: The per-unit weights by name, ``[H]``.
    """

    kernel: Float[Array, "X N"]
    recurrent_kernel: Float[Array, "*H N"] | None
    bias: Float[Array, "N"]
    weights: dict[str, Float[Array, "H"]]


@dataclasses.dataclass(frozen=True, repr=False)
class PointwiseCell(Cell):
    """A cell whose step is two matrix products and one elementwise function. Made by a `pointwise` factory.

    With ``pre = x W + b + h U`` gate by gate: ``state = update(activation(pre), state[, weights])``. So a step is a
    product with h, what is kept of it, and something cheap:

        share_t = h_{t-1} U,   kept_t = keep(projected_t, share_t),   state_t = update(kept_t, state_{t-1})

    Engines run the backward pass on what is kept, so that it holds one product and no activation anew; `recur.flow`
    makes Jacobians of it. For any leading axes, all time steps at once too.
    """

    declaration: Declaration
    hidden_size: int
    inits: GateInit

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a class that changes the step, which engines read off the declaration."""
        super().__init_subclass__(**kwargs)
        if changed := sorted({"step", "advance", "project", "prepare", "keep", "update"} & set(vars(cls))):
            raise TypeError(
                f"{cls.__name__}: expected the step that is declared, got another {changed[0]}, which engines do not "
                f"call; change the function given to recur.cells.pointwise, or subclass recur.cells.Cell and call the "
                f"declared cell in its step"
            )

    @property
    def name(self) -> str:
        """Name of the declared function."""
        return self.declaration.name

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``kernel [X, G, H]``, ``recurrent_kernel``, ``bias [G, H]`` and the weights ``[H]``.

        The recurrent kernel is ``[H, G, H]``; ``[G, H]`` where it is declared diagonal, absent where there is none.
        """
        drawn = tuple((name, init) for name, init in self.declaration.weights if init is not None)
        return self.inits.draw(key, input_size, self.hidden_size, dtype, drawn)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns zeros ``[*batch_shape, H]`` for each field."""
        fields = self.declaration.state
        batch_shape = check_batch_shape("batch_shape", batch_shape)
        shape, dtype = (*batch_shape, self.hidden_size), check_dtype("dtype", dtype, jnp.inexact)
        # A buffer for each field: one that two fields share could not be donated.
        return state_type(*fields)(*(jnp.zeros(shape, dtype) for _ in fields))

    @property
    def _layout(self) -> Layout:
        return layout(self.declaration)

    def prepare(self, params: Params) -> Prepared:
        """Makes parameters of others, as declared, and lays the gates by kind."""
        order, params = self._layout.order, self._made(params)

        def laid(leaf: jax.Array) -> jax.Array:
            if order != tuple(range(len(order))):
                parts = jax.lax.split(leaf, [1] * len(order), axis=leaf.ndim - 2)
                leaf = jnp.concatenate([parts[place] for place in order], axis=-2)
            return leaf.reshape(*leaf.shape[:-2], -1)

        recurrent = params.get("recurrent_kernel")
        weights = {name: params[name] for name, _ in self.declaration.weights}
        return Prepared(
            laid(params["kernel"]), None if recurrent is None else laid(recurrent), laid(params["bias"]), weights
        )

    def _made(self, params: Params) -> Params:
        """Returns the parameters with those that are functions of them."""
        if self.declaration.parameters is None:
            return params
        made = self.declaration.parameters(params)
        names = {*params, "kernel", "recurrent_kernel", "bias", *(name for name, _ in self.declaration.weights)}
        if not isinstance(made, Mapping) or not set(made) <= names:
            got = sorted(made) if isinstance(made, Mapping) else type(made).__name__
            raise TypeError(
                f"{self.name}: expected parameters to return a dict with some of {sorted(names)}, got {got}"
            )
        params = {**params, **made}
        if "recurrent_kernel" in made:
            params["recurrent_kernel"] = self._every_gate(made["recurrent_kernel"])
        return params

    def _every_gate(self, kernel: jax.Array) -> jax.Array:
        """Returns a recurrent kernel for every gate: one without their axis, or with one entry on it, serves all."""
        units, gates = self.hidden_size, len(self.declaration.gates)
        shape = (units, gates, units) if self.declaration.recurrence == "dense" else (gates, units)
        given = jnp.expand_dims(kernel, -2) if kernel.ndim == len(shape) - 1 else kernel
        if given.ndim != len(shape) or given.shape not in (shape, (*shape[:-2], 1, units)):
            raise ValueError(
                f"recurrent_kernel: expected the function of {self.name} to return {shape}, or one kernel for all "
                f"gates without the axis of {gates}, got {kernel.shape}"
            )
        return jnp.broadcast_to(given, shape)

    def with_units(self, units: int) -> "PointwiseCell":
        """Returns the same cell with another number of units."""
        return dataclasses.replace(self, hidden_size=units)

    def split_params(self, prepared: Prepared) -> tuple[Prepared, Float[Array, "H N"] | None]:
        """Returns what is per unit of what a step reads, and the recurrent kernel of a dense recurrence."""
        own = prepared.recurrent_kernel if self.own_units else None
        matrix = None if self.own_units else prepared.recurrent_kernel
        return Prepared(None, own, None, prepared.weights), matrix

    def merge_params(self, weights: Prepared, matrix: Float[Array, "H N"] | None) -> Prepared:
        """Returns prepared parameters that `recurrent_share`, `update` and `update_tangent` can read."""
        return weights if self.own_units else weights._replace(recurrent_kernel=matrix)

    def project(self, params: Prepared, xs: Float[Array, "*A X"]) -> Float[Array, "*A N"]:
        """Returns ``x W + b`` for all gates, laid by kind."""
        return affine_product(xs, params.kernel, params.bias)

    def input_product(
        self, prepared: Prepared, xs: Float[Array, "*A X"]
    ) -> tuple[Float[Array, "*A N"], Float[Array, "N"]]:
        """Returns ``x W`` and ``b`` for all gates, laid by kind.

        So that an engine can add the second where it reads the first: all of `project` is their sum.
        """
        return product(xs, prepared.kernel), prepared.bias

    def recurrent_share(
        self, prepared: Prepared, h: Float[Array, "*B H"], *, of_tangent: bool = False
    ) -> Float[Array, "*B N"] | None:
        """Returns ``h U`` for all gates, laid by kind; None where the gates do not see the state.

        `of_tangent` says that the kernel is a tangent, so that what counts is how fast the transpose is.
        """
        if self.declaration.recurrence == "dense":
            return (tangent_product if of_tangent else product)(h, prepared.recurrent_kernel)
        if self.declaration.recurrence == "none":
            return None
        return jnp.tile(h, len(self._layout.order)) * expand_to(prepared.recurrent_kernel, h.ndim)

    @property
    def own_units(self) -> bool:
        """Whether the recurrent kernel is diagonal or absent."""
        return self.declaration.recurrence != "dense"

    def diagonal_share(self, prepared: Prepared, h: Float[Array, "*B H"]) -> Float[Array, "*B N"] | None:
        """Returns the diagonal of the recurrent kernels; None where there is no kernel."""
        if self.declaration.recurrence == "none":
            return None
        own = prepared.recurrent_kernel
        if self.declaration.recurrence == "dense":
            own = jnp.einsum("hgh->gh", own.reshape(self.hidden_size, -1, self.hidden_size)).ravel()
        return jnp.broadcast_to(own, (*h.shape[:-1], own.size)).astype(h.dtype)

    def advance(self, params: Prepared, state: State, projected: Float[Array, "*B N"]) -> State:
        """Returns the next state."""
        return self.update(params, state, projected, self.keep(projected, self.recurrent_share(params, state[0])))

    def keep(self, projected: Float[Array, "*B N"], share: Float[Array, "*B N"] | None) -> Kept:
        """Returns what is kept of the gates: activated values where they give their own derivative."""
        return keep(self._layout, projected, share, read_once=len(self.declaration.state) == 1)

    def activate(self, projected: Float[Array, "*B N"], share: Float[Array, "*B N"] | None) -> Any:
        """Returns the gates, by name: activated sums, or both shares where the gate is split."""
        return self._gates(gates(self.declaration, self._layout, projected, self.keep(projected, share)))

    def update(self, prepared: Prepared, state: State, projected: Float[Array, "*B N"], kept: Kept) -> State:
        """Applies the declared function and checks that it returns the declared state."""
        values = self._gates(gates(self.declaration, self._layout, projected, kept))
        return self._apply(values, state, self._weights(prepared))

    def input_tangent(
        self, d_projected: Float[Array, "*B N"], d_share: Float[Array, "*B N"] | None
    ) -> tuple[Float[Array, "*B N"], Float[Array, "*B M"] | None]:
        """Returns the tangent of the gates' sums, and of the input's share of split gates; None without these."""
        split, summed = None, self._layout.summed * self.hidden_size
        if self.declaration.split:
            split = d_projected[..., summed:]
            is_summed = np.arange(d_projected.shape[-1]) < summed
            d_projected = jnp.where(expand_to(is_summed, d_projected.ndim), d_projected, 0)
        return (d_projected if d_share is None else d_projected + d_share), split

    def update_tangent(
        self,
        prepared: Prepared,
        state: State,
        projected: Float[Array, "*B N"],
        kept: Kept,
        d_prepared: Prepared,
        d_state: State,
        d_sums: Float[Array, "*B N"] | None,
        d_split: Float[Array, "*B M"] | None,
    ) -> State:
        """Returns the tangent of a step from those of its parts, linear in the last four; None stands for zero.

        Of the state's tangent only what does not come through the product counts here, of the prepared parameters'
        what is no kernel of a product.
        """
        declared, weights = self.declaration, self._weights(prepared)
        values = self._gates(gates(declared, self._layout, projected, kept))
        d_weights = jax.tree.map(jnp.zeros_like, weights) if d_prepared is None else self._weights(d_prepared)
        if d_sums is None:
            return jax.jvp(lambda *rest: self._apply(values, *rest), (state, weights), (d_state, d_weights))[1]
        d_values = self._gates(gate_tangents(declared, self._layout, kept, d_sums, d_split))
        return jax.jvp(self._apply, (values, state, weights), (d_values, d_state, d_weights))[1]

    def _gates(self, values: list[Any]) -> Any:
        return _named("Gates", self.declaration.gate_names)(*values)

    def _weights(self, prepared: Prepared) -> Any:
        names = tuple(name for name, _ in self.declaration.weights)
        return _named("Weights", names)(*(prepared.weights[name] for name in names))

    def _apply(self, values: Any, state: State, weights: Any) -> State:
        declared = self.declaration
        arguments = [values, state]
        if weights:
            arguments.append(jax.tree.map(lambda weight: expand_to(weight, state[0].ndim), weights))
        fields = declared.update(*arguments)
        if not isinstance(fields, Mapping) or set(fields) != set(declared.state):
            got = sorted(fields) if isinstance(fields, Mapping) else type(fields).__name__
            raise TypeError(f"{self.name}: expected a dict with the state fields {list(declared.state)}, got {got}")
        return type(state)(**fields)

    @property
    def cudnn_name(self) -> str | None:
        """Name by which cuDNN knows the cell, as declared."""
        return self.declaration.cudnn_name

    @property
    def is_affine(self) -> bool:
        """Whether the declared step is affine in the state, unit by unit, as its program tells."""
        return structure(self).affine

    @property
    def structure(self) -> Structure:
        """What the program of the declared step tells."""
        return structure(self)

    def affine(self, prepared: Prepared, projected: Float[Array, "*B N"]) -> Affine | None:
        """Returns decay and drive where the declared step is affine in the state, unit by unit."""
        return affine_parts(self, prepared, projected)

    def __repr__(self) -> str:
        """Shows name and size; initialisers are left out."""
        return f"{self.name}({self.hidden_size})"


FactoredCell = PointwiseCell
"""Its name of old."""
