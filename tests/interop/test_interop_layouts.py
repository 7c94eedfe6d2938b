"""The table of gate orders, and that importing interop loads no peer."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import recur
from recur import interop
from recur.interop._layouts import KINDS, Fused, from_params, kind_of, to_params

H, X = 3, 2
PAIRS = [
    (kind, library)
    for kind, row in KINDS.items()
    for library in ("torch", "keras", "nnx", "linen")
    if getattr(row, library) is not None
]


@pytest.mark.parametrize(("kind", "library"), PAIRS)
def test_every_gate_lands_in_its_place(kind, library):
    """Block k of the library holds the number of its gate; in recur the gate's own row must hold it."""
    order, ours = getattr(KINDS[kind], library), KINDS[kind].factory(H).inits.gates
    numbers = np.repeat([ord(gate) for gate in order], H).astype(np.float32)
    fused = Fused(np.tile(numbers, (X, 1)), np.tile(numbers, (H, 1)), numbers)
    params = to_params(fused, kind, library, "test")
    for index, gate in enumerate(ours):
        for name in ("kernel", "recurrent_kernel", "bias"):
            assert (params[name][..., index, :] == ord(gate)).all()


@pytest.mark.parametrize(("kind", "library"), PAIRS)
def test_there_and_back_is_bitwise(kind, library, key):
    shapes = KINDS[kind].factory(H).init(key, X)
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in shapes.items()}
    back = to_params(from_params(params, kind, library), kind, library, "test")
    assert back.keys() == params.keys()
    for name in params:
        np.testing.assert_array_equal(back[name], params[name])


@pytest.mark.parametrize("library", ["torch", "keras", "linen"])
def test_only_the_candidate_keeps_a_recurrent_bias(library):
    order = getattr(KINDS["gru"], library)
    kernel, recurrent = np.zeros((X, 3 * H), np.float32), np.zeros((H, 3 * H), np.float32)
    bias, recurrent_bias = np.repeat([1.0, 2.0, 3.0], H), np.repeat([10.0, 20.0, 30.0], H)
    params = to_params(Fused(kernel, recurrent, bias, recurrent_bias), "gru", library, "test")
    for index, gate in enumerate("rzn"):
        k = 1 + order.index(gate)
        np.testing.assert_array_equal(params["bias"][index], k if gate == "n" else 11 * k)
    np.testing.assert_array_equal(params["recurrent_bias"], 10 * (1 + order.index("n")))


def test_names_are_those_of_the_table_of_cells():
    for name, row in KINDS.items():
        assert row.factory(H) == recur.cells.CELLS[name](H)


def test_kind_does_not_depend_on_initialisers():
    cell = recur.cells.lstm(4, forget_bias=0.0, recurrent_init="identity")
    assert kind_of(cell, "torch") == "lstm"


def test_a_cell_of_the_same_name_is_not_taken_for_it():
    @recur.cells.pointwise(state=("h", "c"), gates=dict.fromkeys("ifgo"), name="lstm")
    def other(gate, state):
        return {"h": gate.o * state.c, "c": gate.i * gate.g + gate.f * state.c}

    with pytest.raises(ValueError, match=r"module: expected a cell that torch has too.*'lstm'.*got lstm\(4\)"):
        kind_of(other(4), "torch")


def test_misfit_arrays_are_named():
    fused = Fused(np.zeros((X, 4 * H)), np.zeros((H, 4 * H)), np.zeros(3 * H))
    with pytest.raises(ValueError, match=r"layer 7: expected bias of shape \(12,\).*got \(9,\)"):
        to_params(fused, "lstm", "torch", "layer 7")


def test_importing_loads_no_peer():
    code = "import sys, recur.interop; print(sorted({'torch', 'keras', 'tensorflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("peer", ["torch", "keras"])
def test_missing_peer_names_the_extra(peer, monkeypatch):
    from flax import nnx

    import recur.nn

    monkeypatch.setitem(sys.modules, peer, None)
    rnn = recur.nn.RNN(recur.cells.elman(2), 2, rngs=nnx.Rngs(0))
    with pytest.raises(ImportError, match=rf"to_{peer}: expected {peer} to be installed.*recur-jax\[peers\]"):
        getattr(interop, f"to_{peer}")(rnn)


def test_weights_are_copies():
    state = {"weight_ih": np.ones((2, 2), np.float32), "weight_hh": np.ones((2, 2), np.float32)}
    rnn = interop.from_torch(state)
    state["weight_ih"][:] = 7
    state["weight_hh"][:] = 7
    for leaf in jax.tree.leaves(rnn.as_cell()[1]):
        assert np.asarray(leaf).max() <= 1
