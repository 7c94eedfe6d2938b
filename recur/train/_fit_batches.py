"""Training on batches that come from the host: files too large for the device, sequences of unequal length."""

import copy
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Unpack, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from recur._checks import check_positive
from recur._types import Array, Bool, Int, PyTree
from recur.train import _loop
from recur.train._data import as_data
from recur.train._evaluate import Sums, add, batch_size, means, weighed
from recur.train._fit import check_data_axis, make_plan
from recur.train._hooks import Hooks
from recur.train._json import as_json, from_json, is_json
from recur.train._loss import Loss
from recur.train._mesh import BATCH, SEED, batch_axis, place
from recur.train._method import Method, MethodOptions, as_method
from recur.train._processes import batch_part, gather, put, spans_processes
from recur.train._program import Log, Plan, empty_log, log_specs, record, seed_spec, slot_of, state_specs, take_step
from recur.train._programs import program
from recur.train._state import TrainState, check_optimizer
from recur.train._step import sees_loss

MOST_SHAPES = 50
"""So many shapes of batches are too many: each is a program of its own."""


@runtime_checkable
class BatchIterator(Protocol):
    """Batches one after the other, from a place that can be saved; grain's iterators are such."""

    def __next__(self) -> PyTree:
        """Returns the next batch, arrays ``[B, ...]`` in a pytree; what has no axis belongs to the whole batch."""

    def get_state(self) -> Any:
        """Returns where it stands, as numbers, texts, lists and dicts."""

    def set_state(self, state: Any) -> None:
        """Goes to where another iterator over the same data stood."""


def fit_batches(
    state: TrainState,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batches: Iterable[PyTree],
    *,
    steps: int,
    validation: Iterable[PyTree] | None = None,
    data_axis: int | None = None,
    hooks: Hooks | None = None,
    method: Method | None = None,
    **options: Unpack[MethodOptions],
) -> _loop.Fit:
    """Trains until `steps` steps are done, those that the state has taken included, one batch a step.

    All else is as in `fit`: seeds, meshes, records, checkpoints, and a run that goes on where it was stopped. Each
    shape of batch is a program of its own, compiled when it first comes; so let there be few, padded to some lengths.
    A batch that a mesh's batch axis does not divide is computed whole on all its devices.

    On a mesh of several processes each hands over its own rows of every batch, training and validation alike: those
    that `batch_part` names. All processes must come to the same shapes.

    Args:
        state: From `init_state`. With a carry, each row of a batch goes on where that row of the batch before ended.
        loss: As in `make_step`. Of batches with padding it returns the metric ``weight``, so that means over several
            are over what counts.
        optimizer: As in `make_step`.
        batches: What `iter` makes a `BatchIterator` of, so that its place is saved with the checkpoints and a run goes
            on there; without checkpoints any iterable. It must last for all steps.
        steps: Steps in all.
        validation: Batches to evaluate on, read from their start every time. A carry begins with zeros.
        data_axis: None if seeds share the batches; 0 if every array has an axis for them, ``[S, B, ...]``.
        hooks: Checkpoints, callbacks, a probe.
        method: As in `fit`.
        **options: As in `fit`.

    Returns:
        `Fit`.

    Warns:
        UserWarning: There are 50 shapes of batches.

    Raises:
        NonFiniteError: As in `fit`.
        ValueError: An argument that does not fit the others, a checkpoint of another run, or batches that end early.
        TypeError: A number that is not whole, or batches whose place cannot be saved where there are checkpoints.
    """
    hooks, method = hooks or Hooks(), as_method(method, options)
    check_data_axis(state, data_axis)
    iterator = iter(batches)
    if hooks.checkpoints is not None and not isinstance(iterator, BatchIterator):
        raise TypeError(
            f"batches: expected an iterator with get_state and set_state, got {type(iterator).__name__}, whose place "
            "cannot be saved; leave out the checkpoints, or read through grain"
        )
    if hooks.checkpoints is not None:
        as_json("batches: get_state()", iterator.get_state())
    if validation is not None and iter(validation) is validation:
        raise TypeError(
            f"validation: expected batches that can be read again, got {type(validation).__name__}; make it a list"
        )
    rows = jax.tree.leaves(state.carry)
    batch_size = rows[0].shape[state.step.ndim] if rows else None
    # Held here, as programs do not hold it.
    update = check_optimizer(optimizer)
    given = {"batch_size": batch_size, "has_validation": validation is not None}
    plan = make_plan(state, loss, update, sees_loss(optimizer), method, **given)
    total, source = check_positive("steps", steps), _FromHost(plan, iterator, validation, data_axis)
    return _loop.run(state, source, plan, steps=total, patience=method.patience, hooks=hooks)


class _FromHost:
    """Batches from the host, as a `Source`."""

    def __init__(self, plan: Plan, iterator: Any, validation: Iterable[PyTree] | None, data_axis: int | None):
        self._static = {"plan": plan, "data_axis": data_axis}
        self._iterator, self._validation = iterator, validation
        self._can_go_back = isinstance(iterator, BatchIterator) and is_json(iterator.get_state())
        self._first, self._sums, self._shapes = None, None, set()
        # For a batch that must be looked at again: the one read first, and where the iterator stood before which step.
        self._held, self._mark = None, None
        self._part = batch_part(plan.method.mesh) if spans_processes(plan.method.mesh) else (0, 1)
        self._rows_axis = 0 if data_axis is None else 1

    def start(self, state: TrainState, position: Any) -> Log:
        if position is not None:
            self._go_to(position)
        # Looked at for the names of its metrics; the first step takes it.
        self._first = self._next(int(state.step.max()))
        sample = None if self._validation is None else next(self._validation_batches(), None)
        if self._validation is not None and sample is None:
            raise ValueError("validation: expected at least one batch, got none; leave it out")
        whole = (None if batch is None else jax.tree.map(self._repeated, batch) for batch in (self._first, sample))
        log, sums = program(_empty, **self._static)(state, *whole)
        self._sums = place(sums, self._static["plan"].method.mesh, seed_spec(state))
        return log

    def advance(self, state: TrainState, log: Log, start: int, stop: int, total: int) -> tuple[TrainState, Log]:
        plan = self._static["plan"]
        self._held = None if self._first is None else (start, self._first)
        if self._can_go_back:
            self._mark = start + (self._first is not None), self.position()
        given = ("state", "log")
        take = program(run_batch, donate=given, **self._static)
        write = program(run_record, donate=given, plan=plan)
        for index in range(start, stop):
            batch, self._first = self._next(index) if self._first is None else self._first, None
            state, log = take(state, log, self._placed(batch), np.int32(index))
            end = index + 1
            if end % plan.method.eval_every == 0 or end == total:
                slot = np.int32(slot_of(end, start, plan.method.eval_every))
                state, log = write(state, log, self._validated(state), slot)
        return state, log

    def fingerprint(self) -> dict[str, str]:
        return {}

    def position(self) -> Any:
        # A copy, as an iterator may hand out what it goes on to change.
        return from_json(as_json("batches: get_state()", self._iterator.get_state()))

    def _go_to(self, position: Any) -> None:
        self._iterator.set_state(copy.deepcopy(position))
        if (found := self.position()) != position:
            raise ValueError(
                f"batches: expected an iterator that set_state moves to {str(position)[:100]}, got "
                f"{type(self._iterator).__name__}, which stands at {str(found)[:100]}; get_state must tell that"
            )

    def batch(self, state: TrainState, index: int, seed: int | None) -> PyTree | None:
        if self._held is not None and self._held[0] == index:
            batch = self._held[1]
        elif self._mark is None:
            return None
        else:
            now, (first, position) = self.position(), self._mark
            self._go_to(position)
            for number in range(first, index + 1):
                batch = self._next(number)
            self._go_to(now)
        if self._static["data_axis"] is None:
            return batch
        return jax.tree.map(lambda leaf: leaf[seed] if np.ndim(leaf) else leaf, batch)

    def _next(self, index: int) -> PyTree:
        try:
            batch = next(self._iterator)
        except StopIteration:
            raise ValueError(f"batches: expected one for every step, got {index}; let them repeat") from None
        batch = self._counted(as_data("batches", batch, copy=True, take_numbers=True))
        batch_size(batch, self._static["data_axis"])
        return batch

    def _validation_batches(self) -> Iterator[PyTree]:
        for batch in self._validation:
            yield self._counted(as_data("validation", batch, copy=True, take_numbers=True))

    def _counted(self, batch: PyTree) -> PyTree:
        """Returns a batch, and warns of too many shapes."""
        shape = tuple(np.shape(leaf) for leaf in jax.tree.leaves(batch))
        if shape not in self._shapes:
            self._shapes.add(shape)
            if len(self._shapes) == MOST_SHAPES:
                warnings.warn(
                    f"batches: {MOST_SHAPES} shapes so far, each compiled for itself, which takes time and memory; pad "
                    "to a few lengths, as tasks.batches(..., pad=..., buckets=...) does",
                    stacklevel=2,
                )
        return batch

    def _placed(self, batch: PyTree) -> PyTree:
        mesh, data_axis = self._static["plan"].method.mesh, self._static["data_axis"]
        if mesh is None:
            return batch
        if not spans_processes(mesh):
            return place(batch, mesh, _split_batch(batch, mesh, data_axis)[0])
        specs, axis_name = _split_batch(jax.tree.map(self._repeated, batch), mesh, data_axis)
        if axis_name is None and self._part != (0, 1):
            rows = batch_size(batch, data_axis) * self._part[1]
            raise ValueError(
                f"batches: expected rows that the {mesh.shape[BATCH]} devices of a mesh of several processes divide, "
                f"got {rows}; fill batches up, or take another batch_size"
            )

        def put_rows(leaf: Any, spec: Spec) -> jax.Array:
            part = self._part if np.ndim(leaf) > self._rows_axis else (0, 1)
            return put(leaf, NamedSharding(mesh, spec), self._rows_axis, part)

        return jax.tree.map(put_rows, batch, specs)

    def _repeated(self, leaf: Any) -> Any:
        """Returns what has the shape of the whole batch, of which this process has read a part."""
        if self._part == (0, 1) or np.ndim(leaf) <= self._rows_axis:
            return leaf
        return np.concatenate([leaf] * self._part[1], axis=self._rows_axis)

    def _validated(self, state: TrainState) -> Sums | None:
        if self._validation is None:
            return None
        sums, first, evaluate = self._sums, True, program(run_evaluation, **self._static)
        for batch in self._validation_batches():
            sums, carry = evaluate(state, sums, self._placed(batch), np.bool_(first))
            state, first = state._replace(carry=carry), False
        if first:
            raise ValueError("validation: expected the same batches every time, got none this time; make it a list")
        return sums

    def counts_for_nothing(self, state: TrainState, seed: int | None) -> bool:
        weight = gather(self._validated(state)[1])
        return bool((weight if seed is None else weight[seed]) == 0)


def run_batch(
    state: TrainState, log: Log, batch: PyTree, index: Int[Array, ""], *, plan: Plan, data_axis: int | None
) -> tuple[TrainState, Log]:
    """Takes the step `index`, counted from 0, of all seeds."""
    of_batch, axis_name = _split_batch(batch, plan.method.mesh, data_axis)

    def one_seed(state: TrainState, log: Log, batch: PyTree, index: Array) -> tuple[TrainState, Log]:
        return take_step(plan, state, log, batch, index, axis_name)

    out_specs = (state_specs(state), log_specs(state, log))
    in_axes, in_specs = (0, 0, data_axis, None), (*out_specs, of_batch, Spec())
    all_seeds = plan.over_seeds(one_seed, state, in_axes=in_axes, in_specs=in_specs, out_specs=out_specs)
    return all_seeds(state, log, batch, index)


def run_evaluation(
    state: TrainState, sums: Sums, batch: PyTree, first: Bool[Array, ""], *, plan: Plan, data_axis: int | None
) -> tuple[Sums, PyTree]:
    """Adds what a batch says to the sums, and returns the carry after it; `first` begins both with zeros."""
    of_batch, axis_name = _split_batch(batch, plan.method.mesh, data_axis)

    def one_seed(state: TrainState, sums: Sums, batch: PyTree, first: Array) -> tuple[Sums, PyTree]:
        sums, carry = jax.tree.map(lambda leaf: jnp.where(first, 0, leaf), (sums, state.carry))
        more, carry = weighed(plan.loss.function, state.evaluated, batch, batch_size(batch), carry)
        return add(sums, more if axis_name is None else jax.lax.psum(more, axis_name)), carry

    of_state, by_seed = state_specs(state), seed_spec(state)
    in_axes, in_specs = (0, 0, data_axis, None), (of_state, by_seed, of_batch, Spec())
    out_specs = (by_seed, of_state.carry)
    all_seeds = plan.over_seeds(one_seed, state, in_axes=in_axes, in_specs=in_specs, out_specs=out_specs)
    return all_seeds(state, sums, batch, first)


def run_record(
    state: TrainState, log: Log, sums: Sums | None, slot: Int[Array, ""], *, plan: Plan
) -> tuple[TrainState, Log]:
    """Writes a record, of all seeds."""

    def one_seed(state: TrainState, log: Log, sums: Sums | None, slot: Array) -> tuple[TrainState, Log]:
        return record(plan, state, log, None if sums is None else means(sums), slot)

    out_specs = (state_specs(state), log_specs(state, log))
    in_specs = (*out_specs, seed_spec(state), Spec())
    all_seeds = plan.over_seeds(one_seed, state, in_axes=(0, 0, 0, None), in_specs=in_specs, out_specs=out_specs)
    return all_seeds(state, log, sums, slot)


def _empty(
    state: TrainState, batch: PyTree, sample: PyTree | None, *, plan: Plan, data_axis: int | None
) -> tuple[Log, Sums | None]:
    """Returns the empty log, and sums of zero to evaluate with."""

    def shapes(state: TrainState, batch: PyTree, sample: PyTree | None) -> Any:
        sums = None
        if sample is not None:
            sums = weighed(plan.loss.function, state.params, sample, batch_size(sample), state.carry)[0]
        return plan.step(None)(state, batch)[1], sums

    if state.step.ndim:
        shapes = jax.vmap(shapes, in_axes=(0, data_axis, data_axis))
    metrics, sums = jax.eval_shape(shapes, state, batch, sample)
    log = empty_log(plan, state, metrics, None if sums is None else sums[0])
    return log, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), sums)


def _split_batch(batch: PyTree, mesh: Mesh | None, data_axis: int | None) -> tuple[PyTree, str | None]:
    """Returns how a batch is split over a mesh, and the axis that its rows are split on, None if they are not."""
    axis_name = batch_axis(mesh)
    if axis_name is None or batch_size(batch, data_axis) % mesh.shape[BATCH]:
        axis_name = None
    by_seed = () if data_axis is None else (SEED,)
    rows = Spec(*by_seed, axis_name)
    return jax.tree.map(lambda leaf: rows if np.ndim(leaf) > len(by_seed) else Spec(*by_seed), batch), axis_name
