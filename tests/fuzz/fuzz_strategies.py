"""Arguments that are wrong, and calls with one or two of them."""

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

SMALL_SIZES = (0, 1, 2, 3, 5)
DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int8", "uint8", "bool", "complex64")
HOST_DTYPES = ("float64", "int64", "bool", "complex128", "U3", "S2", "O", "M8[s]")
SPECIAL = (math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-320, 0.0, -0.0, -1.0, 0.5, 1.0, 1 + 1e-12)
HUGE = (2**31, 2**32, 2**63, 2**64, 10**30, -(2**63), -(10**30))

hostile = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["<script>alert(1)</script>", '"><img src=x onerror=x>', "'", "&amp;", "\0", "\ud800", "٣", "a\nb"]
    ),
)
numbers = st.one_of(
    st.integers(-3, 12), st.sampled_from(HUGE), st.sampled_from(SPECIAL), st.floats(), st.booleans(), st.none()
)
# Whole numbers that make no array too large to hold, and those that no array can have.
sizes = st.one_of(st.integers(-2, 5), st.sampled_from(HUGE), st.sampled_from((1.0, 2.5, math.nan, True, "3", None)))


@st.composite
def arrays(draw, shapes=None):
    """An array of a small shape, of any dtype, with numbers, NaN and infinities, of NumPy or JAX."""
    shape = draw(st.lists(st.sampled_from(SMALL_SIZES), max_size=4).map(tuple) if shapes is None else shapes)
    fill = draw(st.sampled_from((0, 1, 1, math.nan, math.inf, -1, 3e38)))
    if draw(st.booleans()):
        dtype = np.dtype(draw(st.sampled_from(HOST_DTYPES)))
        if dtype.kind in "fc":
            return np.full(shape, fill, dtype)
        return np.ones(shape, dtype)
    dtype = jnp.dtype(draw(st.sampled_from(DTYPES)))
    plain = np.full(shape, fill, np.float32) if jnp.issubdtype(dtype, jnp.inexact) else np.ones(shape, np.float32)
    with np.errstate(over="ignore"):
        return jax.device_put(plain.astype(dtype if dtype != np.float64 else np.float32))


leaves = st.one_of(numbers, hostile, arrays(), st.binary(max_size=3), st.builds(object))
anything = st.one_of(
    leaves,
    st.lists(leaves, max_size=3),
    st.lists(leaves, max_size=3).map(tuple),
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 2)), leaves, max_size=3),
    st.sampled_from([len, dict, Ellipsis, NotImplemented, range(3), {1, 2}, jax.random.key(0), np.float32(1)]),
)


@st.composite
def spoiled(draw, table, junk=anything):
    """Draws a row of a table ``{name: (call, arguments, strategies)}`` and spoils one or two of its arguments.

    Returns the row's name, the call, and all its arguments by name. An argument is drawn from `junk`, or from the
    strategy that the row has for it.
    """
    row = draw(st.sampled_from(sorted(table)))
    call, arguments, own = table[row]
    names = sorted({*arguments, *own})
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    wrong = {name: draw(st.one_of(own[name], junk) if name in own else junk) for name in chosen}
    return row, call, {**arguments, **wrong}
