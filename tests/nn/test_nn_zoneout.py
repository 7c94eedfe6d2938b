"""Units that keep their state, and states of which a sequence's product does not see all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import INPUT_SIZE, MODULES, assert_close

import recur
from recur import cells, interop, nn

KEY = jax.random.key(3)
BATCH, STEPS, SIZE = 5, 40, 8
X = jax.random.normal(jax.random.key(4), (BATCH, STEPS, INPUT_SIZE))
RATES = (0.2, 0.5)


def run(rnn, x=X, **options):
    """Returns the states after every step, ``[T, B, H]`` each, by the module's own step."""
    outputs, state = rnn(x, return_state=True, **options)
    return jnp.moveaxis(outputs, 1, 0), state


def within(share, rate, count):
    return abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / count)


def test_a_unit_keeps_its_state_or_takes_the_next_one():
    """Each entry is bit by bit one of the two, the old one as often as was asked for, each field's by itself."""
    rnn = nn.RNN(cells.lstm(SIZE), INPUT_SIZE, recurrent_dropout=nn.Zoneout(RATES), rngs=nnx.Rngs(0))
    drawn = rnn.recurrent_dropout.draw(KEY, rnn.cell, rnn.as_cell()[1], jnp.moveaxis(X, 1, 0))
    states = recur.unroll(*drawn, engine=recur.engines.Scan()).states
    assert_close(jnp.moveaxis(rnn(X, key=KEY), 1, 0), states.h, 1e-6)
    start = rnn.initial_state((BATCH,))
    before = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest[:-1]]), start, states)
    after, _ = rnn.cell.step(drawn.params, before, jnp.moveaxis(X, 1, 0))
    kept = [np.asarray(old == now) for old, now in zip(before, states, strict=True)]
    # The first state is zero, so that nothing tells there what was kept.
    for field, (is_kept, rate) in enumerate(zip(kept, RATES, strict=True)):
        assert within(is_kept[1:].mean(), rate, is_kept[1:].size)
        np.testing.assert_allclose(states[field][~is_kept], after[field][~is_kept], rtol=1e-5, atol=1e-6)
        # Others at every step, in every sequence, for every unit.
        for axis in range(3):
            alike = np.diff(is_kept[1:].astype(int), axis=axis) == 0
            assert within(alike.mean(), rate**2 + (1 - rate) ** 2, alike.size)
    both = (kept[0] & kept[1])[1:]
    assert within(both.mean(), RATES[0] * RATES[1], both.size)


@pytest.mark.parametrize("name", ["lstm", "lru", "min_gru"])
def test_evaluation_takes_the_mean(name):
    cell = cells.CELLS[name](SIZE)
    rnn = nn.RNN(cell, INPUT_SIZE, recurrent_dropout=nn.Zoneout(0.3), rngs=nnx.Rngs(0))
    params = rnn.as_cell()[1]
    state = wanted = cell.initial_state((BATCH,))
    outputs = rnn(X)
    for step in range(6):
        after, _ = cell.step(params, wanted, X[:, step])
        wanted = jax.tree.map(lambda old, new: 0.3 * old + 0.7 * new, wanted, after)
        assert_close(outputs[:, step], cell.output(wanted), 1e-5)
        state, output = rnn.step(state, X[:, step])
        assert_close(output, cell.output(wanted), 1e-5)


def test_a_sequence_sees_the_same_part_of_its_state_at_every_step():
    """As with rows of the recurrent kernel that are zero for it, and others larger."""
    rate = 0.4
    for cell in (cells.lstm(SIZE), cells.gru(SIZE), cells.elman(SIZE)):
        rnn = nn.RNN(cell, INPUT_SIZE, recurrent_dropout=nn.VariationalDropout(rate), rngs=nnx.Rngs(0))
        params = rnn.as_cell()[1]
        drawn = rnn.recurrent_dropout.draw(KEY, cell, params, jnp.moveaxis(X, 1, 0))
        mask = drawn.params["mask"]
        assert set(np.unique(mask).tolist()) == {0.0, float(jnp.float32(1 / (1 - rate)))}
        assert len(np.unique(mask, axis=0)) == BATCH

        def one(row, x, cell=cell, params=params):
            kernel = params["recurrent_kernel"] * row.reshape(-1, *(1,) * (params["recurrent_kernel"].ndim - 1))
            return recur.unroll(cell, params | {"recurrent_kernel": kernel}, x).outputs

        def loss(run, x):
            outputs = run(x)
            return jnp.sum(outputs * jnp.sin(jnp.arange(outputs.size).reshape(outputs.shape))), outputs

        def grads(run):
            return jax.value_and_grad(lambda x: loss(run, x), has_aux=True)(X)

        (_, outputs), gradient = grads(lambda x, rnn=rnn: rnn(x, key=KEY))
        (_, wanted), wanted_gradient = grads(lambda x, one=one, mask=mask: jax.vmap(one)(mask, x))
        assert_close(outputs, wanted, 1e-5)
        assert_close(gradient, wanted_gradient, 1e-4)
        assert_close(rnn(X), nn.RNN(cell, INPUT_SIZE, rngs=nnx.Rngs(0))(X), 0.0)


def test_the_share_that_a_product_does_not_see():
    cell = cells.gru(64)
    params = cell.init(KEY, INPUT_SIZE)
    mask = nn.VariationalDropout(0.3).draw(KEY, cell, params, jnp.zeros((1, 200, INPUT_SIZE))).params["mask"]
    assert within(float((mask == 0).mean()), 0.3, mask.size)


WAYS = [nn.WeightDrop(0.5), nn.VariationalDropout(0.5), nn.Zoneout(0.5)]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
@pytest.mark.parametrize("name", MODULES)
def test_it_acts_with_a_key_and_is_a_function_of_it(name, way):
    module = MODULES[name](recurrent_dropout=way, rngs=nnx.Rngs(2))
    dropped = module(X, key=KEY)
    assert_close(module(X, key=KEY), dropped, 0.0)
    assert not np.allclose(module(X, key=jax.random.key(9)), dropped)
    assert not np.allclose(module(X), dropped)
    # The lengths of others change nothing, and padding is passed over.
    lengths = jnp.array([STEPS, 3, STEPS, 1, STEPS])
    found = module(X, lengths=lengths, key=KEY)
    assert np.all(np.asarray(found[1, 3:]) == 0)
    if name in ("rnn", "stack"):
        assert_close(found[1, :3], dropped[1, :3], 1e-5)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: type(way).__name__)
def test_steps_of_a_stream_share_what_a_sequence_drops(way):
    module = nn.Stack([cells.lstm(4), cells.gru(5)], INPUT_SIZE, recurrent_dropout=way, rngs=nnx.Rngs(1))

    def stream(places):
        state, states = module.initial_state((BATCH,)), []
        for step, place in enumerate(places):
            state, output = module.step(state, X[:, step], key=KEY, place=place)
            states.append(state)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *states), output

    states, output = stream(range(4))
    if not isinstance(way, nn.Zoneout):
        assert_close(output, module(X, key=KEY)[:, 3], 1e-5)
        assert_close(stream([None] * 4)[1], output, 1e-6)
        return
    # Entries keep their state as often as at all steps of a call, others at other places.
    for leaf, again in zip(jax.tree.leaves(states), jax.tree.leaves(stream([7, 7, 7, 7])[0]), strict=True):
        kept, same = (np.asarray(found[:, 1:] == found[:, :-1]) for found in (leaf, again))
        assert within(kept.mean(), 0.5, kept.size)
        assert not np.array_equal(kept[:, 0], kept[:, 1])
        assert np.array_equal(same[:, 0], same[:, 1])
    with pytest.raises(ValueError, match="place: expected the number of the step, for Zoneout"):
        stream([None])
    for place in (1.5, "a", jnp.zeros(2, int)):
        with pytest.raises(TypeError, match="place: expected a whole number"):
            stream([place])


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: type(way).__name__)
def test_every_model_takes_it(way):
    made = {"hidden_size": 4, "recurrent_dropout": way, "rngs": nnx.Rngs(0)}
    ids = jnp.arange(12).reshape(3, 4) % 5
    language = nn.LanguageModel(5, cells.lstm, **made)
    classifier = nn.SequenceClassifier(2, cells.lstm, vocabulary_size=5, **made)
    regressor = nn.SequenceRegressor(1, cells.gru, input_size=INPUT_SIZE, **made)
    spelled = {"alphabet_size": 5, "character_hidden_size": 3}
    tagger = nn.SequenceTagger(5, 3, cells.lstm, **spelled, **made)
    captioner = nn.Captioner(2, 5, cells.lstm, **made)
    frames = nn.FrameClassifier((8, 8), 3, cells.lstm, features=6, **made)
    calls = [
        (language, (ids,)),
        (classifier, (ids,)),
        (regressor, (X,)),
        (tagger, (ids, jnp.stack([ids, ids + 1], axis=-1) % 5)),
        (captioner, (jnp.ones((3, 2)), ids)),
        (frames, (jax.random.normal(KEY, (2, 3, 8, 8)),)),
    ]
    for feeding in (None, "input", "context"):
        calls.append((nn.EncoderDecoder(5, 5, cells.lstm, feeding=feeding, **made), (ids, ids)))
    for model, arguments in calls:
        dropped = model(*arguments, key=KEY)
        assert not np.allclose(dropped, model(*arguments)), type(model).__name__
        assert_close(model(*arguments, key=KEY), dropped, 0.0)


def test_what_a_cell_lacks_is_said():
    def make(cell, way):
        return nn.RNN(cell, INPUT_SIZE, recurrent_dropout=way, rngs=nnx.Rngs(0))

    for cell, way, message in (
        (cells.min_gru(3), nn.VariationalDropout(0.5), "which has no recurrent product, got VariationalDropout"),
        (cells.gru(3, reset_after=False), nn.VariationalDropout(0.5), "which has no product that is declared"),
        (cells.lru(3), nn.VariationalDropout(0.5), "which has no product that is declared"),
        (cells.gru(3), nn.Zoneout((0.1, 0.2)), "which has a state of 1 fields for 2 rates"),
    ):
        with pytest.raises(ValueError, match=f"recurrent_dropout: expected 0 or another with .*{message}"):
            make(cell, way)
    for way in (nn.WeightDrop, nn.VariationalDropout, nn.Zoneout):
        with pytest.raises(ValueError, match="rate: expected a probability"):
            way(1.0)
        with pytest.raises(TypeError, match="rate: expected a probability"):
            way("half")
    with pytest.raises(ValueError, match="rate: expected a probability"):
        nn.Zoneout((0.1, 1.0))


def test_no_rate_is_no_dropout():
    for way in (0, 0.0, nn.WeightDrop(0.0), nn.VariationalDropout(0), nn.Zoneout(0.0), nn.Zoneout((0, 0))):
        rnn = nn.RNN(cells.lstm(3), INPUT_SIZE, recurrent_dropout=way, rngs=nnx.Rngs(0))
        assert rnn.recurrent_dropout is None
        assert rnn.as_cell()[0] == cells.lstm(3)


@pytest.mark.parametrize("way", [nn.WeightDrop, nn.VariationalDropout, nn.Zoneout])
def test_a_rate_of_numpy_changes_no_dtype(way, x64):
    """In double precision too, where a number of NumPy's would make float64 of a network's float32."""
    rnn = nn.RNN(cells.lstm(3), INPUT_SIZE, recurrent_dropout=way(np.float64(0.5)), rngs=nnx.Rngs(0))
    x = X.astype(jnp.float32)
    assert {rnn(x).dtype, rnn(x, key=KEY).dtype} == {jnp.dtype(jnp.float32)}


def test_a_network_with_zoneout_has_no_likeness_elsewhere():
    rnn = nn.RNN(cells.lstm(3), INPUT_SIZE, recurrent_dropout=nn.Zoneout(0.1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="ZoneoutCell"):
        interop.to_flax(rnn)
