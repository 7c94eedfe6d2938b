"""Laws of `recur.unroll` that hold whatever the cell and the engine: no number here comes from an oracle."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import (
    assert_close,
    assert_identical,
    random_mask,
    random_params,
    random_problem,
    random_state,
    weighted_sum,
)
from hypothesis.extra.numpy import arrays

import recur
from recur.cells import elman, gru, lstm, stacked

CELLS = {"lstm": lstm(3), "stacked": stacked(elman(3), gru(3, reset_after=False), residual=True)}
T, B, X = 6, 4, 2


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]


@pytest.fixture
def problem(cell):
    return random_problem(cell, T, (B,), seed=1)


def unroll(cell, problem, **options):
    return recur.unroll(cell, *problem[:3], **{**problem.options, **options})


def trajectory(run):
    return tuple(run[:3])


def examples(number):
    return hypothesis.settings(max_examples=number, deadline=None, derandomize=True)


def masks(shape):
    return arrays(np.bool_, shape)


def take(state, index):
    return jax.tree.map(lambda leaf: leaf[index], state)


# One after the other ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 2, T])
@pytest.mark.parametrize("reverse", [False, True])
def test_two_halves_equal_the_whole(cell, cut, reverse):
    params, xs, initial_state, options = random_problem(cell, T, (B,), mask=True, reset=True, seed=2)
    whole = recur.unroll(cell, params, xs, initial_state, **options, reverse=reverse)

    def part(rows, state):
        flags = {name: options[name][rows] for name in ("mask", "reset")}
        restart = options["reset_state"]
        return recur.unroll(cell, params, xs[rows], state, **flags, reset_state=restart, reverse=reverse)

    first, second = (slice(cut, None), slice(None, cut)) if reverse else (slice(None, cut), slice(cut, None))
    one = part(first, initial_state)
    two = part(second, one.final)
    early, late = (two, one) if reverse else (one, two)
    assert_close(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), early[:2], late[:2]), whole[:2])
    assert_close(two.final, whole.final)


def test_gradient_through_two_halves_is_that_of_the_whole(cell, problem):
    params, xs, initial_state, _ = problem

    def halves(params, xs, initial_state):
        one = recur.unroll(cell, params, xs[:2], initial_state)
        return weighted_sum(recur.unroll(cell, params, xs[2:], one.final).final)

    def whole(params, xs, initial_state):
        return weighted_sum(recur.unroll(cell, params, xs, initial_state).final)

    assert_close(*(jax.grad(f, argnums=(0, 1, 2))(params, xs, initial_state) for f in (halves, whole)))


# Masks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [0.0, 1e30, np.inf, np.nan])
def test_a_padded_batch_equals_each_sequence_alone(cell, garbage):
    params, xs, initial_state, _ = random_problem(cell, T, (B,), seed=3)
    lengths = [T, 3, 1, 0]
    mask = np.arange(T)[:, None] < np.array(lengths)
    padded = np.where(mask[..., None], xs, np.float32(garbage))
    weights = np.random.default_rng(4).standard_normal((T, B, 3)).astype(np.float32)

    def batch_loss(params, xs, initial_state):
        run = recur.unroll(cell, params, xs, initial_state, mask=mask)
        return jnp.sum(weights * run.outputs) + weighted_sum(run.final), run

    grad = jax.grad(batch_loss, argnums=(0, 1, 2), has_aux=True)
    (of_params, of_xs, of_state), run = grad(params, padded, initial_state)

    expected = jax.tree.map(jnp.zeros_like, params)
    zeros = jax.tree.map(jnp.zeros_like, initial_state)
    for row, length in enumerate(lengths):
        # The same weights for each sequence, of which `weighted_sum` over the batch sees one row each.
        def alone_loss(params, xs, state, row=row, length=length):
            alone = recur.unroll(cell, params, xs, state)
            whole = jax.tree.map(lambda full, leaf: full.at[row].set(leaf), zeros, alone.final)
            return jnp.sum(weights[:length, row] * alone.outputs) + weighted_sum(whole), alone

        grad = jax.grad(alone_loss, argnums=(0, 1, 2), has_aux=True)
        (params_row, xs_row, state_row), alone = grad(params, xs[:length, row], take(initial_state, row))
        assert_close(run.outputs[:length, row], alone.outputs)
        assert_close(take(run.final, row), alone.final)
        assert_close(of_xs[:length, row], xs_row)
        assert_close(take(of_state, row), state_row)
        expected = jax.tree.map(jnp.add, expected, params_row)
    assert_close(of_params, expected, scale=2)
    assert_identical(np.asarray(run.outputs)[~mask], np.zeros_like(weights[~mask]))
    assert_identical(np.asarray(of_xs)[~mask], np.zeros_like(xs[~mask]))


def test_a_masked_step_holds_the_state_exactly(cell, problem):
    mask = random_mask((T, B), 5)
    run = unroll(cell, problem, mask=mask)
    before = jax.tree.map(
        lambda first, rest: np.concatenate([first[None], rest[:-1]]), problem.initial_state, run.states
    )
    held = jax.tree.map(lambda old, new: (old[~mask], np.asarray(new)[~mask]), before, run.states)
    for old, new in jax.tree.leaves(held, is_leaf=lambda x: type(x) is tuple):
        np.testing.assert_array_equal(old, new)
    assert (~mask).any()


@examples(8)
@hypothesis.given(masks((T,)))
def test_a_mask_in_the_middle_equals_the_sequence_without_these_steps(mask):
    cell = CELLS["lstm"]
    params, xs, initial_state, _ = random_problem(cell, T, (), seed=6)
    whole = recur.unroll(cell, params, xs, initial_state, mask=mask)
    short = recur.unroll(cell, params, xs[mask], initial_state)
    assert_close((whole.outputs[mask], take(whole.states, mask), whole.final), trajectory(short))


def test_gradient_with_a_mask_in_the_middle_is_that_of_the_sequence_without_these_steps(cell):
    params, xs, initial_state, _ = random_problem(cell, T, (), seed=6)
    mask = np.array([True, False, True, True, False, True])

    def masked(params, xs, state):
        return weighted_sum(recur.unroll(cell, params, xs, state, mask=mask).final)

    def short(params, xs, state):
        return weighted_sum(recur.unroll(cell, params, xs[mask], state).final)

    assert_close(*(jax.grad(f, argnums=(0, 1, 2))(params, xs, initial_state) for f in (masked, short)))


@pytest.mark.parametrize("given", [True, False])
def test_length_zero_returns_the_initial_state(cell, given):
    params, xs, initial_state, _ = random_problem(cell, T, (B,), seed=7)
    start = initial_state if given else cell.initial_state((B,))
    handed_in = initial_state if given else None
    nothing = recur.unroll(cell, params, xs[:0], handed_in)
    garbage = np.full_like(xs, np.nan)
    masked = recur.unroll(cell, params, garbage, handed_in, mask=np.zeros((T, B), bool))
    assert_identical(nothing.final, jax.tree.map(jnp.asarray, start))
    assert_identical(masked.final, jax.tree.map(jnp.asarray, start))
    assert_identical(masked.outputs, jnp.zeros((T, B, 3)))
    assert nothing.outputs.shape == (0, B, 3)
    assert {leaf.shape for leaf in jax.tree.leaves(nothing.states)} == {(0, B, 3)}


@pytest.mark.parametrize("length", [0, T])
def test_gradient_at_length_zero_passes_to_the_initial_state_alone(cell, length):
    params, xs, initial_state, _ = random_problem(cell, length, (B,), seed=8)

    def loss(params, xs, initial_state):
        run = recur.unroll(cell, params, xs * np.nan, initial_state, mask=np.zeros((length, B), bool))
        return weighted_sum(run.final)

    of_params, _, of_state = jax.grad(loss, argnums=(0, 1, 2))(params, xs, initial_state)
    assert_identical(of_params, jax.tree.map(jnp.zeros_like, of_params))
    assert_identical(of_state, jax.grad(weighted_sum)(jax.tree.map(jnp.asarray, initial_state)))


# Resets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["default", "initial_state", "reset_state"])
def test_a_reset_equals_two_runs(cell, restart):
    params, xs, initial_state, _ = random_problem(cell, T, (B,), seed=9)
    begins = [0, 1, 3, T - 1]  # each row's own
    reset = np.arange(T)[:, None] == np.array(begins)
    other = random_state(cell, (B,), 10)
    start = {"default": cell.initial_state((B,))}.get(restart, initial_state)
    options = {"reset_state": other} if restart == "reset_state" else {}
    second_start = other if restart == "reset_state" else cell.initial_state((B,))

    def one(params, xs):
        handed_in = None if restart == "default" else initial_state
        run = recur.unroll(cell, params, xs, handed_in, reset=reset, **options)
        return weighted_sum(run.outputs), run

    (_, run), of_params = jax.value_and_grad(one, has_aux=True)(params, xs)

    def two(params, row, begin):
        first = recur.unroll(cell, params, xs[:begin, row], take(start, row))
        second = recur.unroll(cell, params, xs[begin:, row], take(second_start, row))
        outputs = jnp.concatenate([first.outputs, second.outputs])
        in_batch = jnp.zeros((T, B, 3)).at[:, row].set(outputs)
        return weighted_sum(in_batch), (outputs, second.final)

    expected = jax.tree.map(jnp.zeros_like, params)
    for row, begin in enumerate(begins):
        grad, (outputs, final) = jax.grad(two, has_aux=True)(params, row, begin)
        assert_close(run.outputs[:, row], outputs)
        assert_close(take(run.final, row), final)
        expected = jax.tree.map(jnp.add, expected, grad)
    assert_close(of_params, expected, scale=2)


def test_a_reset_stops_the_gradient_to_what_was_before(cell, problem):
    reset = np.zeros((T, B), bool)
    reset[3] = True

    def loss(xs, initial_state, reset_state):
        restart = {"reset": reset, "reset_state": reset_state}
        return weighted_sum(recur.unroll(cell, problem.params, xs, initial_state, **restart).final)

    of_xs, of_start, of_restart = jax.grad(loss, argnums=(0, 1, 2))(
        problem.xs, problem.initial_state, random_state(cell, (B,), 11)
    )
    assert_identical(of_xs[:3], jnp.zeros((3, B, X)))
    assert_identical(of_start, jax.tree.map(jnp.zeros_like, of_start))
    assert all(np.abs(of_xs[t]).min() > 0 for t in (3, 4, 5))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(of_restart))


@examples(15)
@hypothesis.given(masks((T, B)), masks((T, B)), st.booleans())
def test_a_reset_at_a_masked_step_is_not_seen(mask, reset, reverse):
    cell = CELLS["lstm"]
    problem = random_problem(cell, T, (B,), seed=12)
    with_it, without = (unroll(cell, problem, mask=mask, reset=r, reverse=reverse) for r in (reset, reset & mask))
    assert_identical(trajectory(with_it), trajectory(without))


# Direction ----------------------------------------------------------------------------------------------------


@examples(15)
@hypothesis.given(masks((T, B)), masks((T, B)), st.sampled_from(sorted(CELLS)))
def test_reverse_equals_flipping(mask, reset, name):
    cell = CELLS[name]
    problem = random_problem(cell, T, (B,), seed=13)
    backward = unroll(cell, problem, mask=mask, reset=reset, reverse=True)
    flipped = unroll(cell, problem._replace(xs=problem.xs[::-1]), mask=mask[::-1], reset=reset[::-1])
    assert_close(backward[:2], jax.tree.map(lambda leaf: leaf[::-1], flipped[:2]))
    assert_close(backward.final, flipped.final)


# Batch --------------------------------------------------------------------------------------------------------


def test_batch_by_vmap_equals_batch_by_axes(cell):
    params, xs, initial_state, options = random_problem(cell, T, (B,), mask=True, reset=True, seed=14)

    def loss(params, xs, state, mask, reset, reset_state):
        run = recur.unroll(cell, params, xs, state, mask=mask, reset=reset, reset_state=reset_state)
        return run.final, run

    args = (params, xs, initial_state, options["mask"], options["reset"], options["reset_state"])
    final, by_axes = loss(*args)
    by_vmap_final, by_vmap = jax.vmap(loss, in_axes=(None, 1, 0, 1, 1, 0), out_axes=(0, 0))(*args)
    time_major = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), by_vmap[:2])
    assert_close((*time_major, by_vmap_final), (*by_axes[:2], final))
    assert by_vmap.info == by_axes.info

    def gradient(f):
        return jax.grad(lambda *a: weighted_sum(f(*a)[0]), argnums=(0, 1, 2), allow_int=True)(*args)

    vmapped = jax.vmap(loss, in_axes=(None, 1, 0, 1, 1, 0))
    assert_close(gradient(vmapped), gradient(loss), scale=2)


@pytest.mark.parametrize("over", ["params", "xs", "initial_state", "mask", "reset", "reset_state", "everything"])
def test_vmap_over_each_argument_equals_runs_one_by_one(over):
    cell = CELLS["lstm"]
    seeds = range(3)
    problems = [random_problem(cell, T, (B,), mask=True, reset=True, seed=15 + 10 * seed) for seed in seeds]
    names = ("params", "xs", "initial_state", "mask", "reset", "reset_state")
    all_args = [dict(zip(names[:3], p[:3], strict=True)) | p.options for p in problems]
    varies = set(names) if over == "everything" else {over}
    one_by_one = [{n: (a if n in varies else all_args[0])[n] for n in names} for a in all_args]
    args = {
        n: jax.tree.map(lambda *leaves: np.stack(leaves), *(a[n] for a in one_by_one))
        if n in varies
        else all_args[0][n]
        for n in names
    }
    run = jax.vmap(
        lambda a: trajectory(recur.unroll(cell, **a)), in_axes=({n: 0 if n in varies else None for n in names},)
    )(args)
    for seed in seeds:
        assert_close(take(run, seed), trajectory(recur.unroll(cell, **one_by_one[seed])))
    assert not np.allclose(run[0][0], run[0][1]), "the rows must differ, or the test proves nothing"


@examples(5)
@hypothesis.given(st.permutations(range(B)))
def test_permuting_the_batch_permutes_the_result(order):
    cell, order = CELLS["lstm"], np.array(order)
    params, xs, initial_state, options = random_problem(cell, T, (B,), mask=True, reset=True, seed=16)
    run = recur.unroll(cell, params, xs, initial_state, **options)
    permuted = recur.unroll(
        cell,
        params,
        xs[:, order],
        take(initial_state, order),
        mask=options["mask"][:, order],
        reset=options["reset"][:, order],
        reset_state=take(options["reset_state"], order),
    )
    assert_close(permuted[:2], jax.tree.map(lambda leaf: leaf[:, order], run[:2]))
    assert_close(permuted.final, take(run.final, order))


def test_batch_axes_may_be_folded_into_one(cell):
    params, xs, initial_state, options = random_problem(cell, T, (2, 3), mask=True, seed=17)
    folded = recur.unroll(
        cell,
        params,
        xs.reshape(T, 6, X),
        jax.tree.map(lambda leaf: leaf.reshape(6, -1), initial_state),
        mask=options["mask"].reshape(T, 6),
    )
    run = recur.unroll(cell, params, xs, initial_state, **options)
    assert_close(run.outputs.reshape(folded.outputs.shape), folded.outputs)


# Depth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
def test_stacked_equals_one_layer_after_the_other(residual):
    layers = [lstm(3), gru(3), elman(3)]
    cell = stacked(*layers, residual=residual)
    params, xs, _, options = random_problem(cell, T, (B,), mask=True, seed=18)

    def by_hand(params, xs):
        below, finals = xs, []
        for index, layer in enumerate(layers):
            run = recur.unroll(layer, params[f"layer_{index}"], below, **options)
            below = below + run.outputs if residual and index else run.outputs
            finals.append(run.final)
        return below, finals

    def at_once(params, xs):
        run = recur.unroll(cell, params, xs, **options)
        return run.outputs, list(run.final)

    assert_close(at_once(params, xs), by_hand(params, xs))

    def gradient(f):
        return jax.grad(lambda *args: weighted_sum(f(*args)), argnums=(0, 1))(params, xs)

    assert_close(gradient(at_once), gradient(by_hand))


def test_stacks_nest():
    flat = stacked(lstm(3), gru(4), elman(2))
    nested = stacked(stacked(lstm(3), gru(4)), elman(2))
    params, xs, _, _ = random_problem(flat, T, (B,), seed=19)
    deep = {"layer_0": {name: params[name] for name in ("layer_0", "layer_1")}, "layer_1": params["layer_2"]}
    assert_identical(recur.unroll(flat, params, xs).outputs, recur.unroll(nested, deep, xs).outputs)


def test_steps_by_hand_equal_unroll(cell, problem):
    params, xs, state, _ = problem
    run = recur.unroll(cell, params, xs, state)
    for t in range(T):
        state, output = cell.step(params, state, xs[t])
        assert_close(output, run.outputs[t])
    assert_close(state, run.final)


def test_default_initial_state_is_zero(cell):
    params, xs = random_params(cell, X, 20), random_problem(cell, T, (B,), seed=20).xs
    zeros = jax.tree.map(jnp.zeros_like, cell.initial_state((B,)))
    assert_identical(trajectory(recur.unroll(cell, params, xs)), trajectory(recur.unroll(cell, params, xs, zeros)))
