"""Oracles for cells and engines: the published equations in float64, a plain Python loop, and random problems.

Nothing here is taken from recur's own step: `EQUATIONS` is written gate by gate from the papers, so that it
and recur can only agree if both are right. Handed ``jax.numpy`` instead of NumPy the same equations give
gradients.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur.cells import parameter_shapes

TOLERANCE = {
    np.dtype("float32"): {"rtol": 1e-5, "atol": 1e-5},
    np.dtype("float64"): {"rtol": 1e-11, "atol": 1e-11},
}
"""How far a result of this dtype may be from float64 over sequences of up to 64 steps; bfloat16 is never a result."""


def _sigmoid(a, xp):
    return 1 / (1 + xp.exp(-a))


def _pre(params, index, x, h):
    """``x W_g + b_g`` and ``h U_g`` of one gate."""
    from_x = x @ params["kernel"][:, index]
    return from_x + _like(params["bias"][index], from_x), h @ params["recurrent_kernel"][:, index]


def _like(vector, array):
    """Adds the leading axes of `array`."""
    return vector.reshape((1,) * (array.ndim - 1) + vector.shape)


def _elman(activation):
    def step(params, state, x, xp):
        a, b = _pre(params, 0, x, state.h)
        return state._replace(h=activation(a + b, xp))

    return step


def _lstm(params, state, x, xp):
    i, f, g, o = (sum(_pre(params, index, x, state.h)) for index in range(4))
    c = _sigmoid(f, xp) * state.c + _sigmoid(i, xp) * xp.tanh(g)
    return state._replace(h=_sigmoid(o, xp) * xp.tanh(c), c=c)


def _gru_reset_after(params, state, x, xp):
    r, z = (_sigmoid(sum(_pre(params, index, x, state.h)), xp) for index in range(2))
    from_x, from_h = _pre(params, 2, x, state.h)
    n = xp.tanh(from_x + r * (from_h + _like(params["recurrent_bias"], from_h)))
    return state._replace(h=(1 - z) * n + z * state.h)


def _gru_reset_before(params, state, x, xp):
    r, z = (_sigmoid(sum(_pre(params, index, x, state.h)), xp) for index in range(2))
    n = xp.tanh(sum(_pre(params, 2, x, r * state.h)))
    return state._replace(h=(1 - z) * n + z * state.h)


def _recurrent(params):
    """The free recurrent kernel of a cell with one."""
    kernel = params["recurrent_kernel"][:, 0]
    return kernel, np.eye(len(kernel))


def _antisymmetric(params, state, x, xp):
    free, one = _recurrent(params)
    from_x = x @ params["kernel"][:, 0]
    pre = from_x + _like(params["bias"][0], from_x) + state.h @ (free - free.T - 0.01 * one)
    return state._replace(h=state.h + 0.01 * xp.tanh(pre))


def _orthogonal(params, state, x, xp):
    free, one = _recurrent(params)
    skew = free - free.T
    signs = np.diag([1.0] * ((len(one) + 1) // 2) + [-1.0] * (len(one) // 2))
    a = x @ params["kernel"][:, 0] + state.h @ (signs @ xp.linalg.inv(one + skew) @ (one - skew))
    return state._replace(h=xp.sign(a) * xp.maximum(xp.abs(a) + _like(params["bias"][0], a), 0))


def _min_gru(params, state, x, xp):
    z, n = (x @ params["kernel"][:, gate] for gate in range(2))
    z = _sigmoid(z + _like(params["bias"][0], z), xp)
    return state._replace(h=(1 - z) * state.h + z * (n + _like(params["bias"][1], n)))


def _ind_rnn(params, state, x, xp):
    from_x = x @ params["kernel"][:, 0]
    recurrent = _like(params["recurrent_kernel"][0], state.h) * state.h
    return state._replace(h=xp.maximum(from_x + _like(params["bias"][0], from_x) + recurrent, 0))


def _lru(params, state, x, xp):
    eigenvalues = xp.exp(-xp.exp(params["nu_log"]) + 1j * xp.exp(params["theta_log"]))
    u = x @ (params["kernel"][:, 0] + 1j * params["kernel"][:, 1])
    modes = state.x[..., 0, :] + 1j * state.x[..., 1, :]
    modes = _like(eigenvalues, modes) * modes + _like(xp.exp(params["gamma_log"]), u) * u
    h = (modes @ (params["readout"][0] + 1j * params["readout"][1])).real + x @ params["skip"]
    return state._replace(h=h, x=xp.stack([modes.real, modes.imag], axis=-2))


EQUATIONS = {
    "antisymmetric": _antisymmetric,
    "elman": _elman(lambda a, xp: xp.tanh(a)),
    "elman_relu": _elman(lambda a, xp: xp.maximum(a, 0)),
    "elman_identity": _elman(lambda a, xp: a),
    "gru": _gru_reset_after,
    "gru_reset_before": _gru_reset_before,
    "ind_rnn": _ind_rnn,
    "lru": _lru,
    "lstm": _lstm,
    "min_gru": _min_gru,
    "orthogonal": _orthogonal,
}
"""``step(params, state, x, xp) -> state`` by the cell's name in `recur.cells.CELLS`."""


ONE_OF_EACH_KIND = ("gru", "gru_reset_before", "lru", "lstm", "min_gru")


def one_of_each_kind(names, but=()):
    """Names as parameters of a test, of which those whose like is there already, and `but`, run in the slow suite."""
    quick = set(ONE_OF_EACH_KIND) - set(but)
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in names]


class Trajectory(NamedTuple):
    """What a run must agree with."""

    outputs: Any
    states: Any
    final: Any


def equations_step(name, xp):
    """The published equations of a named cell as ``step(params, state, x) -> (state, output)``."""

    def step(params, state, x):
        state = EQUATIONS[name](params, state, x, xp)
        return state, state.h

    return step


def loop(step, params, xs, initial_state, *, mask=None, reset=None, reset_state=None, reverse=False, xp=np):
    """Runs ``step(params, state, x) -> (state, output)`` one step after the other in plain Python."""
    restart = initial_state if reset_state is None else reset_state

    def where(flags, yes, no):
        return jax.tree.map(
            lambda a, b: xp.where(flags.reshape(*flags.shape, *(1,) * (a.ndim - flags.ndim)), a, b), yes, no
        )

    state, length = initial_state, xs.shape[0]
    states, outputs = [None] * length, [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        before = state if reset is None else where(reset[t], restart, state)
        after, output = step(params, before, xs[t])
        if mask is not None:
            after, output = where(mask[t], after, state), where(mask[t], output, xp.zeros_like(output))
        states[t], outputs[t], state = after, output, after
    if not length:
        empty = jax.tree.map(lambda leaf: xp.zeros((0, *leaf.shape), leaf.dtype), initial_state)
        return Trajectory(step(params, initial_state, xp.zeros(xs.shape[1:]))[1][None][:0], empty, state)
    return Trajectory(xp.stack(outputs), jax.tree.map(lambda *leaves: xp.stack(leaves), *states), state)


class Problem(NamedTuple):
    """Random arguments of `recur.unroll`; `options` are its keyword arguments."""

    params: Any
    xs: Any
    initial_state: Any
    options: dict[str, Any]


def random_params(cell, input_size, seed, dtype=np.float32):
    """Parameters of a cell with contracting kernels and biases that are **not** zero."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = 0.8 / np.sqrt(leaf.shape[0]) if path[-1].key.endswith("kernel") else 0.5
        return (scale * rng.standard_normal(leaf.shape)).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, parameter_shapes(cell, input_size))


def random_state(cell, batch_shape, seed, dtype=np.float32):
    """A state that is not zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (0.5 * rng.standard_normal(leaf.shape)).astype(dtype), cell.initial_state(batch_shape)
    )


def random_mask(shape, seed):
    """A mask with holes anywhere: each row of the batch its own, the last row fully masked if there are several."""
    mask = np.random.default_rng(seed).random(shape) < 0.7
    if len(shape) > 1 and shape[-1] > 2:
        mask[..., -1] = False
    return mask


def random_problem(
    cell, length, batch_shape, *, input_size=2, seed=0, dtype=np.float32, mask=False, reset=False, reverse=False
):
    """Draws a problem. With `reset`, resets go to a state of their own."""
    rng = np.random.default_rng(seed)
    shape = (length, *batch_shape)
    options = {}
    if mask:
        options["mask"] = random_mask(shape, seed + 1)
    if reset:
        options["reset"] = rng.random(shape) < 0.3
        options["reset_state"] = random_state(cell, batch_shape, seed + 2, dtype)
    if reverse:
        options["reverse"] = True
    return Problem(
        random_params(cell, input_size, seed + 3, dtype),
        rng.standard_normal((*shape, input_size)).astype(dtype),
        random_state(cell, batch_shape, seed + 4, dtype),
        options,
    )


def assert_close(actual, expected, *, dtype=None, scale=1.0):
    """Compares two trees leaf by leaf, within the tolerance of `dtype` (default: that of the first leaf)."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), e in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        tolerance = {k: scale * v for k, v in TOLERANCE[np.dtype(dtype or a.dtype)].items()}
        np.testing.assert_allclose(
            np.asarray(a, np.float64), np.asarray(e, np.float64), err_msg=jax.tree_util.keystr(path), **tolerance
        )


def assert_identical(actual, expected):
    """Compares two trees bit by bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def weighted_sum(tree, seed=0):
    """A scalar that weighs every entry differently: its gradient sees each of them."""
    rng = np.random.default_rng(seed)
    return sum(
        jnp.sum(leaf * rng.standard_normal(leaf.shape).astype(leaf.dtype)) for leaf in jax.tree.leaves(tuple(tree))
    )
