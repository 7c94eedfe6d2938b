"""Several processes that train one run together, through `jax.distributed`."""

import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import flags

# A process that is not heard of for so long is lost, and with it the run. The others end within a minute, as they
# wait this long at most, and once more where the lost process is the first, which counts the others.
HEARTBEAT_S = 20
CONNECT_S = 300
LOST = (
    "another process has ended or cannot be reached; its own words say why; "
    "the same command goes on from the last checkpoint"
)
# What the C library calls must not be collected.
_kept: list[Any] = []


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags that tell a process of the others."""
    options = {"flag_values": flag_values, "module_name": "Cluster"}
    flags.DEFINE_string("coordinator", "", "Host:port of process 0, of a run by several processes.", **options)
    flags.DEFINE_integer("num_processes", 0, "How many processes there are.", lower_bound=0, **options)
    flags.DEFINE_integer("process_id", -1, "Which one this is, from 0; 0 prints and writes.", lower_bound=-1, **options)
    text = "Several processes on a cluster that JAX knows itself: SLURM, Open MPI, TPU pods, GKE; no other flag needed."
    flags.DEFINE_bool("distributed", False, text, **options)


def connect(flag_values: flags.FlagValues) -> None:
    """Joins the other processes, before JAX is first used; nothing happens where no flag tells of others.

    Raises:
        ValueError: Flags that do not fit together, or no cluster that JAX knows.
        OSError: The others did not come.
    """
    coordinator, count, index = (flag_values[name].value for name in ("coordinator", "num_processes", "process_id"))
    if not coordinator:
        if count or index >= 0:
            raise ValueError("coordinator: expected host:port of process 0 with num_processes and process_id, got none")
        if flag_values["distributed"].value:
            _initialize("distributed: expected a cluster that JAX knows, got none: give --coordinator and its like")
        return
    if ":" not in coordinator or not coordinator.rpartition(":")[2].isdecimal():
        raise ValueError(f"coordinator: expected host:port, got {coordinator!r}")
    if count < 1:
        raise ValueError(f"num_processes: expected a number >= 1 with coordinator, got {count}")
    if not 0 <= index < count:
        raise ValueError(f"process_id: expected 0 to {count - 1}, got {index}")
    _initialize(
        f"coordinator: expected {count} processes to meet at {coordinator} within {CONNECT_S} s",
        coordinator_address=coordinator,
        num_processes=count,
        process_id=index,
        cluster_detection_method="deactivate",
    )


def _initialize(wanted: str, **known: str | int) -> None:
    # Of CPUs, what sums gradients over processes; on other devices it has no effect.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {"heartbeat_timeout_seconds": HEARTBEAT_S, "initialization_timeout": CONNECT_S}
    try:
        jax.distributed.initialize(**known, **options)
    except ValueError as error:
        raise ValueError(f"{wanted} ({error})") from None
    except jax.errors.JaxRuntimeError as error:
        raise OSError(f"{wanted}; {str(error).splitlines()[0]}") from None
    _tell_of_abort()
    if jax.process_index() > 0:
        # Libraries print too, past Python's own stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_of_abort() -> None:
    """Ends with a line where JAX's own threads abort the process, as they do when another one is gone."""
    if os.name != "posix":
        return

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def end(number: int) -> None:
        del number
        print(f"{name()}{LOST} (JAX says above what it noticed)", file=sys.stderr)
        leave(1)

    # By the C library, as a handler of Python's would wait for the main thread, which the abort does not wait for.
    ctypes.CDLL(None).signal(signal.SIGABRT, end)
    _kept.append(end)


def is_shared() -> bool:
    """Returns whether other processes take part."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_of_lost(error: BaseException) -> bool:
    """Returns whether an error tells that another process is gone, in the words of XLA or of what sends for it.

    Which class it comes in depends on where it is noticed; it begins with a status such as UNKNOWN, or holds one.
    """
    return (
        is_shared()
        and re.search(r"\b(UNKNOWN|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ", str(error)) is not None
    )


def name() -> str:
    """Returns what a line on standard error begins with, so that it is known whose it is; nothing for one process."""
    return f"process {jax.process_index()} of {jax.process_count()}: " if is_shared() else ""


@contextlib.contextmanager
def own_folder(workdir: str) -> Iterator[str]:
    """Yields the folder to write in: `workdir` in process 0, elsewhere one that goes away.

    So all processes run the same programs, as those that they run together must be.
    """
    if not is_shared() or jax.process_index() == 0:
        yield workdir
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield str(Path(scratch) / "run")


def leave(code: int) -> NoReturn:
    """Ends the process at once, without a word to the others, which would wait for one that is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
