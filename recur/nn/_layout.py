"""What all modules share: the one step between batch-major users and time-major engines, with its checks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recur._checks import LARGEST, as_array, as_flags, check_bool, check_floating, check_shape, check_tree
from recur._types import Array, Bool, Float, Int, PyTree


class Sequences(NamedTuple):
    """A batch of sequences, time-major as `recur.unroll` wants it.

    Args:
        xs: Inputs ``[T, *B, X]``.
        mask: False where a step does not count ``[T, *B]``; None where all do.
        reset: True where a new sequence begins ``[T, *B]``; None where none does.
    """

    xs: Float[Array, "T *B X"]
    mask: Bool[Array, "T *B"] | None
    reset: Bool[Array, "T *B"] | None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes ``*B``."""
        return self.xs.shape[1:-1]


class Result(NamedTuple):
    """What a layer makes of `Sequences`.

    Args:
        outputs: Output of every step ``[T, *B, H]``, zero where masked.
        last: Output after the last step taken ``[*B, H]``.
        state: State to carry on from, as the module's ``return_state`` hands it out.
    """

    outputs: Float[Array, "T *B H"]
    last: Float[Array, "*B H"]
    state: PyTree


def read_sequences(
    x: Float[Array, "*B T X"],
    input_size: int,
    *,
    mask: Bool[Array, "*B T"] | None,
    lengths: Int[Array, "*B"] | None,
    reset: Bool[Array, "*B T"] | None,
) -> Sequences:
    """Checks a module's batch-major arguments and puts time first.

    Raises:
        TypeError: Something that is no array, or of another dtype.
        ValueError: A wrong rank, shape or length, or both `mask` and `lengths`.
    """
    x = as_array("x", x)
    check_floating("x", x, "one-hot encode or embed token ids first (jax.nn.one_hot, nnx.Embed)")
    if x.ndim < 2:
        raise ValueError(
            f"x: expected at least two axes [*B, T, X], got shape {x.shape}; add a feature axis with x[..., None]"
        )
    if x.shape[-1] != input_size:
        raise ValueError(
            f"x: expected {input_size} features (last axis), got shape {x.shape}; "
            f"axes are [*B, T, X], and input_size was {input_size}"
        )
    if lengths is None:
        mask = _read_flags("mask", mask, x.shape[:-1])
    elif mask is None:
        mask = jnp.moveaxis(length_mask(lengths, x.shape[:-1]), -1, 0)
    else:
        raise ValueError("lengths: expected None beside mask, got both; give the one that says which steps count")
    return Sequences(jnp.moveaxis(x, -2, 0), mask, _read_flags("reset", reset, x.shape[:-1]))


def read_step(x: Any, input_size: int) -> jax.Array:
    """Returns the inputs of one step ``[*B, X]``, checked as those of a sequence are."""
    x = as_array("x", x)
    check_floating("x", x, "one-hot encode or embed token ids first (jax.nn.one_hot, nnx.Embed)")
    if x.ndim < 1 or x.shape[-1] != input_size:
        raise ValueError(f"x: expected {input_size} features (last axis) of one step [*B, X], got shape {x.shape}")
    return x


def select(where: Bool[Array, "*B"], yes: PyTree, no: PyTree) -> PyTree:
    """Takes the tree `yes` where `where` is true and `no` elsewhere."""

    def leaf(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(where.reshape(where.shape + (1,) * (b.ndim - where.ndim)), a, b)

    return jax.tree.map(leaf, yes, no)


def write_result(result: Result, *, return_sequences: bool, return_state: bool) -> Any:
    """Puts batch first again and hands out what was asked for."""
    check_bool("return_sequences", return_sequences)
    check_bool("return_state", return_state)
    outputs = jnp.moveaxis(result.outputs, 0, -2) if return_sequences else result.last
    return (outputs, result.state) if return_state else outputs


def as_ids(name: str, ids: Any) -> jax.Array:
    """Returns token ids of at least 32 bits with a sign: in narrower ones the number of a class, or a step, would wrap.

    Raises:
        TypeError: No array of whole numbers.
        ValueError: Numbers that 32 bits do not hold.
    """
    ids = as_array(name, ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: expected an integer dtype, got {ids.dtype}; give the index of each in its vocabulary")
    if ids.dtype in (jnp.uint32, jnp.uint64):
        # Beyond the largest number with a sign, an id stays outside of every vocabulary.
        return jnp.minimum(ids, LARGEST).astype(jnp.int32)
    return ids.astype(jnp.promote_types(ids.dtype, jnp.int32))


def length_mask(lengths: Int[Array, "*B"], shape: tuple[int, ...]) -> Bool[Array, "*B T"]:
    """Returns True for the steps that count, the first so many of each sequence; `shape` is that of the mask.

    Raises:
        TypeError: Lengths that are no whole numbers.
        ValueError: A wrong shape, or a length that is known and outside 0 to T.
    """
    *batch_shape, steps = shape
    lengths = as_array("lengths", lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths: expected an integer dtype, got {lengths.dtype}; count the steps that are no padding")
    check_shape("lengths", lengths, tuple(batch_shape), "one length for each sequence, x.shape[:-2]")
    # The values of a traced array are not known; there, a length beyond T counts as T and a negative one as 0.
    if not isinstance(lengths, jax.core.Tracer):
        values = np.asarray(lengths)
        wrong = values[(values < 0) | (values > steps)]
        if wrong.size:
            raise ValueError(
                f"lengths: expected 0 <= length <= {steps}, the number of steps in x, got {wrong[0]}; "
                f"cut x and lengths together"
            )
    time = jax.lax.broadcasted_iota(jnp.int32, tuple(shape), len(batch_shape))
    return time < lengths.astype(jnp.int32)[..., None]


def carried_dtype(module: nnx.Module) -> Any:
    """Returns the dtype of a module's states: float32, or that of wider parameters."""
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(nnx.state(module, nnx.Param))))


def check_rngs(rngs: Any) -> None:
    """Raises TypeError unless `rngs` is `nnx.Rngs`."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs: expected flax.nnx.Rngs, got {type(rngs).__name__}; make one with nnx.Rngs(seed or key)")


def check_state(name: str, state: Any, like: PyTree, owner: str) -> None:
    """Raises unless `state` fits one cell: the structure and shapes of `like`; `owner` tells which layer it is for."""
    check_tree(name, state, like, f"it is for {owner}, whose initial_state(batch_shape) makes one", dtypes=False)


def check_parts(name: str, state: Any, parts: int, owner: str) -> None:
    """Raises TypeError unless `state` is a plain tuple or list of so many parts."""
    got = f"{type(state).__name__} of {len(state)}" if isinstance(state, (tuple, list)) else type(state).__name__
    if not isinstance(state, (tuple, list)) or hasattr(state, "_fields") or len(state) != parts:
        raise TypeError(
            f"{name}: expected a tuple of {parts} states, {owner}, got {got}; initial_state(batch_shape) makes one"
        )


def _read_flags(name: str, flags: Any, shape: tuple[int, ...]) -> jax.Array | None:
    flags = as_flags(name, flags, shape, "one flag for each step of each sequence, x.shape[:-1]")
    return None if flags is None else jnp.moveaxis(flags, -1, 0)
