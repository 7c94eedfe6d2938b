"""Training on data that stay on the device: all steps between two visits of the host are one compiled call."""

import functools
from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as Spec

from recur._checks import brief, check_bool, check_number, check_positive, is_one_of
from recur._types import Array, Int, PyTree
from recur.train import _loop
from recur.train._data import as_data, outline
from recur.train._epoch import sample_count
from recur.train._evaluate import Sums, evaluated_sums, means
from recur.train._feed import Draw, Feed, Rows, drawn, next_boundary
from recur.train._hooks import Hooks
from recur.train._loss import Loss, check_loss
from recur.train._mesh import batch_axis, place
from recur.train._method import Method, MethodOptions, as_method
from recur.train._program import Log, Plan, empty_log, log_specs, record, seed_spec, slot_of, state_specs, take_step
from recur.train._programs import Held, program
from recur.train._state import TrainState, check_optimizer
from recur.train._step import sees_loss


def fit(
    state: TrainState,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    data: PyTree | None = None,
    *,
    draw: Draw | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    validation: PyTree | None = None,
    validation_split: float | None = None,
    data_axis: int | None = None,
    shuffle: bool = True,
    hooks: Hooks | None = None,
    method: Method | None = None,
    **options: Unpack[MethodOptions],
) -> _loop.Fit:
    """Trains until so many epochs or steps are done, those that the state has taken included.

    Steps and evaluations are one compiled program; the host sees metrics only. Batches are rows of `data`, epoch after
    epoch, each in an order of its own (see `make_epoch`), or what `draw` makes of the key of a step. Batches that come
    from the host are the business of `fit_batches`.

    A state whose leaves have a leading axis S is S seeds, trained together in that program; each is, to rounding, what
    it would be alone. With ``hooks.checkpoints`` a run that is found there goes on, and ends as if it had never been
    stopped, bit for bit on the same machine with the same mesh.

    A compiled program lives as long as the loss and the optimiser that it was made from, and serves every `fit` with
    the same two objects. So a sweep over step sizes compiles once if the step size is a part of the state::

        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.1)
        for rate in rates:
            state = train.init_state(params, optimizer, key)
            state.opt_state.hyperparams["learning_rate"] = jnp.asarray(rate)
            fitted = train.fit(state, loss, optimizer, data, steps=1000, batch_size=32)

    Args:
        state: From `init_state`.
        loss: As in `make_step`. Give the same object again to reuse the compiled program.
        optimizer: As in `make_step`; the same holds.
        data: Pytree of arrays ``[N, ...]`` to train on. Every device gets those of its seeds whole. Of several
            processes each hands over the same, and puts on its devices what belongs there.
        draw: In the place of data, ``draw(key) -> batch``: a function that JAX can trace, which draws arrays
            ``[B, ...]`` from the key of a seed and a step. A batch is the same on any mesh. Give the same object again
            to reuse the compiled program.
        epochs: Passes over the data in all; this or `steps`.
        steps: Steps in all.
        batch_size: Samples of a batch of data.
        validation: Pytree of arrays ``[N, ...]`` to evaluate on.
        validation_split: In its place, the share of the data to evaluate on and not to train on, between 0 and 1: the
            last samples, as in Keras, so that data in some order are to be mixed first.
        data_axis: None if seeds share the data; 0 if data and validation have an axis for them, ``[S, N, ...]``. What
            is drawn is each seed's own in any case.
        shuffle: False takes the data as they stand. A loss with a carry needs that: rows ``[n B, (n + 1) B)`` then hold
            window n of B streams; in `validation` too, where the carry begins with zeros.
        hooks: Checkpoints, callbacks, a probe.
        method: How the run is trained and judged; several runs can share one.
        **options: Those of `Method` by name: ``eval_every``, ``monitor``, ``maximize``, ``patience``, ``clip_norm``,
            ``ema_decay``, ``seeds_at_once``, ``mesh``, ``on_nonfinite``. They replace those of `method`.

    Returns:
        `Fit`. On a mesh of several processes the arrays of its state belong to all of them; see `gather`.

    Raises:
        NonFiniteError: No seed is left that has not stopped for numbers that are infinite or not a number; names
            step, seed, tensor, unit and the last checkpoint. Checkpoints saved before stay.
        ValueError: An argument that does not fit the others, or a checkpoint of another run.
        TypeError: A number that is not whole, a loss that is no function of its arguments, an unknown option.
    """
    method = as_method(method, options)
    check_data_axis(state, data_axis)
    if (data is None) == (draw is None):
        found = "none" if data is None else "both"
        raise ValueError(f"data: expected arrays or draw=, one of them, got {found}")
    if (epochs is None) == (steps is None):
        raise ValueError(f"steps: expected epochs or steps, one of them, got epochs={epochs} and steps={steps}")
    validation = None if validation is None else as_data("validation", validation)
    if draw is None:
        data = as_data("data", data)
        if validation_split is not None:
            data, validation = _split(data, validation, validation_split, data_axis)
        feed = _rows(state, data, batch_size, data_axis, shuffle)
        of_seed = jax.tree.map(lambda leaf: leaf[0], data) if data_axis == 0 else data
        per_epoch = feed.per_epoch(of_seed)
    else:
        alone = {"epochs": epochs, "batch_size": batch_size, "validation_split": validation_split}
        for name, value in alone.items():
            if value is not None:
                raise ValueError(f"{name}: expected none with draw, which has no end; give steps, and validation")
        feed = drawn(draw, state.key[0] if state.step.ndim else state.key)
        per_epoch = feed.per_epoch(None)
    total = check_positive("steps", steps) if epochs is None else check_positive("epochs", epochs) * per_epoch
    given = {"batch_size": feed.batch_size, "has_validation": validation is not None, "per_epoch": per_epoch}
    # Held here, as programs do not hold it.
    update = check_optimizer(optimizer)
    plan = make_plan(state, loss, update, sees_loss(optimizer), method, **given)
    source = _OnDevice(plan, feed, data, validation, data_axis)
    return _loop.run(state, source, plan, steps=total, patience=method.patience, hooks=hooks or Hooks())


def check_data_axis(state: TrainState, data_axis: int | None) -> None:
    """Raises unless this is a state, and the axis is known, and the state has it too."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state: expected a TrainState, got {brief(state)}; train.init_state makes one")
    if not is_one_of(data_axis, (None, 0)) or (data_axis == 0 and not state.step.ndim):
        raise ValueError(f"data_axis: expected None, or 0 with a state of several seeds, got {data_axis}")


def make_plan(state: TrainState, loss: Loss, update: Callable, sees_loss: bool, method: Method, **given: Any) -> Plan:
    """Returns the `Plan` of a state, on devices that divide its seeds and the batch."""
    check_loss(loss, carries=state.carry is not None)
    return Plan(Held(loss), Held(update), sees_loss, method.resolved(state, **given))


def _rows(state: TrainState, data: PyTree, batch_size: int | None, data_axis: int | None, shuffle: bool) -> Rows:
    if state.carry is not None and shuffle:
        raise ValueError(
            "shuffle: expected False for a state with a carry, which goes on where a batch ended, got True"
        )
    return Rows(check_positive("batch_size", batch_size), check_bool("shuffle", shuffle))


def _split(data: PyTree, validation: PyTree | None, share: float, data_axis: int | None) -> tuple[PyTree, PyTree]:
    """Returns the first samples to train on and the last ones to evaluate on."""
    if validation is not None:
        raise ValueError("validation_split: expected validation or a share of the data, one of them, got both")
    if not 0 < check_number("validation_split", share) < 1:
        raise ValueError(f"validation_split: expected a number between 0 and 1, got {share}")
    count = sample_count(data if data_axis is None else jax.tree.map(lambda leaf: leaf[0], data))
    at = int(count * (1 - share))
    if not 0 < at < count:
        raise ValueError(f"validation_split: expected samples on both sides, got {at} of {count} to train on")
    own = () if data_axis is None else (slice(None),)
    before = jax.tree.map(lambda leaf: leaf[(*own, slice(at))], data)
    return before, jax.tree.map(lambda leaf: leaf[(*own, slice(at, None))], data)


class _OnDevice:
    """Data or draws on the device, as a `Source`."""

    def __init__(self, plan: Plan, feed: Feed, data: PyTree | None, validation: PyTree | None, data_axis: int | None):
        self._static = {"plan": plan, "feed": feed, "data_axis": data_axis}
        self._data = (data, validation)
        self._outline = outline(data) if data is not None else f"drawn, {feed.batch_size} rows"

    def start(self, state: TrainState, position: Any) -> Log:
        del position
        log = program(_empty_log, **self._static)(state, *self._data)
        mesh, data_axis = self._static["plan"].method.mesh, self._static["data_axis"]
        self._data = place(self._data, mesh, seed_spec(state) if data_axis == 0 else Spec())
        return log

    def advance(self, state: TrainState, log: Log, start: int, stop: int, total: int) -> tuple[TrainState, Log]:
        numbers = map(np.int32, (start, stop, total))
        return program(run_steps, donate=("state", "log"), **self._static)(state, log, *self._data, *numbers)

    def fingerprint(self) -> dict[str, str]:
        return {"data": self._outline}

    def position(self) -> None:
        return None

    def counts_for_nothing(self, state: TrainState, seed: int | None) -> bool:
        validation = self._data[1]
        if seed is not None:
            state = jax.tree.map(lambda leaf: leaf[seed], state)
            if self._static["data_axis"] == 0:
                validation = jax.tree.map(lambda leaf: leaf[seed], validation)
        plan, size = self._static["plan"], self._static["feed"].batch_size
        sums = _validation_sums(plan, state, validation, size, None)
        return bool(sums[1] == 0)

    def batch(self, state: TrainState, index: int, seed: int | None) -> PyTree:
        data, feed = self._data[0], self._static["feed"]
        if self._static["data_axis"] == 0:
            data = jax.tree.map(lambda leaf: leaf[seed], data)
        key = state.key if seed is None else state.key[seed]
        return feed.batch(key, data, feed.shared(key, data, index), index, None)


def run_steps(
    state: TrainState,
    log: Log,
    data: PyTree | None,
    validation: PyTree | None,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    total: Int[Array, ""],
    *,
    plan: Plan,
    feed: Feed,
    data_axis: int | None,
) -> tuple[TrainState, Log]:
    """Runs the steps `start` to `stop` (without it, counted from 0) of all seeds, out of `total`.

    These are numbers on the device, so that a run is one program, and gives the same bits, however it is cut in calls.
    """
    axis_name, every = batch_axis(plan.method.mesh), plan.method.eval_every

    def one_seed(
        state: TrainState, log: Log, data: PyTree, validation: PyTree | None, start: Array, stop: Array, total: Array
    ) -> tuple[TrainState, Log]:
        def until_a_boundary(carry: tuple[Array, TrainState, Log]) -> tuple[Array, TrainState, Log]:
            begin, state, log = carry
            end = jnp.minimum(stop, next_boundary(feed, data, begin, every))
            shared = feed.shared(state.key, data, begin)

            def one_step(index: Array, carry: tuple[TrainState, Log]) -> tuple[TrainState, Log]:
                batch = feed.batch(state.key, data, shared, index, axis_name)
                return take_step(plan, *carry, batch, index, axis_name)

            def finish(state: TrainState, log: Log) -> tuple[TrainState, Log]:
                metrics = _validate(plan, state, validation, feed.batch_size, axis_name)
                return record(plan, state, log, metrics, slot_of(end, start, every))

            state, log = jax.lax.fori_loop(begin, end, one_step, (state, log))
            due = (end % every == 0) | (end == total)
            return end, *jax.lax.cond(due, finish, lambda *both: both, state, log)

        return jax.lax.while_loop(lambda carry: carry[0] < stop, until_a_boundary, (start, state, log))[1:]

    of_state, of_log = state_specs(state), log_specs(state, log)
    of_data = seed_spec(state) if data_axis == 0 else Spec()
    all_seeds = plan.over_seeds(
        one_seed,
        state,
        in_axes=(0, 0, data_axis, data_axis, None, None, None),
        in_specs=(of_state, of_log, of_data, of_data, Spec(), Spec(), Spec()),
        out_specs=(of_state, of_log),
    )
    return all_seeds(state, log, data, validation, start, stop, total)


def _empty_log(
    state: TrainState,
    data: PyTree | None,
    validation: PyTree | None,
    *,
    plan: Plan,
    feed: Feed,
    data_axis: int | None,
) -> Log:
    def metrics(state: TrainState, data: PyTree, validation: PyTree | None) -> Any:
        batch = feed.batch(state.key, data, feed.shared(state.key, data, state.step), state.step, None)
        return plan.step(None)(state, batch)[1], _validate(plan, state, validation, feed.batch_size, None)

    if state.step.ndim:
        metrics = jax.vmap(metrics, in_axes=(0, data_axis, data_axis))
    return empty_log(plan, state, *jax.eval_shape(metrics, state, data, validation))


def _validate(plan: Plan, state: TrainState, validation: PyTree | None, batch_size: int, axis_name: str | None) -> Any:
    return None if validation is None else means(_validation_sums(plan, state, validation, batch_size, axis_name))


def _validation_sums(plan: Plan, state: TrainState, validation: PyTree, batch_size: int, axis_name: str | None) -> Sums:
    one = functools.partial(evaluated_sums, plan.loss.function, state.evaluated, validation, axis_name=axis_name)
    if state.carry is None:
        return one()
    return one(batch_size=batch_size, carry=jax.tree.map(jnp.zeros_like, state.carry))
