"""Searches over a small chain whose every sequence can be enumerated."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import compiled

from recur import nn

V, T, END = 3, 4, 2
START = np.array([0, 1], np.int32)
TABLE = 2 * np.random.default_rng(5).standard_normal((V, V, V)).astype(np.float32)


def step(state, token):
    """Scores by the last two tokens, so that a state of the wrong sequence shows."""
    return jnp.asarray(TABLE)[state["before"], token], {"before": token}


def begin(size=2):
    return {"before": np.zeros(size, np.int32)}


def every_sequence(start, end, alpha):
    """All sequences, ranked: those that end, and those cut off, as (rank, tokens)."""
    found = set()
    for tokens in itertools.product(range(V), repeat=T):
        if end is not None and end in tokens:
            tokens = tokens[: tokens.index(end) + 1]
        found.add(tokens)
    ranked = []
    for tokens in found:
        ranked.append((sum_all(tokens, start) / ((5 + len(tokens)) / 6) ** alpha, tokens))
    return sorted(ranked, reverse=True)


def sum_all(tokens, start):
    """Sum of the log-probabilities of a sequence's tokens."""
    before, last, total = 0, start, 0.0
    for token in tokens:
        logits = np.float64(TABLE[before, last])
        total += logits[token] - np.log(np.sum(np.exp(logits)))
        before, last = last, token
    return total


@functools.cache
def beams(size, end, alpha, steps=T):
    search = functools.partial(nn.beam_search, step, beam_size=size, max_length=steps, end=end, alpha=alpha)
    return compiled(search)(begin(), START)


@pytest.mark.parametrize(
    ("end", "alpha"),
    [pytest.param(END, 0.0, marks=pytest.mark.slow), (END, 1.5), pytest.param(None, 0.0, marks=pytest.mark.slow)],
)
def test_a_beam_as_wide_as_all_sequences_ranks_them_all(end, alpha):
    found = beams(V**T, end, alpha)
    for row, start in enumerate(START):
        expected = every_sequence(start, end, alpha)
        lengths, tokens = found.lengths[row, : len(expected)], found.tokens[row, : len(expected)]
        # Sequences of the same transitions in another order have the same rank, so their places may be exchanged.
        sequences = [tuple(line[:length]) for line, length in zip(tokens, lengths, strict=True)]
        assert sequences[0] == expected[0][-1]
        assert sorted(sequences) == sorted(sequence for *_, sequence in expected)
        np.testing.assert_allclose(found.ranks[row, : len(expected)], [rank for rank, *_ in expected], rtol=1e-5)
        scores = [sum_all(sequence, start) for sequence in sequences]
        np.testing.assert_allclose(found.scores[row, : len(expected)], scores, rtol=1e-5)
        after = np.arange(T) >= lengths[:, None]
        assert np.all(tokens[after] == END)
        # There are no more sequences than there are.
        assert np.all(found.scores[row, len(expected) :] == -np.inf)


def plain_beam(start, size, alpha, steps):
    """The same search in plain Python, without stopping early."""
    alive, done = [(0.0, ())], []
    for length in range(1, steps + 1):
        continued = sorted(
            ((sum_all((*tokens, v), start), (*tokens, v)) for _, tokens in alive for v in range(V)), reverse=True
        )
        done += [(s / ((5 + length) / 6) ** alpha, t) for s, t in continued[:size] if t[-1] == END]
        alive = [(s, t) for s, t in continued if t[-1] != END][:size]
    done += [(s / ((5 + steps) / 6) ** alpha, t) for s, t in alive]
    return sorted(done, reverse=True)[:size]


@pytest.mark.parametrize("alpha", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_a_narrow_beam_equals_a_plain_loop(alpha):
    found = beams(2, END, alpha, 7)
    for row, start in enumerate(START):
        for place, (rank, tokens) in enumerate(plain_beam(start, 2, alpha, 7)):
            assert tuple(found.tokens[row, place, : found.lengths[row, place]]) == tokens
            np.testing.assert_allclose(found.ranks[row, place], rank, rtol=1e-5)


@pytest.mark.parametrize("end", [END, pytest.param(None, marks=pytest.mark.slow)])
def test_one_beam_is_greedy_and_greedy_is_a_loop(end):
    found = compiled(functools.partial(nn.greedy, step, max_length=7, end=end))(begin(), START)
    single = beams(1, end, 0.0, 7)
    for row, start in enumerate(START):
        before, last, expected = 0, start, []
        while len(expected) < 7 and (end is None or end not in expected):
            before, last = last, int(np.argmax(TABLE[before, last]))
            expected.append(last)
        length = len(expected)
        assert found.lengths[row] == single.lengths[row, 0] == length
        assert found.tokens[row, :length].tolist() == single.tokens[row, 0, :length].tolist() == expected
        np.testing.assert_allclose([found.scores[row], single.scores[row, 0]], sum_all(expected, start), rtol=1e-5)


def test_samples_follow_the_truncated_distribution():
    count, logits = 20_000, np.array([2.0, 1.0, 0.0, 1.5, -1.0], np.float32)

    @functools.partial(jax.jit, static_argnames="top_k")
    def draw(temperature, top_k, top_p):
        constant = lambda state, token: (jnp.broadcast_to(logits, (count, 5)), state)  # noqa: E731
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        return nn.sample(constant, (), jnp.zeros(count, int), jax.random.key(3), max_length=1, **options).tokens

    def drawn(temperature=1.0, top_k=None, top_p=None):
        return np.asarray(draw(temperature, top_k, top_p)).ravel()

    def truncated(kept, temperature=1.0):
        p = np.where(np.isin(np.arange(5), kept), np.exp(logits / temperature), 0)
        return p / p.sum()

    # Probabilities 0.45, 0.17, 0.06, 0.28, 0.02: the two likeliest have 0.73, three 0.90. Of the likeliest three,
    # the first two have 0.81; at temperature 0.5 they have 0.89 of all.
    cases = [
        ({}, truncated([0, 1, 2, 3, 4])),
        ({"temperature": 0.5}, truncated([0, 1, 2, 3, 4], 0.5)),
        ({"top_p": 0.8}, truncated([0, 1, 3])),
        ({"top_k": 3, "top_p": 0.8}, truncated([0, 3])),
        ({"temperature": 0.5, "top_p": 0.8}, truncated([0, 3], 0.5)),
    ]
    for options, expected in cases:
        share = np.bincount(drawn(**options), minlength=5) / count
        assert np.all(share[expected == 0] == 0), options
        assert np.all(np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-12), options
    assert np.all(drawn(top_k=1) == 0)
    assert np.all(drawn(top_p=1e-6) == 0)


def test_the_same_key_gives_the_same_tokens_compiled_or_streamed():
    options = {"max_length": 9, "end": END, "temperature": 1.5, "top_k": 3, "top_p": 0.95}
    key = jax.random.key(2)
    search = compiled(functools.partial(nn.sample, step, **options))
    first = search(begin(), START, key)
    assert np.array_equal(first.tokens, search(begin(), START, key).tokens)
    assert len({search(begin(), START, jax.random.key(seed)).tokens.tobytes() for seed in range(5)}) > 1
    pairs = list(nn.stream(jax.jit(step), begin(), START, key, **options))
    # It stops when all have ended, and the compiled loop is padded from there on.
    length = first.lengths.max()
    assert np.array_equal(np.stack([token for token, _ in pairs], axis=1), first.tokens[:, :length])
    for row, start in enumerate(START):
        score = sum_all(first.tokens[row, : first.lengths[row]], start)
        np.testing.assert_allclose(first.scores[row], score, rtol=1e-5)


def test_a_stream_goes_on_from_any_of_its_pairs():
    whole = list(nn.stream(step, begin(), START, max_length=6))
    token, state = whole[2]
    rest = list(nn.stream(step, state, token, max_length=3))
    assert np.array_equal([t for t, _ in whole[3:]], [t for t, _ in rest])
    # Nothing ends it where no token does.
    assert len(list(itertools.islice(nn.stream(step, begin(), START), 20))) == 20


SEARCHES = {
    "greedy": functools.partial(nn.greedy, step, max_length=3),
    "sample": functools.partial(nn.sample, step, key=jax.random.key(0), max_length=3),
    "beam": functools.partial(nn.beam_search, step, beam_size=2, max_length=3),
}


@pytest.mark.parametrize(
    ("which", "options", "error", "message"),
    [
        ("greedy", {"start": jnp.ones(2)}, TypeError, "start: expected an integer dtype, got float32"),
        ("greedy", {"max_length": 0}, ValueError, "max_length: expected a whole number >= 1, got 0"),
        ("greedy", {"state": {"before": jnp.zeros(2)}}, TypeError, r"state after a step\['before'\]: expected dtype"),
        ("sample", {"key": 3}, TypeError, "key: expected a PRNG key, got 3"),
        ("sample", {"temperature": 0}, ValueError, "temperature: expected a number above 0, got 0; nn.greedy"),
        ("sample", {"top_k": 0}, ValueError, "top_k: expected a whole number >= 1"),
        ("sample", {"top_p": 1.5}, ValueError, r"top_p: expected a probability in \(0, 1\], got 1.5"),
        ("beam", {"alpha": -1}, ValueError, "alpha: expected a number >= 0, got -1"),
        ("beam", {"beam_size": 0}, ValueError, "beam_size: expected a whole number >= 1"),
        ("beam", {"start": jnp.zeros((), int)}, ValueError, "start: expected one token for each of B sequences"),
        ("beam", {"state": jnp.zeros(3)}, ValueError, r"state: expected leaves that begin with the batch axis \(2,\)"),
    ],
)
def test_bad_input(which, options, error, message):
    step = lambda state, token: (jnp.asarray(TABLE)[0, token], {"before": token})  # noqa: E731
    arguments = {"state": begin(), "start": jnp.asarray(START)} | options
    with pytest.raises(error, match=message):
        SEARCHES[which].func(step, **(SEARCHES[which].keywords | arguments))


@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"top_p": 0.9}])
@pytest.mark.parametrize("temperature", [1e-3, 1e-38, 1e-45])
def test_at_the_least_temperature_the_likeliest_token_comes(temperature, options):
    logits = jnp.array([5.0, 7.0, 6.0, -jnp.inf])
    found = nn.sample(
        lambda state, token: (logits, state),
        jnp.zeros(()),
        jnp.array(0),
        jax.random.key(0),
        max_length=4,
        temperature=temperature,
        **options,
    )
    assert found.tokens.tolist() == [1, 1, 1, 1]
