"""Checks pass what is right, fail what is wrong, and say which."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, check, engines, flow
from recur.check import Check, Score, _command, _engine_checks

LOOP, DIFFERENCES, PRECISION = (
    "engine equals the loop",
    "gradient equals differences",
    "float32 gradient equals float64",
)


class RunsAll:
    """Refuses no cell."""

    def refusal(self, cell):
        return ""


@dataclasses.dataclass(frozen=True)
class Perturbed(RunsAll):
    """Scan with an error of 1e-4 in every state."""

    def run(self, cell, problem):
        states, info = engines.Scan().run(cell, problem)
        return jax.tree.map(lambda leaf: leaf * 1.0001, states), info


@dataclasses.dataclass(frozen=True)
class Forgetful(RunsAll):
    """Scan that keeps the gradient from the inputs."""

    def run(self, cell, problem):
        return engines.Scan().run(cell, problem._replace(xs=jax.lax.stop_gradient(problem.xs)))


@dataclasses.dataclass(frozen=True)
class Coarse(RunsAll):
    """Scan whose gradients in float32 have the precision of bfloat16."""

    def run(self, cell, problem):
        states, info = engines.Scan().run(cell, problem)
        return jax.tree.map(_coarse_gradient, states), info


@jax.custom_vjp
def _coarse_gradient(leaf):
    return leaf


_coarse_gradient.defvjp(
    lambda leaf: (leaf, None),
    lambda _, g: (jax.lax.reduce_precision(g, 8, 7) if g.dtype == np.float32 else g,),
)


@dataclasses.dataclass(frozen=True)
class Broken(RunsAll):
    """Raises."""

    def run(self, cell, problem):
        raise ValueError(f"cannot run {cell!r}")


@pytest.mark.parametrize(
    ("engine", "failing"),
    [
        (Perturbed, {(LOOP, part) for part in ("outputs", "final state")}),
        (Forgetful, {(DIFFERENCES, "d loss / d inputs")}),
        (Coarse, {(PRECISION, f"d loss / d {group}") for group in _engine_checks.GROUPS}),
        (Broken, {(name, "an error was raised") for name in (LOOP, DIFFERENCES, PRECISION)}),
    ],
)
def test_a_wrong_engine_fails_where_it_is_wrong(engine, failing):
    rows = [row for one in check.engine_checks({"elman": cells.elman(3)}, 0, {"wrong": engine()}) for row in one.rows()]
    failed = {(row["check"], row["quantity"].split(",")[0]) for row in rows if not row["pass"]}
    assert failed == failing
    assert all("cannot run elman(3)" in row["note"] for row in rows if engine is Broken)


def test_an_error_of_1e_6_nats_a_step_fails_the_closed_forms(monkeypatch):
    right = flow.adjoint_log_norms

    def wrong(*args, **options):
        logs = np.asarray(right(*args, **options))
        return logs + 1e-6 * np.arange(len(logs)).reshape(-1, *(1,) * (logs.ndim - 1))

    monkeypatch.setattr(flow, "adjoint_log_norms", wrong)
    rows = [row for one in check.closed_form_checks(["elman_relu", "lstm"], 0) for row in one.rows()]
    failed = {row["quantity"] for row in rows if not row["pass"]}
    assert {"ln A(k) = ln A(0), k = 1..500", "ln A(k) = ln A(1), k = 2..500, b_f = 40"} <= failed
    assert "i + f" not in failed
    assert not any("note" in row for row in rows)


def test_a_bound_is_shown_where_it_is_closest():
    row = Score("x", [5.0, 4.0, 3.0], [1.0, 3.5, 2.0], 0.1, at_most=True).row()
    assert (row["expected"], row["measured"], row["error"], row["pass"]) == (4.0, 3.5, 0.0, True)


@pytest.mark.parametrize(
    ("expected", "measured", "tolerance", "at_most", "passes"),
    [
        (1.0, 1.0, 0.0, False, True),
        (1.0, 1.25, 0.25, False, True),
        (1.0, 1.25, 0.2, False, False),
        (1.0, 0.75, 0.2, False, False),
        (1.0, np.nan, 1e9, False, False),
        (np.nan, np.nan, 1e9, False, False),
        (np.nan, 1.0, 1e9, True, False),
        (1.0, np.nan, 1e9, True, False),
        (1.0, 1.0, np.nan, False, False),
        (1.0, 5.0, np.inf, False, False),
        (1.0, np.inf, 1e9, False, False),
        (1.0, np.inf, 1e9, True, False),
        (-np.inf, -np.inf, np.inf, False, True),
        (-np.inf, -100.0, np.inf, False, False),
        (-np.inf, -100.0, np.inf, True, False),
        (1.0, -5.0, 0.0, True, True),
        (1.0, 1.5, 0.25, True, False),
    ],
)
def test_only_finite_differences_within_a_finite_tolerance_pass(expected, measured, tolerance, at_most, passes):
    row = Score("x", expected, measured, tolerance, at_most).row()
    assert row["pass"] is passes
    beside_right_ones = Score("x", [0.0, expected, 0.0], [0.0, measured, 0.0], [0.0, tolerance, 0.0], at_most).row()
    assert beside_right_ones["pass"] is passes
    np.testing.assert_equal((row["expected"], row["measured"]), (expected, measured))
    if not passes:
        np.testing.assert_equal(beside_right_ones["measured"], measured)


@pytest.mark.parametrize(("expected", "measured"), [([], []), ([1.0], 1.0), ([[1.0], [1.0]], [1.0, 1.0])])
def test_nothing_and_other_shapes_do_not_pass(expected, measured):
    (row,) = Check("a", "b", None, lambda: [Score("x", expected, measured, 1.0)]).rows()
    assert row["pass"] is False
    assert "expected numbers of one shape" in row["note"]


@dataclasses.dataclass(frozen=True)
class Leaky(cells.Cell):
    """h = h / 2 + x W / 2, written as a plain cell; `fault` says what is wrong with it."""

    fault: str = ""

    def init(self, key, input_size, dtype=jnp.float32):
        return {"kernel": jax.random.normal(key, (input_size, 3), dtype)}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return cells.state_type("h")(jnp.zeros((*batch_shape, 3), dtype))

    def step(self, params, state, x):
        h = 0.5 * state.h + 0.5 * x @ params["kernel"]
        if self.fault == "batch norm" and h.ndim > 1:
            h = h - h.mean(0, keepdims=True)
        if self.fault == "rounds":
            h = h.astype(jnp.bfloat16).astype(h.dtype)
        state = type(state)(h)
        return state, state.h


def test_a_plain_cell_passes_and_says_what_refuses_it():
    card = check.check_cell(Leaky(), engines=["scan", "fused"])
    card.raise_failures()
    assert card.passed
    assert list(card.refused) == ["fused"]
    assert "not run: fused (" in str(card)
    assert str(card).splitlines()[-1] == f"{len(card.rows)} of {len(card.rows)} quantities pass"


def test_a_cell_whose_rows_see_each_other_fails_where_it_is_wrong():
    card = check.check_cell(Leaky("batch norm"), engines=[])
    assert {"rows of a batch are independent"} <= {row["check"] for row in card.failed}
    with pytest.raises(AssertionError, match="row 0 alone"):
        card.raise_failures()
    assert "FAILS" in str(card)


def test_a_cell_that_loses_digits_fails_against_float64():
    card = check.check_cell(Leaky("rounds"), engines=["scan"])
    assert any(row["check"] in (LOOP, PRECISION, DIFFERENCES) for row in card.failed)


def test_what_is_no_cell_or_engine_is_named():
    with pytest.raises(TypeError, match="call the factory with a number of units"):
        check.check_cell(cells.lstm)
    with pytest.raises(ValueError, match="engines: expected names among"):
        check.check_cell(Leaky(), engines=["scann"])
    with pytest.raises(TypeError, match="put it in a list"):
        check.check_cell(Leaky(), engines="scan")
    with pytest.raises(TypeError, match="expected an engine such as"):
        check.check_cell(Leaky(), engines={"mine": engines.Scan})


def test_the_command(capsys):
    assert _command.main(["gru", "--engines=scan"]) in (0, 1)
    assert "quantities pass" in capsys.readouterr().out
    assert _command.main(["lsmt"]) == 2
    assert "did you mean 'lstm'" in capsys.readouterr().err
    assert _command.main(["--engine=scan"]) == 2
    assert "nknown command line flag" in capsys.readouterr().err
    assert _command.main(["--help"]) == 0
    assert "usage: recur check" in capsys.readouterr().out
