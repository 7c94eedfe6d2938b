"""The best of many continuations, kept side by side."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._checks import brief, check_arrays, check_number, check_positive
from recur._types import Array, Float, Int, PyTree
from recur.nn._generate import Step, check_end, check_step
from recur.nn._layout import as_ids


class Beams(NamedTuple):
    """What `beam_search` found, the best first.

    Args:
        tokens: ``[B, K, T]``, T being the greatest length; after the end token there are more end tokens, or zeros.
        lengths: Tokens generated, the end token among them, ``[B, K]``.
        scores: Sum of the tokens' log-probabilities in nats, ``[B, K]``; -inf where there are fewer than K sequences.
        ranks: What the sequences are sorted by, ``scores / penalty(lengths)``, ``[B, K]``.
    """

    tokens: Int[Array, "B K T"]
    lengths: Int[Array, "B K"]
    scores: Float[Array, "B K"]
    ranks: Float[Array, "B K"]


class _Search(NamedTuple):
    """Where the search stands: K sequences that go on, and the K best that are done."""

    place: Int[Array, ""]
    state: PyTree
    last: Int[Array, "B K"]
    tokens: Int[Array, "B K T"]
    scores: Float[Array, "B K"]
    done: Beams


def beam_search(
    step: Step,
    state: PyTree,
    start: Int[Array, "B"],
    *,
    beam_size: int,
    max_length: int,
    end: int | None = None,
    alpha: float = 0.0,
) -> Beams:
    """Keeps, at every step, the K likeliest of all continuations by one token.

        rank(y) = ln p(y) / penalty(|y|),   penalty(n) = ((5 + n) / 6)^alpha

    A continuation by the end token is done when it is among the K likeliest; the places of those that are done go to
    the next in line. What has not ended after `max_length` tokens is ranked beside what has. The search stops once no
    sequence that goes on can outrank the K best that are done, so nothing is lost by stopping. K = 1 and alpha = 0
    give `greedy`; with K of at least V^T it is exhaustive.

    One compiled loop, called as `greedy` is. The step is mapped over the K sequences of a state, so that what it
    closes over, such as the memory of an `EncoderDecoder`, is not copied for each.

    Args:
        step: ``step(state, token) -> (logits, state)``, as in `greedy`.
        state: Before the first token is read; every leaf begins with the batch axis, ``[B, ...]``.
        start: Token to begin with, which is read and not returned.
        beam_size: Sequences K.
        max_length: Tokens at most, T.
        end: Token that ends a sequence; None if none does.
        alpha: Strength of the length penalty, 0 or more: 0 ranks by probability, which favours short sequences; 1
            about by the mean log-probability of a token.

    Returns:
        `Beams`.

    Raises:
        TypeError: Tokens or state of the wrong kind.
        ValueError: A size below 1, negative alpha, or a state without the batch axis.

    Reference:
        Wu et al. (2016), "Google's neural machine translation system", https://arxiv.org/abs/1609.08144, equation 14
        (without the coverage penalty).
    """
    start = as_ids("start", start)
    if start.ndim != 1:
        raise ValueError(f"start: expected one token for each of B sequences, got shape {start.shape}")
    check_arrays("state", state)
    for leaf in jax.tree.leaves(state):
        if jnp.shape(leaf)[:1] != start.shape:
            raise ValueError(
                f"state: expected leaves that begin with the batch axis {start.shape}, got {brief(leaf)} of shape "
                f"{jnp.shape(leaf)}; close over what all sequences share"
            )
    if not check_number("alpha", alpha) >= 0:
        raise ValueError(f"alpha: expected a number >= 0, got {alpha}")
    width, steps = check_positive("beam_size", beam_size), check_positive("max_length", max_length)
    end = check_end(end)
    dtype = check_step(step, state, start)

    def penalty(length: Any) -> jax.Array:
        return ((5 + jnp.asarray(length, dtype)) / 6) ** alpha

    def unfinished(search: _Search) -> jax.Array:
        # Scores only fall, and by no length are they divided by more than by the greatest.
        reachable = jnp.max(search.scores, axis=1) / penalty(steps)
        return (search.place < steps) & jnp.any(reachable > jnp.min(search.done.ranks, axis=1))

    def advance(search: _Search) -> _Search:
        logits, after = jax.vmap(step, in_axes=(1, 1), out_axes=(1, 1))(search.state, search.last)
        nats = jax.nn.log_softmax(logits.astype(dtype), axis=-1)
        # Each of the K sequences has one continuation that ends, so among 2K there are K that go on.
        vocabulary_size = nats.shape[-1]
        totals = (search.scores[..., None] + nats).reshape(len(start), width * vocabulary_size)
        totals, places = jax.lax.top_k(totals, min(2 * width, width * vocabulary_size))
        parents, last = places // vocabulary_size, (places % vocabulary_size).astype(start.dtype)
        tokens = _pick(search.tokens, parents).at[:, :, search.place].set(last)
        ends = jnp.zeros(last.shape, bool) if end is None else last == end
        length = search.place + 1
        among_best = jnp.arange(totals.shape[1]) < width
        ended = Beams(
            tokens,
            jnp.full(last.shape, length),
            totals,
            jnp.where(ends & among_best[None], totals / penalty(length), -jnp.inf),
        )
        scores, going = jax.lax.top_k(jnp.where(ends, -jnp.inf, totals), width)
        return _Search(
            length,
            _pick(after, jnp.take_along_axis(parents, going, axis=1)),
            jnp.take_along_axis(last, going, axis=1),
            _pick(tokens, going),
            scores,
            _best(search.done, ended),
        )

    shape, worst = (len(start), width), jnp.full((len(start), width), -jnp.inf, dtype)
    nothing = jnp.full((*shape, steps), 0 if end is None else end, start.dtype)
    begin = _Search(
        jnp.int32(0),
        jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], width, axis=1), state),
        jnp.repeat(start[:, None], width, axis=1),
        nothing,
        worst.at[:, 0].set(0),  # all are the same sequence yet, which counts once
        Beams(nothing, jnp.zeros(shape, jnp.int32), worst, worst),
    )
    found = jax.lax.while_loop(unfinished, advance, begin)
    cut_off = Beams(found.tokens, jnp.full(shape, found.place), found.scores, found.scores / penalty(found.place))
    return _best(found.done, cut_off)


def _best(done: Beams, more: Beams) -> Beams:
    """Returns the K best ranked of both, those done before first among equals."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), done, more)
    _, places = jax.lax.top_k(both.ranks, done.ranks.shape[1])
    best = _pick(both, places)
    # What has no rank is no sequence.
    return best._replace(scores=jnp.where(best.ranks == -jnp.inf, -jnp.inf, best.scores))


def _pick(tree: PyTree, places: Int[Array, "B K"]) -> PyTree:
    """Returns the leaves ``[B, N, ...]`` at N = places."""
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, chosen: rows[chosen])(leaf, places), tree)
