"""One class for every frame of a video."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from recur._checks import as_array, as_list, check_dtype, check_floating, check_positive, is_one_of
from recur._types import Array, Float, Int, Key, State
from recur.engines import Auto, Engine
from recur.nn._cells import CellOrFactory, layer_cells
from recur.nn._convolution import convolve
from recur.nn._dropout import drop, fold_key
from recur.nn._layout import carried_dtype, check_rngs, length_mask
from recur.nn._recurrent_dropout import RecurrentDropout
from recur.nn._stack import Stack

ENCODERS = ("conv", "dense")
CHANNELS = (16, 32)


class FrameEncoder(nnx.Module):
    """Makes features of a frame: ``relu(W z + b)``, z being its pixels or what convolutions make of them.

    Args:
        frame_shape: ``(height, width)``, ``(height, width, channels)``, or ``(pixels,)`` for ``"dense"``.
        features: How many, F.
        kind: ``"conv"``: two convolutions, 3 x 3, stride 2, of 16 and 32 channels with relu; ``"dense"``: none.
        rngs: Draws the parameters; it is not kept.
        dtype: Of the parameters.

    Raises:
        ValueError: An unknown kind, or a shape that it cannot read.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        features: int,
        *,
        kind: str = "conv",
        rngs: nnx.Rngs,
        dtype: Any = jnp.float32,
    ) -> None:
        if not is_one_of(kind, ENCODERS):
            raise ValueError(f"encoder: expected one of {list(ENCODERS)}, got {kind!r}")
        self.frame_shape = tuple(check_positive("frame_shape", size) for size in as_list("frame_shape", frame_shape))
        if kind == "conv" and len(self.frame_shape) not in (2, 3):
            raise ValueError(
                f"frame_shape: expected (height, width) or (height, width, channels) for 'conv', got "
                f"{self.frame_shape}; take 'dense' for a vector of pixels"
            )
        check_rngs(rngs)
        check_dtype("dtype", dtype)
        made = {"rngs": rngs, "param_dtype": dtype}
        size, convolutions = math.prod(self.frame_shape), []
        if kind == "conv":
            height, width, *rest = self.frame_shape
            channels = rest[0] if rest else 1
            for out in CHANNELS:
                convolutions.append(
                    nnx.Conv(channels, out, (3, 3), strides=(2, 2), conv_general_dilated=convolve, **made)
                )
                height, width, channels = -(-height // 2), -(-width // 2), out
            size = height * width * channels
        self.convolutions = nnx.List(convolutions)
        self.dense = nnx.Linear(size, check_positive("features", features), **made)

    @property
    def output_size(self) -> int:
        """Features F."""
        return self.dense.out_features

    def __call__(self, frames: Float[Array, "*frames"]) -> Float[Array, "*A F"]:
        """Returns the features of frames ``[*A, *frame_shape]``.

        Raises:
            TypeError: Frames that are no floating point numbers.
            ValueError: Frames of another shape.
        """
        frames = as_array("frames", frames)
        check_floating("frames", frames, "scale them, as in frames / 255")
        leading = frames.ndim - len(self.frame_shape)
        if leading < 0 or frames.shape[leading:] != self.frame_shape:
            raise ValueError(f"frames: expected frames of shape {self.frame_shape}, got {frames.shape}")
        if len(self.convolutions) and len(self.frame_shape) == 2:
            frames = frames[..., None]
        for convolution in self.convolutions:
            frames = nnx.relu(convolution(frames))
        return nnx.relu(self.dense(frames.reshape(*frames.shape[:leading], -1)))


class FrameClassifier(nnx.Module):
    """Tells the class of every frame, from that frame and those before it.

        x_t = encode(frame_t),   h_1..h_T = layers(x),   logits_t = W h_t + b

    Args:
        frame_shape: ``(height, width)``, ``(height, width, channels)``, or ``(pixels,)`` for ``"dense"``.
        classes: How many, K.
        cell: A cell for every layer, or a factory such as ``recur.cells.lstm`` beside `hidden_size`.
        hidden_size: Units H of a layer; None beside a cell.
        layers: How many, one above the other.
        features: That a frame is encoded in.
        encoder: ``"conv"`` or ``"dense"`` (see `FrameEncoder`).
        bidirectional: Whether every layer runs in both directions, and a class depends on later frames too.
        dropout: Probability that an entry is dropped out of the features, on its way into a layer above, or into the
            readout. It acts in calls with a `key`.
        recurrent_dropout: What is dropped of every recurrence in calls with a `key` (see `RNN`).
        rngs: Draws the parameters; it is not kept.
        engine: How to run the cells over time.
        dtype: Of the parameters. States and logits are float32 or wider.

    Attributes:
        encoder: The `FrameEncoder`.
        stack: The layers.
        readout: `nnx.Linear`.

    Raises:
        TypeError: A cell, `rngs` or dtype of the wrong kind.
        ValueError: A size below 1, missing or given twice, an unknown encoder, or dropout outside [0, 1) or of what a
            cell lacks.

    Reference:
        Donahue et al. (2015), "Long-term recurrent convolutional networks for visual recognition and description",
        https://arxiv.org/abs/1411.4389.

    Example:
        Videos of 8 x 8 pixels ``[B, T, 8, 8]`` to logits ``[B, T, 10]``::

            model = nn.FrameClassifier((8, 8), 10, cells.lstm, hidden_size=64, rngs=nnx.Rngs(0))
            logits = model(frames, lengths=lengths)
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        classes: int,
        cell: CellOrFactory,
        *,
        hidden_size: int | None = None,
        layers: int = 1,
        features: int = 64,
        encoder: str = "conv",
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float | RecurrentDropout = 0.0,
        rngs: nnx.Rngs,
        engine: Engine = Auto(),
        dtype: Any = jnp.float32,
    ) -> None:
        cells = layer_cells(cell, hidden_size, layers)
        made = {"rngs": rngs, "dtype": dtype}
        self.encoder = FrameEncoder(frame_shape, features, kind=encoder, **made)
        made |= {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "engine": engine}
        self.stack = Stack(cells, features, bidirectional=bidirectional, **made)
        self.readout = nnx.Linear(
            self.stack.output_size, check_positive("classes", classes), rngs=rngs, param_dtype=dtype
        )

    def __call__(
        self,
        frames: Float[Array, "*frames"],
        *,
        initial_state: tuple[State, ...] | None = None,
        lengths: Int[Array, "*B"] | None = None,
        return_state: bool = False,
        key: Key[Array, ""] | None = None,
    ) -> Any:
        """Scores the classes of every frame.

        Args:
            frames: Videos ``[*B, T, *frame_shape]``.
            initial_state: State before the first frame, one entry a layer; zeros by default.
            lengths: Frames that count, from the first, 0 to T. What comes of the others means nothing.
            return_state: Whether to return ``(logits, state)``.
            key: Draws what is dropped. Without it nothing is dropped (evaluation).

        Returns:
            Logits ``[*B, T, K]``.

        Raises:
            TypeError: An array, state or key of the wrong kind or dtype.
            ValueError: A wrong rank, shape or length.
        """
        frames = as_array("frames", frames)
        if lengths is not None:
            # Before the encoder, whose weights would get 0 * NaN as the gradient of a padded frame.
            shape = frames.shape[: frames.ndim - len(self.encoder.frame_shape)]
            mask = length_mask(lengths, shape)
            frames = jnp.where(jax.lax.expand_dims(mask, range(mask.ndim, frames.ndim)), frames, 0)
        x = drop(fold_key(key, 0), self.encoder(frames), self.stack.dropout)
        hidden, state = self.stack(
            x, initial_state=initial_state, lengths=lengths, return_state=True, key=fold_key(key, 1)
        )
        logits = self.readout(drop(fold_key(key, 2), hidden, self.stack.dropout))
        return (logits, state) if return_state else logits

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> tuple[State, ...]:
        """Returns the state before the first frame."""
        return self.stack.initial_state(batch_shape, carried_dtype(self.stack))

    def step(
        self, state: tuple[State, ...], frame: Float[Array, "*frame"]
    ) -> tuple[Float[Array, "*B K"], tuple[State, ...]]:
        """Reads one frame of a stream, ``[*B, *frame_shape]``: ``(logits, next state)``.

        Raises:
            ValueError: Bidirectional layers, whose outputs need the whole video.
        """
        state, hidden = self.stack.step(state, self.encoder(frame))
        return self.readout(hidden), state
