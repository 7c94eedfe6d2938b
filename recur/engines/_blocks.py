"""Affine recurrences split over devices by blocks of time."""

import dataclasses

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from recur._types import PyTree, State
from recur.cells._base import Cell
from recur.engines._affine import affine_scan, refusal
from recur.engines._base import Info, Problem
from recur.engines._linear import TIME, How


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
        return refusal(cell)

    def run(self, cell: Cell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`)."""
        mesh = _all_devices() if self.mesh is None else self.mesh
        steps = problem._replace(xs=_by_time(problem.xs, mesh)).prepared(cell)
        steps = steps._replace(projected=_by_time(steps.projected, mesh))
        return affine_scan(cell, How(mesh=mesh), steps), Info("blocks", "asked for")


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
