"""Reads the weights of a model from a file, without running any code of it."""

import importlib
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from recur._checks import as_path
from recur.interop import _find_keras, _find_trees
from recur.interop._network import RecurModule

_INNER = ("state_dict", "model_state_dict", "model", "params", "weights")


def find(path: str | os.PathLike) -> dict[str, RecurModule]:
    """Finds the recurrent layers in a file, or in a folder of Orbax.

    Raises:
        ValueError: A file that is not there, of another kind, or damaged.
        ImportError: The library that reads this kind is not installed.
    """
    place = as_path("model", path)
    if place.is_dir():
        return _find_trees.find(_orbax(place))
    if not place.is_file():
        raise ValueError(f"model: expected the file of a model, got {str(place)!r}, where there is none")
    readers = {
        **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), _torch),
        **dict.fromkeys((".keras", ".h5", ".hdf5"), _keras),
        ".safetensors": _safetensors,
        ".npz": _npz,
    }
    reader = readers.get(place.suffix.lower())
    if reader is None:
        raise ValueError(
            f"model: expected a file that ends in one of {sorted(readers)}, or a folder of Orbax, got {str(place)!r}"
        )
    return reader(place)


def _torch(place: pathlib.Path) -> dict[str, RecurModule]:
    torch = _needed("torch", "torch", place)
    try:
        # The reader that refuses all but tensors and plain containers.
        content = torch.load(place, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, OSError, EOFError, LookupError, AttributeError) as error:
        raise _unreadable(place, error) from None
    except Exception as error:  # of torch's own reader, for a class that it does not let through
        if type(error).__name__ != "UnpicklingError":
            raise
        raise ValueError(
            f"model: expected weights alone in {str(place)!r}, got a file with classes or code, which is not run; "
            f"save model.state_dict() in torch"
        ) from None
    for name in _INNER:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping):
        raise ValueError(f"model: expected a state dict in {str(place)!r}, got {type(content).__name__}")
    return _find_trees.find(
        {name: leaf for name, leaf in content.items() if hasattr(leaf, "shape") or isinstance(leaf, Mapping)}
    )


def _safetensors(place: pathlib.Path) -> dict[str, RecurModule]:
    safetensors = _needed("safetensors", "safetensors", place)
    reader = _needed("safetensors.numpy", "safetensors", place)
    try:
        arrays = reader.load_file(place)
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise _unreadable(place, error) from None
    return _find_trees.find(_by_dots(arrays))


def _npz(place: pathlib.Path) -> dict[str, RecurModule]:
    try:
        with np.load(place, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _unreadable(place, error) from None
    return _find_trees.find(_by_dots(arrays))


def _by_dots(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names with dots of other libraries than torch are paths of a tree; torch's are found as they are."""
    if any("weight_hh" in name for name in arrays):
        return arrays
    return {name.replace(".", "/"): array for name, array in arrays.items()}


def _keras(place: pathlib.Path) -> dict[str, RecurModule]:
    h5py = _needed("h5py", "h5py", place)
    try:
        if zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as store:
                config = json.loads(archive.read("config.json"))
                return _find_keras.find_in_config(config, lambda name: _by_name(h5py, store, name))
        with h5py.File(place) as store:
            if "model_config" not in store.attrs:
                raise ValueError(
                    f"model: expected a whole model in {str(place)!r}, got its weights alone; save it by "
                    f"model.save('name.keras')"
                )
            config = json.loads(store.attrs["model_config"])
            return _find_keras.find_in_config(config, lambda name: _old(h5py, store, name))
    except (OSError, KeyError, json.JSONDecodeError, zipfile.BadZipFile) as error:
        raise _unreadable(place, error) from None


def _by_name(h5py: Any, store: Any, name: str) -> list[np.ndarray]:
    """Weights of the layer whose group of variables bears this name; forward before backward."""
    owners = []

    def visit(path: str, group: Any) -> None:
        if path.rpartition("/")[2] == "vars" and isinstance(group, h5py.Group) and group.attrs.get("name") == name:
            owners.append(path.removesuffix("vars"))

    store.visititems(visit)
    if len(owners) != 1:
        raise ValueError(f"layer {name!r}: expected its weights once in the file, got {len(owners)} places")
    owner = store[owners[0]] if owners[0] else store
    cells = [
        side["cell/vars"]
        for side in (owner, owner.get("forward_layer"), owner.get("backward_layer"))
        if side is not None and "cell/vars" in side
    ]
    return [np.asarray(cell[str(index)]) for cell in cells for index in range(len(cell))]


def _old(h5py: Any, store: Any, name: str) -> list[np.ndarray]:
    """Weights of a layer in the format before ``.keras``: an ordered list of names."""
    weights = store["model_weights"]
    if name not in weights:
        nested = [group for group in weights.values() if isinstance(group, h5py.Group) and name in group]
        if len(nested) != 1:
            raise ValueError(f"layer {name!r}: expected its weights once in the file, got {len(nested)} places")
        prefix, group = f"{name}/", nested[0]
    else:
        prefix, group = "", weights[name]
    names = [item.decode() if isinstance(item, bytes) else str(item) for item in group.attrs["weight_names"]]
    return [np.asarray(group[item]) for item in names if item.startswith(prefix)]


def _orbax(folder: pathlib.Path) -> Mapping[str, Any]:
    import orbax.checkpoint as ocp  # slow to import, and only folders need it

    steps = sorted((int(item.name) for item in folder.iterdir() if item.name.isdecimal()), reverse=True)
    places = [folder, *(folder / str(step) for step in steps[:1])]
    places += [place / item for place in list(places) for item in ("default", "params", "state", "model")]
    for place in places:
        if (place / "_METADATA").is_file():
            try:
                reader = ocp.PyTreeCheckpointer()
                outline = reader.metadata(place.absolute()).item_metadata.tree
                # As NumPy's arrays: the devices that they were saved on need not be here.
                wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), outline)
                restored = reader.restore(place.absolute(), restore_args=wanted)
            except (OSError, ValueError, KeyError) as error:
                raise _unreadable(place, error) from None
            for name in _INNER:
                if isinstance(restored, Mapping) and isinstance(restored.get(name), Mapping):
                    restored = restored[name]
            return restored
    raise ValueError(f"model: expected a checkpoint of Orbax in {str(folder)!r}, got a folder without one")


def _needed(module: str, package: str, place: pathlib.Path) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ImportError(
            f"model: {str(place)!r} is read by {package}, which is not installed; pip install {package}"
        ) from None


def _unreadable(place: pathlib.Path, error: Exception) -> ValueError:
    words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ValueError(f"model: expected a readable file, got {str(place)!r}: {words}")
