"""Experiments by several processes: flags that do not fit, who prints and writes, a process that is lost."""

import json
import pathlib
import shutil
import signal
import sys
import time

import pytest
from absl import flags

from experiments import adding
from recur.runs import _cluster

sys.path.insert(0, str(pathlib.Path(__file__).parent / "train"))
from process_runs import begin, finish, free_port

STEPS, LOST_WITHIN_S = 120, 60
SMALL = ["--length=10", "--hidden_size=8", "--batch_size=16", "--validation=32", "--seeds=2", "--cell=elman"]
# Patience lets a call take one record only, so that there are many checkpoints to be killed at.
OPTIONS = [
    *SMALL,
    f"--steps={STEPS}",
    "--eval_every=5",
    "--patience=1000",
    "--checkpoint_every_s=0",
    "--host_devices=1",
]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"num_processes": 2}, "coordinator: expected host:port of process 0 with num_processes and process_id"),
        ({"process_id": 0}, "coordinator: expected host:port of process 0"),
        ({"coordinator": "here", "num_processes": 2, "process_id": 0}, "coordinator: expected host:port, got 'here'"),
        ({"coordinator": "a:1"}, "num_processes: expected a number >= 1 with coordinator, got 0"),
        ({"coordinator": "a:1", "num_processes": 2}, "process_id: expected 0 to 1, got -1"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "process_id: expected 0 to 1, got 2"),
    ],
)
def test_flags_that_do_not_fit_are_refused(told, message):
    values = flags.FlagValues()
    _cluster.define_flags(values)
    values.mark_as_parsed()
    for name, value in told.items():
        setattr(values, name, value)
    with pytest.raises(ValueError, match=message):
        _cluster.connect(values)


def test_a_process_alone_is_not_named():
    assert (_cluster.is_shared(), _cluster.name()) == (False, "")
    with _cluster.own_folder("runs/here") as folder:
        assert folder == "runs/here"


def commands(folder, processes):
    shared = ["-m", "experiments.adding", *OPTIONS, f"--workdir={folder}"]
    if processes == 1:
        return [shared]
    cluster = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={processes}"]
    return [[*shared, *cluster, f"--process_id={index}"] for index in range(processes)]


def losses(folder):
    lines = (folder / "history.jsonl").read_text().splitlines()
    return {row["step"]: row["val_loss"] for row in map(json.loads, lines)}


def until_saved(folder, step, processes):
    """Returns when there is a checkpoint after this step or a later one."""
    end = time.monotonic() + 300
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        if any(path.name.isdecimal() and int(path.name) >= step for path in folder.glob("checkpoints/*")):
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint of step {step} came: {finish(processes, 10)}")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_a_lost_process_ends_the_others_and_the_run_goes_on(victim, tmp_path):
    processes = begin(commands(tmp_path / "two", 2))
    until_saved(tmp_path / "two", 20, processes)
    processes[victim].kill()
    killed = time.monotonic()
    codes, _, errors = finish(processes, LOST_WITHIN_S)
    assert time.monotonic() - killed < LOST_WITHIN_S
    other = 1 - victim
    assert codes[other] == 1, errors[other]
    last = errors[other].strip().splitlines()[-1]
    assert f"process {other} of 2: another process has ended or cannot be reached" in last
    assert "the same command goes on from the last checkpoint" in last

    at = max(int(path.name) for path in (tmp_path / "two" / "checkpoints").iterdir() if path.name.isdecimal())
    assert 20 <= at < STEPS
    codes, said, errors = finish(begin(commands(tmp_path / "two", 2)), 300)
    assert codes == [0, 0], errors
    assert "best_val_loss" in said[0]
    assert said[1] == ""
    assert sorted(losses(tmp_path / "two")) == list(range(5, STEPS + 1, 5))
    for name in ("summary.json", "index.html", "history.csv", "loss.png"):
        assert (tmp_path / "two" / name).is_file()

    # As one process, never stopped.
    codes, _, errors = finish(begin(commands(tmp_path / "one", 1)), 300)
    assert codes == [0], errors
    for step, wanted in losses(tmp_path / "one").items():
        assert losses(tmp_path / "two")[step] == pytest.approx(wanted, rel=1e-3)
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [1, 0])
def test_a_signal_to_one_process_stops_all_at_the_same_step(asked, tmp_path):
    """As a cluster takes a single machine away: all save together, and all say how it goes on."""
    processes = begin(commands(tmp_path, 2))
    until_saved(tmp_path, 20, processes)
    processes[asked].send_signal(signal.SIGTERM)
    codes, _, errors = finish(processes, LOST_WITHIN_S)
    assert codes == [143, 143], errors
    at = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal())
    assert 20 <= at < STEPS
    for index, said in enumerate(errors):
        assert f"process {index} of 2: stopped after step {at} of {STEPS}; the same command goes on from there" in said
        assert "Traceback" not in said
    assert sorted(losses(tmp_path)) == list(range(5, at + 1, 5))
    codes, _, errors = finish(begin(commands(tmp_path, 2)), 300)
    assert codes == [0, 0], errors
    assert sorted(losses(tmp_path)) == list(range(5, STEPS + 1, 5))


def test_what_the_flags_are_is_told():
    """One heading of ``--help``, for experiments that train on data alone."""
    values = flags.FlagValues()
    adding._config.define_flags(adding.Config, values)
    assert {"coordinator", "num_processes", "process_id", "distributed"} <= set(values)
    alone = flags.FlagValues()
    adding._config.define_flags(adding._config.CellConfig, alone)
    assert "coordinator" not in alone
