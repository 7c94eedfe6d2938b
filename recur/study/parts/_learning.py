"""Small networks that learn tasks of memory: all tasks and lengths in one shape, and many runs in one program."""

import concurrent.futures
import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from recur import cells, engines, train
from recur.study.parts import _problems
from recur.study.parts._problems import FEATURES, Batch, Problem

SOLVED = 0.1
"""A run has solved its task when the mean loss of a chunk is below this share of the floor."""


class Budget(NamedTuple):
    """What every run may spend.

    Args:
        hidden_size: Units H.
        steps: Steps of Adam.
        chunk: Steps between two looks at the loss, a divisor of `steps`.
        batch_size: Sequences of a batch, fresh ones at every step.
        learning_rate: Of Adam.
        clip_norm: Greatest norm of the gradient.
    """

    hidden_size: int
    steps: int
    chunk: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-2
    clip_norm: float = 1.0

    def __str__(self) -> str:
        """Says it in a line."""
        return (
            f"{self.steps} steps, batches of {self.batch_size} fresh sequences, Adam {self.learning_rate:g}, "
            f"gradient clipped to {self.clip_norm:g}"
        )


class Look(NamedTuple):
    """All runs after a chunk.

    Args:
        step: Steps taken.
        losses: Mean loss of the chunk's batches, each before its step and never seen before, over the floor,
            ``[lengths, S]``; nan before the first step.
        params: Leaves ``[lengths * S, ...]``.
    """

    step: int
    losses: np.ndarray
    params: Any


def learn(
    problem: Problem,
    cell: cells.Cell,
    drawn_as: cells.Cell,
    key: jax.Array,
    lengths: tuple[int, ...],
    longest: int,
    seeds: int,
    budget: Budget,
) -> Iterator[Look]:
    """Trains S runs at each length, the network of `network`, and yields before the first chunk and after each.

    Args:
        problem: What to learn.
        cell: The recurrence.
        drawn_as: The same recurrence with other initialisers, to draw the parameters with: cells that differ in nothing
            else share a program.
        key: Of all draws.
        lengths: T of the task.
        longest: Steps that all sequences are filled up to; the same for many problems means one program for all.
        seeds: Independent runs S of each length.
        budget: Steps and step size.
    """
    for_params, for_data = (jax.random.split(k, seeds) for k in jax.random.split(key))
    states = _start(jnp.tile(for_params, len(lengths)), cell=drawn_as, learning_rate=budget.learning_rate)
    floors = np.array([problem.floor(length) for length in lengths])[:, None]
    yield Look(0, np.full((len(lengths), seeds), np.nan), states.params)
    # On a CPU one run after the other in every thread: XLA multiplies batches of small matrices slowly.
    alone = jax.default_backend() == "cpu"
    runs = len(lengths) * seeds
    threads = max(n for n in range(1, (os.cpu_count() or 1) + 1) if runs % n == 0) if alone else 1
    step = functools.partial(
        _train,
        loss=network(cell),
        learning_rate=budget.learning_rate,
        batch_size=budget.batch_size,
        clip_norm=budget.clip_norm,
        at_once=None if alone else runs,
    )
    draw = functools.partial(
        _problems.draw, problem=problem, lengths=lengths, count=budget.chunk * budget.batch_size, longest=longest
    )
    parts = _cut(states, threads)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for chunk in range(budget.steps // budget.chunk):
            data = _cut(draw(for_data, np.int32(chunk)), threads)
            # The first alone, which compiles for all.
            done = [step(parts[0], data[0]), *pool.map(step, parts[1:], data[1:])] if not chunk else None
            parts, losses = zip(*(done or pool.map(step, parts, data)), strict=True)
            losses = np.concatenate([np.asarray(loss, np.float64) for loss in losses]).reshape(-1, seeds)
            yield Look((chunk + 1) * budget.chunk, losses / floors, _join(*(part.params for part in parts)))


@functools.lru_cache(maxsize=256)
def network(cell: cells.Cell) -> train.Loss:
    """Returns the loss of ``y_t = h_t W + b``; the same function for the same cell, which is compiled once.

    Params are ``{"cell": ..., "kernel": [H, 8], "bias": [8]}``; a number is read off the first output. Sequences begin
    with as many masked steps as they lack to the longest, in which the state stays the initial one.
    """

    def loss(params: Any, batch: Batch, key: jax.Array | None) -> tuple[jax.Array, dict]:
        del key
        total = batch.symbols.shape[1]
        mask = jnp.arange(total)[:, None] >= total - batch.steps[None]
        run = engines.unroll(cell, params["cell"], _problems.inputs(batch), mask=mask, engine=engines.Scan())
        outputs = run.outputs @ params["kernel"] + params["bias"][None, None]
        square = (outputs[-1, :, 0] - batch.number) ** 2
        entropy = optax.softmax_cross_entropy_with_integer_labels(outputs, batch.labels.T.astype(jnp.int32))
        return jnp.where(batch.is_number, square, (entropy * batch.weights.T).sum(axis=0)).mean(), {}

    return loss


@functools.lru_cache(maxsize=8)
def _adam(learning_rate: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate)


@functools.partial(jax.jit, static_argnames=("cell", "learning_rate"), compiler_options=_problems.QUICKLY)
def _start(keys: jax.Array, *, cell: cells.Cell, learning_rate: float) -> train.TrainState:
    def one(key: jax.Array) -> train.TrainState:
        for_cell, for_readout, for_run = jax.random.split(key, 3)
        sizes = (cells.output_size(cell), FEATURES)
        params = {
            "cell": cell.init(for_cell, FEATURES),
            "kernel": jax.nn.initializers.lecun_normal()(for_readout, sizes, jnp.float32),
            "bias": jnp.zeros(FEATURES, jnp.float32),
        }
        return train.init_state(params, _adam(learning_rate), for_run)

    return jax.lax.map(one, keys)


@functools.partial(
    jax.jit, static_argnames=("loss", "learning_rate", "batch_size", "clip_norm", "at_once"), donate_argnames="states"
)
def _train(
    states: train.TrainState,
    data: Batch,
    *,
    loss: train.Loss,
    learning_rate: float,
    batch_size: int,
    clip_norm: float,
    at_once: int | None,
) -> tuple[train.TrainState, jax.Array]:
    epoch = train.make_epoch(loss, _adam(learning_rate), batch_size=batch_size, clip_norm=clip_norm)
    states, metrics = jax.lax.map(lambda both: epoch(*both), (states, data), batch_size=at_once)
    return states, metrics["loss"].mean(axis=1)


@functools.partial(jax.jit, static_argnames="parts")
def _cut(tree: Any, parts: int) -> list[Any]:
    """Cuts leaves ``[runs, ...]`` in equal parts."""
    size = len(jax.tree.leaves(tree)[0]) // parts
    return [jax.tree.map(lambda leaf, n=n: leaf[n * size : (n + 1) * size], tree) for n in range(parts)]


@jax.jit
def _join(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)
