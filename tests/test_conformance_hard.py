"""Steps and runs that engines could take for something else: each equals a plain loop in float64, or is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, loop, random_params, random_state, weighted_sum

import recur
from recur.cells import CELLS, Cell, parameter_shapes, pointwise
from recur.engines import ENGINES

T, B, X, H = 6, 2, 2, 3
EXACT = [name for name in ENGINES if name != "auto"]


@jax.custom_jvp
def straight_through(h):
    return jnp.round(h)


straight_through.defjvps(lambda d, ans, h: d)


@jax.custom_vjp
def spike(v):
    return (v > 0).astype(v.dtype)


spike.defvjp(lambda v: (spike(v), v), lambda v, ct: (ct / (1 + v * v),))

declared = functools.partial(pointwise, state=("h",), gates={"f": jax.nn.sigmoid, "n": jnp.tanh})


@dataclasses.dataclass(frozen=True)
class Timed(Cell):
    """Reads features, a gap of time and a count, none of them alike; counts its steps."""

    size: int

    def init(self, key, input_size, dtype=jnp.float32):
        return {"kernel": jax.random.normal(key, (input_size, self.size), dtype)}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        zeros = jnp.zeros((*batch_shape, self.size), dtype)
        return recur.cells.state_type("h", "steps")(h=zeros, steps=jnp.zeros(batch_shape, jnp.int32))

    def step(self, params, state, x):
        decay = jnp.exp(-jnp.abs(x["gap"]))[..., None]
        h = decay * state.h + jnp.tanh(x["features"] @ params["kernel"]) * x["weight"][..., None]
        return state._replace(h=h, steps=state.steps + 1), h


STEPS = {
    "round": declared(recurrence="none")(lambda gate, state: {"h": 0.5 * gate.n + jnp.round(3 * state.h) / 3}),
    "sign": declared(recurrence="none")(lambda gate, state: {"h": gate.n + 0.3 * jnp.sign(state.h)}),
    "threshold": declared()(lambda gate, state: {"h": jnp.where(state.h > 0, gate.f, gate.n)}),
    "floor": declared(recurrence="diagonal")(lambda gate, state: {"h": gate.n + 0.1 * jnp.floor(4 * state.h)}),
    "stop_gradient": declared(recurrence="none")(
        lambda gate, state: {"h": gate.n + gate.f * jax.lax.stop_gradient(state.h)}
    ),
    "straight_through": declared(recurrence="none")(
        lambda gate, state: {"h": 0.5 * gate.n + 0.5 * straight_through(2 * state.h)}
    ),
    "custom_vjp": declared(recurrence="diagonal")(lambda gate, state: {"h": 0.5 * state.h + gate.n * spike(state.h)}),
    "bools": declared()(
        lambda gate, state: {"h": gate.n * jnp.maximum(gate.f > 0.5, state.h > 0).astype(gate.n.dtype) + 0.1 * state.h}
    ),
    "own_width": declared()(lambda gate, state: {"h": gate.f * state.h + gate.n / jnp.sqrt(gate.n.shape[-1])}),
    "unlike_units": declared()(
        lambda gate, state: {"h": jnp.concatenate([gate.n[..., :1], 0.9 * state.h[..., 1:] + gate.f[..., 1:]], -1)}
    ),
    "constants_a_unit": declared(recurrence="none")(
        lambda gate, state: {"h": gate.n + jnp.broadcast_to(np.float32([0.1, 0.5, 0.9]), state.h.shape) * state.h}
    ),
    "mean": declared(recurrence="none")(
        lambda gate, state: {"h": gate.f * (state.h - state.h.mean(-1, keepdims=True)) + gate.n}
    ),
    "softmax": declared(recurrence="diagonal")(lambda gate, state: {"h": jax.nn.softmax(state.h + gate.n)}),
    "timed": Timed,
}


def inputs(name, features):
    """What a cell reads: features, for one of them further inputs, of numbers and counts, beside them."""
    if name != "timed":
        return features
    weight = np.arange(1, T + 1, dtype=np.int32)[:, None] - np.arange(B, dtype=np.int32)
    return {
        "features": features,
        "gap": np.linspace(0, 1, T * B).reshape(T, B).astype(features.dtype),
        "weight": weight,
    }


def by_loop(cell, name, params, features, start, **options):
    """The plain loop; as it goes over an array, the places of the steps stand for what is read there."""
    xs = inputs(name, features)

    def step(params, state, place):
        return cell.step(params, state, jax.tree.map(lambda leaf: leaf[place], xs))

    restart = jax.tree.map(jnp.zeros_like, start)
    return loop(step, params, np.arange(T), start, reset_state=restart, **options, xp=jnp)


def by_engine(engine, cell, name, params, features, start, **options):
    return recur.unroll(cell, params, inputs(name, features), start, engine=engine(), **options)


@pytest.mark.parametrize("name", STEPS)
def test_every_engine_equals_the_loop_or_refuses(name):
    """Values and gradients, in runs with a mask, resets and time backwards."""
    cell, rng = STEPS[name](H), np.random.default_rng(3)
    params, start = random_params(cell, X, 1), cell.initial_state((B,))
    arguments = params, rng.standard_normal((T, B, X)).astype(np.float32), random_state(cell, (B,), 2).h
    options = {"mask": rng.random((T, B)) < 0.8, "reset": rng.random((T, B)) < 0.2, "reverse": True}

    def graded(run, params, features, h):
        def loss(params, features, h):
            states = run(cell, name, params, features, start._replace(h=h), **options).states
            return weighted_sum((states.h,)), jax.tree.map(lambda leaf: leaf.astype(h.dtype), states)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, features, h)

    with jax.enable_x64(True):
        wanted = jax.tree.map(np.asarray, graded(by_loop, *jax.tree.map(np.float64, arguments)))
    engines = [engine for engine in ENGINES.values() if not engine().refusal(cell)]
    for engine in engines:
        assert_close(graded(functools.partial(by_engine, engine), *arguments), wanted)
    assert {ENGINES["scan"], ENGINES["auto"]} <= set(engines)


@dataclasses.dataclass(frozen=True)
class Mistaken(Timed):
    """Says of its step what is not so."""

    is_affine = True

    def step(self, params, state, x):
        h = 0.5 * state.h + x @ params["kernel"]
        return state._replace(h=h), h

    def affine(self, prepared, projected):
        h = projected @ prepared["kernel"]
        return recur.cells.Affine({"h": jnp.full_like(h, 0.9)}, {"h": h})

    def linear_state(self, state):
        return {"h": state.h}

    def from_linear_state(self, prepared, linear, projected):
        return self.initial_state()._replace(h=linear["h"], steps=jnp.zeros(linear["h"].shape[:-1], jnp.int32))


@pytest.mark.parametrize("engine", ["scan", "associative", "blocks", "auto"])
def test_a_cell_that_is_wrong_about_its_step_is_refused(engine, key):
    cell = Mistaken(H)
    with pytest.raises(ValueError, match=r"affine of Mistaken\(size=3\) to give the states that its step gives"):
        recur.unroll(cell, cell.init(key, X), jnp.ones((T, B, X)), engine=ENGINES[engine]())


def test_an_empty_batch_has_empty_results_in_every_engine():
    for name, engine in PAIRS:
        cell = TABLE[name](H)
        for shape in ((0,), (2, 0)):
            features = np.zeros((T, *shape, X), np.float32)
            xs = (
                features
                if name != "timed"
                else {"features": features, "gap": features[..., 0], "weight": features[..., 0]}
            )
            unroll = functools.partial(recur.unroll, cell, engine=ENGINES[engine]())
            found = jax.eval_shape(unroll, parameter_shapes(cell, X), xs)
            assert found.outputs.shape == (T, *shape, H), (name, engine)


def problems():
    """Runs of which something is no number, or overflows: ``(xs, start, mask, reset, weights of the outputs)``."""
    rng = np.random.default_rng(0)
    xs, nan = rng.standard_normal((T, B, X)).astype(np.float32), np.float32("nan")
    every, never = np.ones((T, B), bool), np.zeros((T, B), bool)
    weights = rng.standard_normal((T, B, H)).astype(np.float32)
    reset, later = never.copy(), weights.copy()
    reset[3, 0] = True
    later[:3, 0] = 0
    for name, value in (("nan", nan), ("inf", np.inf), ("overflow", 3e38)):
        bad = xs.copy()
        bad[1, 0] = value
        yield f"{name} before a reset", (bad, 0.0, every, reset, later)
    yield "a carry of nan", (xs, nan, every, np.roll(reset, -3, 0), weights)
    mask, bad = every.copy(), xs.copy()
    mask[1, 0], bad[1, 0] = False, nan
    yield "nan behind a mask", (bad, 0.0, mask, never, weights)
    bad[0, 0] = np.inf
    yield "nan behind a mask, inf before a reset", (bad, 0.0, mask, reset, later)


TABLE = {**CELLS, "timed": Timed}
PAIRS = [(c, e) for c in TABLE for e in EXACT if not ENGINES[e]().refusal(TABLE[c](H))]
QUICK = {("gru", "fused"), ("gru", "newton"), ("lru", "associative"), ("lru", "scan"), ("min_gru", "scan")}
QUICK |= {
    ("elman_identity", "scan"),
    ("elman_identity", "fused"),
    ("min_gru", "blocks"),
    ("gru_reset_before", "scan"),
    ("timed", "scan"),
}


@pytest.mark.parametrize(
    ("name", "engine"), [pytest.param(*pair, marks=[] if pair in QUICK else [pytest.mark.slow]) for pair in PAIRS]
)
def test_nothing_before_a_reset_or_behind_a_mask_reaches_what_follows(name, engine):
    """Values and gradients are those of a run in which the bad numbers were others."""
    cell = TABLE[name](H)
    params, zeros = random_params(cell, X, 1), cell.initial_state((B,))

    def graded(run):
        def loss(params, features, h, mask, reset, weights):
            outputs = run(cell, name, params, features, zeros._replace(h=h), mask=mask, reset=reset).outputs
            # Selected, not multiplied: the loss does not read what is bad.
            read = jnp.where(weights != 0, outputs, 0)
            return jnp.sum(read * weights), read

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))

    found, wanted = graded(functools.partial(by_engine, ENGINES[engine])), graded(by_loop)
    for case, (features, first, *rest) in problems():
        actual = found(params, features, zeros.h + np.float32([[first], [0.0]]), *rest)
        with jax.enable_x64(True):
            good = np.where(np.abs(features) < 1e30, features, 0.5).astype(np.float64)
            expected = wanted(jax.tree.map(np.float64, params), good, np.zeros((B, H)), *rest)
            expected = jax.tree.map(np.asarray, expected)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected)), case
        assert_close(actual, expected)
