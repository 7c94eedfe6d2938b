"""One long sequence as parallel streams, window after window, and long texts as numbers on disk."""

import os
from collections.abc import Callable

import numpy as np

from recur._checks import LARGEST, as_path, as_whole_numbers, check_positive
from recur._files import replacing
from recur.tasks._batches import Batch, Batches, Remainder, check_remainder, rows_of
from recur.tasks._text import text_chunks
from recur.tasks._tokenizers import Tokenizer, encoder_of
from recur.tasks._units import Unit, split_text
from recur.tasks._vocabulary import Unknown, Vocabulary


def stream_batches(
    ids: np.ndarray,
    batch_size: int,
    length: int,
    *,
    remainder: Remainder = "drop",
    epochs: int | None = 1,
    read_ahead: int = 2,
    part: tuple[int, int] = (0, 1),
) -> Batches:
    """Cuts one long sequence in B streams that run side by side, and these in windows: row b goes on where it ended.

    A network that keeps its state from batch to batch so reads each stream in one go.

        inputs[b, t] = ids[b S + n T + t],   targets[b, t] = ids[b S + n T + t + 1],   S = (N - 1) / B,  window n

    Args:
        ids: The sequence, ``[N]``; a memory map does.
        batch_size: Streams B.
        length: Steps T of a window.
        remainder: ``"drop"`` leaves out what fills no window in all streams, less than B (T + 1) ids; ``"keep"``
            makes every id but the first a target exactly once in an epoch, and masks the rest.
        epochs: Epochs until the end; None for no end.
        read_ahead: Batches that are made in advance by a thread; 0 for none.
        part: Which streams to read, part i of n as (i, n); the others belong to other processes.

    Returns:
        `Batches` of dicts: ``inputs`` and ``targets [B, T]`` of the dtype of `ids`, ``mask [B, T]`` bool, False
        where there is no target, and ``first``, True for the first window of an epoch, before which states are reset.

    Raises:
        TypeError: A number is not whole.
        ValueError: A number below 1, `ids` of another rank, or too short for a window, or a part that is none.

    Example:
        >>> for batch in stream_batches(np.arange(9), 2, 2):
        ...     print(batch["inputs"].tolist(), batch["targets"].tolist(), batch["first"])
        [[0, 1], [4, 5]] [[1, 2], [5, 6]] True
        [[2, 3], [6, 7]] [[3, 4], [7, 8]] False
    """
    streams = range(check_positive("batch_size", batch_size))[rows_of(part, batch_size)]
    check_positive("length", length)
    check_remainder(remainder)
    ids = as_whole_numbers("ids", ids)
    if ids.ndim != 1:
        raise ValueError(f"ids: expected one sequence [N], got shape {list(ids.shape)}; flatten it")
    targets = len(ids) - 1
    least = batch_size * length if remainder == "drop" else 1
    if targets < least:
        raise ValueError(
            f"ids: expected more than {least}, for a window of {length} in each of {batch_size} streams, got "
            f"{len(ids)}; give a longer text, fewer streams or shorter windows"
        )
    stride = targets // batch_size if remainder == "drop" else -(-targets // batch_size)
    steps = stride // length if remainder == "drop" else -(-stride // length)

    def make(epoch: int, step: int) -> Batch:
        inputs = np.zeros((len(streams), length), ids.dtype)
        following, mask = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
        for row, stream in enumerate(streams):
            begin = stream * stride + step * length
            end = min(begin + length, (stream + 1) * stride, targets)
            count = max(end - begin, 0)
            read = ids[begin : begin + count + 1]
            if read.dtype.itemsize > 4 and read.size and read.max() > LARGEST:
                raise ValueError(f"ids: expected at most {LARGEST}, got {read.max()}, which 32 bits do not hold")
            inputs[row, :count] = read[:count]
            following[row, :count] = read[1 : count + 1]
            mask[row, :count] = True
        return {"inputs": inputs, "targets": following, "mask": mask, "first": np.array(step == 0)}

    return Batches(make, steps, epochs=epochs, read_ahead=read_ahead)


def encode_file(
    path: str | os.PathLike,
    vocabulary: Vocabulary | Tokenizer,
    out: str | os.PathLike,
    *,
    unit: Unit = "characters",
    strict: bool = False,
    buffer_bytes: int = 1 << 20,
) -> tuple[np.ndarray, Unknown]:
    """Writes the numbers of a text file's tokens to disk, for `stream_batches` of a text larger than memory.

    Args:
        path: The text file; `text_chunks` says how it is read.
        vocabulary: Of the training data. That of a large file is
            ``Vocabulary.build(split_text(chunk, unit) for chunk in text_chunks(path))``. Or any object with ``encode``
            and ``decode``, such as a tokenizer of Hugging Face or sentencepiece, which gets the text in pieces that
            end before white space, each without marks of begin and end; `unit` is not used then.
        out: Where to write: int32 numbers and nothing else. The file is complete or not there.
        unit: What the tokens are.
        strict: Whether to refuse what is unknown to a `Vocabulary`.
        buffer_bytes: How much is read at once.

    Returns:
        The numbers ``[N]``, a memory map of `out`, and what was unknown; of another tokenizer only how many tokens
        there are is known.

    Raises:
        TypeError: `buffer_bytes` is not whole, or `vocabulary` has no ``encode`` and ``decode``.
        ValueError: A file that cannot be read, text without a token, an unknown token, if `strict`, or `strict` with
            another tokenizer, which replaces what it does not know, or `out` that is the text file itself.
    """
    path, out = as_path("path", path), as_path("out", out)
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"out: expected another file than the text, got {out}, which it would replace")
    encode = _encoder(vocabulary, unit, strict)
    count, total, first = 0, 0, None
    with replacing(out) as file:
        for chunk in text_chunks(path, buffer_bytes=buffer_bytes):
            ids, unknown = encode(chunk)
            file.write(ids.tobytes())
            count, total = count + unknown.count, total + unknown.total
            first = unknown.first if first is None else first
        if not total:
            raise ValueError(f"data: expected {unit}, got only white space in {path}; give a text with content")
    return np.memmap(out, np.int32, "r"), Unknown(count, total, first)


def _encoder(
    vocabulary: Vocabulary | Tokenizer, unit: Unit, strict: bool
) -> Callable[[str], tuple[np.ndarray, Unknown]]:
    if isinstance(vocabulary, Vocabulary):

        def encode(text: str) -> tuple[np.ndarray, Unknown]:
            ids, unknown = vocabulary.encode_all([split_text(text, unit)], strict=strict)
            return ids[0], unknown

        return encode
    encode_text = encoder_of(vocabulary)
    if strict:
        raise ValueError("strict: expected False for a tokenizer that is no Vocabulary, got True; it does not tell")

    def encode(text: str) -> tuple[np.ndarray, Unknown]:
        ids = encode_text(text)
        return ids, Unknown(0, len(ids), None)

    return encode
