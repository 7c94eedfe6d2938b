"""Input that no measurement can be made of: one clear error each, whichever measurement is asked for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur import cells, flow, tasks
from recur.study import _inputs

T, H, X = 5, 3, 2

MEASUREMENTS = {
    "adjoint": flow.adjoint_log_norms,
    "input": flow.input_log_norms,
    "parameters": flow.parameter_log_norms,
    "spectrum": flow.lyapunov_spectrum,
    "singular values": lambda cell, params, xs: flow.jacobian_log_singular_values(cell, params, xs, [1]),
    "sensitivity": flow.parameter_sensitivity,
    "gate statistics": flow.gate_statistics,
    "jacobians": flow.jacobians,
    "signal to noise": flow.gradient_snr,
}


@pytest.fixture(scope="module")
def lstm():
    cell = cells.lstm(H)
    return cell, cell.init(jax.random.key(0), X)


@pytest.mark.parametrize("measure", MEASUREMENTS)
def test_nan_in_a_trajectory_is_named_by_step_field_and_unit(measure, lstm):
    cell, params = lstm
    in_an_input = jnp.ones((T, 4, X)).at[2, 1, 0].set(jnp.nan)
    with pytest.raises(
        ValueError, match=r"got nan after step 3 in state\.h of lstm\(3\), \(\*batch, unit\) = \(1, 0\)"
    ):
        MEASUREMENTS[measure](cell, params, in_an_input)
    in_a_unit = {**params, "bias": params["bias"].at[1, 2].set(jnp.nan)}
    with pytest.raises(
        ValueError, match=r"got nan after step 1 in state\.h of lstm\(3\), \(\*batch, unit\) = \(0, 2\)"
    ):
        MEASUREMENTS[measure](cell, in_a_unit, jnp.ones((T, 4, X)))


def test_a_field_other_than_the_output_is_named(lstm):
    cell, params = lstm
    state = cell.initial_state()._replace(c=jnp.array([0.0, jnp.inf, 0.0]))
    with pytest.raises(ValueError, match=r"got inf after step 0 in state\.c of lstm\(3\), .* = \(1,\); lower the gain"):
        flow.adjoint_log_norms(cell, params, jnp.zeros((T, X)), state)


def test_identical_sequences_have_no_noise(lstm):
    cell, params = lstm
    same = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (T, 1, 1, X)), (T, 2, 3, X))
    with pytest.raises(
        ValueError, match="xs: expected sequences that differ, got 6 times the same, .*; draw each anew"
    ):
        flow.gradient_snr(cell, params, same)
    # A difference anywhere is one: in an input, in a start, in a target.
    state = cell.initial_state((2, 3))
    assert jnp.isfinite(flow.gradient_snr(cell, params, same.at[3, 1, 2, 0].add(1.0)).snr_all).all()
    flow.gradient_snr(cell, params, same, state._replace(c=state.c.at[0, 1, 2].set(1.0)))
    flow.gradient_snr(cell, params, same, cotangent=jnp.ones((2, 3, H)).at[1, 0, 0].set(2.0))


@pytest.mark.parametrize("value", ["0.1", "7"])
def test_a_constant_column_is_refused(value, tmp_path):
    # The computed spread of 1000 times 0.1 is 1e-17, not 0: divided by it, rounding would become the data.
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f"{i},{value}\n" for i in range(1000)))
    with pytest.raises(ValueError, match="data: expected columns that vary, got a constant column in .*a.csv"):
        _inputs.draw_inputs("series", str(path), jax.random.key(0), 1, 40)


@dataclasses.dataclass(frozen=True)
class Own(cells.Cell):
    """A cell whose step returns whatever `kind` says."""

    kind: str

    def init(self, key, input_size, dtype=jnp.float32):
        return {}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return cells.state_type("h")(h=jnp.zeros((*batch_shape, 2), dtype))

    def step(self, params, state, x):
        h = {"bfloat16": state.h.astype(jnp.bfloat16), "int": jnp.ones((2,), int), "short": state.h[:1]}.get(
            self.kind, state.h
        )
        whole = {
            "dict": {"h": h},
            "plain tuple": (h,),
            "list": [h],
            "fields": cells.state_type("h", "c")(h, h),
        }.get(self.kind, state._replace(h=h))
        return {"state alone": whole, "output alone": h, "nothing": None, "three": (whole, h, h)}.get(
            self.kind, (whole, h)
        )


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("state alone", TypeError, r"Own\.step: expected a pair \(next state, output\), got State"),
        ("output alone", TypeError, r"Own\.step: expected a pair \(next state, output\), got"),
        ("nothing", TypeError, r"Own\.step: expected a pair \(next state, output\), got None"),
        ("three", TypeError, r"Own\.step: expected a pair \(next state, output\), got"),
        ("dict", TypeError, r"expected State\(h=array\), got {'h': array}; a step must return a state like"),
        ("plain tuple", TypeError, r"expected State\(h=array\), got tuple of 1"),
        ("list", TypeError, r"expected State\(h=array\), got list of 1"),
        ("fields", TypeError, r"expected State\(h=array\), got State\(h=array, c=array\)"),
        ("bfloat16", TypeError, r"h: expected dtype float32, got bfloat16; a step must return a state like"),
        ("int", TypeError, r"h: expected dtype float32, got int32"),
        ("short", ValueError, r"h: expected shape \(2,\), got \(1,\)"),
    ],
)
def test_a_step_that_returns_something_else_is_named(kind, error, words):
    for run in (recur.unroll, flow.lyapunov_spectrum):
        with pytest.raises(error, match=words):
            run(Own(kind), {}, np.ones((T, X), np.float32))


@pytest.mark.parametrize("path", ["\0", "a\ud800", 3, None])
def test_what_is_no_path_is_named(path):
    """A character that stands for no byte too."""
    for read in (tasks.read_text, tasks.read_lines):
        with pytest.raises(TypeError, match="path: expected the path of a file"):
            read(path)
