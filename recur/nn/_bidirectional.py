"""One cell forwards and one backwards over the same sequences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import check_key, is_one_of
from recur._types import Array, Bool, Float, Int, Key, State
from recur.cells import Cell
from recur.engines import Auto, Engine
from recur.nn._dropout import fold_key
from recur.nn._layout import Result, Sequences, check_parts, read_sequences, write_result
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._rnn import RNN

_MERGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "product": lambda forward, backward: forward * backward,
}


class Bidirectional(nnx.Module):
    """Runs one cell forwards and one backwards over the same sequences and merges their outputs step by step.

    The backward cell reads what counts, and nothing else, from its last step to its first: padding on the right
    (or anywhere) is passed over. Where `reset` marks that a new sequence begins, it leaves the later sequence and
    starts afresh on the earlier one, so that packed sequences equal separate runs in both directions.

    Args:
        cell: The forward cell.
        input_size: Features X.
        backward_cell: By default `cell`, with parameters of its own.
        merge: ``"concat"`` (forward first), ``"sum"``, ``"mean"`` or ``"product"``; Keras says ``"ave"``, ``"mul"``.
        recurrent_dropout: What is dropped of both recurrences in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters.

    Attributes:
        forward: The forward `RNN`.
        backward: The backward `RNN`.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: `input_size` below 1, an unknown merge, or one that needs cells of one size, or a wrong dropout.

    Reference:
        Schuster and Paliwal (1997), "Bidirectional recurrent neural networks", https://doi.org/10.1109/78.650093.

    Example:
        >>> import jax.numpy as jnp, recur.nn
        >>> from flax import nnx
        >>> both = recur.nn.Bidirectional(recur.cells.gru(4), 3, rngs=nnx.Rngs(0))
        >>> outputs, (forward, backward) = both(jnp.ones((2, 7, 3)), return_state=True)
        >>> outputs.shape, forward.h.shape, backward.h.shape
        ((2, 7, 8), (2, 4), (2, 4))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        backward_cell: Cell | None = None,
        merge: str = "concat",
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        if not is_one_of(merge, _MERGES):
            raise ValueError(f"merge: expected one of {sorted(_MERGES)}, got {merge!r}")
        self.merge = merge
        made = {"recurrent_dropout": recurrent_dropout, "rngs": rngs, "engine": engine, "dtype": dtype}
        self.forward = RNN(cell, input_size, **made)
        self.backward = RNN(cell if backward_cell is None else backward_cell, input_size, **made)
        sizes = self.forward.output_size, self.backward.output_size
        if merge != "concat" and sizes[0] != sizes[1]:
            raise ValueError(f"merge: {merge!r} expects cells of one output size, got {sizes}; or use 'concat'")

    def __call__(
        self,
        x: Float[Array, "*B T X"],
        *,
        initial_state: tuple[State, State] | None = None,
        mask: Bool[Array, "*B T"] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        reset: Bool[Array, "*B T"] | None = None,
        reset_state: tuple[State, State] | None = None,
        return_sequences: bool = True,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Runs both cells over `x`.

        Args:
            x: Inputs, with any number of batch axes (none too).
            initial_state: Pair (forward, backward): the state before the first step, and after the last one.
            mask: False where a step does not count (see `RNN`).
            lengths: In place of `mask`: the steps that count, from the first, 0 to T (see `RNN`).
            reset: True where a new sequence begins. The backward cell then starts afresh on the unmasked step
                before; at a masked step the flag is not seen, in either direction.
            reset_state: Pair, by default `initial_state`.
            return_sequences: Whether to return the merged outputs of all steps, or each direction's output after
                the last step that it took, merged: forward at the last unmasked step, backward at the first.
            return_state: Whether to return ``(outputs, (forward state, backward state))``.
            key: Draws what is dropped, other entries in each direction. Without it nothing is dropped.

        Returns:
            Outputs ``[*B, T, H]``, or ``[*B, H]`` without `return_sequences`, H being the merged size.

        Raises:
            TypeError: An array, state or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length, or both `mask` and `lengths`.
        """
        sequences = read_sequences(x, self.forward.input_size, mask=mask, lengths=lengths, reset=reset)
        self.check_state("initial_state", initial_state, sequences.batch_shape)
        self.check_state("reset_state", reset_state, sequences.batch_shape)
        if key is not None:
            check_key("key", key)
        result = self.run(sequences, initial_state, reset_state, key=key)
        return write_result(result, return_sequences=return_sequences, return_state=return_state)

    @property
    def output_size(self) -> int:
        """Output features H after the merge."""
        forward, backward = self.forward.output_size, self.backward.output_size
        return forward + backward if self.merge == "concat" else forward

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> tuple[State, State]:
        """Returns the pair of states that a call starts from by default."""
        return self.forward.initial_state(batch_shape, dtype), self.backward.initial_state(batch_shape, dtype)

    def check_state(self, name: str, state: Any, batch_shape: tuple[int, ...]) -> None:
        """Raises unless `state` is None or a pair of states, one a direction."""
        if state is not None:
            check_parts(name, state, 2, "(forward, backward)")
            self.forward.check_state(f"{name}[0]", state[0], batch_shape)
            self.backward.check_state(f"{name}[1]", state[1], batch_shape)

    def run(
        self,
        sequences: Sequences,
        initial_state: tuple[State, State] | None = None,
        reset_state: tuple[State, State] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Result:
        """Runs both cells over time-major sequences that are checked already."""
        forward_start, backward_start = initial_state or (None, None)
        forward_restart, backward_restart = reset_state or (None, None)
        forward = self.forward.run(sequences, forward_start, forward_restart, key=fold_key(key, 0))
        if sequences.reset is not None:
            sequences = sequences._replace(reset=_ends(sequences.reset, sequences.mask))
        backward = self.backward.run(sequences, backward_start, backward_restart, reverse=True, key=fold_key(key, 1))
        merge = _MERGES[self.merge]
        return Result(
            outputs=merge(forward.outputs, backward.outputs),
            last=merge(forward.last, backward.last),
            state=(forward.state, backward.state),
        )


def _ends(begins: Bool[Array, "T *B"], mask: Bool[Array, "T *B"] | None) -> Bool[Array, "T *B"]:
    """Marks the steps after which a sequence begins: those whose next unmasked step is flagged in `begins`."""
    steps = begins.shape[0]
    never = jnp.zeros((1, *begins.shape[1:]), bool)
    if mask is None:
        return jnp.concatenate([begins, never])[1:]
    time = jax.lax.broadcasted_iota(jnp.int32, begins.shape, 0)
    from_here = jax.lax.cummin(jnp.where(mask, time, steps), axis=0, reverse=True)
    following = jnp.concatenate([from_here, jnp.full_like(from_here[:1], steps)])[1:]
    return jnp.take_along_axis(jnp.concatenate([begins, never]), following, axis=0)
