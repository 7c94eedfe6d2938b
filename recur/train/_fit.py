"""Training on data that stay on the device: all steps between two visits of the host are one compiled call."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from recur._checks import brief, check_positive, is_one_of
from recur._types import Array, Int, PyTree
from recur.train import _loop
from recur.train._epoch import epoch_rows, sample_count, steps_per_epoch, take_rows
from recur.train._evaluate import evaluate
from recur.train._mesh import batch_axis, check_mesh, place
from recur.train._nonfinite import check_policy
from recur.train._program import Log, Method, empty_log, log_specs, record, seed_spec, slot_of, state_specs, take_step
from recur.train._state import TrainState, check_optimizer
from recur.train._step import Loss, check_loss


def fit(
    state: TrainState,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    data: PyTree,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int,
    validation: PyTree | None = None,
    data_axis: int | None = None,
    shuffle: bool = True,
    eval_every: int | None = None,
    monitor: str | None = None,
    maximize: bool = False,
    patience: int | None = None,
    clip_norm: float | None = 1.0,
    ema_decay: float | None = None,
    seeds_at_once: int | None = None,
    mesh: Mesh | None = None,
    on_nonfinite: str = "stop",
    hooks: _loop.Hooks | None = None,
) -> _loop.Fit:
    """Trains until so many epochs or steps are done, those that the state has taken included.

    Epochs, each in an order of its own (see `make_epoch`), and evaluations are one compiled program; the host sees
    metrics only. A state whose leaves have a leading axis S is S seeds, trained together in that program; each is, to
    rounding, what it would be alone. With ``hooks.checkpoints`` a run that is found there goes on, and ends as if it
    had never been stopped, bit for bit on the same machine with the same mesh.

    Args:
        state: From `init_state`.
        loss: As in `make_step`. Give the same object again to reuse the compiled program.
        optimizer: As in `make_step`; the same holds.
        data: Pytree of arrays ``[N, ...]`` to train on. Every device gets those of its seeds whole. Of several
            processes each hands over the same, and puts on its devices what belongs there.
        epochs: Passes over the data in all; this or `steps`.
        steps: Steps in all.
        batch_size: Samples of a batch.
        validation: Such a pytree to evaluate on.
        data_axis: None if seeds share the data; 0 if data and validation have an axis for them, ``[S, N, ...]``.
        shuffle: False takes the data as they stand. A loss with a carry needs that: rows ``[n B, (n + 1) B)`` then hold
            window n of B streams; in `validation` too, where the carry begins with zeros.
        eval_every: Steps between two evaluations, each of which makes a `Record`; by default those of an epoch. The
            last step always makes one.
        monitor: Metric of the records that says which parameters are best, by default ``val_loss``, or ``train_loss``
            without validation.
        maximize: Whether a higher value of it is better.
        patience: Training ends when this many evaluations in a row improved no seed; None for never.
        clip_norm: As in `make_step`.
        ema_decay: As in `make_step`; evaluations, and so the best parameters, are then those of the moving average.
        seeds_at_once: How many seeds go side by side on a device, by `jax.vmap`; groups of so many go one after the
            other. By default 1 on a CPU, where XLA multiplies batches of small matrices slowly, and all of them
            elsewhere.
        mesh: Devices, from `make_mesh`; by default one. Its batch axis must divide `batch_size`.
        on_nonfinite: What is done about a step whose loss, gradient, new parameters or carry are infinite or not a
            number. No such step is taken: the state stays, or goes back to, one that is finite.
            "stop": the seed stops there, for good, and the others go on.
            "skip": the seed goes on with the next batch; a hundred bad steps in a row stop it.
            "halve": parameters, optimiser and carry go back to where they were at the last record, before a step known
            to be sound, and all updates are halved from there on; data and count of steps go on. A validation loss that
            is not finite does so too. Twenty halvings stop the seed. Takes memory for one more state.
        hooks: Checkpoints, callbacks, a probe.

    Returns:
        `Fit`. On a mesh of several processes the arrays of its state belong to all of them; see `gather`.

    Raises:
        NonFiniteError: No seed is left that has not stopped for numbers that are infinite or not a number; names
            step, seed, tensor, unit and the last checkpoint. Checkpoints saved before stay.
        ValueError: An argument that does not fit the others, or a checkpoint of another run.
        TypeError: A number that is not whole, a loss that is no function of its arguments, a metric that is no name.
    """
    check_data_axis(state, data_axis)
    if state.carry is not None and shuffle:
        raise ValueError(
            "shuffle: expected False for a state with a carry, which goes on where a batch ended, got True"
        )
    one_seed = jax.tree.map(lambda leaf: leaf[0], data) if data_axis == 0 else data
    per_epoch = steps_per_epoch(sample_count(one_seed), check_positive("batch_size", batch_size))
    if (epochs is None) == (steps is None):
        raise ValueError(f"steps: expected epochs or steps, one of them, got epochs={epochs} and steps={steps}")
    total = check_positive("steps", steps) if epochs is None else check_positive("epochs", epochs) * per_epoch
    method = make_method(
        state,
        loss,
        optimizer,
        batch_size=batch_size,
        mesh=mesh,
        clip_norm=clip_norm,
        ema_decay=ema_decay,
        monitor=check_monitor(monitor, validation),
        maximize=maximize,
        every=per_epoch if eval_every is None else check_positive("eval_every", eval_every),
        seeds_at_once=seeds_at_once,
        on_nonfinite=check_policy(on_nonfinite),
    )
    source = _OnDevice(method, data, validation, batch_size, data_axis, shuffle)
    return _loop.run(state, source, method, steps=total, patience=patience, hooks=hooks or _loop.Hooks())


def check_data_axis(state: TrainState, data_axis: int | None) -> None:
    """Raises unless this is a state, and the axis is known, and the state has it too."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state: expected a TrainState, got {brief(state)}; train.init_state makes one")
    if not is_one_of(data_axis, (None, 0)) or (data_axis == 0 and not state.step.ndim):
        raise ValueError(f"data_axis: expected None, or 0 with a state of several seeds, got {data_axis}")


def check_monitor(monitor: str | None, validation: Any) -> str:
    """Returns the metric to watch, by default the loss, or raises unless it is a name."""
    if monitor is not None and not isinstance(monitor, str):
        raise TypeError(f"monitor: expected the name of a metric, such as 'val_loss', got {brief(monitor)}")
    return monitor or ("train_loss" if validation is None else "val_loss")


def make_method(
    state: TrainState,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int | None,
    mesh: Mesh | None,
    seeds_at_once: int | None,
    **options: Any,
) -> Method:
    """Returns the `Method` of a state, on devices that divide its seeds and the batch."""
    check_loss(loss, carries=state.carry is not None)
    check_optimizer(optimizer)
    seeds = state.step.size if state.step.ndim else None
    if seeds_at_once is None:
        seeds_at_once = 1 if jax.default_backend() == "cpu" else state.step.size
    at_once = check_positive("seeds_at_once", seeds_at_once)
    return Method(loss, optimizer, mesh=check_mesh(mesh, seeds, batch_size), seeds_at_once=at_once, **options)


class _OnDevice:
    """Data on the device, as a `_loop.Source`."""

    def __init__(
        self,
        method: Method,
        data: PyTree,
        validation: PyTree | None,
        batch_size: int,
        data_axis: int | None,
        shuffle: bool,
    ):
        self._static = {"method": method, "batch_size": batch_size, "data_axis": data_axis, "shuffle": shuffle}
        self._data = (data, validation)

    def start(self, state: TrainState, position: Any) -> Log:
        del position
        log = _empty_log(state, *self._data, **self._static)
        mesh, data_axis = self._static["method"].mesh, self._static["data_axis"]
        self._data = place(self._data, mesh, seed_spec(state) if data_axis == 0 else Spec())
        return log

    def advance(self, state: TrainState, log: Log, start: int, stop: int, total: int) -> tuple[TrainState, Log]:
        return run_steps(state, log, *self._data, *map(np.int32, (start, stop, total)), **self._static)

    def position(self) -> None:
        return None

    def batch(self, state: TrainState, index: int, seed: int | None) -> PyTree:
        data = self._data[0]
        if self._static["data_axis"] == 0:
            data = jax.tree.map(lambda leaf: leaf[seed], data)
        size, count = self._static["batch_size"], sample_count(data)
        epoch, number = divmod(index, steps_per_epoch(count, size))
        key = state.key if seed is None else state.key[seed]
        return take_rows(data, epoch_rows(key, epoch, count, size, shuffle=self._static["shuffle"])[number])


STATIC = ("method", "batch_size", "data_axis", "shuffle")


@functools.partial(jax.jit, static_argnames=STATIC, donate_argnames=("state", "log"))
def run_steps(
    state: TrainState,
    log: Log,
    data: PyTree,
    validation: PyTree | None,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    total: Int[Array, ""],
    *,
    method: Method,
    batch_size: int,
    data_axis: int | None,
    shuffle: bool,
) -> tuple[TrainState, Log]:
    """Runs the steps `start` to `stop` (without it, counted from 0) of all seeds, out of `total`.

    These are numbers on the device, so that a run is one program, and gives the same bits, however it is cut in calls.
    """
    axis_name, every = batch_axis(method.mesh), method.every

    def one_seed(
        state: TrainState, log: Log, data: PyTree, validation: PyTree | None, start: Array, stop: Array, total: Array
    ) -> tuple[TrainState, Log]:
        count = sample_count(data)
        per_epoch = steps_per_epoch(count, batch_size)

        def until_a_boundary(carry: tuple[Array, TrainState, Log]) -> tuple[Array, TrainState, Log]:
            begin, state, log = carry
            end = jnp.minimum(stop, jnp.minimum(_next_multiple(begin, per_epoch), _next_multiple(begin, every)))
            rows = epoch_rows(state.key, begin // per_epoch, count, batch_size, shuffle=shuffle)

            def one_step(index: Array, carry: tuple[TrainState, Log]) -> tuple[TrainState, Log]:
                batch = take_rows(data, _part(rows[index % per_epoch], axis_name))
                return take_step(method, *carry, batch, index, axis_name)

            def finish(state: TrainState, log: Log) -> tuple[TrainState, Log]:
                metrics = _validate(method, state, validation, batch_size, axis_name)
                return record(method, state, log, metrics, slot_of(end, start, every))

            state, log = jax.lax.fori_loop(begin, end, one_step, (state, log))
            due = (end % every == 0) | (end == total)
            return end, *jax.lax.cond(due, finish, lambda *both: both, state, log)

        return jax.lax.while_loop(lambda carry: carry[0] < stop, until_a_boundary, (start, state, log))[1:]

    of_state, of_log = state_specs(state), log_specs(state, log)
    of_data = seed_spec(state) if data_axis == 0 else Spec()
    all_seeds = method.over_seeds(
        one_seed,
        state,
        in_axes=(0, 0, data_axis, data_axis, None, None, None),
        in_specs=(of_state, of_log, of_data, of_data, Spec(), Spec(), Spec()),
        out_specs=(of_state, of_log),
    )
    return all_seeds(state, log, data, validation, start, stop, total)


@functools.partial(jax.jit, static_argnames=STATIC)
def _empty_log(
    state: TrainState,
    data: PyTree,
    validation: PyTree | None,
    *,
    method: Method,
    batch_size: int,
    data_axis: int | None,
    shuffle: bool,
) -> Log:
    del shuffle

    def metrics(state: TrainState, data: PyTree, validation: PyTree | None) -> Any:
        batch = jax.tree.map(lambda leaf: leaf[:batch_size], data)
        return method.step(None)(state, batch)[1], _validate(method, state, validation, batch_size, None)

    if state.step.ndim:
        metrics = jax.vmap(metrics, in_axes=(0, data_axis, data_axis))
    return empty_log(method, state, *jax.eval_shape(metrics, state, data, validation))


def _validate(
    method: Method, state: TrainState, validation: PyTree | None, batch_size: int, axis_name: str | None
) -> Any:
    if validation is None:
        return None
    one = functools.partial(evaluate, method.loss, state.evaluated, validation, axis_name=axis_name)
    if state.carry is None:
        return one()
    return one(batch_size=batch_size, carry=jax.tree.map(jnp.zeros_like, state.carry))


def _part(rows: Int[Array, "batch"], axis_name: str | None) -> Int[Array, "part"]:
    """Returns the samples that this device takes of a batch."""
    if axis_name is None:
        return rows
    return rows.reshape(jax.lax.axis_size(axis_name), -1)[jax.lax.axis_index(axis_name)]


def _next_multiple(step: Int[Array, ""], every: int) -> Int[Array, ""]:
    return (step // every + 1) * every
