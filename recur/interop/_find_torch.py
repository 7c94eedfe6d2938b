"""Recurrent layers of a model of torch, live or as a state dict."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from recur.interop._found import convert
from recur.interop._network import RecurModule
from recur.interop._torch import from_torch, to_numpy

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|module)\.")
_RECURRENT = re.compile(
    r"(?P<layer>.*?)(?P<weight>(?:weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l\d+(?:_reverse)?)?)"
)
_NORM = {"_g": 0, "_v": 1, ".original0": 0, ".original1": 1}


def find(model: Any) -> dict[str, RecurModule]:
    """Finds the layers of a live model; the weights are those that it computes with."""
    layers = {}
    for path, module in model.named_modules():
        names = [name for name in _weight_names(module) if _RECURRENT.fullmatch(name)]
        kind = _recurrent_class(module)
        if kind is None or not names:
            continue
        # `getattr` resolves parametrizations, which leave another name in the state dict.
        state = {name: getattr(module, name) for name in names}
        options = {"nonlinearity": getattr(module, "nonlinearity", None)} if kind.startswith("RNN") else {}
        dropout = getattr(module, "dropout", 0.0) if getattr(module, "num_layers", 1) > 1 else None
        name = _WRAPPERS.sub("", f"{path}.").rstrip(".") or type(module).__name__.lower()
        layers[name] = functools.partial(from_torch, state, dropout=dropout, **options)
    return convert(layers)


def find_in_state(state: Mapping[str, Any]) -> dict[str, RecurModule]:
    """Finds the layers of a state dict by the names of their weights."""
    groups: dict[str, dict[str, Any]] = {}
    for name, array in resolve_weight_norm(state).items():
        match = _RECURRENT.fullmatch(_WRAPPERS.sub("", name))
        if match and (match["layer"] == "" or match["layer"].endswith(".")):
            groups.setdefault(match["layer"].rstrip("."), {})[match["weight"]] = array
    return convert({name or "rnn": functools.partial(from_torch, group) for name, group in groups.items()})


def resolve_weight_norm(state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a state dict with the weights in place of magnitude g and direction v: ``W = g v / ||v||`` by rows.

    Reference:
        Salimans and Kingma (2016), https://arxiv.org/abs/1602.07868, eq. 2.
    """
    resolved, pairs = {}, {}
    for name, array in state.items():
        if not isinstance(name, str):
            continue
        ending = next((end for end in _NORM if name.endswith(end)), None)
        plain = name.removesuffix(ending or "").replace("parametrizations.", "") if ending else name
        if ending and _RECURRENT.fullmatch(plain.rpartition(".")[2]):
            pairs.setdefault(plain, {})[_NORM[ending]] = array
        else:
            resolved[name] = array
    for name, pair in pairs.items():
        if set(pair) != {0, 1}:
            raise ValueError(f"model: expected magnitude and direction of the normalised weight {name!r}, got only one")
        g, v = (to_numpy(pair[part]) for part in (0, 1))
        wide = v.astype(np.float64)
        axes = tuple(axis for axis in range(v.ndim) if g.ndim != v.ndim or g.shape[axis] == 1)
        length = np.sqrt(np.sum(wide**2, axis=axes, keepdims=True))
        resolved[name] = (g.astype(np.float64).reshape(length.shape) * wide / length).astype(v.dtype)
    return resolved


def _weight_names(module: Any) -> list[str]:
    flat = getattr(module, "_flat_weights_names", None)
    return list(flat) if flat else ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if _has_bias(module) else [])]


def _has_bias(module: Any) -> bool:
    return getattr(module, "bias_ih", None) is not None


def _recurrent_class(module: Any) -> str | None:
    """Name of torch's class that a module is of; a subclass with a step of its own is none."""
    for base in type(module).__mro__:
        # Parametrized modules are of a class that torch makes at run time, named after the first.
        if base.__module__ == "torch.nn.modules.rnn":
            own = type(module).forward is base.forward
            return base.__name__ if own and not base.__name__.endswith("Base") else None
    return None
