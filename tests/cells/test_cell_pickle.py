"""Cells go through pickle, cloudpickle and copies, built-in ones and those declared at a module's top level."""

import copy
import functools
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, nn


@jax.jit
def half_tanh(x):
    return 0.5 * jnp.tanh(x)


@cells.pointwise(state=("h", "c"), gates={"n": half_tanh, "f": jax.nn.sigmoid, "s": jax.lax.logistic})
def own_cell(gate, state):
    return {"h": gate.n * gate.s, "c": gate.f * state.c}


def step(gate, state, *, dt):
    return {"h": state.h + dt * gate.n}


own_partial = cells.pointwise(state=("h",), gates={"n": jnp.tanh})(functools.partial(step, dt=0.1))


class Callable:
    """A callable value in the place of a function."""

    def __eq__(self, other):
        return isinstance(other, Callable)

    def __hash__(self):
        return 1

    def __call__(self, gate, state):
        return {"h": gate.n}


own_object = cells.pointwise(state=("h",), gates={"n": jnp.tanh})(Callable())

ALL = {
    **{name: make(3) for name, make in cells.CELLS.items()},
    "stacked": cells.stacked(cells.lstm(3), cells.gru(3), residual=True),
    "own": own_cell(3),
    "partial": own_partial(3),
    "object": own_object(3),
}


@pytest.mark.parametrize("name", ALL)
def test_round_trips_give_equal_cells(name):
    cell = ALL[name]
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert copy.deepcopy(cell) == cell
    cloudpickle = pytest.importorskip("cloudpickle", reason="distributed frameworks use it")
    assert cloudpickle.loads(cloudpickle.dumps(cell)) == cell
    assert hash(pickle.loads(pickle.dumps(cell))) == hash(cell)


def test_names_of_what_is_no_plain_function():
    assert own_partial(3).name == "step"
    assert own_object(3).name == "Callable"


def test_a_module_that_holds_cells():
    module = nn.Stack([cells.lstm(3), cells.gru(3)], 2, rngs=nnx.Rngs(0))
    again = pickle.loads(pickle.dumps(module))
    x = np.ones((1, 4, 2), np.float32)
    np.testing.assert_array_equal(again(x), module(x))


def test_a_cell_of_the_main_module_goes_to_a_process_without_it(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle", reason="distributed frameworks use it")
    del cloudpickle
    (tmp_path / "main.py").write_text(
        "import cloudpickle, jax.numpy as jnp, recur, sys\n"
        "@recur.cells.pointwise(state=('h',), gates={'n': jnp.tanh})\n"
        "def leaky(gate, state):\n"
        "    return {'h': 0.5 * state.h + gate.n}\n"
        "sys.stdout.buffer.write(cloudpickle.dumps(leaky(2)))\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "main.py"], capture_output=True, check=True)
    cell = pickle.loads(done.stdout)
    params = cell.init(jax.random.key(0), 2)
    assert cell.step(params, cell.initial_state(), jnp.ones(2))[1].shape == (2,)


def test_a_changed_step_is_refused_by_name():
    with pytest.raises(TypeError, match="expected the step that is declared, got another advance"):
        type("Halved", (cells.PointwiseCell,), {"advance": lambda self, *args: None})


def test_fields_have_buffers_of_their_own():
    for cell in (cells.lstm(3), cells.stacked(cells.lstm(3), cells.lstm(3))):
        leaves = jax.tree.leaves(cell.initial_state((2,)))
        assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
        jax.block_until_ready(jax.jit(lambda s: s, donate_argnums=0)(cell.initial_state((2,))))
