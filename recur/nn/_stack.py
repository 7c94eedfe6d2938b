"""Layers of cells over time, as a Flax module."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from recur._checks import check_bool, check_key, check_positive
from recur._types import Array, Bool, Float, Int, Key, Params, PyTree, State
from recur.cells import Cell, stacked
from recur.engines import Auto, Engine
from recur.nn._bidirectional import Bidirectional
from recur.nn._dropout import check_rate, drop, fold_key
from recur.nn._layout import Result, Sequences, check_parts, check_rngs, read_sequences, write_result
from recur.nn._recurrent_dropout import Place, RecurrentDropout, check_place
from recur.nn._rnn import RNN


class Stack(nnx.Module):
    """Runs layers of cells, each reading the outputs of the one below.

        y_0 = layer_0(x),   y_l = layer_l(dropout(y_{l-1})) [+ y_{l-1} with residual],   l = 1, 2, ...

    Args:
        cells: One cell a layer, bottom first.
        input_size: Features X of the lowest layer.
        bidirectional: Whether every layer runs in both directions, outputs concatenated.
        dropout: Probability that an output is dropped on its way to the layer above (what is kept is divided by
            ``1 - dropout``), drawn anew at every step. Never after the last layer. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every layer's recurrence in calls with a `key` (see `RNN`).
        residual: Whether every layer above the lowest adds the outputs of the one below, as they are before
            dropout, to its own; all sizes must then agree.
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters.

    Attributes:
        layers: An `RNN` each, or a `Bidirectional`.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: No cells, `input_size` below 1, dropout outside [0, 1), or of something that a cell has not,
            residual layers of different sizes.

    Example:
        >>> import jax, jax.numpy as jnp, recur.nn
        >>> from flax import nnx
        >>> deep = recur.nn.Stack([recur.cells.lstm(5), recur.cells.gru(4)], 3, dropout=0.5, rngs=nnx.Rngs(0))
        >>> x = jnp.ones((2, 7, 3))
        >>> outputs, (below, above) = deep(x, return_state=True, key=jax.random.key(1))
        >>> outputs.shape, below.c.shape, above.h.shape
        ((2, 7, 4), (2, 5), (2, 4))
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        input_size: int,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        residual: bool = False,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        if not isinstance(cells, Sequence):
            raise TypeError(f"cells: expected a sequence of cells, bottom first, got {cells!r}; put it in a list")
        dropout = check_rate(dropout)
        check_bool("bidirectional", bidirectional)
        check_bool("residual", residual)
        self.input_size = input_size = check_positive("input_size", input_size)
        check_rngs(rngs)
        self.cell = stacked(*cells, residual=residual)
        self.bidirectional = bidirectional
        self.dropout = dropout
        layer_type = Bidirectional if bidirectional else RNN
        layers = []
        for cell in cells:
            made = {"recurrent_dropout": recurrent_dropout, "rngs": rngs, "engine": engine, "dtype": dtype}
            layers.append(layer_type(cell, input_size, **made))
            input_size = layers[-1].output_size
        self.layers = nnx.List(layers)

    def __call__(
        self,
        x: Float[Array, "*B T X"],
        *,
        initial_state: tuple[PyTree, ...] | None = None,
        mask: Bool[Array, "*B T"] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        reset: Bool[Array, "*B T"] | None = None,
        reset_state: tuple[PyTree, ...] | None = None,
        return_sequences: bool = True,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Runs all layers over `x`; `mask`, `lengths` and `reset` hold for each of them.

        Args:
            x: Inputs, with any number of batch axes (none too).
            initial_state: Tuple, one entry a layer: its state, or the pair (forward, backward).
            mask: False where a step does not count (see `RNN`).
            lengths: In place of `mask`: the steps that count, from the first, 0 to T (see `RNN`).
            reset: True where a new sequence begins (see `RNN` and `Bidirectional`).
            reset_state: Tuple, by default `initial_state`.
            return_sequences: Whether to return the outputs of all steps, or the output after the last step taken
                (see `RNN` and `Bidirectional`).
            return_state: Whether to return ``(outputs, states)``, the states as in `initial_state`.
            key: Draws what is dropped: the same key, the same result. Without it nothing is dropped (evaluation).

        Returns:
            Outputs of the last layer, ``[*B, T, H]``, or ``[*B, H]`` without `return_sequences`.

        Raises:
            TypeError: An array, state or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length, or both `mask` and `lengths`.
        """
        sequences = read_sequences(x, self.input_size, mask=mask, lengths=lengths, reset=reset)
        self.check_state("initial_state", initial_state, sequences.batch_shape)
        self.check_state("reset_state", reset_state, sequences.batch_shape)
        if key is not None:
            check_key("key", key)
        result = self.run(sequences, initial_state, reset_state, key=key)
        return write_result(result, return_sequences=return_sequences, return_state=return_state)

    @property
    def output_size(self) -> int:
        """Output features H of the last layer."""
        return self.layers[-1].output_size

    @property
    def residual(self) -> bool:
        """Whether every layer above the lowest adds the outputs of the one below."""
        return self.cell.residual

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> tuple[PyTree, ...]:
        """Returns the tuple of states that a call starts from by default."""
        return tuple(layer.initial_state(batch_shape, dtype) for layer in self.layers)

    def as_cell(self) -> tuple[Cell, Params]:
        """Hands out all layers as one cell, as it is evaluated, with its parameters as plain arrays.

        Raises:
            ValueError: A bidirectional stack.
        """
        if self.bidirectional:
            raise ValueError(
                "as_cell: expected a stack of forward layers, got bidirectional=True: a layer above reads backward "
                "outputs, which need the whole sequence, so no step computes it; take layers[0].forward.as_cell() "
                "or another layer's"
            )
        cells, params = zip(*(layer.as_cell() for layer in self.layers), strict=True)
        named = {f"layer_{index}": layer_params for index, layer_params in enumerate(params)}
        return stacked(*cells, residual=self.residual), named

    def step(
        self,
        state: tuple[State, ...],
        x: Float[Array, "*B X"],
        *,
        reset: Bool[Array, "*B"] | None = None,
        key: Key[Array, ""] | None = None,
        place: Place = None,
    ) -> tuple[tuple[State, ...], Float[Array, "*B H"]]:
        """Takes one step of all layers, for streams: ``(next states, the last layer's output)``.

        Args:
            state: One entry a layer, as `initial_state` or a call with `return_state` gives it.
            x: Inputs of this step.
            reset: True where a new sequence begins: the states are the initial ones there before the step.
            key: Draws what is dropped, of the whole sequence: the same for all of its steps. Without it nothing is.
            place: Number of the step, by which what is drawn anew at every step differs, as between layers; without
                it that is the same at every step too.

        Raises:
            ValueError: A bidirectional stack.
        """
        if self.bidirectional:
            raise ValueError(
                "step: expected a stack of forward layers, got bidirectional=True, whose outputs need the whole "
                "sequence; call the module on it, or make one with bidirectional=False"
            )
        check_parts("state", state, len(self.layers), "a stack of as many layers")
        states = []
        # By number 0, which no layer has, so that no place gives a layer's key.
        of_step = key if place is None else fold_key(fold_key(key, 0), check_place(place))
        for index, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            below = x
            read = drop(fold_key(of_step, index), below, self.dropout) if index > 0 else below
            after, x = layer.step(before, read, reset=reset, key=self._layer_key(key, index), place=place)
            if self.residual and index > 0:
                x = x + below
            states.append(after)
        return tuple(states), x

    def check_state(self, name: str, state: Any, batch_shape: tuple[int, ...]) -> None:
        """Raises unless `state` is None or a tuple of states, one a layer."""
        if state is not None:
            check_parts(name, state, len(self.layers), "one a layer")
            for index, layer in enumerate(self.layers):
                layer.check_state(f"{name}[{index}]", state[index], batch_shape)

    def run(
        self,
        sequences: Sequences,
        initial_state: tuple[PyTree, ...] | None = None,
        reset_state: tuple[PyTree, ...] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Result:
        """Runs all layers over time-major sequences that are checked already."""
        nothing = (None,) * len(self.layers)
        starts, restarts = initial_state or nothing, reset_state or nothing
        result = self.layers[0].run(sequences, starts[0], restarts[0], key=self._layer_key(key, 0))
        states = [result.state]
        for index, layer in enumerate(self.layers[1:], start=1):
            below = result
            xs = drop(fold_key(key, index), below.outputs, self.dropout)
            own_key = self._layer_key(key, index)
            result = layer.run(sequences._replace(xs=xs), starts[index], restarts[index], key=own_key)
            states.append(result.state)
            if self.residual:
                result = result._replace(outputs=result.outputs + below.outputs, last=result.last + below.last)
        return result._replace(state=tuple(states))

    def _layer_key(self, key: Key[Array, ""] | None, index: int) -> Key[Array, ""] | None:
        # The first numbers are those of what is dropped between layers.
        return fold_key(key, len(self.layers) + index)
