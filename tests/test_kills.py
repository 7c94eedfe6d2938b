"""A run killed again and again, by the same command started again and again, and one never killed: the same bits."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments import ramp
from recur import report

ROOT = pathlib.Path(__file__).parents[1]
TINY = {"hidden_size": 3, "seeds": 1, "tensorboard": False}
# With patience, which never ends it here, the host is asked after every record, of 20 steps, and each is saved.
OFTEN = {"checkpoint_every_s": 0.0, "patience": 10**9}


def start(config):
    options = {**TINY, **OFTEN, "workdir": config.workdir, "epochs": config.epochs}
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.ramp", "--host_devices=1", *(f"--{k}={v}" for k, v in options.items())],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def newest(checkpoints):
    return max((int(path.name) for path in checkpoints.glob("*") if path.name.isdecimal()), default=0)


def half_written(checkpoints):
    return any(checkpoints.glob("*.orbax-checkpoint-tmp*"))


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)


def kill_anywhere(process, checkpoints, rng):
    """While Python starts, while programs are compiled, or soon after."""
    time.sleep(rng.uniform(0, 5))


def kill_training(process, checkpoints, rng):
    before = newest(checkpoints)
    wait_until(lambda: newest(checkpoints) > before, process)
    time.sleep(rng.uniform(0, 0.3))


def kill_saving(process, checkpoints, rng):
    kill_training(process, checkpoints, rng)
    stopped = False
    while not stopped:
        # Stopped first: so it is certain that the save was still going on.
        wait_until(lambda: half_written(checkpoints), process)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.01)
        stopped = half_written(checkpoints)
        if not stopped:
            process.send_signal(signal.SIGCONT)


def state_of(workdir):
    """The arrays of the last checkpoint by name, as bytes."""
    checkpoints = pathlib.Path(workdir) / "checkpoints"
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        found = reader.restore(checkpoints / str(newest(checkpoints)) / "state")
    return {name: (str(array.dtype), array.shape, np.asarray(array).tobytes()) for name, array in found.items()}


def history_of(workdir):
    rows = report.read_jsonl(pathlib.Path(workdir) / "history.jsonl")
    return [{key: value for key, value in row.items() if key != "wall_s"} for row in rows]


def check_kills(kinds, epochs, tmp_path):
    rng = random.Random(20)
    config = ramp.Config(**TINY, **OFTEN, epochs=epochs, workdir=str(tmp_path / "killed"))
    checkpoints = tmp_path / "killed" / "checkpoints"
    for kind in kinds:
        process = start(config)
        kind(process, checkpoints, rng)
        assert process.poll() is None, process.stderr.read()
        process.kill()
        process.communicate(timeout=60)
        if kind is kill_saving:
            assert half_written(checkpoints)
    process = start(config)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert not half_written(checkpoints)
    whole = ramp.Config(**TINY, epochs=epochs, workdir=str(tmp_path / "whole"), patience=10**9)
    ramp.train(whole)
    history = history_of(config.workdir)
    assert [row["step"] for row in history] == list(range(20, epochs + 1, 20))
    assert history == history_of(whole.workdir)
    state = state_of(config.workdir)
    assert state == state_of(whole.workdir)
    assert {"params.readout.kernel", "best.value", "key", "step"} <= set(state)


def test_a_run_killed_at_any_moment_ends_as_one_never_killed(tmp_path):
    check_kills([kill_saving, kill_training, kill_anywhere], 1200, tmp_path)


@pytest.mark.slow
def test_a_run_killed_at_twenty_moments_ends_as_one_never_killed(tmp_path):
    kinds = [kill_anywhere] * 6 + [kill_training] * 7 + [kill_saving] * 7
    random.Random(0).shuffle(kinds)
    check_kills(kinds, 8000, tmp_path)
