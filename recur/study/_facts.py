"""Versions and device, for the record of a study."""

import importlib.metadata
import os
import platform
from typing import Any

import jax

_PACKAGES = ("recur", "jax", "jaxlib", "flax", "optax", "numpy")


def facts() -> dict[str, Any]:
    """Returns versions of Python and packages, and the device."""
    device = jax.devices()[0]
    known = {name: _version(name) for name in _PACKAGES}
    return {
        "versions": {"python": platform.python_version(), **{name: found for name, found in known.items() if found}},
        "device": f"{jax.device_count()} x {device.platform}: {device.device_kind}, {os.cpu_count()} CPU cores",
    }


def _version(name: str) -> str | None:
    """A package on the path without having been installed has no version."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
