"""Finds the recurrent layers of a whole model of another library, or of the file that one was saved in."""

import os
from collections.abc import Mapping
from typing import Any

from flax import linen, nnx

from recur._checks import brief
from recur.interop import _find_equinox, _find_files, _find_flax, _find_keras, _find_torch, _find_trees
from recur.interop._network import RecurModule


def find_recurrent(model: Any, params: Any = None) -> dict[str, RecurModule]:
    """Returns the recurrent layers of a model as recur's modules, by the names that they have there.

    What is found, by kind of model:

    - torch: ``RNN``, ``LSTM``, ``GRU`` and their cells, with weight norm and other parametrizations resolved; wrappers
      (``DataParallel``, ``DistributedDataParallel``, ``torch.compile``) are looked through.
    - Keras 3: ``SimpleRNN``, ``LSTM``, ``GRU``, and ``Bidirectional`` of these.
    - Flax NNX: ``RNN``, ``Bidirectional`` and bare cells; recur's own ``RNN``, ``Bidirectional`` and ``Stack``.
    - Equinox: ``LSTMCell`` and ``GRUCell``.
    - Flax Linen and Haiku, with `params`: their cells, told by the names of the weights.
    - A mapping from names to arrays: a ``state_dict`` of torch, parameters of Linen, NNX, Haiku or recur.
    - A path: ``.pt``, ``.pth``, ``.bin``, ``.safetensors``, ``.npz``, ``.keras``, ``.h5``, or a folder of Orbax.

    No code of a file is run: files of torch are read by its ``weights_only`` reader, configurations of Keras as data.
    Weights alone do not show every option: a layer of one gate is taken to use tanh (Haiku: relu), both directions to
    be concatenated. Where the equations differ, convert that layer with `from_torch`, `from_keras` or `from_flax`.

    Args:
        model: The model, its parameters, or the path of its file.
        params: Parameters that belong to `model`, where a module does not hold them: of Linen or Haiku.

    Returns:
        Name to module, in the order of the model. Names are paths with dots, as in ``"encoder.lstm"``. A model that is
        itself a recurrent layer has the name of its class, as in ``"lstm"``.

    Raises:
        TypeError: Something that is no model and no path.
        ValueError: No recurrent layer in it, a file that cannot be read, or a layer that recur cannot compute; the
            layer is named, and all others that were found.
        ImportError: A library that reading the file needs is not installed.
    """
    if isinstance(model, str | os.PathLike):
        found, place = _find_files.find(model), f"the file {os.fspath(model)!r}"
    else:
        found, place = _of_model(model, params), f"a {type(model).__module__.split('.')[0]} {type(model).__name__}"
    if not found:
        raise ValueError(f"model: expected at least one recurrent layer that recur knows, got none in {place}")
    return found


def _of_model(model: Any, params: Any) -> dict[str, RecurModule]:
    if isinstance(model, linen.Module) or (params is not None and callable(getattr(model, "apply", None))):
        if not isinstance(params, Mapping):
            raise TypeError(f"params: expected the parameters of {type(model).__name__}, got {brief(params)}")
        return _find_trees.find(params)
    if params is not None:
        raise TypeError(f"params: expected None with {type(model).__name__}, which holds its own; leave it out")
    if isinstance(model, Mapping):
        return _find_trees.find(model)
    if isinstance(model, nnx.Module | list | tuple):
        return _find_flax.find(model)
    # Told by the classes' modules, so that no library is loaded that the model does not need itself.
    origins = {base.__module__.split(".")[0] for base in type(model).__mro__}
    for origin, find in (("torch", _find_torch.find), ("keras", _find_keras.find), ("equinox", _find_equinox.find)):
        if origin in origins:
            return find(model)
    raise TypeError(
        f"model: expected a model of torch, Keras 3, Flax, Equinox or recur, a mapping of its parameters, or a path, "
        f"got {brief(model)}"
    )
