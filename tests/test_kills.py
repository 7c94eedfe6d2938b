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

from experiments import ramp, sentiment
from recur import report

ROOT = pathlib.Path(__file__).parents[1]
EVERY = 20
TINY = {"hidden_size": 3, "seeds": 1, "tensorboard": False, "eval_every": EVERY}
# With patience, which never ends it here, the host is asked after every record, and each is saved.
OFTEN = {"checkpoint_every_s": 0.0, "patience": 10**9}


def start(experiment, options):
    flags = [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, "-m", experiment.__name__, "--host_devices=1", *flags],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def newest(checkpoints):
    return max((int(path.name) for path in checkpoints.glob("*") if path.name.isdecimal()), default=0)


def half_written(checkpoints):
    return any(checkpoints.glob(".*.draft*"))


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)


def kill_anywhere(process, checkpoints, rng):
    """While Python starts, while programs are compiled, or soon after."""
    time.sleep(rng.uniform(0, 4))


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


def check_kills(experiment, options, kinds, tmp_path):
    rng = random.Random(20)
    options = {**TINY, **OFTEN, **options, "workdir": str(tmp_path / "killed")}
    checkpoints = tmp_path / "killed" / "checkpoints"
    for kind in kinds:
        process = start(experiment, options)
        try:
            kind(process, checkpoints, rng)
            assert process.poll() is None, process.stderr.read()
        finally:
            process.kill()
            process.communicate(timeout=60)
        if kind is kill_saving:
            assert half_written(checkpoints)
    process = start(experiment, options)
    _, errors = process.communicate(timeout=1200)
    # Orbax may say that the disk is slow for so many saves.
    assert process.returncode == 0, errors
    assert "damaged" not in errors
    assert {path.name.isdecimal() for path in checkpoints.iterdir() if path.name != ".lock"} == {True}
    whole = options | {"workdir": str(tmp_path / "whole"), "checkpoint_every_s": 60.0}
    experiment.train(experiment.Config(**whole))
    history = history_of(options["workdir"])
    assert [row["step"] for row in history] == list(range(EVERY, options["steps"] + 1, EVERY))
    assert history == history_of(whole["workdir"])
    state = state_of(options["workdir"])
    assert state == state_of(whole["workdir"])
    assert {"params.readout.kernel", "best.value", "key", "step"} <= set(state)


def test_a_run_killed_at_any_moment_ends_as_one_never_killed(tmp_path):
    check_kills(ramp, {"steps": 1000}, [kill_anywhere, kill_training, kill_saving], tmp_path)


@pytest.mark.slow
def test_a_run_killed_at_twenty_moments_ends_as_one_never_killed(tmp_path):
    kinds = [kill_anywhere] * 6 + [kill_training] * 7 + [kill_saving] * 7
    random.Random(0).shuffle(kinds)
    check_kills(ramp, {"steps": 8000}, kinds, tmp_path)


@pytest.mark.slow
def test_a_run_on_batches_from_the_host_goes_on_in_the_data_where_it_was_killed(tmp_path):
    options = {"cell": "elman", "embedding_size": 3, "batch_size": 8, "steps": 2000}
    check_kills(sentiment, options, [kill_saving, kill_training, kill_training, kill_saving], tmp_path)
