"""Stored numbers of torch and Keras, read without either; tests/golden/make_golden.py made them."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from recur import interop
from recur.interop._layouts import KINDS, Fused, to_params
from recur.interop._network import Direction, Layer, Network, build

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 0, "atol": 1e-5}


def read(library):
    return json.loads((GOLDEN / f"{library}.json").read_text())


TORCH, KERAS = read("torch"), read("keras")


def array(numbers):
    return np.array(numbers, np.float32)


def check(module, case, measure, counted, **call):
    states = [array(state) for state in case["states"]]
    x, d_outputs = jnp.array(array(case["x"])), jnp.array(array(case["d_outputs"]))
    got, got_states, _, d_x = measure(module, x, d_outputs, [jnp.ones_like(state) for state in states], **call)
    np.testing.assert_allclose(got[counted], array(case["outputs"])[counted], **CLOSE)
    for left, right in zip(got_states, states, strict=True):
        np.testing.assert_allclose(left, right, **CLOSE)
    np.testing.assert_allclose(d_x, array(case["d_x"]), **CLOSE)


@pytest.mark.parametrize("name", TORCH["cases"])
def test_torch(name, measure):
    case = TORCH["cases"][name]
    state_dict = {key: array(weight) for key, weight in case["weights"].items()}
    module = interop.from_torch(state_dict, nonlinearity=case["nonlinearity"])
    call = {} if case["lengths"] is None else {"lengths": jnp.array(case["lengths"])}
    check(module, case, measure, np.ones(array(case["x"]).shape[:2], bool), **call)


def keras_direction(name, arrays):
    """What from_keras does with a layer, from its bare arrays."""
    kind = name.removesuffix("_bidirectional")
    kernel, recurrent_kernel, bias = map(array, arrays)
    biases = bias if bias.ndim == 2 else [bias]
    params = to_params(Fused(kernel, recurrent_kernel, *biases), kind, "keras", name)
    return Direction(KINDS[kind].factory(recurrent_kernel.shape[0]), params)


@pytest.mark.parametrize("name", KERAS["cases"])
def test_keras(name, measure):
    case = KERAS["cases"][name]
    merge = {None: "concat", "concat": "concat", "ave": "mean"}[case["merge_mode"]]
    layer = Layer(*(keras_direction(name, arrays) for arrays in case["weights"]), merge=merge)
    mask = np.ones(array(case["x"]).shape[:2], bool) if case["mask"] is None else np.array(case["mask"], bool)
    check(build(Network((layer,))), case, measure, mask, mask=jnp.array(mask))


def test_files_say_where_they_come_from():
    for library, document in (("torch", TORCH), ("keras", KERAS)):
        assert document["made_by"] == "python -m tests.golden.make_golden"
        assert {"python", library} <= set(document["versions"])
    assert sum(file.stat().st_size for file in GOLDEN.glob("*.json")) < 60_000
