"""Runs a script as several processes of `jax.distributed` over loopback."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np

SCRIPT = pathlib.Path(__file__).with_name("on_processes.py")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(commands):
    """Starts one process for each command and returns them; what they say goes through pipes."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(SCRIPT.parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([sys.executable, *command], env=environment, **pipes) for command in commands]


def finish(processes, timeout):
    """Returns exit codes and what was said, and leaves no process behind."""
    try:
        said = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], [out for out, _ in said], [err for _, err in said]


def train_on(folder, processes, devices, steps, *also):
    """Runs on_processes.py and returns what each process found."""
    port = free_port()
    rest = [str(port), str(devices), str(steps), *also]
    commands = [
        ["-W", "error", str(SCRIPT), str(folder), str(processes), str(index), *rest] for index in range(processes)
    ]
    codes, _, errors = finish(begin(commands), 300)
    assert not any(codes), "\n".join(errors)
    return [nested(np.load(folder / f"found_{index}.npz")) for index in range(processes)]


def nested(arrays):
    found = {}
    for key, value in arrays.items():
        run, name = key.split(".")
        found.setdefault(run, {})[name] = value
    return found
