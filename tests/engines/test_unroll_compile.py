"""Compiling: once for a shape, no longer for a longer sequence; and what a `Run` is to JAX."""

import dataclasses
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, assert_identical, random_problem, weighted_sum

import recur
from recur.cells import Cell, gru, lstm, stacked, state_type
from recur.engines import ENGINES, Auto, Info, Run, Scan

TRACES = []


@dataclasses.dataclass(frozen=True)
class Counting(Cell):
    """Leaves a note whenever its step is traced."""

    size: int

    def init(self, key, input_size, dtype=jnp.float32):
        return {}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return state_type("h")(jnp.zeros((*batch_shape, self.size), dtype))

    def step(self, params, state, x):
        TRACES.append(x.shape)
        h = 0.5 * state.h + x
        return state._replace(h=h), h


def traces(run):
    TRACES.clear()
    run()
    return len(TRACES)


@pytest.mark.parametrize("engine", [name for name, make in ENGINES.items() if not make().refusal(Counting(3))])
def test_compiles_once_for_a_shape(engine):
    def run(length=5, seed=0, **options):
        xs = np.random.default_rng(seed).standard_normal((length, 2, 3)).astype(np.float32)
        # Cell and engine are made anew each time: equal ones share the compiled program.
        return recur.unroll(Counting(3), {}, xs, **options, engine=ENGINES[engine]())

    jax.clear_caches()
    assert traces(run) > 0
    assert traces(run) == 0
    assert traces(lambda: run(seed=1)) == 0
    assert traces(lambda: run(initial_state=Counting(3).initial_state((2,)))) == 0
    assert traces(lambda: run(mask=np.ones((5, 2), bool))) > 0
    assert traces(lambda: run(mask=np.zeros((5, 2), bool))) == 0
    assert traces(lambda: run(length=6)) > 0
    assert traces(run) == 0


def test_a_jitted_function_of_the_user_is_traced_once():
    calls = []

    @jax.jit
    def outside(params, xs):
        calls.append(1)
        return recur.unroll(lstm(3), params, xs)

    params, xs, _, _ = random_problem(lstm(3), 4, (2,))
    first, second = outside(params, xs), outside(params, xs)
    assert len(calls) == 1
    assert_identical(first, second)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("engine", ["auto", "scan"])
def test_program_does_not_grow_with_the_length(engine, gradient):
    cell = lstm(3)
    params, _, state, _ = random_problem(cell, 0, (2,))

    def run(params, xs, state, mask, reset):
        out = recur.unroll(cell, params, xs, state, mask=mask, reset=reset, engine=ENGINES[engine]())
        return out.outputs.sum()

    program = jax.jit(jax.grad(run) if gradient else run)

    def lowered(length):
        flags = jax.ShapeDtypeStruct((length, 2), bool)
        xs = jax.ShapeDtypeStruct((length, 2, 2), np.float32)
        return program.lower(params, xs, state, flags, flags)

    def text(length):
        # Every number that is the length, or one less as the last index has it, is written as T; so is twice the
        # length: all steps of both rows of the batch, as one matrix.
        return re.sub(rf"\b({length}|{length - 1}|{2 * length})(?=x|\b)", "T", lowered(length).as_text())

    reference = text(1_009)
    assert "T" in reference
    assert text(10_007) == reference
    assert text(100_003) == reference


def test_compile_time_does_not_grow_with_the_length():
    # A generous bound: at 10,000 times the steps an unrolled program would take thousands of times as long.
    cell = lstm(3)
    params, _, _, _ = random_problem(cell, 0, (2,))
    program = jax.jit(lambda params, xs: recur.unroll(cell, params, xs).final)
    seconds = []
    for length in (10, 1_000, 100_000):
        begin = time.process_time()
        program.lower(params, jax.ShapeDtypeStruct((length, 2, 2), np.float32)).compile()
        seconds.append(time.process_time() - begin)
    assert max(seconds[1:]) < 10 * seconds[0] + 1


def test_the_result_does_not_depend_on_the_knob_of_scan():
    cell = stacked(lstm(3), gru(3))
    problem = random_problem(cell, 7, (2,), mask=True, reset=True)
    one, four = (recur.unroll(cell, *problem[:3], **problem.options, engine=Scan(unroll=u)) for u in (1, 4))
    assert_close(four[:3], one[:3])


def test_input_products_are_taken_outside_the_loop():
    # One matrix product inside the loop, with the state; the one with the inputs is done for all steps at once.
    cell = lstm(3)
    params, xs, _, _ = random_problem(cell, 5, (2,))
    jaxpr = jax.make_jaxpr(lambda params, xs: recur.unroll(cell, params, xs, engine=Scan()))(params, xs)
    loops = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "scan"]
    assert len(loops) == 1
    inside = [eqn for eqn in equations(loops[0].params["jaxpr"].jaxpr) if eqn.primitive.name == "dot_general"]
    everywhere = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "dot_general"]
    assert (len(inside), len(everywhere)) == (1, 2)


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_run_comes_back_from_jit_vmap_and_grad():
    cell = gru(3)
    params, xs, state, _ = random_problem(cell, 5, (2,))

    def run(params, xs, state):
        return recur.unroll(cell, params, xs, state)

    plain, jitted = run(params, xs, state), jax.jit(run)(params, xs, state)
    assert type(jitted) is Run
    assert type(jitted.info) is Info
    assert (
        jitted.info
        == plain.info
        == Info(
            engine="fused", reason="auto: the step is declared unit by unit, and one kernel runs all steps on a cpu"
        )
    )
    assert_close(jitted[:3], plain[:3])

    seeds = jax.vmap(run, in_axes=(0, None, None))(
        jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), params), xs, state
    )
    assert seeds.outputs.shape == (2, 5, 2, 3)
    assert seeds.info == plain.info

    def loss(params):
        out = run(params, xs, state)
        return weighted_sum(out[:3]), out

    _, aux = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert aux.info == plain.info
    assert_close(aux[:3], plain[:3])


def test_a_run_can_be_carried_through_a_loop_of_the_user():
    # Truncated training: the state of one window starts the next, inside a scan over windows.
    cell = lstm(3)
    params, xs, state, _ = random_problem(cell, 12, (2,))

    def window(state, xs):
        run = recur.unroll(cell, params, xs, state)
        return run.final, run

    final, runs = jax.lax.scan(window, jax.tree.map(jnp.asarray, state), xs.reshape(3, 4, 2, 2))
    whole = recur.unroll(cell, params, xs, state)
    assert_close(runs.outputs.reshape(whole.outputs.shape), whole.outputs)
    assert_close(final, whole.final)
    assert runs.info == whole.info


def test_info_says_what_ran():
    cell = lstm(3)
    params, xs, _, _ = random_problem(cell, 2, ())
    asked, chosen = (recur.unroll(cell, params, xs, engine=engine).info for engine in (Scan(), Auto()))
    assert (asked.engine, asked.reason) == ("scan", "asked for")
    assert (chosen.engine, chosen.reason.split(":")[0]) == ("fused", "auto")
    assert asked.iterations is asked.residual is asked.converged is None


def test_no_tracer_leaks():
    cell = stacked(lstm(5), gru(6))
    params, xs, _, options = random_problem(cell, 3, (2,), mask=True)
    with jax.checking_leaks():
        gradient = jax.jit(jax.grad(lambda p: recur.unroll(cell, p, xs, **options).outputs.sum()))
        assert jax.tree.structure(gradient(params)) == jax.tree.structure(params)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_state_is_float32_whatever_the_inputs(dtype):
    cell = lstm(3)
    params, xs, _, _ = random_problem(cell, 3, (2,))
    run = recur.unroll(cell, params, jnp.asarray(xs, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(run)} == {np.dtype("float32")}
