"""The compiled program of training: epochs, evaluation and the best parameters, for one seed or many."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from recur._types import PyTree
from recur.train._epoch import evaluate, make_epoch
from recur.train._state import Best, TrainState
from recur.train._step import Loss, Metrics


@functools.partial(
    jax.jit,
    static_argnames=("loss", "optimizer", "batch_size", "clip_norm", "data_axis", "seeds_at_once", "epochs"),
    donate_argnames="state",
)
def run_epochs(
    state: TrainState,
    data: PyTree,
    validation: PyTree | None,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    clip_norm: float | None,
    data_axis: int | None,
    seeds_at_once: int,
    epochs: int,
) -> tuple[TrainState, Metrics, jax.Array]:
    """Runs epochs; returns the state, the metrics ``[*S, epochs]`` and the first bad step of each, -1 for none."""
    epoch = make_epoch(loss, optimizer, batch_size=batch_size, clip_norm=clip_norm)

    def one_epoch(state: TrainState, data: PyTree, validation: PyTree | None) -> tuple[TrainState, tuple]:
        state, steps = epoch(state, data)
        bad = ~(jnp.isfinite(steps["loss"]) & jnp.isfinite(steps["grad_norm"]))
        first_bad = jnp.where(bad.any(), bad.argmax(), -1)
        number = state.step // steps["loss"].size
        whole = {name: steps.pop(name).mean() for name in ("grad_norm", "clipped")}
        metrics = {f"train_{name}": value.mean() for name, value in steps.items()}
        if validation is not None:
            result = evaluate(loss, state.params, validation)
            metrics |= {f"val_{name}": value for name, value in result.items()}
        value = metrics["train_loss" if validation is None else "val_loss"].astype(state.best.loss.dtype)
        better = functools.partial(jnp.where, value < state.best.loss)
        best = jax.tree.map(better, Best(state.params, value, number), state.best)
        return state._replace(best=best), (metrics | whole, first_bad)

    def one_seed(arguments: tuple) -> tuple[TrainState, tuple]:
        state, (data, validation) = arguments
        return jax.lax.scan(lambda state, _: one_epoch(state, data, validation), state, length=epochs)

    if not state.step.ndim:
        state, rest = one_seed((state, (data, validation)))
    elif data_axis is None:
        state, rest = _map_seeds(lambda state: one_seed((state, (data, validation))), state, seeds_at_once)
    else:
        state, rest = _map_seeds(one_seed, (state, (data, validation)), seeds_at_once)
    return state, *rest


def _map_seeds(function: Callable[[PyTree], PyTree], trees: PyTree, at_once: int) -> PyTree:
    """Maps a function over the leading axis S: `at_once` seeds side by side, such groups one after the other."""
    # A group of 1 is mapped without a vmap, which would turn its products into batched ones.
    return jax.lax.map(function, trees, batch_size=None if at_once == 1 else at_once)
