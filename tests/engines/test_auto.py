"""What Auto chooses, why, and that it says so once."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur import cells, engines
from recur.engines import _auto


@pytest.mark.parametrize(
    ("name", "steps", "platform", "engine", "reason"),
    [
        ("lstm", 1000, "cpu", engines.Fused(), "one kernel runs all steps on a cpu"),
        ("min_gru", 1000, "cpu", engines.Fused(), "one kernel runs all steps on a cpu"),
        ("lru", 1000, "cpu", engines.Scan(), "runs every cell exactly"),
        ("min_gru", 1000, "gpu", engines.Associative(), "gpu runs 1000 steps in parallel"),
        ("lru", 32, "tpu", engines.Associative(), "tpu runs 32 steps in parallel"),
        ("lru", 31, "tpu", engines.Scan(), "runs every cell exactly"),
        ("gru", 1000, "gpu", engines.Scan(), "runs every cell exactly"),
    ],
)
def test_rules(name, steps, platform, engine, reason):
    chosen, why = _auto.choose(cells.CELLS[name](3), steps, platform)
    assert chosen == engine
    assert reason in why


@dataclasses.dataclass(frozen=True)
class Wrong(engines.Associative):
    def run(self, cell, problem):
        states, info = super().run(cell, problem)
        return jax.tree.map(lambda leaf: leaf + 0.01 * jax.lax.stop_gradient(leaf), states), info


def test_an_engine_that_does_not_agree_with_scan_is_not_chosen(monkeypatch):
    assert not _auto.disagreement(cells.min_gru(3), engines.Associative(), "cpu")
    assert _auto.disagreement(cells.min_gru(3), Wrong(), "cpu")
    monkeypatch.setattr(_auto, "Associative", Wrong)
    chosen, why = _auto.choose(cells.min_gru(3), 1000, "gpu")
    assert chosen == engines.Scan()
    assert why == "Wrong does not agree with Scan on this gpu"


def test_kernels_are_for_float32():
    chosen, _ = _auto.choose(cells.lstm(3), 1000, "cpu", jnp.float64)
    assert chosen == engines.Scan()


def test_the_choice_is_logged_once_under_jit_too(caplog):
    cell = cells.lru(5)
    params = cell.init(jax.random.key(0), 1)
    with caplog.at_level(logging.INFO, logger="recur"):
        for length in (3, 4):
            run = jax.jit(lambda xs: recur.unroll(cell, params, xs))(jnp.ones((length, 1)))
    assert [record.message for record in caplog.records] == [
        f"{cell!r} runs on {engines.Scan()!r}: runs every cell exactly"
    ]
    assert run.info.reason == "auto: runs every cell exactly"


def declared(update, gates=None, **options):
    return cells.pointwise(state=("h",), gates=gates or {"n": None}, recurrence="none", name="own", **options)(update)


def assert_width(gate, state):
    assert gate.n.shape[-1] == 16
    return {"h": jnp.tanh(gate.n)}


NOT_FOR_KERNELS = {
    "a gate compared with the state": declared(lambda g, s: {"h": (g.n > s.h).astype(jnp.float32)}),
    "flags": declared(lambda g, s: {"h": jnp.maximum(g.n > 0, s.h > 0).astype(jnp.float32) + 0.5 * g.n}),
    "a number as a flag": declared(lambda g, s: {"h": jnp.where(s.h.astype(bool), 0.5 * s.h, g.n)}),
    "an assertion": declared(assert_width),
    "a constant a unit": declared(lambda g, s: {"h": g.n + jnp.arange(16.0).reshape((1,) * (g.n.ndim - 1) + (16,))}),
    "two halves": declared(
        lambda g, s: {"h": jnp.concatenate([g.n[..., :8], 0.9 * s.h[..., 8:] + 0.1 * g.n[..., 8:]], -1)}
    ),
    "the width": declared(lambda g, s: {"h": g.n / jnp.sqrt(g.n.shape[-1]) + 0.5 * s.h}),
    "a power of the width": declared(lambda g, s: {"h": jnp.tanh(g.n) * g.n.shape[-1] ** -0.5}),
    "the first unit": declared(lambda g, s: {"h": g.n.at[..., 0].set(0.0)}),
    "a mean": declared(lambda g, s: {"h": g.n * (s.h - s.h.mean(-1, keepdims=True))}),
    "a softmax": declared(lambda g, s: {"h": s.h * g.n}, gates={"n": jax.nn.softmax}),
    "rounds": declared(lambda g, s: {"h": g.n + jnp.round(s.h)}),
    "signs": declared(lambda g, s: {"h": g.n + jnp.sign(s.h)}),
    "floors": declared(lambda g, s: {"h": g.n + jnp.floor(s.h)}),
    "a threshold": declared(lambda g, s: {"h": g.n + (s.h > 0)}),
    "a stopped gradient": declared(lambda g, s: {"h": g.n + 0.5 * jax.lax.stop_gradient(s.h)}),
    "absolute values": declared(lambda g, s: {"h": jnp.sqrt(jnp.abs(g.n)) + 0.1 * jnp.square(s.h)}),
    "a scalar weight": declared(
        lambda g, s, w: {"h": g.n + w.a * s.h}, weights={"a": lambda key, shape, dtype: jnp.full((), 0.5, dtype)}
    ),
}


@pytest.mark.parametrize("name", NOT_FOR_KERNELS)
def test_auto_runs_what_scan_runs_and_gives_what_the_loop_gives(name):
    cell = NOT_FOR_KERNELS[name](16)
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (6, 2, 3))

    def loop(params):
        state, outputs = cell.initial_state((2,)), []
        for x in xs:
            state, output = cell.step(params, state, x)
            outputs.append(output)
        return jnp.stack(outputs)

    def value(run):
        return lambda params: jnp.sum(jnp.cos(jnp.arange(192.0)).reshape(6, 2, 16) * run(params))

    wanted, gradient = jax.jit(jax.value_and_grad(value(loop)))(params)
    # What Auto takes a kernel for is run by the kernel; Blocks solve what Associative solves.
    for engine in (engines.Auto(), engines.Scan(), engines.Newton(), engines.Associative()):
        if engine.refusal(cell):
            continue
        run = jax.jit(jax.value_and_grad(value(lambda p, e=engine: recur.unroll(cell, p, xs, engine=e).outputs)))
        found = run(params)
        assert jnp.allclose(found[0], wanted, rtol=1e-4, atol=1e-4), engine
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found[1], gradient)


def test_straight_through_gradients_are_those_of_the_loop():
    @jax.custom_jvp
    def through(x):
        return jnp.round(x)

    through.defjvp(lambda primals, tangents: (through(*primals), tangents[0]))
    cell = declared(lambda g, s: {"h": g.n + through(s.h)})(1)
    params = {"kernel": jnp.ones((1, 1, 1)), "bias": jnp.zeros((1, 1))}
    xs = jnp.array([0.7, 0.7, -0.2, 0.7])[:, None]
    for make in engines.ENGINES.values():
        if not make().refusal(cell):
            run = recur.unroll(cell, params, xs, engine=make())
            np.testing.assert_allclose(run.outputs[:, 0], [0.7, 1.7, 1.8, 2.7], rtol=1e-6)
            slope = jax.grad(lambda xs, e=make: recur.unroll(cell, params, xs, engine=e()).outputs[-1, 0])(xs)
            np.testing.assert_allclose(slope, 1.0, err_msg=repr(make()))


def test_surrogate_gradients_run_or_are_refused():
    @jax.custom_vjp
    def spike(x):
        return (x > 0).astype(x.dtype)

    spike.defvjp(lambda x: (spike(x), x), lambda x, g: (g / (1 + jnp.abs(x)) ** 2,))
    cell = declared(lambda g, s: {"h": spike(g.n + 0.5 * s.h)})(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jnp.ones((4, 2))
    assert "custom_vjp" in engines.Newton().refusal(cell)
    grads = [
        jax.grad(lambda p, e=e: recur.unroll(cell, p, xs, engine=e).outputs.sum())(params)
        for e in (engines.Scan(), engines.Auto())
    ]
    jax.tree.map(np.testing.assert_allclose, *grads)
    assert np.abs(grads[0]["kernel"]).max() > 0


def test_nothing_is_compiled_while_jit_is_disabled():
    cell = cells.gru(3)
    params = cell.init(jax.random.key(0), 2)
    expected = recur.unroll(cell, params, jnp.ones((3, 2))).outputs
    with jax.disable_jit():
        run = recur.unroll(cell, params, jnp.ones((3, 2)))
    np.testing.assert_allclose(run.outputs, expected, rtol=1e-6)
    assert run.info.engine == "scan"


def test_a_thousand_cells_leave_no_memory_behind():
    import gc
    import weakref

    alive = []
    for number in range(600):

        def step(gate, state, number=number):
            return {"h": gate.n + number * state.h}

        cell = declared(step)(2)
        assert cell.is_affine
        assert cells.output_size(cell) == 2
        alive.append(weakref.ref(step))
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= 300
