"""What training carries from step to step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from recur._checks import brief, check_arrays, check_bool, check_floating, check_key
from recur._types import Array, Float, Int, Key, PyTree
from recur.train._interrupts import uninterrupted


class Best(NamedTuple):
    """The parameters at the best evaluation so far, its value and its step; inf and 0 before the first."""

    params: PyTree
    value: Float[Array, ""]
    step: Int[Array, ""]


class Health(NamedTuple):
    """What became of the steps so far, whole numbers; steps are counted from 1 and 0 stands for none.

    Attributes:
        first_bad: The first step whose numbers were infinite or not a number.
        last_bad: The last one.
        stopped: The step at which the seed stopped for good: from there on nothing of it changes.
        skipped: How many steps were refused.
        in_a_row: How many of them came one after the other up to now.
        halvings: How often the step size was halved.
        taken: How many steps since the last record were not refused.
    """

    first_bad: Int[Array, ""]
    last_bad: Int[Array, ""]
    stopped: Int[Array, ""]
    skipped: Int[Array, ""]
    in_a_row: Int[Array, ""]
    halvings: Int[Array, ""]
    taken: Int[Array, ""]


class Good(NamedTuple):
    """The state to go back to, before a step that was sound."""

    params: PyTree
    opt_state: optax.OptState
    ema: PyTree
    carry: PyTree


class TrainState(NamedTuple):
    """All of a run that later steps depend on: a checkpoint of it is a checkpoint of the run.

    `key` never changes. Whatever is random in step n or epoch n is drawn from it folded with n, so a run that was
    stopped and restored draws what a run never stopped draws.

    `ema` is the moving average of the parameters and `carry` what the loss hands from one step to the next, arrays
    ``[B, ...]``; None where there is none. `health` and `good` are the business of `fit` and `fit_batches`, which add
    them: what became of bad steps, and with ``on_nonfinite="halve"`` the state to go back to.
    """

    params: PyTree
    opt_state: optax.OptState
    step: Int[Array, ""]
    key: Key[Array, ""]
    best: Best
    ema: PyTree = None
    carry: PyTree = None
    health: Health | None = None
    good: Good | None = None

    @property
    def evaluated(self) -> PyTree:
        """The parameters to evaluate: the moving average where there is one."""
        return self.params if self.ema is None else self.ema


@uninterrupted()
def init_state(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    *,
    ema: bool = False,
    carry: PyTree = None,
) -> TrainState:
    """Returns the state before the first step.

    Put it under `jax.vmap` over params and keys for many seeds: every leaf then has a leading axis S.

    Args:
        params: Parameters to train, a pytree of floating arrays.
        optimizer: Any optax transformation.
        key: PRNG key of the run: order of the data, dropout.
        ema: Whether to keep a moving average of the parameters, which is what then is evaluated.
        carry: What the loss is handed at the first step, arrays ``[B, ...]``, for a loss that carries a state from
            batch to batch; see `make_step`.

    Raises:
        TypeError: `key` is no PRNG key, `optimizer` none of optax, or a parameter no floating array.
    """
    check_key("key", key)
    check_optimizer(optimizer)
    check_arrays("params", params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        check_floating(f"params{jax.tree_util.keystr(path)}", leaf, "train what has a gradient")
    # Explicit dtypes: a weakly typed leaf would make the second call of a compiled step another program.
    dtype = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(params)))
    # No nan, which whoever hunts one by JAX_DEBUG_NANS would find here.
    best = Best(jax.tree.map(jnp.copy, params), jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.int32))
    average = jax.tree.map(jnp.copy, params) if check_bool("ema", ema) else None
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), key, best, average, carry)


def nothing_yet(best: Best) -> Best:
    """Returns the mark that nothing was evaluated so far; step 0 is what tells."""
    return best._replace(value=jnp.full_like(best.value, jnp.inf), step=jnp.zeros_like(best.step))


def check_optimizer(optimizer: Any) -> Callable:
    """Returns what updates, or raises TypeError unless this is a transformation of optax, known by what it can do."""
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer: expected one of optax, got {brief(optimizer)}; train.make_optimizer makes some")
    return optimizer.update


def shuffle_key(key: Key[Array, ""], epoch: Int[Array, ""]) -> Key[Array, ""]:
    """Returns the key that orders the data of an epoch."""
    return jax.random.fold_in(jax.random.fold_in(key, 0), epoch)


def loss_key(key: Key[Array, ""], step: Int[Array, ""]) -> Key[Array, ""]:
    """Returns the key that the loss of a step gets."""
    return jax.random.fold_in(jax.random.fold_in(key, 1), step)


def draw_key(key: Key[Array, ""], step: Int[Array, ""]) -> Key[Array, ""]:
    """Returns the key that the batch of a step is drawn from."""
    return jax.random.fold_in(jax.random.fold_in(key, 2), step)
