"""The compiled program of training: steps, evaluation after every epoch, the best parameters; one seed or many."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur._types import Array, Int, PyTree
from recur.train._epoch import evaluate, sample_count, shuffled_batches, steps_per_epoch
from recur.train._state import Best, TrainState
from recur.train._step import Loss, Metrics, make_step

# Of the optimiser, not of the loss: these need no word on whose they are.
WHOLE = ("grad_norm", "clipped")


class Log(NamedTuple):
    """What is measured on the device between two visits of the host, with leading axes S for S seeds.

    Attributes:
        steps: Metrics of the steps of the epoch at hand, ``[steps]`` each.
        epochs: Metrics of the epochs that ended in this call, ``[epochs]`` each; what is behind them is of earlier
            calls.
        first_bad: Number, from 1, of the first step of the run whose loss or gradient was infinite or not a number; 0
            for none.
    """

    steps: Metrics
    epochs: Metrics
    first_bad: Int[Array, ""]


@functools.partial(
    jax.jit,
    static_argnames=("loss", "optimizer", "batch_size", "clip_norm", "data_axis", "seeds_at_once"),
    donate_argnames=("state", "log"),
)
def run_steps(
    state: TrainState,
    log: Log,
    data: PyTree,
    validation: PyTree | None,
    start: Int[Array, ""],
    stop: Int[Array, ""],
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    clip_norm: float | None,
    data_axis: int | None,
    seeds_at_once: int,
) -> tuple[TrainState, Log]:
    """Runs the steps `start` to `stop` (without it, counted from 0) of all seeds; `log` has room for their epochs.

    Both are numbers on the device, so that a run is one program, and gives the same bits, however it is cut in calls.
    """
    step = make_step(loss, optimizer, clip_norm=clip_norm)

    def one_seed(state: TrainState, log: Log, data: PyTree, validation: PyTree | None) -> tuple[TrainState, Log]:
        count = sample_count(data)
        steps = steps_per_epoch(count, batch_size)

        def one_epoch(epoch: Int[Array, ""], carry: tuple[TrainState, Log]) -> tuple[TrainState, Log]:
            order = shuffled_batches(carry[0].key, epoch, count, batch_size)

            def one_step(index: Int[Array, ""], carry: tuple[TrainState, Log]) -> tuple[TrainState, Log]:
                state, log = carry
                batch = jax.tree.map(lambda leaf: leaf.at[order[index]].get(mode="promise_in_bounds"), data)
                state, metrics = step(state, batch)
                bad = ~(jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"]))
                first_bad = jnp.where(bad & (log.first_bad == 0), state.step, log.first_bad)
                return state, log._replace(steps=_write(log.steps, index, metrics), first_bad=first_bad)

            def finish(state: TrainState, log: Log) -> tuple[TrainState, Log]:
                metrics = _epoch_metrics(loss, state, log.steps, validation)
                value = metrics["train_loss" if validation is None else "val_loss"].astype(state.best.loss.dtype)
                better = functools.partial(jnp.where, value < state.best.loss)
                best = jax.tree.map(better, Best(state.params, value, epoch + 1), state.best)
                log = log._replace(epochs=_write(log.epochs, epoch - start // steps, metrics))
                return state._replace(best=best), log

            first, last = jnp.maximum(start - epoch * steps, 0), jnp.minimum(stop - epoch * steps, steps)
            carry = jax.lax.fori_loop(first, last, one_step, carry)
            return jax.lax.cond(last == steps, finish, lambda *carry: carry, *carry)

        return jax.lax.fori_loop(start // steps, -(-stop // steps), one_epoch, (state, log))

    if not state.step.ndim:
        return one_seed(state, log, data, validation)
    if data_axis is None:
        return _map_seeds(lambda both: one_seed(*both, data, validation), (state, log), seeds_at_once)
    return _map_seeds(lambda all_: one_seed(*all_), (state, log, data, validation), seeds_at_once)


@functools.partial(jax.jit, static_argnames=("loss", "optimizer", "batch_size", "data_axis", "epochs"))
def empty_log(
    state: TrainState,
    data: PyTree,
    validation: PyTree | None,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    data_axis: int | None,
    epochs: int,
) -> Log:
    """Returns the `Log` to begin with: zeros, of the shapes that the metrics of `loss` have."""

    def one_seed(state: TrainState, data: PyTree, validation: PyTree | None) -> Log:
        def room(size: int, metrics: Metrics) -> Metrics:
            return jax.tree.map(lambda value: jnp.zeros((size, *value.shape), value.dtype), metrics)

        _, metrics = make_step(loss, optimizer)(state, jax.tree.map(lambda leaf: leaf[:batch_size], data))
        steps = room(steps_per_epoch(sample_count(data), batch_size), metrics)
        return Log(steps, room(epochs, _epoch_metrics(loss, state, steps, validation)), jnp.zeros_like(state.step))

    if state.step.ndim:
        axes = (0, data_axis, data_axis)
        shapes = jax.eval_shape(jax.vmap(one_seed, in_axes=axes), state, data, validation)
    else:
        shapes = jax.eval_shape(one_seed, state, data, validation)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


@functools.partial(jax.jit, static_argnames=("probe", "seeds_at_once"))
def run_probe(state: TrainState, *, probe: Callable[[PyTree], PyTree], seeds_at_once: int) -> PyTree:
    """Returns what `probe` says of the parameters, with a leading axis S for S seeds."""
    if not state.step.ndim:
        return probe(state.params)
    return _map_seeds(probe, state.params, seeds_at_once)


def _epoch_metrics(loss: Loss, state: TrainState, steps: Metrics, validation: PyTree | None) -> Metrics:
    """Returns the metrics of a `Record`, from those of its steps."""
    metrics = {name if name in WHOLE else f"train_{name}": value.mean() for name, value in steps.items()}
    if validation is not None:
        metrics |= {f"val_{name}": value for name, value in evaluate(loss, state.params, validation).items()}
    return metrics


def _write(arrays: Metrics, index: Int[Array, ""], values: Metrics) -> Metrics:
    return jax.tree.map(lambda array, value: array.at[index].set(value), arrays, values)


def _map_seeds(function: Callable[[PyTree], PyTree], trees: PyTree, at_once: int) -> PyTree:
    """Maps a function over the leading axis S: `at_once` seeds side by side, such groups one after the other."""
    # A group of 1 is mapped without a vmap, which would turn its products into batched ones.
    return jax.lax.map(function, trees, batch_size=None if at_once == 1 else at_once)
