"""Truncated backpropagation through time: values as without, gradients as of windows run one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, random_problem, weighted_sum

import recur
from recur import cells, engines

LENGTH, WINDOW = 7, 3


def in_windows(cell, params, xs, start, options):
    """Runs the windows one after the other, the gradient of what is carried stopped."""
    flags = {name: options[name] for name in ("mask", "reset") if name in options}
    rest = {name: value for name, value in options.items() if name not in flags}
    parts = []
    state = start
    for first in range(0, len(xs), WINDOW):
        count = min(WINDOW, len(xs) - first)
        rows = (
            slice(len(xs) - first - count, len(xs) - first) if options.get("reverse") else slice(first, first + count)
        )
        cut = {name: value[rows] for name, value in flags.items()}
        run = recur.unroll(cell, params, xs[rows], state, **cut, **rest)
        state = jax.lax.stop_gradient(run.final)
        parts.append(run)
    ordered = parts[::-1] if options.get("reverse") else parts
    join = [jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(part[i] for part in ordered)) for i in (0, 1)]
    return (*join, parts[-1].final)


@pytest.mark.parametrize(
    ("name", "options", "knobs"),
    [
        ("lstm", {}, {}),
        ("gru_reset_before", {"mask": True, "reset": True, "reverse": True}, {}),
        ("lru", {"mask": True}, {"remat": 2}),
    ],
)
def test_gradients_are_those_of_windows_run_one_by_one(name, options, knobs, x64):
    cell = cells.CELLS[name](3)
    params, xs, start, options = random_problem(cell, LENGTH, (2,), **options, dtype=np.float64)
    options = {"reset_state": start, **options} if "reset" in options else options

    def differentiate(run):
        def value(params, xs, start):
            out = run(params, xs, start)
            return weighted_sum(out), out

        return jax.value_and_grad(value, argnums=(0, 1, 2), has_aux=True)(params, xs, start)

    engine = engines.Scan(truncate=WINDOW, **knobs)
    actual = differentiate(lambda *arguments: recur.unroll(cell, *arguments, **options, engine=engine)[:3])
    assert_close(actual, differentiate(lambda *arguments: in_windows(cell, *arguments, options)))
    _, exact = differentiate(lambda *arguments: recur.unroll(cell, *arguments, **options)[:3])
    gap = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), actual[1][0], exact[0])
    assert max(jax.tree.leaves(gap)) > 1e-3, "the windows leave nothing out here: the test would not see the exact rule"


@pytest.mark.parametrize("name", ["remat", "truncate"])
def test_refuses_more_steps_than_there_are(name):
    cell = cells.lstm(3)
    params, xs, *_ = random_problem(cell, 5, (2,))
    with pytest.raises(ValueError, match=rf"{name}: expected at most the 5 steps of xs, got 6; .*{name}="):
        recur.unroll(cell, params, xs, engine=engines.Scan(**{name: 6}))
    with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1"):
        engines.Scan(**{name: 0})
