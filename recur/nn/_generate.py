"""Token by token from a step function: greedy, sampled, compiled or streamed."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._checks import (
    LARGEST,
    check_arrays,
    check_callable,
    check_floating,
    check_key,
    check_number,
    check_positive,
    check_shape,
    check_tree,
    check_whole,
)
from recur._types import Array, Float, Int, Key, PyTree
from recur.nn._layout import as_ids

Step = Callable[[PyTree, Int[Array, "*B"]], tuple[Float[Array, "*B V"], PyTree]]
"""``step(state, token) -> (logits, state)``: reads a token and scores its successors."""

Choose = Callable[[jax.Array, Float[Array, "*B V"]], Int[Array, "*B"]]
"""``choose(place, logits) -> token``, the places being 0, 1, 2, ..."""


class Generated(NamedTuple):
    """What a search made.

    Args:
        tokens: ``[*B, T]``, T being the greatest length; after the end token there are more end tokens, or zeros.
        lengths: Tokens generated, the end token among them, ``[*B]``.
        scores: Sum of the tokens' log-probabilities under the model, in nats, ``[*B]``: before temperature and
            truncation, which change what is drawn and not what it is worth.
    """

    tokens: Int[Array, "*B T"]
    lengths: Int[Array, "*B"]
    scores: Float[Array, "*B"]


def greedy(step: Step, state: PyTree, start: Int[Array, "*B"], *, max_length: int, end: int | None = None) -> Generated:
    """Takes the likeliest token at every step, the first of them among equals.

    One compiled loop, which stops when all sequences have ended. Call it inside of a jitted function that gets the
    model as an argument; outside, every call is compiled anew.

    Args:
        step: ``step(state, token) -> (logits, state)``, such as ``model.step`` of a `LanguageModel`, or
            ``functools.partial(model.step, memory)`` of an `EncoderDecoder`.
        state: Before the first token is read.
        start: Token to begin with, which is read and not returned: the last one of a prompt, or a mark.
        max_length: Tokens at most, T.
        end: Token that ends a sequence; None if none does.

    Returns:
        `Generated`.

    Raises:
        TypeError: Tokens of the wrong kind, or a step that changes the structure of the state.
        ValueError: `max_length` below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> count = lambda state, token: (jax.nn.one_hot(token + 1, 5), state)
        >>> greedy(count, (), jnp.array([0, 2]), max_length=4, end=4).tokens.tolist()
        [[1, 2, 3, 4], [3, 4, 4, 4]]
    """
    return _generate(step, state, start, _likeliest, max_length, end)


def sample(
    step: Step,
    state: PyTree,
    start: Int[Array, "*B"],
    key: Key[Array, ""],
    *,
    max_length: int,
    end: int | None = None,
    temperature: Float[Array, ""] | float = 1.0,
    top_k: int | None = None,
    top_p: Float[Array, ""] | float | None = None,
) -> Generated:
    """Draws every token from the model's distribution, or from its likeliest part.

        token ~ softmax(logits / temperature), cut down to its top_k likeliest tokens, of these to the fewest
        likeliest ones whose probabilities sum to top_p or more

    Compiled and called as `greedy`; the same key draws the same tokens, bit for bit, and so does `stream`.

    Args:
        step: As in `greedy`.
        state: As in `greedy`.
        start: As in `greedy`.
        key: Draws the tokens.
        max_length: As in `greedy`.
        end: As in `greedy`.
        temperature: Above 0; below 1 sharpens. 0 would be `greedy`.
        top_k: How many of the likeliest tokens to keep; None for all. 1 is `greedy`.
        top_p: Probability to keep, in (0, 1]; None for all. The likeliest token always stays.

    Returns:
        `Generated`.

    Raises:
        TypeError: A key, token or number of the wrong kind.
        ValueError: A number out of its range.

    Reference:
        Fan et al. (2018), "Hierarchical neural story generation", https://arxiv.org/abs/1805.04833 (top-k). Holtzman
        et al. (2020), "The curious case of neural text degeneration", https://arxiv.org/abs/1904.09751 (top-p).
    """
    check_key("key", key)
    choose = functools.partial(_draw, key=key, **_read_truncation(temperature, top_k, top_p))
    return _generate(step, state, start, choose, max_length, end)


def stream(
    step: Step,
    state: PyTree,
    start: Int[Array, "*B"],
    key: Key[Array, ""] | None = None,
    *,
    max_length: int | None = None,
    end: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Iterator[tuple[Int[Array, "*B"], PyTree]]:
    """Yields token after token, each with the state that it was chosen in, as soon as it is there.

    `step` is called from Python, so jit it: ``jax.jit(model.step)`` compiles once for many tokens. To go on from a
    pair later, hand its state and token to any of these functions.

    Args:
        step: As in `greedy`.
        state: As in `greedy`.
        start: As in `greedy`.
        key: Draws the tokens, those of `sample`; None takes the likeliest, as `greedy`.
        max_length: Tokens at most; None goes on until all sequences have ended, or for ever.
        end: Token that ends a sequence, and then follows itself; None if none does.
        temperature: As in `sample`.
        top_k: As in `sample`.
        top_p: As in `sample`.

    Yields:
        Pairs ``(token, state)``.

    Raises:
        TypeError: A key, token or number of the wrong kind.
        ValueError: A number out of its range.
    """
    if key is not None:
        check_key("key", key)
    options = {"key": key, **_read_truncation(temperature, top_k, top_p)}
    choose = _likeliest if key is None else functools.partial(jax.jit(_draw, static_argnames="top_k"), **options)
    places = itertools.count() if max_length is None else range(check_positive("max_length", max_length))
    check_callable("step", step, "(state, token) -> (logits, state)", 2)
    return _stream(step, state, as_ids("start", start), choose, places, check_end(end))


def _stream(step: Step, state: PyTree, token: jax.Array, choose: Choose, places: Any, end: int | None) -> Iterator:
    finished = jnp.zeros(token.shape, bool)
    for place in places:
        logits, state = step(state, token)
        token = choose(place, logits).astype(token.dtype)
        if end is not None:
            token = jnp.where(finished, end, token)
            finished = token == end
        yield token, state
        if finished.all():
            return


def _generate(
    step: Step, state: PyTree, start: Int[Array, "*B"], choose: Choose, max_length: int, end: int | None
) -> Generated:
    start, end = as_ids("start", start), check_end(end)
    dtype = check_step(step, state, start)
    padding = 0 if end is None else end

    def unfinished(carry: tuple) -> jax.Array:
        place, _, _, generated, finished = carry
        return (place < len(generated.tokens)) & ~jnp.all(finished)

    def advance(carry: tuple) -> tuple:
        place, state, token, (tokens, lengths, scores), finished = carry
        logits, state = step(state, token)
        token = jnp.where(finished, padding, choose(place, logits)).astype(token.dtype)
        nats = jax.nn.log_softmax(logits.astype(dtype), axis=-1)
        gain = jnp.take_along_axis(nats, token[..., None], axis=-1)[..., 0]
        generated = Generated(tokens.at[place].set(token), lengths + ~finished, scores + jnp.where(finished, 0, gain))
        return place + 1, state, token, generated, finished if end is None else finished | (token == end)

    nothing = Generated(
        jnp.full((check_positive("max_length", max_length), *start.shape), padding, start.dtype),
        jnp.zeros(start.shape, jnp.int32),
        jnp.zeros(start.shape, dtype),
    )
    begin = (jnp.int32(0), state, start, nothing, jnp.zeros(start.shape, bool))
    generated = jax.lax.while_loop(unfinished, advance, begin)[3]
    return generated._replace(tokens=jnp.moveaxis(generated.tokens, 0, -1))


def check_step(step: Step, state: PyTree, token: Int[Array, "*B"]) -> Any:
    """Returns the dtype of the scores that a step makes, once it is known to keep the state's structure.

    Raises:
        TypeError: A step that changes the structure or dtypes of the state.
        ValueError: A step that changes its shapes.
    """
    check_callable("step", step, "(state, token) -> (logits, state)", 2)
    check_arrays("state", state)
    logits, after = jax.eval_shape(step, state, token)
    check_tree("state after a step", after, state, "a step must return a state like the one it got")
    return jnp.promote_types(jnp.float32, logits.dtype)


def _likeliest(place: Any, logits: Float[Array, "*B V"]) -> Int[Array, "*B"]:
    del place
    return jnp.argmax(logits, axis=-1)


def _draw(
    place: Any, logits: Float[Array, "*B V"], *, key: Key[Array, ""], temperature: Any, top_k: int | None, top_p: Any
) -> Int[Array, "*B"]:
    # Differences to the greatest one: at a temperature near 0 the quotients would all be infinite. Below the least
    # normal number it may count as 0.
    key, logits = jax.random.fold_in(key, place), logits - jnp.max(logits, axis=-1, keepdims=True)
    logits = logits / jnp.maximum(temperature, jnp.finfo(logits.dtype).tiny)
    if top_k is None and top_p is None:
        return jax.random.categorical(key, logits)
    # Sorted downwards, equal ones by their index: a rank is drawn, and says which token that is.
    size = logits.shape[-1] if top_k is None else min(top_k, logits.shape[-1])
    logits, tokens = jax.lax.top_k(logits, size)
    if top_p is not None:
        probabilities = jax.nn.softmax(logits, axis=-1)
        above = jnp.cumsum(probabilities, axis=-1) - probabilities
        logits = jnp.where(above < top_p, logits, -jnp.inf)
    rank = jax.random.categorical(key, logits)
    return jnp.take_along_axis(tokens, rank[..., None], axis=-1)[..., 0]


def check_end(end: Any) -> int | None:
    """Returns the token that ends a sequence as an int, None as None, or raises if it is no token."""
    if end is not None and not 0 <= check_whole("end", end) <= LARGEST:
        raise ValueError(f"end: expected a token from 0 on, or None, got {end}")
    return end


def _read_truncation(temperature: Any, top_k: int | None, top_p: Any) -> dict[str, Any]:
    """Returns the three options of `sample`, checked; traced numbers may be anything."""
    if top_k is not None:
        check_positive("top_k", top_k)
    temperature = _read_number("temperature", temperature)
    if isinstance(temperature, float) and not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature:g}; nn.greedy is the limit at 0")
    top_p = None if top_p is None else _read_number("top_p", top_p)
    if isinstance(top_p, float) and not 0 < top_p <= 1:
        raise ValueError(f"top_p: expected a probability in (0, 1], got {top_p}")
    return {"temperature": temperature, "top_k": top_k, "top_p": top_p}


def _read_number(name: str, value: Any) -> jax.Array | float:
    if not isinstance(value, jax.Array):
        return check_number(name, value)
    check_floating(name, value, "give a number")
    check_shape(name, value, (), "give one number for all sequences")
    return value
