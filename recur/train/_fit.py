"""The training loop: compiled epochs, records, checkpoints."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur._checks import check_positive
from recur._types import PyTree
from recur.train._checkpoints import Checkpoints
from recur.train._epoch import sample_count, steps_per_epoch
from recur.train._program import empty_log, run_probe, run_steps
from recur.train._records import Probed, Record
from recur.train._state import TrainState
from recur.train._step import Loss


class Fit(NamedTuple):
    """What `fit` returns. `finished` is False when it was asked to stop before the last epoch.

    `probed` is what the probe found in this call, not in those before it that `history` tells of.
    """

    state: TrainState
    history: list[Record]
    finished: bool
    probed: Sequence[Probed] = ()


class NonFiniteError(FloatingPointError):
    """The loss or the gradient became infinite or not a number."""


def fit(
    state: TrainState,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    data: PyTree,
    *,
    epochs: int,
    batch_size: int,
    validation: PyTree | None = None,
    data_axis: int | None = None,
    seeds_at_once: int | None = None,
    clip_norm: float | None = 1.0,
    history: Sequence[Record] = (),
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 10,
    epochs_per_call: int = 1,
    on_record: Sequence[Callable[[Record], None]] = (),
    probe: Callable[[PyTree], PyTree] | None = None,
    probe_every: int | None = None,
    on_probe: Sequence[Callable[[Probed], None]] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Fit:
    """Trains until `epochs` epochs are done, those in `history` included.

    Epochs are one compiled program (see `make_epoch`), evaluated on the device and compiled once; the host sees
    metrics only. A state whose leaves have a leading axis S is S seeds, trained together in that program; each is,
    to rounding, what it would be alone.

    Args:
        state: From `init_state`, or with `history` from `Checkpoints.restore`: the run then ends as if it had never
            been stopped, bit for bit on the same machine.
        loss: As in `make_step`. Give the same object again to reuse the compiled program.
        optimizer: As in `make_step`; the same holds.
        data: Pytree of arrays ``[N, ...]`` to train on.
        epochs: Epochs in all.
        batch_size: Samples of a batch.
        validation: Such a pytree to evaluate on after every epoch.
        data_axis: None if seeds share the data; 0 if data and validation have an axis for them, ``[S, N, ...]``.
        seeds_at_once: How many seeds go side by side, by `jax.vmap`; groups of so many go one after the other. By
            default 1 on a CPU, where XLA multiplies batches of small matrices slowly, and all of them elsewhere.
        clip_norm: As in `make_step`.
        history: Records of the epochs already done.
        checkpoints: Where to save, by default nowhere.
        checkpoint_every: Epochs between saves; the last one is always saved, and so is the one before a stop.
        epochs_per_call: Epochs of one compiled call. More than 1 saves time where an epoch takes milliseconds; records
            then come in groups of so many.
        on_record: Called with every `Record`, before a checkpoint that holds it is saved.
        probe: Looks at the parameters of a seed on the way, ``probe(params) -> pytree of arrays``, compiled and mapped
            over seeds; lag curves and gate statistics, say. It sees a copy and changes nothing: state and history are
            the same, bit for bit, with it and without. Give the same object again to reuse the compiled program.
        probe_every: Steps between two looks, in the middle of epochs too: at the steps that are multiples of it, 0
            before the first among them.
        on_probe: Called with every `Probed`.
        stop: Asked after every call; when true, training ends there.

    Returns:
        `Fit`.

    Raises:
        NonFiniteError: Loss or gradient is infinite or not a number; names the first step and seed. Checkpoints
            saved before stay.
        ValueError: An argument that does not fit the others.
        TypeError: A number that is not whole.
    """
    if seeds_at_once is None:
        seeds_at_once = 1 if jax.default_backend() == "cpu" else max(state.step.size, 1)
    counts = {
        "epochs": epochs,
        "checkpoint_every": checkpoint_every,
        "epochs_per_call": epochs_per_call,
        "seeds_at_once": seeds_at_once,
    }
    for name, count in counts.items():
        check_positive(name, count)
    if (probe is None) != (probe_every is None):
        raise ValueError(
            f"probe_every: expected a number of steps with a probe and None without, got {probe_every}; give both"
        )
    if probe_every is not None:
        check_positive("probe_every", probe_every)
    if data_axis not in (None, 0) or (data_axis == 0 and not state.step.ndim):
        raise ValueError(f"data_axis: expected None, or 0 with a state of several seeds, got {data_axis}")
    one_seed = jax.tree.map(lambda leaf: leaf[0], data) if data_axis == 0 else data
    steps = steps_per_epoch(sample_count(one_seed), check_positive("batch_size", batch_size))
    done, history = _epochs_done(state, steps, history)
    same = {"loss": loss, "optimizer": optimizer, "batch_size": batch_size, "data_axis": data_axis}
    advance = functools.partial(run_steps, **same, clip_norm=clip_norm, seeds_at_once=seeds_at_once)
    log = empty_log(state, data, validation, **same, epochs=epochs_per_call)
    # A copy, because the compiled call takes the memory of the state it is given.
    state = jax.tree.map(jnp.copy, state)
    began = time.perf_counter() - (history[-1].wall_s if history else 0.0)
    step, probed = done * steps, []

    def look() -> None:
        values = run_probe(state, probe=probe, seeds_at_once=seeds_at_once)
        probed.append(Probed(step, jax.device_get(values)))
        for call in on_probe:
            call(probed[-1])

    try:
        if probe is not None and step == 0:
            look()
        while done < epochs:
            count = min(epochs_per_call, epochs - done)
            end = (done + count) * steps
            while step < end:
                # A call ends where the probe looks. How a run is cut in calls does not change its bits.
                start, step = step, min(end, _next_multiple(step, probe_every or end))
                state, log = advance(state, log, data, validation, np.int32(start), np.int32(step))
                metrics, first_bad = jax.device_get((log.epochs, log.first_bad))
                wall_s = time.perf_counter() - began
                for index in range(step // steps - done):
                    done += 1
                    values = {name: np.asarray(value[..., index], np.float64) for name, value in metrics.items()}
                    _check_finite(first_bad, done * steps, steps, values.get("val_loss"))
                    history.append(Record(done, done * steps, wall_s, values))
                    for call in on_record:
                        call(history[-1])
                _check_finite(first_bad, step, steps, None)
                if probe is not None and step % probe_every == 0:
                    look()
            stopping = done < epochs and stop()
            due = done // checkpoint_every > (done - count) // checkpoint_every
            if checkpoints is not None and (due or stopping or done == epochs):
                checkpoints.save(done, state, history)
            if stopping:
                break
    finally:
        if checkpoints is not None:
            checkpoints.wait()
    return Fit(state, history, done >= epochs, probed)


def _next_multiple(step: int, every: int) -> int:
    return (step // every + 1) * every


def _epochs_done(state: TrainState, steps: int, history: Sequence[Record]) -> tuple[int, list[Record]]:
    taken = np.unique(jax.device_get(state.step))
    done = history[-1].epoch if history else 0
    if taken.tolist() != [done * steps]:
        raise ValueError(
            f"history: expected the {done} epochs it holds to be the state's steps, {done * steps} at {steps} steps an "
            f"epoch, got {taken.tolist()}; give state and history of one checkpoint, and the same data and batch_size"
        )
    return done, list(history)


def _check_finite(first_bad: np.ndarray, step: int, steps: int, val_loss: np.ndarray | None) -> None:
    """Raises if a step up to `step` was bad, of epochs of so many `steps`, or the validation loss is."""
    seeds = np.atleast_1d(first_bad)
    bad = (seeds > 0) & (seeds <= step)
    if bad.any():
        seed = int(np.where(bad, seeds, np.inf).argmin())
        which = f" of seed index {seed}" if first_bad.ndim else ""
        raise NonFiniteError(
            f"loss or gradient{which} is infinite or not a number at step {seeds[seed]} "
            f"(epoch {(seeds[seed] - 1) // steps + 1}); lower the learning rate or clip_norm, or look at that batch; "
            "checkpoints saved before are kept"
        )
    if val_loss is not None and not np.isfinite(val_loss).all():
        seed = int(np.isfinite(np.atleast_1d(val_loss)).argmin())
        raise NonFiniteError(
            f"validation loss of seed index {seed} is {np.atleast_1d(val_loss)[seed]} after epoch {step // steps}; "
            "look at the validation data, or lower the learning rate; checkpoints saved before are kept"
        )
