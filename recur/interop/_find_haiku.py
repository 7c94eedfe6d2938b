"""Recurrent cores of Haiku, told by the names of modules and weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from recur.interop._layouts import KINDS, Fused, to_params
from recur.interop._network import Direction

Read = Callable[[str], Direction]


def direction(name: str, arrays: Mapping[str, Any], as_array: Callable[[Any], np.ndarray]) -> Read | None:
    """Returns what reads a core from its weights by path; None where they are of no core.

    | core | weights | recur |
    |---|---|---|
    | ``LSTM`` | ``linear/{w, b}`` of ``[x, h]``; gates i, g, f + 1, o | ``lstm`` |
    | ``GRU`` | ``w_i, w_h, b``; gates z, r, a; z and 1 - z change places | ``gru_reset_before`` |
    | ``VanillaRNN`` | ``linear/{w, b}, linear_1/{w, b}`` | ``elman_relu`` |

    Linear layers look alike, so the first and the last must have ``lstm`` or ``rnn`` in their name, as Haiku's own do.
    """
    own, paths = name.rpartition(".")[2].lower(), set(arrays)
    if paths == {"w_i", "w_h", "b"}:
        return functools.partial(_gru, arrays, as_array)
    if paths == {"linear/w", "linear/b"} and "lstm" in own:
        return functools.partial(_lstm, arrays, as_array)
    if {"linear/w", "linear_1/w"} <= paths <= {"linear/w", "linear/b", "linear_1/w", "linear_1/b"} and "rnn" in own:
        return functools.partial(_vanilla, arrays, as_array)
    return None


def _gru(arrays: Mapping[str, Any], as_array: Callable, label: str) -> Direction:
    kernel, recurrent_kernel, bias = (as_array(arrays[name]) for name in ("w_i", "w_h", "b"))
    units = recurrent_kernel.shape[0]
    # 1 - sigmoid(a) = sigmoid(-a), and the order z, r, n is that of Keras.
    sign = np.where(np.arange(3 * units) < units, -1, 1).astype(kernel.dtype)
    return _made("gru_reset_before", "keras", Fused(kernel * sign, recurrent_kernel * sign, bias * sign), label)


def _lstm(arrays: Mapping[str, Any], as_array: Callable, label: str) -> Direction:
    weights, bias = as_array(arrays["linear/w"]), as_array(arrays["linear/b"])
    units = bias.size // 4
    if bias.size != 4 * units or weights.shape[0] <= units:
        raise ValueError(f"{label}: expected linear/w [X + H, 4 H], got shape {weights.shape}")

    def order(array: np.ndarray) -> np.ndarray:
        i, g, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    bias = order(bias)
    bias[units : 2 * units] += 1
    weights = order(weights)
    return _made("lstm", "torch", Fused(weights[:-units], weights[-units:], bias), label)


def _vanilla(arrays: Mapping[str, Any], as_array: Callable, label: str) -> Direction:
    kernel, recurrent_kernel = as_array(arrays["linear/w"]), as_array(arrays["linear_1/w"])
    biases = [as_array(arrays[name]) if name in arrays else None for name in ("linear/b", "linear_1/b")]
    return _made("elman_relu", "torch", Fused(kernel, recurrent_kernel, *biases), label)


def _made(kind: str, library: str, fused: Fused, label: str) -> Direction:
    return Direction(KINDS[kind].factory(fused.recurrent_kernel.shape[0]), to_params(fused, kind, library, label))
