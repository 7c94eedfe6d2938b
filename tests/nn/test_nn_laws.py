"""Laws that hold for every module: what counts in a sequence is read as if it stood alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import CAUSAL, INPUT_SIZE, MODULES, assert_close, dot, make, normal_like, run_alone

T = 6
# What counts, by how much does: sequences of one length run in one vmap of the oracle.
MASKS = {
    3: [[1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]],
    6: [[1, 1, 1, 1, 1, 1]],
    0: [[0, 0, 0, 0, 0, 0]],
}
MASK = np.array([row for rows in MASKS.values() for row in rows], bool)


@pytest.fixture(params=MODULES)
def name(request):
    return request.param


def value_and_grad(loss, *args):
    """Returns the gradient in every argument and what `loss` hands out beside it, compiled."""
    return jax.jit(jax.grad(loss, argnums=tuple(range(len(args))), has_aux=True))(*args)


def test_a_padded_batch_equals_each_sequence_alone(name, key, x64):
    batch = len(MASK)
    graph, params = nnx.split(make(name, jnp.float64))
    keys = jax.random.split(key, 5)
    x = jax.random.normal(keys[0], (batch, T, INPUT_SIZE))
    padded = jnp.where(MASK[..., None], x, jnp.nan)
    start = normal_like(keys[1], nnx.merge(graph, params).initial_state((batch,), jnp.float64))
    size = nnx.merge(graph, params).output_size
    for_outputs, for_last = jax.random.normal(keys[2], (batch, T, size)), jax.random.normal(keys[3], (batch, size))
    for_state = normal_like(keys[4], start)

    def loss_of(outputs, last, state):
        return jnp.vdot(for_outputs, outputs) + jnp.vdot(for_last, last) + dot(for_state, state)

    def together(params, x, start):
        module = nnx.merge(graph, params)
        outputs, state = module(x, initial_state=start, mask=MASK, return_state=True)
        last = module(x, initial_state=start, mask=MASK, return_sequences=False)
        return loss_of(outputs, last, state), (outputs, last, state)

    def alone(params, x, start):
        module, outputs, lasts, states = nnx.merge(graph, params), jnp.zeros((batch, T, size)), [], []
        for count in MASKS:
            rows = np.flatnonzero(MASK.sum(1) == count)
            steps = np.array([np.flatnonzero(MASK[i]) for i in rows], int).reshape(len(rows), count)
            begin = jax.tree.map(lambda leaf, rows=rows: leaf[rows], start)
            run = jax.vmap(run_alone, in_axes=(None, 0, 0))(module, x[rows[:, None], steps], begin)
            outputs = outputs.at[rows[:, None], steps].set(run.outputs)
            lasts.append(run.last)
            states.append(run.state)
        last, state = jnp.concatenate(lasts), jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)
        return loss_of(outputs, last, state), (outputs, last, state)

    grad, actual = value_and_grad(together, params, padded, start)
    expected_grad, expected = value_and_grad(alone, params, x, start)
    assert_close(actual, expected, 1e-12)
    assert_close(grad, expected_grad, 1e-12)
    assert jnp.all(actual[0][~MASK] == 0)
    assert jnp.all(grad[1][~MASK] == 0)


def test_lengths_mean_the_mask_of_the_first_steps(name, key):
    module = make(name)
    x = jax.random.normal(key, (4, T, INPUT_SIZE))
    lengths = np.array([6, 3, 0, 1])
    expected = module(x, mask=np.arange(T) < lengths[:, None], return_state=True)
    assert_close(module(x, lengths=lengths, return_state=True), expected, 0.0)


def test_a_sequence_without_steps_returns_its_initial_state(name):
    module = make(name)
    start = normal_like(jax.random.key(1), module.initial_state((2,)))
    x = jnp.ones((2, T, INPUT_SIZE))
    for steps, options in ((x, {"lengths": [0, 0]}), (x[:, :0], {}), (x[:, :0], {"reset": np.zeros((2, 0), bool)})):
        outputs, state = module(steps, initial_state=start, return_state=True, **options)
        assert_close(state, start, 0.0)
        assert jnp.all(outputs == 0)
        assert outputs.shape == (2, steps.shape[1], module.output_size)


@pytest.mark.parametrize("causal", CAUSAL)
def test_two_halves_equal_the_whole(causal, key):
    module = make(causal)
    x = jax.random.normal(key, (2, 7, INPUT_SIZE))
    lengths = jnp.array([7, 5])
    whole, end = module(x, lengths=lengths, return_state=True)
    first, middle = module(x[:, :4], lengths=[4, 4], return_state=True)
    second, last = module(x[:, 4:], lengths=lengths - 4, initial_state=middle, return_state=True)
    assert_close(jnp.concatenate([first, second], axis=1), whole, 1e-6)
    assert_close(last, end, 1e-6)


def test_packed_sequences_equal_separate_runs(name, key, x64):
    # Three sequences of 3, 1 and 4 steps in one row. What stands between and around them does not count; a flag at
    # a step that does not count is not seen. The first row and
    # the last reset at their first step as well.
    layouts = (
        ("aaa.b...cccc", "r...r.r.r..."),
        ("..aaab.cc.cc", ".....r.r...."),
        ("aaabcccc....", "r..rr......r"),
    )
    lengths = {"a": 3, "b": 1, "c": 4}
    module = make(name, jnp.float64)
    graph, params = nnx.split(module)
    keys = jax.random.split(key, 5)
    parts = {
        part: jax.random.normal(k, (n, INPUT_SIZE))
        for k, (part, n) in zip(jax.random.split(keys[0]), list(lengths.items())[:2], strict=True)
    }
    parts["c"] = jax.random.normal(keys[1], (lengths["c"], INPUT_SIZE))
    where = [{part: [i for i, c in enumerate(steps) if c == part] for part in lengths} for steps, _ in layouts]
    x = jnp.full((3, 12, INPUT_SIZE), jnp.nan)
    for index, places in enumerate(where):
        for part, steps in places.items():
            x = x.at[index, np.array(steps)].set(parts[part])
    mask = np.array([[c != "." for c in steps] for steps, _ in layouts])
    reset = np.array([[c == "r" for c in flags] for _, flags in layouts])
    # The carried-in state must reach the first sequence forwards, the last one backwards, and no other.
    carried = normal_like(keys[2], module.initial_state((), jnp.float64))
    fresh = normal_like(keys[3], module.initial_state((), jnp.float64))
    weights = jax.random.normal(keys[4], (8, module.output_size))

    def packed(params, x):
        spread = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (3, *leaf.shape)), (carried, fresh))
        outputs, state = nnx.merge(graph, params)(
            x, initial_state=spread[0], reset_state=spread[1], mask=mask, reset=reset, return_state=True
        )
        read = jnp.stack(
            [outputs[i][np.concatenate([p[part] for part in lengths])] for i, p in enumerate(where)]
        )  # [3, 8, H]
        return jnp.vdot(weights, read.sum(0)), (read, state)

    def starts_of(part):
        """The state that each layout begins a part with."""
        begun_afresh = [part != "a" or reset[index, places["a"][0]] for index, places in enumerate(where)]
        backward = carried if part == "c" else fresh
        states = [mix(fresh if afresh else carried, backward, name) for afresh in begun_afresh]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def separate(params, x):
        module = nnx.merge(graph, params)
        runs = {}
        for part in lengths:
            steps = np.array([places[part] for places in where])
            mine = x[np.arange(3)[:, None], steps]
            runs[part] = jax.vmap(run_alone, in_axes=(None, 0, 0))(module, mine, starts_of(part))
        read = jnp.concatenate([run.outputs for run in runs.values()], axis=1)
        return jnp.vdot(weights, read.sum(0)), (read, mix(runs["c"].state, runs["a"].state, name))

    grad, actual = value_and_grad(packed, params, x)
    expected_grad, expected = value_and_grad(separate, params, x)
    assert_close(actual, expected, 1e-12)
    assert_close(grad[0], expected_grad[0], 1e-12)
    assert_close(grad[1], expected_grad[1], 1e-12)
    assert jnp.all(grad[1][~mask] == 0)


def mix(forward, backward, name):
    """Takes the forward states of one tree of states and the backward states of another."""
    if name == "bidirectional":
        return forward[0], backward[1]
    if name == "deep_bidirectional":
        return tuple((f[0], b[1]) for f, b in zip(forward, backward, strict=True))
    return forward


@pytest.mark.parametrize("batch_shape", [(), (3, 2)])
def test_any_number_of_batch_axes(name, batch_shape, key):
    module = make(name)
    x = jax.random.normal(key, (*batch_shape, T, INPUT_SIZE))
    start = normal_like(jax.random.key(1), module.initial_state(batch_shape))
    lengths = jax.random.randint(jax.random.key(2), batch_shape, 0, T + 1)
    reset = jax.random.bernoulli(jax.random.key(3), 0.3, (*batch_shape, T))
    outputs, state = module(x, initial_state=start, lengths=lengths, reset=reset, return_state=True)
    last = module(x, initial_state=start, lengths=lengths, reset=reset, return_sequences=False)

    def flat(leaf):
        return leaf.reshape(-1, *leaf.shape[len(batch_shape) :])

    expected, expected_state = module(
        flat(x), initial_state=jax.tree.map(flat, start), lengths=flat(lengths), reset=flat(reset), return_state=True
    )
    assert outputs.shape == (*batch_shape, T, module.output_size)
    assert last.shape == (*batch_shape, module.output_size)
    assert_close(flat(outputs), expected, 1e-6)
    assert_close(jax.tree.map(flat, state), expected_state, 1e-6)
