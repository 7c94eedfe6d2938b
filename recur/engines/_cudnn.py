"""The LSTM of NVIDIA's cuDNN."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from recur._types import Array, Float, Params, State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._base import Info, Problem
from recur.engines._linear import How, linear_recurrence, shifted, start_with

INSTEAD = "recur.engines.Scan() can"


@dataclasses.dataclass(frozen=True)
class Cudnn:
    """Runs the LSTM by cuDNN on an NVIDIA GPU, through `jax.experimental.rnn`, forwards and backwards.

    One call for all steps instead of one kernel or more a step. It is float32 only, and multiplies in TF32 unless JAX
    is asked for more (``jax.default_matmul_precision("float32")``). It takes no mask, no reset, no sequence of length
    0, no `jax.vmap` (batch axes go into ``*B``), no second derivative and no forward mode (JAX refuses a `jax.jvp` of
    it, as of any ``custom_vjp``); `Scan` takes them all. cuDNN hands out h of every step and c of the last alone: the c
    of the others are worked out from the gates at the h, and cost nothing where nobody asks for them.

    Reference:
        Appleyard, Kocisky and Blunsom (2016), https://arxiv.org/abs/1604.01946.
    """

    def refusal(self, cell: Cell) -> str:
        """Says why `cell` cannot be run here, or nothing."""
        if cell.cudnn_name != "lstm":
            return "cuDNN runs the LSTM alone"
        platform = jax.default_backend()
        return "" if platform == "gpu" else f"cuDNN needs an NVIDIA GPU, and JAX runs on {platform} here"

    def run(self, cell: PointwiseCell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`).

        Raises:
            ValueError: A mask, a reset, no features, or a `jax.vmap` around it.
            TypeError: Anything but float32.
        """
        params, xs, start, *_ = problem
        _check(problem)

        def rows(array: jax.Array, axes: int) -> jax.Array:
            """Makes one batch axis of all."""
            return array.reshape(*array.shape[:axes], -1, array.shape[-1])

        inputs = rows(xs, 1).swapaxes(0, 1)
        hidden, _, _ = _lstm(inputs, rows(start.h, 0)[None], rows(start.c, 0)[None], _flat(params))
        hidden = hidden.swapaxes(0, 1).reshape(*xs.shape[:-1], -1)
        return _states(cell, problem, hidden), Info(engine="cudnn", reason="asked for")


def _check(problem: Problem) -> None:
    for name, flags in (("mask", problem.mask), ("reset", problem.reset)):
        if flags is not None:
            raise ValueError(f"{name}: expected None under recur.engines.Cudnn(), got one; {INSTEAD} take it")
    if not problem.xs.size:
        raise ValueError(
            f"xs: expected at least one step, sequence and feature under recur.engines.Cudnn(), got shape "
            f"{problem.xs.shape}; {INSTEAD} take it"
        )
    for name, tree in (("params", problem.params), ("xs", problem.xs), ("initial_state", problem.start)):
        other = {leaf.dtype.name for leaf in jax.tree.leaves(tree)} - {"float32"}
        if other:
            raise TypeError(
                f"{name}: expected float32 under recur.engines.Cudnn(), got {', '.join(sorted(other))}; "
                f"{INSTEAD} take it"
            )


def _flat(params: Params) -> Float[Array, "P"]:
    """Returns the weights as cuDNN has them: gates i, f, g, o; rows are outputs; two biases, the second zero."""

    def rows(kernel: jax.Array) -> jax.Array:
        return kernel.transpose(1, 2, 0).ravel()

    bias = params["bias"].ravel()
    return jnp.concatenate([rows(params["kernel"]), rows(params["recurrent_kernel"]), bias, jnp.zeros_like(bias)])


def _states(cell: PointwiseCell, problem: Problem, hidden: jax.Array) -> State:
    """Returns h and c of every step, from h: c is a linear recurrence where the gates are known."""
    prepared, start = cell.prepare(problem.params), problem.start
    before = shifted(hidden, start.h)
    projected = cell.project(prepared, problem.xs)
    kept = cell.keep(projected, cell.recurrent_share(prepared, before))

    def carry(c: jax.Array) -> jax.Array:
        return cell.update(prepared, type(start)(h=before, c=c), projected, kept).c

    drive, decay = jax.jvp(carry, (jnp.zeros_like(hidden),), (jnp.ones_like(hidden),))
    drive = start_with(decay, drive, None, start.c)
    return type(start)(h=hidden, c=linear_recurrence(decay, drive, None, How(parallel=True)))


@jax.custom_vjp
def _lstm(x: jax.Array, h: jax.Array, c: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns ``hidden [B, T, H]`` and the final h and c ``[1, B, H]`` from x ``[B, T, X]`` and the first h and c."""
    return _forward(x, h, c, weights)[0]


def _unmapped(function: Any) -> Any:
    """Gives a function a rule that says why it cannot be put under `jax.vmap`."""
    function = jax.custom_batching.custom_vmap(function)

    @function.def_vmap
    def refuse(axis_size: int, in_batched: Any, *arguments: Any) -> Any:
        del in_batched, arguments
        raise ValueError(
            f"engine: recur.engines.Cudnn() cannot be put under jax.vmap, got one over {axis_size}; put an axis of "
            f"sequences into the batch axes of xs, for one of parameters (seeds) {INSTEAD} run it"
        )

    return function


def _options(x: jax.Array, h: jax.Array) -> dict[str, Any]:
    return {
        "input_size": x.shape[-1],
        "hidden_size": h.shape[-1],
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": False,
        "precision": None,
    }


@_unmapped
def _forward(x: jax.Array, h: jax.Array, c: jax.Array, weights: jax.Array) -> tuple[tuple, tuple]:
    lengths = jnp.full((x.shape[0],), x.shape[1], jnp.int32)
    return rnn.lstm_fwd(x, h, c, weights, lengths, **_options(x, h))


@_unmapped
def _backward(residuals: tuple, gradients: tuple) -> tuple:
    x, h = residuals[:2]
    options = tuple(_options(x, h).values())
    return rnn.lstm_bwd(*options, residuals, gradients)[:4]


_lstm.defvjp(_forward, _backward)
