"""Arrays on the disk, through Orbax: written by one thread of the process, so that no two saves meet."""

import concurrent.futures
import contextlib
import queue
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

PATTERN = re.compile(r"[\[\]*?\\]")
"""What Orbax reads as a pattern in the name of a folder, or cannot read."""

_tasks: queue.SimpleQueue = queue.SimpleQueue()
_starting = threading.Lock()
_thread: threading.Thread | None = None


def in_background(task: Callable[[], None]) -> concurrent.futures.Future:
    """Begins a task, after all that were given before from any thread, and returns what tells of its end.

    Orbax counts the saves of a process, not those of a thread. A process that ends does not wait for the thread.
    """
    global _thread
    with _starting:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="recur-checkpoints", daemon=True)
            _thread.start()
    told = concurrent.futures.Future()
    _tasks.put((task, told))
    return told


def _work() -> None:
    while True:
        task, told = _tasks.get()
        try:
            told.set_result(task())
        except BaseException as error:
            told.set_exception(error)
        del task, told


def write_arrays(folder: Path, items: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes arrays by item and name into a folder of its own, which must not be there yet.

    Of arrays on the devices of several processes each writes its part; all call it together.
    """
    options = _options()
    handlers = {name: ocp.StandardCheckpointHandler(multiprocessing_options=options) for name in items}
    composite = ocp.CompositeOptions(multiprocessing_options=options)
    handler = ocp.CompositeCheckpointHandler(composite_options=composite, **handlers)
    saved = {name: ocp.args.StandardSave(dict(arrays)) for name, arrays in items.items()}
    with _plain(folder) as path, ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer:
        checkpointer.save(path, ocp.args.Composite(**saved))


def stored_arrays(folder: Path) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the arrays of an item, by name."""
    with _plain(folder) as path, _reader() as reader:
        found = reader.handler.metadata(path)
        return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in found.items()}


def read_arrays(
    folder: Path, wanted: Mapping[str, jax.ShapeDtypeStruct] | None = None
) -> dict[str, np.ndarray | jax.Array]:
    """Returns the arrays of an item, or those that are wanted, of these shapes; each process reads the whole."""
    like = None
    if wanted is not None:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here) for name, leaf in wanted.items()}
    with _plain(folder) as path, _reader() as reader:
        return reader.restore(path, args=ocp.args.StandardRestore(like))


def _reader() -> ocp.Checkpointer:
    options = _options()
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _options() -> ocp.options.MultiprocessingOptions:
    # Named processes meet through the coordinator and not on their devices, which train meanwhile.
    processes = set(range(jax.process_count())) if jax.process_count() > 1 else None
    return ocp.options.MultiprocessingOptions(active_processes=processes)


@contextlib.contextmanager
def _plain(folder: Path) -> Iterator[Path]:
    """Yields a path to a folder, perhaps by a link, without characters that mean something to Orbax."""
    if not PATTERN.search(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="recur-") as links:
        link = Path(links) / "folder"
        link.symlink_to(folder.parent, target_is_directory=True)
        yield link / folder.name
