"""One cell over time, as a Flax module."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import as_flags, check_dtype, check_key, check_positive
from recur._types import Array, Bool, Float, Int, Key, Params, State
from recur.cells import Cell
from recur.cells import output_size as cell_output_size
from recur.cells._base import check_cell
from recur.engines import Auto, Engine, unroll
from recur.nn._layout import (
    Result,
    Sequences,
    check_rngs,
    check_state,
    read_sequences,
    read_step,
    select,
    write_result,
)
from recur.nn._recurrent_dropout import Drawn, Place, RecurrentDropout, as_recurrent_dropout, check_place
from recur.nn._watch import watcher


class RNN(nnx.Module):
    """Runs one cell over batch-major sequences (see `recur.unroll`) and owns its parameters.

    Args:
        cell: What to compute in one step, such as ``recur.cells.lstm(128)``.
        input_size: Features X.
        rngs: Draws the parameters (its stream ``params``, or the default one); it is not kept.
        recurrent_dropout: What is dropped of the recurrence in calls with a `key`: `WeightDrop`, which every engine
            runs as fast as without, and which a number stands for; `VariationalDropout`; or `Zoneout`.
        engine: How to run the cell over time, one of `recur.engines`.
        dtype: Of the parameters.

    Attributes:
        params: One `nnx.Param` a tensor, named and nested as ``cell.init`` does: ``rnn.params["kernel"]``.
        recurrent_dropout: As an object, None for nothing.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: `input_size` below 1, dropout outside [0, 1), or of something that the cell has not.

    Example:
        >>> import jax.numpy as jnp, recur.nn
        >>> from flax import nnx
        >>> rnn = recur.nn.RNN(recur.cells.lstm(4), 3, rngs=nnx.Rngs(0))
        >>> x, lengths = jnp.ones((2, 7, 3)), jnp.array([7, 5])
        >>> outputs, state = rnn(x, lengths=lengths, return_state=True)
        >>> outputs.shape, state.c.shape, rnn(x, lengths=lengths, return_sequences=False).shape
        ((2, 7, 4), (2, 4), (2, 4))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        check_cell("cell", cell)
        self.input_size = check_positive("input_size", input_size)
        check_rngs(rngs)
        check_dtype("dtype", dtype)
        self.cell = cell
        self.engine = engine
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), self.input_size, dtype)))
        self.recurrent_dropout = as_recurrent_dropout(recurrent_dropout, cell, self.input_size)

    def __call__(
        self,
        x: Float[Array, "*B T X"],
        *,
        initial_state: State | None = None,
        mask: Bool[Array, "*B T"] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        reset: Bool[Array, "*B T"] | None = None,
        reset_state: State | None = None,
        reverse: bool = False,
        return_sequences: bool = True,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Runs the cell over `x`.

        Args:
            x: Inputs, with any number of batch axes (none too).
            initial_state: State before the first step, leaves ``[*B, H]``; zeros by default.
            mask: False where a step does not count, wherever it stands: the state is held, the output is zero, no
                gradient flows. Keras differs: it repeats the output before, unless ``zero_output_for_mask``.
            lengths: In place of `mask`: the steps that count, from the first, 0 to T. Checked where the values are
                known; inside jit a length beyond T counts as T, a negative one as 0.
            reset: True where a new sequence begins: the state is set to `reset_state` before that step.
            reset_state: By default `initial_state`.
            reverse: Whether to take the last step first. Outputs keep the order of time (Keras flips them).
            return_sequences: Whether to return the outputs of all steps, or the output after the last step taken:
                that of the last unmasked step (with `reverse`, of the first one). A sequence without steps returns
                the output of its initial state.
            return_state: Whether to return ``(outputs, state)``, with the state after the last unmasked step.
            key: Draws what is dropped: the same key, the same result. Without it nothing is dropped (evaluation).

        Returns:
            Outputs ``[*B, T, H]``, or ``[*B, H]`` without `return_sequences`; with `return_state` a pair.

        Raises:
            TypeError: An array, state or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length, or both `mask` and `lengths`.
        """
        sequences = read_sequences(x, self.input_size, mask=mask, lengths=lengths, reset=reset)
        self.check_state("initial_state", initial_state, sequences.batch_shape)
        self.check_state("reset_state", reset_state, sequences.batch_shape)
        if key is not None:
            check_key("key", key)
        result = self.run(sequences, initial_state, reset_state, reverse=reverse, key=key)
        return write_result(result, return_sequences=return_sequences, return_state=return_state)

    @property
    def output_size(self) -> int:
        """Output features H."""
        return cell_output_size(self.cell)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns the state that a call starts from by default."""
        return self.cell.initial_state(batch_shape, dtype)

    def as_cell(self) -> tuple[Cell, Params]:
        """Hands out the cell and its parameters as plain arrays, for `recur.unroll` and `recur.flow`.

        With `Zoneout` it is the cell as it is evaluated.
        """
        cell = self.cell if self.recurrent_dropout is None else self.recurrent_dropout.at_rest(self.cell)
        return cell, jax.tree.map(
            lambda param: param[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable)
        )

    def step(
        self,
        state: State,
        x: Float[Array, "*B X"],
        *,
        reset: Bool[Array, "*B"] | None = None,
        key: Key[Array, ""] | None = None,
        place: Place = None,
    ) -> tuple[State, Float[Array, "*B H"]]:
        """Takes one step of the cell, for streams: ``(next state, its output)``.

        Args:
            state: Before the step.
            x: Inputs of this step.
            reset: True where a new sequence begins: the state is the initial one there before the step.
            key: Draws what is dropped, of the whole sequence: the same for all of its steps. Without it nothing is.
            place: Number of the step, by which what is drawn anew at every step differs (see `Zoneout`).

        Raises:
            TypeError: A state, key or place of the wrong kind.
            ValueError: Other shapes than the layer's, or no place where every step draws something else.
        """
        x = read_step(x, self.input_size)
        self.check_state("state", state, x.shape[:-1])
        dtype = jnp.result_type(jnp.float32, x.dtype, *(leaf.dtype for leaf in jax.tree.leaves(state)))
        state = jax.tree.map(lambda leaf: leaf.astype(dtype), state)
        reset = as_flags("reset", reset, x.shape[:-1], "one flag for each sequence, x.shape[:-1]")
        if reset is not None:
            state = select(reset, self.initial_state(x.shape[:-1], dtype), state)
        if key is not None:
            check_key("key", key)
        place = check_place(place)
        if key is not None and place is None and self.recurrent_dropout and self.recurrent_dropout.draws_every_step:
            raise ValueError(
                f"place: expected the number of the step, for {self.recurrent_dropout!r} draws anew at each, got None"
            )
        cell, params, xs = self._drawn(key, x[None], place)
        return cell.step(params, state, jax.tree.map(lambda leaf: leaf[0], xs))

    def check_state(self, name: str, state: State | None, batch_shape: tuple[int, ...]) -> None:
        """Raises unless `state` is None or one of this layer's; dtypes are checked by `recur.unroll`."""
        if state is not None:
            like = jax.eval_shape(lambda: self.initial_state(batch_shape))
            check_state(name, state, like, f"a layer of {self.cell!r}")

    def run(
        self,
        sequences: Sequences,
        initial_state: State | None = None,
        reset_state: State | None = None,
        *,
        reverse: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Result:
        """Runs the cell over time-major sequences that are checked already."""
        if (handler := watcher()) is not None:
            return handler(self, sequences, initial_state, reset_state, reverse=reverse, key=key)
        return self.drawn_run(sequences, initial_state, reset_state, reverse=reverse, key=key)[1]

    def drawn_run(
        self,
        sequences: Sequences,
        initial_state: State | None,
        reset_state: State | None,
        *,
        reverse: bool,
        key: Key[Array, ""] | None,
    ) -> tuple[Drawn, Result]:
        """Runs the cell whoever watches (see `nn.recurrences`): what ran, with what is dropped, and its result."""
        drawn = self._drawn(key, sequences.xs)
        run = unroll(
            *drawn,
            initial_state,
            mask=sequences.mask,
            reset=sequences.reset,
            reset_state=reset_state,
            reverse=reverse,
            engine=self.engine,
        )
        return drawn, Result(run.outputs, drawn.cell.output(run.final), run.final)

    def _drawn(self, key: Key[Array, ""] | None, xs: Float[Array, "T *B X"], place: Place = None) -> Drawn:
        cell, params = self.as_cell()
        if key is None or self.recurrent_dropout is None:
            return Drawn(cell, params, xs)
        return self.recurrent_dropout.draw(key, self.cell, params, xs, place)
