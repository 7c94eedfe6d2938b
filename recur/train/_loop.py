"""The training loop as the host sees it: calls of compiled steps, records, checkpoints."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from recur._checks import check_number, check_positive
from recur._types import PyTree
from recur.train._checkpoints import Checkpoints
from recur.train._mesh import place
from recur.train._program import RECORDS_PER_CALL, Log, Method, run_probe, seed_spec, state_specs
from recur.train._records import Probed, Progress, Record
from recur.train._state import TrainState

CALL_S = 0.5
"""About so long the device works between two visits of the host."""


class NonFiniteError(FloatingPointError):
    """The loss or the gradient became infinite or not a number."""


class Fit(NamedTuple):
    """What `fit` and `fit_batches` return. `finished` is False where training was asked to stop before its end.

    `probed` is what the probe found in this call, not in those before it that `history` tells of.
    """

    state: TrainState
    history: list[Record]
    finished: bool
    probed: Sequence[Probed] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hooks:
    """What happens beside training. None of it changes a bit of the run.

    Args:
        checkpoints: Where the run is saved, and goes on from if it is there: `fit` then takes no more from its state
            than the form. The last step is always saved, and so is the one before a stop.
        checkpoint_every_s: Seconds between saves.
        on_record: Called with every `Record`, before a checkpoint that holds it is saved.
        on_call: Called after every compiled call, of half a second or so, with the steps done and the mean loss of
            those since the last record.
        probe: Looks at the parameters of a seed on the way, ``probe(params) -> pytree of arrays``, compiled and mapped
            over seeds; lag curves and gate statistics, say. Give the same object again to reuse the compiled program.
        probe_every: Steps between two looks: at the steps that are multiples of it, 0 before the first among them.
        on_probe: Called with every `Probed`.
        stop: Asked after every call; when true, training ends there.

    Raises:
        ValueError: `probe` without `probe_every` or the other way round, or a number out of its range.
    """

    checkpoints: Checkpoints | None = None
    checkpoint_every_s: float = 60.0
    on_record: Sequence[Callable[[Record], None]] = ()
    on_call: Sequence[Callable[[int, float], None]] = ()
    probe: Callable[[PyTree], PyTree] | None = None
    probe_every: int | None = None
    on_probe: Sequence[Callable[[Probed], None]] = ()
    stop: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        """Checks every value."""
        if not check_number("checkpoint_every_s", self.checkpoint_every_s) >= 0:
            raise ValueError(f"checkpoint_every_s: expected a number of at least 0, got {self.checkpoint_every_s}")
        if (self.probe is None) != (self.probe_every is None):
            raise ValueError(
                "probe_every: expected a number of steps with a probe and None without, "
                f"got {self.probe_every}; give both"
            )
        if self.probe_every is not None:
            check_positive("probe_every", self.probe_every)


class Source(Protocol):
    """Data, and the compiled programs that take steps on them."""

    def start(self, state: TrainState, position: Any) -> Log:
        """Returns an empty log, ready to go on where the data stood in `position`; None is their beginning."""

    def advance(self, state: TrainState, log: Log, start: int, stop: int, total: int) -> tuple[TrainState, Log]:
        """Takes the steps `start` to `stop`, of `total` in all, evaluates where that is due, and gives up its input."""

    def position(self) -> Any:
        """Returns where the data stand, as JSON."""


def run(state: TrainState, source: Source, method: Method, *, steps: int, patience: int | None, hooks: Hooks) -> Fit:
    """Trains until `steps` steps are done, or nothing improved for `patience` evaluations.

    How a run is cut in calls, and where it is stopped and goes on, changes no bit of it.
    """
    if patience is not None:
        check_positive("patience", patience)
    progress = Progress(0.0, [], {})
    if hooks.checkpoints is not None and hooks.checkpoints.latest() is not None:
        state, progress = hooks.checkpoints.restore(state)
    history, probed = list(progress.history), []
    step = _steps_taken(state)

    def is_over() -> bool:
        return step >= steps or (patience is not None and _is_stuck(history, method, patience))

    if is_over():
        return Fit(state, history, True)
    log = source.start(state, progress.position)
    log = log._replace(means=_restored(progress.means, log.means))
    # A copy, because the compiled call takes the memory of the state it is given.
    state = place(jax.tree.map(jnp.copy, state), method.mesh, state_specs(state))
    log = place(log, method.mesh, seed_spec(state))
    began = saved = time.perf_counter()
    began -= progress.wall_s

    def look() -> None:
        found = run_probe(state, probe=hooks.probe, method=method)
        probed.append(Probed(step, jax.device_get(found)))
        for call in hooks.on_probe:
            call(probed[-1])

    if hooks.probe is not None and step == 0:
        look()
    size, stopping = 1, False
    try:
        while not (is_over() or stopping):
            start, step = step, _call_end(step, size, steps, method.every, patience, hooks.probe_every)
            called = time.perf_counter()
            state, log = source.advance(state, log, start, step, steps)
            records, means, first_bad = jax.device_get((log.records, log.means, log.first_bad))
            now = time.perf_counter()
            size = _paced(size, now - called)
            ends = _record_ends(start, step, steps, method.every)
            for slot, end in enumerate(ends):
                metrics = {name: np.asarray(value[..., slot], np.float64) for name, value in records.items()}
                _check_finite(first_bad, end, metrics)
                history.append(Record(end, now - began, metrics))
                for call in hooks.on_record:
                    call(history[-1])
            _check_finite(first_bad, step, {})
            for call in hooks.on_call:
                call(step, float(np.median(means["loss"])))
            if hooks.probe is not None and step % hooks.probe_every == 0:
                look()
            stopping = hooks.stop()
            if hooks.checkpoints is not None and (is_over() or stopping or now - saved >= hooks.checkpoint_every_s):
                saved = now
                progress = Progress(now - began, history, means, source.position())
                hooks.checkpoints.save(step, state, progress)
    finally:
        if hooks.checkpoints is not None:
            hooks.checkpoints.wait()
    return Fit(state, history, is_over(), probed)


def _steps_taken(state: TrainState) -> int:
    taken = np.unique(jax.device_get(state.step))
    if len(taken) != 1:
        raise ValueError(f"state: expected seeds that took the same number of steps, got {taken.tolist()}")
    return int(taken[0])


def _is_stuck(history: Sequence[Record], method: Method, patience: int) -> bool:
    """Returns whether no seed improved in the last `patience` records."""
    if len(history) <= patience:
        return False
    values = np.stack([np.atleast_1d(record.metrics[method.monitor]) for record in history])
    best = (values.argmax if method.maximize else values.argmin)(axis=0)
    return bool((len(history) - 1 - best >= patience).all())


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


def _check_finite(first_bad: np.ndarray, step: int, metrics: dict[str, np.ndarray]) -> None:
    """Raises if a step up to `step` was bad, or the validation loss after it is."""
    seeds = np.atleast_1d(first_bad)
    bad = (seeds > 0) & (seeds <= step)
    if bad.any():
        seed = int(np.where(bad, seeds, np.inf).argmin())
        which = f" of seed index {seed}" if first_bad.ndim else ""
        raise NonFiniteError(
            f"loss or gradient{which} is infinite or not a number at step {seeds[seed]}; lower the learning rate or "
            "clip_norm, or look at that batch; checkpoints saved before are kept"
        )
    losses = np.atleast_1d(metrics.get("val_loss", 0.0))
    if not np.isfinite(losses).all():
        seed = int(np.isfinite(losses).argmin())
        raise NonFiniteError(
            f"validation loss of seed index {seed} is {losses[seed]} after step {step}; look at the validation data, "
            "or lower the learning rate; checkpoints saved before are kept"
        )
