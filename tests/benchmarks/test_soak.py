"""What the soak holds against one another: planted samples pass and fail, and compilations are counted."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import soak
from benchmarks._soak_watch import Sample, Watch, checks

MIB = 2**20


def samples(resident=(400, 400, 400, 400, 400, 400, 400), steps=(0, 10, 20, 30, 40, 50, 60), compiled=(9,) * 7):
    rows = zip(steps, resident, compiled, strict=True)
    return [Sample(float(index), step, size * MIB, count) for index, (step, size, count) in enumerate(rows)]


def met(*planted):
    return {check.name: check.met for check in checks(*planted, memory=0.05, speed=0.2)}


def test_a_steady_process_holds():
    assert met(samples()) == {"memory": True, "recompilation": True, "speed": True}


@pytest.mark.parametrize(
    ("planted", "fails"),
    [
        ({"resident": (400, 401, 402, 421, 402, 401, 400)}, "memory"),
        ({"compiled": (9, 9, 9, 9, 9, 10, 10)}, "recompilation"),
        ({"steps": (0, 10, 20, 30, 40, 47, 54)}, "speed"),
    ],
)
def test_each_check_fails_by_itself(planted, fails):
    found = met(samples(**planted))
    assert [name for name, value in found.items() if not value] == [fails]


def test_what_is_within_bounds_holds():
    assert all(met(samples(resident=(400, 419, 419, 419, 419, 419, 419), steps=(0, 10, 20, 30, 40, 49, 58))).values())


def test_too_short_a_run_is_refused():
    with pytest.raises(ValueError, match="samples: expected at least 4 after the warm-up, got 3; run for longer"):
        checks(samples()[:3], memory=0.05, speed=0.2)


def test_the_watch_counts_programs_that_are_compiled():
    seen = []
    watch = Watch(0.0, seen.append)
    watch(1, 0.0)
    program = jax.jit(lambda x: jnp.sin(x) * 17 + 3)
    program(jnp.ones(3))
    watch(2, 0.0)
    program(jnp.ones(3))
    watch(3, 0.0)
    assert seen[1].compiled > seen[0].compiled
    assert seen[2].compiled == seen[1].compiled
    assert seen[0].resident > 10 * MIB


@pytest.mark.slow
def test_a_short_soak_compiles_nothing_and_does_not_grow(tmp_path):
    """Speed is left out: others may use the machine."""
    found = soak.soak(soak.Config(minutes=0.5, speed=1.0), tmp_path)
    assert [check for check in found if not check.met] == []
    summary = json.loads((tmp_path / "summary.json").read_text())
    history = (tmp_path / "history.jsonl").read_text().splitlines()
    assert summary["records"] == len(history) > 10
    with pytest.raises(ValueError, match="holds a run already"):
        soak.soak(soak.Config(minutes=0.5), tmp_path)
