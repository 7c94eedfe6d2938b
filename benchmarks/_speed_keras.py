"""Keras 3 on JAX as a peer."""

import os
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case, Module
from recur import interop

_CELLS = {"elman": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}


def entries(case: Case) -> Iterator[Entry]:
    """Compiles Keras."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.backend.backend() != "jax":
        raise CannotError(f"runs on {keras.backend.backend()} here; KERAS_BACKEND=jax makes it run on JAX")
    if case.cell not in _CELLS:
        raise CannotError(f"has no layer {case.cell}")
    layer = interop.to_keras(case.modules[0])
    rest = [variable.value for variable in layer.non_trainable_variables]

    def apply(params: list[jax.Array], x: jax.Array) -> jax.Array:
        return layer.stateless_call(params, rest, x)[0]

    def convert(module: Module) -> list[Any]:
        return [variable.value for variable in interop.to_keras(module).trainable_variables]

    yield on_jax(case, Model(f"keras.{_CELLS[case.cell]}", apply, convert))
