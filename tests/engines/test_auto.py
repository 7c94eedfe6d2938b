"""What Auto chooses, why, and that it says so once."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
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
        ("lstm", 0, "cpu", engines.Scan(), "runs every cell exactly"),
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
    def run(self, cell, problem, *, reverse):
        states, final, info = super().run(cell, problem, reverse=reverse)
        return jax.tree.map(lambda leaf: leaf + 0.01 * jax.lax.stop_gradient(leaf), states), final, info


def test_an_engine_that_does_not_agree_with_scan_is_not_chosen(monkeypatch):
    assert _auto.agrees(cells.min_gru(3), engines.Associative())
    assert not _auto.agrees(cells.min_gru(3), Wrong())
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
