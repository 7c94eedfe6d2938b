"""What `recur.unroll` refuses, and in which words: argument, expected, got, remedy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import random_params

import recur
from recur.cells import Cell, gru, lstm, stacked
from recur.engines import Scan

CELL = lstm(4)
PARAMS = random_params(CELL, 3, 0)
XS = np.ones((5, 2, 3), np.float32)
FLAGS = np.ones((5, 2), bool)


class Unhashable(Cell):
    __hash__ = None

    def init(self, key, input_size, dtype=jnp.float32):
        raise NotImplementedError

    initial_state = step = init


@dataclasses.dataclass
class UnhashableEngine:
    knob: int = 1

    def refusal(self, cell):
        return ""

    def run(self, cell, problem, *, reverse):
        raise NotImplementedError


def changed(**leaves):
    return {**PARAMS, **leaves}


BAD = {
    # name: (arguments, error, words of the message besides "expected" and "got")
    "xs_none": ({"xs": None}, TypeError, ["xs", "array", "NoneType"]),
    "xs_text": ({"xs": "abc"}, TypeError, ["xs", "array", "str"]),
    "xs_ragged": ({"xs": [[1.0], [1.0, 2.0]]}, TypeError, ["xs", "array", "list"]),
    "xs_one_axis": ({"xs": XS[0, 0]}, ValueError, ["xs", "[T, *B, X]", "(3,)", "xs[..., None]"]),
    "xs_no_axis": ({"xs": 1.0}, ValueError, ["xs", "[T, *B, X]", "()"]),
    "xs_int": ({"xs": XS.astype(np.int32)}, TypeError, ["xs", "floating", "int32", "jax.nn.one_hot"]),
    "xs_bool": ({"xs": XS > 0}, TypeError, ["xs", "floating", "bool", "jax.nn.one_hot"]),
    "xs_list_of_ints": ({"xs": [[1, 2, 3]]}, TypeError, ["xs", "floating", "int32", "one-hot"]),
    "reverse_text": ({"reverse": "no"}, TypeError, ["reverse", "True or False", "'no'", "static"]),
    "features": ({"xs": np.ones((5, 2, 7))}, ValueError, ["xs", "3 features", "7", "lstm(4)", "cell.init(key, 7)"]),
    "params_none": ({"params": None}, TypeError, ["params", "'kernel'", "NoneType", "cell.init(key, 3)"]),
    "params_list": ({"params": [1, 2]}, TypeError, ["params", "'kernel'", "list of 2", "cell.init(key, 3)"]),
    "params_of_gru": ({"params": random_params(gru(4), 3, 0)}, TypeError, ["params", "recurrent_bias", "lstm(4)"]),
    "params_of_size": (
        {"params": random_params(lstm(5), 3, 0)},
        ValueError,
        ["params['bias']", "(4, 4)", "(4, 5)", "cell.init(key, 3)"],
    ),
    "params_missing": ({"params": {"bias": PARAMS["bias"]}}, TypeError, ["params", "'kernel'", "cell.init"]),
    "params_leaf": ({"params": changed(bias="x")}, TypeError, ["params['bias']", "(4, 4)", "'x'", "cell.init"]),
    "params_number": ({"params": changed(bias=1.0)}, TypeError, ["params['bias']", "(4, 4)", "1.0", "cell.init"]),
    "cell_text": ({"cell": "lstm"}, TypeError, ["cell", "recur.cells.lstm(128)", "'lstm'"]),
    "cell_factory": ({"cell": lstm}, TypeError, ["cell", "recur.cells.lstm(128)", "function lstm"]),
    "cell_and_params_swapped": ({"cell": PARAMS, "params": CELL}, TypeError, ["cell", "'kernel': array"]),
    "cell_unhashable": ({"cell": Unhashable()}, TypeError, ["cell", "hashable", "frozen dataclass", "Unhashable"]),
    "state_array": (
        {"initial_state": jnp.zeros((2, 4))},
        TypeError,
        ["initial_state", "State(h=array, c=array)", "got array", "cell.initial_state((2,), float32)"],
    ),
    "state_tuple": ({"initial_state": (jnp.zeros((2, 4)),) * 2}, TypeError, ["initial_state", "tuple of 2"]),
    "state_of_gru": ({"initial_state": gru(4).initial_state((2,))}, TypeError, ["c=array", "State(h=array)"]),
    "state_no_batch": (
        {"initial_state": CELL.initial_state()},
        ValueError,
        ["initial_state.h", "(2, 4)", "(4,)", "cell.initial_state((2,), float32)"],
    ),
    "state_size": ({"initial_state": lstm(5).initial_state((2,))}, ValueError, ["initial_state.h", "(2, 4)", "(2, 5)"]),
    "state_dtype": (
        {"initial_state": CELL.initial_state((2,), jnp.bfloat16)},
        TypeError,
        ["initial_state.h", "float32", "bfloat16", "cell.initial_state((2,), float32)"],
    ),
    "reset_state": (
        {"reset": FLAGS, "reset_state": CELL.initial_state()},
        ValueError,
        ["reset_state.h", "(2, 4)", "(4,)", "cell.initial_state((2,), float32)"],
    ),
    "reset_state_alone": ({"reset_state": CELL.initial_state((2,))}, ValueError, ["reset_state", "None", "give reset"]),
    "mask_shape": ({"mask": np.ones((5, 3), bool)}, ValueError, ["mask", "(5, 2)", "(5, 3)", "xs.shape[:-1]"]),
    "mask_batch_major": ({"mask": FLAGS.T}, ValueError, ["mask", "(5, 2)", "(2, 5)", "xs.shape[:-1]"]),
    "mask_extra_axis": ({"mask": FLAGS[..., None]}, ValueError, ["mask", "(5, 2)", "(5, 2, 1)"]),
    "mask_float": ({"mask": np.ones((5, 2))}, TypeError, ["mask", "bool", "float", "mask > 0"]),
    "mask_lengths": ({"mask": [5, 3]}, TypeError, ["mask", "bool", "int32", "mask > 0"]),
    "reset_shape": ({"reset": FLAGS[:, 0]}, ValueError, ["reset", "(5, 2)", "(5,)", "xs.shape[:-1]"]),
    "reset_int": ({"reset": FLAGS.astype(int)}, TypeError, ["reset", "bool", "int", "reset > 0"]),
    "engine_text": ({"engine": "scan"}, TypeError, ["engine", "recur.engines.Scan()", "'scan'"]),
    "engine_class": ({"engine": Scan}, TypeError, ["engine", "recur.engines.Scan()", "class"]),
    "engine_none": ({"engine": None}, TypeError, ["engine", "recur.engines.Scan()", "None"]),
    "engine_unhashable": ({"engine": UnhashableEngine()}, TypeError, ["engine", "hashable", "frozen dataclass"]),
}


@pytest.mark.parametrize("under_jit", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name, under_jit):
    changes, error, words = BAD[name]
    arguments = {"cell": CELL, "params": PARAMS, "xs": XS, **changes}

    def call():
        if not under_jit:
            return recur.unroll(**arguments)
        # The array arguments that JAX can trace become tracers; the words must stay the same.
        traced = {k: v for k, v in arguments.items() if all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(v))}
        rest = {k: v for k, v in arguments.items() if k not in traced}
        return jax.jit(lambda traced: recur.unroll(**traced, **rest).outputs)(traced)

    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert all(word in message for word in ["expected", "got", *words]), message
    assert "\n" not in message, "one line"
    assert len(message) < 400


def test_messages_name_the_layer_of_a_stack():
    cell = stacked(lstm(4), gru(4))
    params = random_params(cell, 3, 0)
    params["layer_1"]["bias"] = np.zeros((3, 5))
    with pytest.raises(ValueError, match=r"params\['layer_1'\]\['bias'\]: expected shape \(3, 4\), got \(3, 5\)"):
        recur.unroll(cell, params, XS)
    state = cell.initial_state((2,))
    with pytest.raises(ValueError, match=r"initial_state\.layer_1\.h: expected shape \(2, 4\), got \(4,\)"):
        recur.unroll(cell, random_params(cell, 3, 0), XS, state._replace(layer_1=gru(4).initial_state()))


def test_lists_and_numpy_are_arrays():
    run = recur.unroll(CELL, PARAMS, XS[:, 0].tolist(), mask=[True, True, False, True, True])
    same = recur.unroll(CELL, jax.tree.map(jnp.asarray, PARAMS), jnp.asarray(XS[:, 0]), mask=np.arange(5) != 2)
    np.testing.assert_array_equal(run.outputs, same.outputs)


@pytest.mark.parametrize(("unroll", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_scan_refuses_a_wrong_knob(unroll, error):
    with pytest.raises(error, match="unroll: expected a whole number >= 1, got"):
        Scan(unroll=unroll)


def test_refuses_a_tolerance_below_what_the_state_resolves():
    with pytest.raises(ValueError, match=r"tol: expected at least 1.2e-07.*float32 resolves, got 1e-09; .*float64"):
        recur.unroll(CELL, PARAMS, XS, engine=recur.engines.Newton(tol=1e-9))
