"""The training loop as the host sees it: calls of compiled steps, records, checkpoints."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur.train._hooks import Hooks
from recur.train._interrupts import uninterrupted
from recur.train._mesh import place
from recur.train._nonfinite import watched
from recur.train._processes import agree, gather, leave_if_unhandled, spans_processes
from recur.train._program import RECORDS_PER_CALL, Plan, Source, log_specs, run_probe, state_specs
from recur.train._programs import Held, program
from recur.train._records import Probed, Progress, Record
from recur.train._state import TrainState, nothing_yet
from recur.train._watch import Watch

CALL_S = 0.5
"""About so long the device works between two visits of the host."""


class Fit(NamedTuple):
    """What `fit` and `fit_batches` return. `finished` is False where training was asked to stop before its end.

    `probed` is what the probe found in this call, not in those before it that `history` tells of.
    """

    state: TrainState
    history: list[Record]
    finished: bool
    probed: Sequence[Probed] = ()


def run(state: TrainState, source: Source, plan: Plan, *, steps: int, patience: int | None, hooks: Hooks) -> Fit:
    """Trains until `steps` steps are done, or nothing improved for `patience` evaluations; see `_train`."""
    checkpoints = hooks.checkpoints
    alone = contextlib.nullcontext() if checkpoints is None else checkpoints.run(_fingerprint(state, source, plan))
    try:
        with alone:
            return _train(state, source, plan, steps=steps, patience=patience, hooks=hooks)
    except BaseException:
        if spans_processes(plan.method.mesh):
            leave_if_unhandled()
        raise


def _fingerprint(state: TrainState, source: Source, plan: Plan) -> dict[str, str]:
    """Returns what tells a run from another one, where it has no configuration."""
    loss = plan.loss.function
    while isinstance(loss, functools.partial):
        loss = loss.func
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    return {"loss": name, "optimizer": str(jax.tree.structure(state.opt_state)), **source.fingerprint()}


def _train(state: TrainState, source: Source, plan: Plan, *, steps: int, patience: int | None, hooks: Hooks) -> Fit:
    """Trains, as the host sees it.

    How a run is cut in calls, and where it is stopped and goes on, changes no bit of it.
    """
    state, progress = _begun(state, plan, hooks)
    history, probed = list(progress.history), []
    step = _steps_taken(state)
    for call in (*hooks.on_record, *hooks.on_probe):
        if callable(rewind := getattr(call, "rewind", None)):
            rewind(step)

    def is_over() -> bool:
        return step >= steps or (patience is not None and _is_stuck(history, plan, patience))

    if is_over():
        return Fit(state, history, True)
    log = source.start(state, progress.position)
    with uninterrupted():
        log = log._replace(means=_restored(progress.means, log.means))
        # A copy, because the compiled call takes the memory of the state it is given.
        state = place(jax.tree.map(jnp.copy, state), plan.method.mesh, state_specs(state))
        log = place(log, plan.method.mesh, log_specs(state, log))
    watch = Watch(state, source, plan, hooks)
    began, saved = time.perf_counter() - progress.wall_s, progress.wall_s

    def look() -> None:
        found = program(run_probe, probe=Held(hooks.probe), plan=plan)(state)
        probed.append(Probed(step, gather(found)))
        for call in hooks.on_probe:
            call(probed[-1])

    if hooks.probe is not None and step == 0:
        look()
    size, stopping = 1, False
    try:
        while not (is_over() or stopping):
            start, step = step, _call_end(step, size, steps, plan.method.eval_every, patience, hooks.probe_every)
            called = time.perf_counter()
            state, log = source.advance(state, log, start, step, steps)
            records, means, health = gather((log.records, log.means, state.health))
            now = time.perf_counter()
            wall_s, took_s = agree(plan.method.mesh, now - began, now - called)
            watch.see_steps(state, log, health)
            size = _paced(size, took_s)
            ends = _record_ends(start, step, steps, plan.method.eval_every)
            for slot, end in enumerate(ends):
                metrics = {name: np.asarray(value[..., slot], np.float64) for name, value in records.items()}
                watch.see_record(state, end, metrics)
                history.append(Record(end, wall_s, metrics))
                for call in hooks.on_record:
                    call(history[-1])
            watch.see_end(step)
            for call in hooks.on_call:
                call(step, float(np.median(means["loss"][health.stopped == 0])))
            if hooks.probe is not None and step % hooks.probe_every == 0:
                look()
            stopping = any(agree(plan.method.mesh, hooks.stop()))
            if hooks.checkpoints is not None and (is_over() or stopping or wall_s - saved >= hooks.checkpoint_every_s):
                saved = wall_s
                progress = Progress(wall_s, history, means, source.position())
                with _keeping(Fit(state, history, is_over(), probed)):
                    hooks.checkpoints.save(step, state, progress, _score(history, plan))
    except BaseException:
        if hooks.checkpoints is not None:
            hooks.checkpoints.wait()
        raise
    fitted = Fit(state, history, is_over(), probed)
    if hooks.checkpoints is not None:
        with _keeping(fitted):
            hooks.checkpoints.wait()
    return fitted


@uninterrupted()
def _begun(state: TrainState, plan: Plan, hooks: Hooks) -> tuple[TrainState, Progress]:
    """Returns where the run begins, or goes on."""
    # A leaf that is weakly typed, as numbers of Python become, would make another program of the second call.
    state = jax.tree.map(lambda leaf: leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf, state)
    progress = Progress(0.0, [], {})
    state = watched(state, plan.method.on_nonfinite, plan.method.eval_every)
    if hooks.checkpoints is None or hooks.checkpoints.latest() is None:
        return state, progress
    state, progress = hooks.checkpoints.restore(state)
    if progress.history and plan.method.monitor not in progress.history[-1].metrics:
        # The best was that of another metric, with which this one cannot be compared.
        state = state._replace(best=nothing_yet(state.best))
    return watched(state, plan.method.on_nonfinite, plan.method.eval_every), progress


@contextlib.contextmanager
def _keeping(fitted: Fit) -> Iterator[None]:
    """Lets no error of saving lose what was reached: it is the attribute ``fit`` of the exception."""
    try:
        yield
    except Exception as error:
        error.fit = fitted
        raise


def _steps_taken(state: TrainState) -> int:
    taken = np.unique(jax.device_get(state.step))
    if len(taken) != 1:
        raise ValueError(f"state: expected seeds that took the same number of steps, got {taken.tolist()}")
    return int(taken[0])


def _score(history: Sequence[Record], plan: Plan) -> float | None:
    """Returns how good the newest record is, the lower the better: the median over seeds that are finite."""
    values = np.atleast_1d(history[-1].metrics.get(plan.method.monitor, np.nan)) if history else np.zeros(0)
    values = values[np.isfinite(values)]
    return None if not values.size else float(np.median(-values if plan.method.maximize else values))


def _is_stuck(history: Sequence[Record], plan: Plan, patience: int) -> bool:
    """Returns whether no seed improved in the last `patience` records."""
    # Validation may begin where a run goes on: what was before cannot be compared.
    measured = [record.metrics[plan.method.monitor] for record in history if plan.method.monitor in record.metrics]
    if len(measured) <= patience:
        return False
    values = np.stack([np.atleast_1d(value) for value in measured])
    values = np.where(np.isnan(values), np.inf, -values if plan.method.maximize else values)
    best = values.argmin(axis=0)
    return bool((len(measured) - 1 - best >= patience).all())


def _restored(means: dict[str, np.ndarray], empty: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the means of a checkpoint in the dtypes of the log; those of an empty log where there is none."""
    if not means:
        return empty
    if set(means) != set(empty):
        raise ValueError(
            f"checkpoint of another loss: its metrics are {sorted(means)}, those of this one {sorted(empty)}; restore "
            "it with the configuration it was made with, or train in another folder"
        )
    return {name: jnp.asarray(means[name], leaf.dtype) for name, leaf in empty.items()}


def _call_end(step: int, size: int, steps: int, every: int, patience: int | None, probe_every: int | None) -> int:
    # With patience a run may end at any record, so that a call must not go beyond it.
    most_records = 1 if patience is not None else RECORDS_PER_CALL
    ends = [step + size, steps, (step // every + most_records) * every]
    return min([*ends, (step // probe_every + 1) * probe_every] if probe_every else ends)


def _paced(size: int, took_s: float) -> int:
    if took_s < CALL_S / 2:
        return min(2 * size, 2**20)
    return max(size // 2, 1) if took_s > 2 * CALL_S else size


def _record_ends(start: int, stop: int, steps: int, every: int) -> list[int]:
    ends = list(range((start // every + 1) * every, stop + 1, every))
    return [*ends, stop] if stop == steps and stop % every else ends
