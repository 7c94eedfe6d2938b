"""What a script asks of the machine before it begins: a folder to write in, and facts for the record."""

import atexit
import ctypes
import functools
import gc
import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from recur._version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
QUIET = {"capture_output": True, "text": True, "timeout": 10}


def writable_folder(option: str, path: str | os.PathLike) -> Path:
    """Makes a folder, and refuses before anything is computed if nothing can be written there.

    Raises:
        ValueError: It cannot be made or written; `option` is the flag that named it.
    """
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"{option}: expected a folder that can be written, got {path}: {error.strerror}; give another --{option}"
        ) from None
    return folder


def keep_memory() -> None:
    """Lets the process keep memory that it frees, where the C library is glibc; elsewhere nothing happens.

    By default glibc returns large blocks to the system at once, and XLA on a CPU asks for its temporary arrays in every
    call: they would be mapped anew, page by page, each time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    map_from, trim_from = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(map_from, 2**30)
    libc.mallopt(trim_from, 2**31 - 1)


def collect_seldom() -> None:
    """Lets Python look for cycles of garbage seldom, and not at all where the process ends.

    To trace and compile a program makes hundreds of thousands of objects that stay: looking through them again and
    again takes longer than what is found is worth.
    """
    gc.set_threshold(50_000, 20, 50)
    atexit.register(gc.freeze)


def say_errors_once() -> None:
    """Leaves out what Orbax logs of errors that it raises, too, and what its loops print when they end by one."""
    logging.getLogger("absl").addFilter(lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname)
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            usual(unraisable)

    sys.unraisablehook = hook


def split_cpu(devices: int) -> None:
    """Makes so many JAX devices of a CPU, before JAX is first used; on a GPU or TPU it has no effect.

    One-device programs keep all cores: the devices share one pool of threads.
    """
    # Whoever sets XLA's own flag for it has chosen already.
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", devices)


def jit_once(function: Callable, **options: Any) -> Callable:
    """Returns what `jax.jit` returns, for what runs once, and shortly: most of its time is the compiler's.

    On a CPU it is compiled without optimisation, as engines are tried (`recur.engines.Auto`).
    """

    @functools.cache
    def jitted() -> Callable:
        quickly = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        return jax.jit(function, compiler_options=quickly, **options)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return jitted()(*arguments, **named)

    return call


DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def be_deterministic() -> str:
    """Makes runs repeat bit by bit, and returns in a line what holds and what it costs.

    On a CPU XLA has no other way: the order of a sum depends on shapes and devices alone. On a GPU a flag of XLA leaves
    out operations that add in any order, and the choice of kernels by time, which may fall out otherwise in each run.

    Raises:
        ValueError: There is a GPU, JAX is in use already and began without that flag.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if DETERMINISTIC not in flags.split():
        asked = jax.config.jax_num_cpu_devices
        try:
            # Another number is refused once JAX is in use; before that, flags of XLA count too.
            jax.config.update("jax_num_cpu_devices", asked + 1)
        except RuntimeError:
            if jax.default_backend() == "gpu":
                raise ValueError(
                    f"deterministic: expected XLA_FLAGS={DETERMINISTIC} before JAX is first used, got {flags!r}; "
                    "set it in the environment, or start a process of its own"
                ) from None
        else:
            jax.config.update("jax_num_cpu_devices", asked)
            os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC}".strip()
    where = "the same machine, devices and versions"
    if jax.default_backend() == "gpu":
        return f"deterministic: bitwise equal on {where}; slower, by fixed orders of sums and kernels chosen untimed"
    return f"deterministic: bitwise equal on {where}; costs nothing on this {jax.default_backend().upper()}"


def facts() -> dict[str, Any]:
    """Returns versions, git revision and device, for the record of a run."""
    device = jax.devices()[0]
    return {
        "git": _revision(Path(__file__)),
        "caller_git": _revision(_caller()),
        "versions": {
            "recur": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
        "device": f"{jax.device_count()} x {device.platform}: {device.device_kind}, {os.cpu_count()} CPU cores",
    }


def _caller() -> Path | None:
    """Returns the file of the script that was started; None in a session without one."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).absolute() if file else None


def _revision(file: Path | None) -> str | None:
    """Returns the commit that a file is of, with ``-dirty`` if files differ from it; None where git tells nothing."""
    if file is None:
        return None
    source = file.parent
    command = ["git", "-C", str(source), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        # A folder of packages in somebody's repository is not of its commits.
        subprocess.run(["git", "-C", str(source), "ls-files", "--error-unmatch", str(file)], check=True, **QUIET)
        return subprocess.run(command, check=True, **QUIET).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
