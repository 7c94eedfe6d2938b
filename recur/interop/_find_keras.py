"""Recurrent layers of a model of Keras 3, live or from its configuration and arrays."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from recur.interop._found import convert, join
from recur.interop._keras import CELLS, MERGES, from_keras
from recur.interop._layouts import KINDS, Fused, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build

_RECURRENT = ("SimpleRNN", "LSTM", "GRU", "Bidirectional")
_REFUSED = {"go_backwards": False, "stateful": False}

Arrays = Callable[[str], list[np.ndarray]]
"""Weights of the layer with this name, in the order of its cells: kernel, recurrent kernel, bias where there is one."""


def find(model: Any) -> dict[str, RecurModule]:
    """Finds the layers of a live model."""
    return convert({name: functools.partial(from_keras, layer) for name, layer in _live(model, "", set())})


def _live(layer: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    if type(layer).__module__.startswith("keras.") and type(layer).__name__ in _RECURRENT:
        yield name or layer.name, layer
        return
    # Attributes hold what a subclassed model is made of.
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        yield from _live(inner, join(name, inner.name), seen)


def find_in_config(config: Mapping[str, Any], arrays: Arrays) -> dict[str, RecurModule]:
    """Finds the layers of a configuration, as data: no class that it names is imported."""
    layers = {}
    for name, layer in _configured(config, ""):
        if name in layers:
            raise ValueError(f"model: expected layers of distinct names, got {name!r} twice")
        layers[name] = functools.partial(_layer, layer, arrays)
    return convert(layers)


def _configured(config: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the recurrent layers in a configuration, by their path of names below the model."""
    if isinstance(config, list):
        for item in config:
            yield from _configured(item, name)
    elif isinstance(config, Mapping):
        if config.get("class_name") in _RECURRENT and isinstance(config.get("config"), Mapping):
            yield join(name, str(config["config"].get("name", ""))), config
            return
        for key, value in config.items():
            if key == "layers" and isinstance(value, list):
                for item in value:
                    inner = item.get("config", {}) if isinstance(item, Mapping) else {}
                    is_model = isinstance(inner, Mapping) and "layers" in inner
                    yield from _configured(item, join(name, str(inner.get("name", ""))) if is_model else name)
            elif isinstance(value, Mapping | list):
                yield from _configured(value, name)


def _layer(layer: Mapping[str, Any], arrays: Arrays) -> RecurModule:
    config = layer["config"]
    label = f"layer {config.get('name')!r}"
    weights = arrays(config.get("name"))
    if layer["class_name"] != "Bidirectional":
        return build(Network((Layer(_direction(layer, weights, label, backwards=False)),)))
    merge = config.get("merge_mode", "concat")
    if merge not in MERGES:
        raise ValueError(f"{label}: expected merge_mode one of {sorted(MERGES)}, got {merge!r}")
    forward = config["layer"]
    backward = config.get("backward_layer") or forward
    half = len(weights) // 2
    return build(
        Network(
            (
                Layer(
                    _direction(forward, weights[:half], label, backwards=False),
                    _direction(backward, weights[half:], label, backwards=None),
                    MERGES[merge],
                ),
            )
        )
    )


def _direction(layer: Mapping[str, Any], weights: list[np.ndarray], label: str, *, backwards: bool | None) -> Direction:
    config, name = layer["config"], layer["class_name"]
    for option, wanted in _REFUSED.items():
        if (got := config.get(option, False)) != wanted and not (option == "go_backwards" and backwards is None):
            raise ValueError(f"{label}: expected {option}={wanted}, got {got!r}")
    if len(weights) not in (2, 3):
        raise ValueError(f"{label}: expected 2 or 3 arrays of weights, got {len(weights)}")
    kind = _kind(name, config, label)
    kernel, recurrent_kernel, bias, recurrent_bias = (*weights, None, None)[:4]
    if bias is not None and kind == "gru":
        bias, recurrent_bias = bias
    params = to_params(Fused(kernel, recurrent_kernel, bias, recurrent_bias), kind, "keras", label)
    return Direction(KINDS[kind].factory(int(config["units"])), params)


def _kind(name: str, config: Mapping[str, Any], label: str) -> str:
    # Keras 2 leaves out what was not an option yet.
    defaults = {"reset_after": False, "recurrent_activation": "hard_sigmoid"}
    for kind, (layer, options) in CELLS.items():
        if layer == name and all(config.get(key, defaults.get(key)) == value for key, value in options.items()):
            return kind
    got = {key: config.get(key) for key in ("activation", "recurrent_activation", "reset_after") if key in config}
    raise ValueError(f"{label}: expected a {name} with Keras's own tanh and sigmoid, got {got}")
