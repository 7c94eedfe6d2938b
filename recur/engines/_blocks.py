"""Affine recurrences split over devices by blocks of time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from recur._types import Array, PyTree, Shaped, State
from recur.cells._base import Cell
from recur.engines._affine import affine_scan
from recur.engines._base import Info, Problem
from recur.engines._recurrence import linear_recurrence, shifted

TIME = "time"


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Runs cells whose step is affine in the state on several devices, each on its block of the sequence: exact.

    With n devices block i is T / n steps long. Each device runs its block from zero and multiplies up its decays; two
    arrays of the size of a state are gathered from all, which say with what each block begins; then

        y_t <- y_t + (decay_t ... decay_first of the block) y_before the block

    So a sequence takes an n-th of the memory on each device, and the devices talk once, whatever T. Gradients run the
    same way from the last block to the first. Sums are taken in another order than `Scan` takes them, so results agree
    to rounding. A T that n does not divide is filled up with steps that change nothing.

    Inputs are best put on the devices by ``NamedSharding(mesh, PartitionSpec("time"))``, so that none holds them whole.

    Args:
        mesh: Devices, with one axis, ``"time"``; by default all there are.
    """

    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        """Checks the mesh."""
        if self.mesh is not None and self.mesh.axis_names != (TIME,):
            raise ValueError(f"mesh: expected one axis, ('time',), got {self.mesh.axis_names}")

    def refusal(self, cell: Cell) -> str:
        """Says why `cell` cannot be run, or nothing."""
        return "" if cell.is_affine else "its step is not affine in the state, entry by entry"

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell (see `Engine.run`)."""
        mesh = _all_devices() if self.mesh is None else self.mesh
        info = Info(engine="blocks", reason="asked for")
        params, xs, start, restart, mask, reset = problem
        if not len(xs):
            return jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), start), start, info
        prepared = cell.prepare(params)
        projected = _by_time(cell.project(prepared, _by_time(xs, mesh)), mesh)
        solve = functools.partial(blocked_recurrence, mesh=mesh)
        states = affine_scan(cell, reverse, 1, prepared, projected, start, restart, mask, reset, solve=solve)
        return states, jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), info


def blocked_recurrence(
    decay: Shaped[Array, "..."], drive: Shaped[Array, "T *A"], reverse: bool, *, mesh: Mesh
) -> Shaped[Array, "T *A"]:
    """Returns what `linear_recurrence` returns, computed by the devices of a mesh, each for a block of time."""
    steps, devices = len(drive), mesh.size
    decay = jnp.broadcast_to(decay, drive.shape) if decay.ndim < drive.ndim else decay
    if steps % devices:
        room = [(0, -steps % devices), *[(0, 0)] * (drive.ndim - 1)]
        # Steps that hold the state; in reverse they stand before the first, whose state is zero.
        decay, drive = jnp.pad(decay, room, constant_values=1), jnp.pad(drive, room)
    return _blocked(decay, drive, reverse, mesh)[:steps]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _blocked(decay: jax.Array, drive: jax.Array, reverse: bool, mesh: Mesh) -> jax.Array:
    return _solve(decay, drive, reverse, mesh)


@_blocked.defjvp
def _tangent(reverse: bool, mesh: Mesh, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """Is such a recurrence again, which keeps the residuals down to decay and y."""
    (decay, drive), (d_decay, d_drive) = primals, tangents
    y = _blocked(decay, drive, reverse, mesh)
    before = shifted(y, jnp.zeros_like(y[0]), reverse)
    return y, _solve(decay, d_decay * before + d_drive, reverse, mesh)


def _solve(decay: jax.Array, drive: jax.Array, reverse: bool, mesh: Mesh) -> jax.Array:
    last = 0 if reverse else -1

    def block(decay: jax.Array, drive: jax.Array) -> jax.Array:
        # On a CPU one step after the other: there nothing is gained by a tree.
        parallel = jax.default_backend() != "cpu"
        y = linear_recurrence(decay, drive, reverse, parallel, 1)
        product = jax.lax.cumprod(decay, axis=0, reverse=reverse)
        ends, products = jax.lax.all_gather((y[last], product[last]), TIME)
        begin = jnp.zeros_like(y[0])
        begins = [begin]
        order = range(mesh.size - 1, 0, -1) if reverse else range(mesh.size - 1)
        for index in order:
            begin = products[index] * begin + ends[index]
            begins.append(begin)
        own = jnp.stack(begins[::-1] if reverse else begins)[jax.lax.axis_index(TIME)]
        return y + product * own[None]

    spec = Spec(TIME)
    return jax.shard_map(block, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False)(decay, drive)


def _by_time(tree: PyTree, mesh: Mesh) -> PyTree:
    """Asks for arrays ``[T, ...]`` to be split by time where the devices divide it."""

    def leaf(array: jax.Array) -> jax.Array:
        if len(array) % mesh.size:
            return array
        return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, Spec(TIME)))

    return jax.tree.map(leaf, tree)


def _all_devices() -> Mesh:
    devices = np.array(jax.devices())
    return Mesh(devices, (TIME,), axis_types=(AxisType.Auto,))
