"""Arrays and trees that do not fit, in `recur.unroll` and in every measurement of gradient flow."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from fuzz_cases import answer, cases
from fuzz_strategies import arrays, sizes, spoiled

import recur
from recur import cells, engines, flow

T, B, X, H = 3, 2, 2, 3
CELL = cells.lstm(H)
PARAMS = CELL.init(jax.random.key(0), X)
XS = jax.random.normal(jax.random.key(1), (T, B, X))
STATE = CELL.initial_state((B,))

# Few shapes, so that the programs that are compiled are few.
inputs = st.one_of(
    st.builds(
        lambda shape, fill: np.full(shape, fill, np.float32),
        st.sampled_from([(T, B, X), (T, X), (0, B, X), (T, 0, X), (T, B, 0), (T, B, X + 1), (X,), ()]),
        st.sampled_from([0.0, 1.0, np.nan, np.inf]),
    ),
    arrays(),
)
flags = st.one_of(arrays(), st.sampled_from([np.ones((T, B), bool), np.eye(T, B, dtype=bool), [[True] * B] * T]))
states = st.sampled_from(
    [
        STATE,
        CELL.initial_state(()),
        cells.gru(H).initial_state((B,)),
        STATE._replace(h=jnp.full((B, H), jnp.nan)),
        STATE._replace(c=None),
        STATE._replace(c=jnp.ones((B, H), jnp.int32)),
        tuple(STATE),
        {"h": STATE.h, "c": STATE.c},
    ]
)
trees = st.one_of(
    st.sampled_from(
        [
            {**PARAMS, "bias": PARAMS["bias"].astype(jnp.bfloat16)},
            {**PARAMS, "bias": PARAMS["bias"].at[0, 0].set(jnp.nan)},
            {**PARAMS, "more": PARAMS["bias"]},
            {name: PARAMS[name] for name in ("bias", "kernel")},
            {**PARAMS, "kernel": PARAMS["kernel"].T},
            cells.gru(H).init(jax.random.key(0), X),
            list(PARAMS.values()),
            jax.tree.map(lambda leaf: leaf.tolist(), PARAMS),
            jax.tree.map(lambda leaf: leaf.astype(jnp.int32), PARAMS),
            jax.tree.map(np.asarray, PARAMS),
            jax.tree.map(str, PARAMS),
        ]
    ),
    st.dictionaries(st.sampled_from([*PARAMS, "x"]), arrays(), max_size=4),
)
OWN = {"xs": inputs, "params": trees, "initial_state": states}
COMMON = {"cell": CELL, "params": PARAMS, "xs": XS}
UNROLL = {
    "unroll": (
        recur.unroll,
        COMMON,
        OWN
        | {
            "mask": flags,
            "reset": flags,
            "reset_state": states,
            "reverse": st.booleans(),
            "engine": st.sampled_from([engines.Scan(), engines.Scan, engines.Newton(2), engines.Associative(), "scan"]),
        },
    )
}
SPECTRA = st.builds(lambda rows: np.array(rows, np.float32), st.lists(st.floats(width=32), max_size=4))
FLOW = {
    "adjoint": (flow.adjoint_log_norms, COMMON, OWN | {"cotangent": arrays()}),
    "input": (flow.input_log_norms, COMMON, OWN | {"cotangent": arrays()}),
    "spectrum": (flow.lyapunov_spectrum, COMMON, OWN | dict.fromkeys(("k", "warmup", "steps_per_qr"), sizes)),
    "singular values": (
        flow.jacobian_log_singular_values,
        COMMON | {"lags": [1]},
        OWN | {"lags": st.lists(sizes, max_size=3)},
    ),
    "sensitivity": (flow.parameter_sensitivity, COMMON | {"direction": PARAMS}, OWN | {"direction": trees}),
    "gates": (flow.gate_statistics, COMMON, OWN),
    "jacobians": (flow.jacobians, COMMON, OWN),
    "snr": (
        flow.gradient_snr,
        COMMON | {"xs": XS[:, :, None].repeat(2, 2).at[0, 0, 0].add(1)},
        OWN | {"cotangent": arrays()},
    ),
}
READ = {
    "dimension": (flow.kaplan_yorke_dimension, {"spectrum": XS[0, 0]}, {"spectrum": st.one_of(SPECTRA, arrays())}),
    "entropy": (flow.entropy_rate, {"spectrum": XS[0, 0]}, {"spectrum": st.one_of(SPECTRA, arrays())}),
    "horizon": (flow.prediction_horizon_steps, {"spectrum": XS[0, 0]}, {"spectrum": st.one_of(SPECTRA, arrays())}),
    "condition": (flow.log_condition_numbers, {"log_singular_values": XS}, {"log_singular_values": arrays()}),
    "summary": (flow.summarize, {"log_norms": XS[0, 0]}, {"log_norms": st.one_of(SPECTRA, arrays())}),
}


@cases(50, call=spoiled(UNROLL))
def test_unroll(call):
    _, function, arguments = call
    run, error = answer({*arguments, "states", "input_size"}, function, **arguments)
    if error is None:
        xs = jnp.asarray(arguments["xs"])
        assert run.outputs.shape == (*xs.shape[:-1], H)
        if (mask := arguments.get("mask")) is not None:
            assert not np.asarray(run.outputs)[~np.asarray(mask)].any()


@cases(34, call=spoiled(FLOW))
def test_flow(call):
    _, function, arguments = call
    answer({*arguments, "states", "input_size"}, function, **arguments)


@cases(25, call=spoiled(READ))
def test_readings_of_spectra(call):
    _, function, arguments = call
    answer(arguments, function, **arguments)
