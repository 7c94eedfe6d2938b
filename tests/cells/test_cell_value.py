"""A cell is a value: equal by settings, hashable, frozen; and a plain cell of one's own."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import assert_close, assert_identical, loop, random_problem

import recur
from recur.cells import CELLS, Cell, elman, gru, lstm, output_size, parameter_shapes, stacked, state_type

MAKERS = {
    **{name: lambda make=make: make(4) for name, make in CELLS.items()},
    "stack": lambda: stacked(lstm(4), gru(3)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_made_twice_is_equal(name):
    one, two = MAKERS[name](), MAKERS[name]()
    assert one is not two
    assert one == two
    assert hash(one) == hash(two)
    assert copy.deepcopy(one) == copy.copy(one) == one


def test_different_settings_are_different_cells():
    cells = [make(size) for make in CELLS.values() for size in (3, 4)]
    cells += [stacked(lstm(3), gru(3)), stacked(gru(3), lstm(3)), stacked(lstm(3), gru(3), residual=True)]
    cells += [lstm(3, forget_bias=0.0), gru(3, recurrent_init="identity")]
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize("name", MAKERS)
def test_frozen_and_free_of_arrays(name):
    cell = MAKERS[name]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.hidden_size = 5
    assert jax.tree.leaves(cell) == [cell], "a cell is no pytree"


def test_repr_and_name():
    for name, make in CELLS.items():
        assert make(4).name == name
    assert [repr(make(4)) for make in (elman, gru, lstm)] == ["elman(4)", "gru(4)", "lstm(4)"]
    assert repr(gru(4, reset_after=False)) == "gru(4, reset_after=False)"
    assert repr(stacked(lstm(4), elman(4, activation="relu"), residual=True)) == (
        "stacked(lstm(4), elman_relu(4), residual=True)"
    )
    for make in (elman(2), gru(2), lstm(2)):
        assert eval(repr(make), vars(recur.cells)) == make


def test_sizes():
    assert output_size(lstm(7)) == 7
    assert output_size(stacked(lstm(7), gru(5))) == 5
    shapes = parameter_shapes(stacked(lstm(7), gru(5)), 3)
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == {
        "layer_0": {"kernel": (3, 4, 7), "recurrent_kernel": (7, 4, 7), "bias": (4, 7)},
        "layer_1": {"kernel": (7, 3, 5), "recurrent_kernel": (5, 3, 5), "bias": (3, 5), "recurrent_bias": (5,)},
    }


def test_state_types_are_shared():
    assert state_type("h", "c") is state_type("h", "c")
    assert type(lstm(3).initial_state()) is state_type("h", "c")
    assert type(gru(3).initial_state()) is type(gru(4, reset_after=False).initial_state())


# A plain cell -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Decay(Cell):
    """``h = a h + x`` with one learned `a` a unit: parameters that do not depend on the number of features."""

    size: int

    def init(self, key, input_size, dtype=jnp.float32):
        return {"a": jnp.full((self.size,), 0.9, dtype)}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return state_type("h")(jnp.zeros((*batch_shape, self.size), dtype))

    def step(self, params, state, x):
        h = params["a"].reshape((1,) * (state.h.ndim - 1) + (-1,)) * state.h + x
        return state._replace(h=h), h


@dataclasses.dataclass(frozen=True)
class Readout(Decay):
    """Its output is no field of its state, so it says how to read it."""

    def step(self, params, state, x):
        state, _ = super().step(params, state, x)
        return state, self.output(state)

    def output(self, state):
        return 2 * state.h[..., :1]


@pytest.mark.parametrize("cell", [Decay(4), Readout(4)])
@pytest.mark.parametrize("features", [1, 4])
def test_a_plain_cell_runs(cell, features):
    params = {"a": jnp.array([0.9, 0.5, -0.3, 0.1])}
    rng = np.random.default_rng(0)
    xs, mask = rng.standard_normal((6, 3, features)).astype(np.float32), rng.random((6, 3)) < 0.6
    run = recur.unroll(cell, params, xs, mask=mask, reverse=True)
    a = np.asarray(params["a"], np.float64)

    def step(params, state, x):
        h = a * state.h + x
        return state._replace(h=h), h if type(cell) is Decay else 2 * h[..., :1]

    expected = loop(step, params, xs, state_type("h")(np.zeros((3, 4))), mask=mask, reverse=True)
    assert_close(tuple(run[:3]), tuple(expected))


def test_a_plain_cell_can_be_stacked():
    cell = stacked(lstm(4), Readout(4), Decay(1))
    problem = random_problem(lstm(4), 5, (2,))
    ones = {"a": jnp.full((4,), 0.5)}
    params = {"layer_0": problem.params, "layer_1": ones, "layer_2": {"a": jnp.array([0.5])}}
    below = recur.unroll(lstm(4), problem.params, problem.xs).outputs
    middle = recur.unroll(Readout(4), ones, below).outputs
    expected = recur.unroll(Decay(1), params["layer_2"], middle).outputs
    assert_close(recur.unroll(cell, params, problem.xs).outputs, expected)


def test_step_and_its_three_parts_agree():
    for make in CELLS.values():
        cell = make(3)
        params, xs, state, _ = random_problem(cell, 2, (2,))
        by_step, output = cell.step(params, state, xs[0])
        prepared = cell.prepare(params)
        by_parts = cell.advance(prepared, state, cell.project(prepared, xs[0]))
        assert_identical(by_step, by_parts)
        assert_identical(output, by_step.h)


def test_an_output_that_is_not_read_from_the_state_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Wrong(Decay):
        def step(self, params, state, x):
            state, h = super().step(params, state, x)
            return state, 2 * h

    with pytest.raises(TypeError, match=r"Wrong\.step: expected .*first field, got another array; define output"):
        recur.unroll(Wrong(2), {"a": jnp.ones(2)}, jnp.ones((3, 2)))


def test_a_cell_without_a_step_is_refused():
    with pytest.raises(TypeError, match=r"Nothing: expected a cell that defines step\(params, state, x\), found none"):

        class Nothing(Cell):
            pass


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda s: s._replace(h=s.h.astype(jnp.bfloat16)), TypeError, [".h", "float32", "bfloat16", "like the one"]),
        (lambda s: s._replace(h=s.h[..., :1]), ValueError, [".h", "(2,)", "(1,)", "like the one"]),
        (lambda s: (s.h,), TypeError, ["State(h=array)", "tuple of 1", "like the one"]),
    ],
)
def test_a_step_that_changes_the_state_is_refused(change, error, words):
    @dataclasses.dataclass(frozen=True)
    class Changing(Decay):
        def advance(self, params, state, projected):
            return change(state)

    with pytest.raises(error) as caught:
        recur.unroll(Changing(2), {"a": jnp.ones(2)}, jnp.ones((3, 2)))
    assert all(word in str(caught.value) for word in ["Changing", "expected", "got", *words]), str(caught.value)


class Unhashable(Decay):
    __hash__ = None


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: stacked(), ValueError, ["cells", "at least one", "none"]),
        (lambda: stacked(lstm(3), "gru"), TypeError, ["cells[1]", "lstm(128)", "'gru'"]),
        (lambda: stacked(lstm), TypeError, ["cells[0]", "lstm(128)", "function"]),
        (lambda: stacked(lstm(3), gru(4), residual=True), ValueError, ["residual", "one output size", "[3, 4]"]),
        (lambda: stacked(Unhashable(3)), TypeError, ["cells[0]", "hashable", "frozen dataclass"]),
        (lambda: stacked(lstm(3)).init(0, 2), TypeError, ["key", "got 0", "jax.random.key(seed)"]),
    ],
)
def test_wrong_stacks_are_refused(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)
