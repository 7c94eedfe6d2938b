"""What keeps a run: one process a folder, damaged checkpoints passed over, a full disk, what the folder says."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from experiments import char_lm, ramp, sequential_digits
from recur import report, train
from recur.runs import _folder, _lock

ROOT = pathlib.Path(__file__).parents[1]
TINY = {"hidden_size": 3, "seeds": 1, "tensorboard": False}


def tiny(workdir, **options):
    return ramp.Config(**TINY, workdir=str(workdir), **options)


def history(workdir):
    return [{**row, "wall_s": 0} for row in report.read_jsonl(workdir / "history.jsonl")]


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != _lock.NAME]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def newest(workdir):
    steps = (path for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())
    return max(steps, key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, ramp.train(tiny(workdir, epochs=400, checkpoint_every_s=0.0))


@pytest.mark.parametrize(
    ("experiment", "missing", "was", "is_now"),
    [(sequential_digits, "noise", 0.0, 0.15), (char_lm, "embedding_dropout", 0.4, 0.1)],
)
def test_an_option_that_is_younger_than_a_run_is_what_was_done_before(tmp_path, experiment, missing, was, is_now):
    asked = experiment.Config(workdir=str(tmp_path))
    _folder.write_config(_folder.check_folder("it", asked), "it", asked)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["config"][missing]
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=f"{missing}: the run in .* has {was}, asked for is {is_now}"):
        _folder.check_folder("it", asked)
    _folder.check_folder("it", experiment.Config(workdir=str(tmp_path), **{missing: was}))


def test_a_folder_in_use_is_refused(tmp_path):
    config = tiny(tmp_path, epochs=20)
    who = f"process {os.getpid()} on {socket.gethostname()}"
    for held in (tmp_path, tmp_path / "gru"):
        with (
            _lock.alone_in(held),
            pytest.raises(ValueError, match=f"workdir: {held} is in use by {who}; wait for its end, stop it, or give"),
        ):
            ramp.train(config if held == tmp_path else tiny(tmp_path, epochs=20, cell="gru,elman"))
    assert not (tmp_path / "checkpoints").exists()
    with _lock.alone_in(tmp_path):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    code = "import sys, time; from recur.runs import _lock\nwith _lock.alone_in(sys.argv[1]): print(1); time.sleep(99)"
    command = [sys.executable, "-u", "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "1\n"
        with pytest.raises(ValueError, match=f"in use by process {process.pid} on"), _lock.alone_in(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with _lock.alone_in(tmp_path):
        assert (tmp_path / _lock.NAME).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(whole, tmp_path):
    _, summary = whole
    ramp.train(tiny(tmp_path, epochs=400, checkpoint_every_s=0.0))
    file = next(path for path in newest(tmp_path).glob("state/ocdbt.process_0/d/*"))
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.warns(UserWarning, match=f"damaged checkpoint, passed over: {file}: .* bytes, where"):
        again = ramp.train(tiny(tmp_path, epochs=400))
    assert again["metrics"] == summary["metrics"]
    assert history(tmp_path) == history(whole[0])


def test_a_run_whose_checkpoints_are_all_damaged_stays_as_it_is(tmp_path):
    config = tiny(tmp_path, epochs=60, checkpoint_every_s=0.0)
    ramp.train(config)
    for path in (tmp_path / "checkpoints").glob("[0-9]*"):
        (path / "progress" / "metadata").unlink()
    before = files(tmp_path)
    with pytest.raises(ValueError, match="checkpoints: all checkpoints are damaged .*/progress/metadata: No such file"):
        ramp.train(tiny(tmp_path, epochs=80))
    assert files(tmp_path) == before


FULL = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
runpy.run_module("experiments.ramp", run_name="__main__")
"""


def test_a_full_disk_ends_a_run_in_one_line(whole, tmp_path):
    """By a limit on the size of a file, which the history in a checkpoint reaches."""
    workdir, _ = whole
    ramp.train(tiny(tmp_path, epochs=200))
    config = tiny(tmp_path, epochs=400, checkpoint_every_s=0.0)
    limit = (workdir / "history.jsonl").stat().st_size * 3 // 4
    options = [f"--{name}={getattr(config, name)}" for name in ("workdir", "epochs", "checkpoint_every_s", *TINY)]
    command = [sys.executable, "-c", FULL, str(limit), "--host_devices=1", *options]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    reason = "checkpoint could not be written; those before are whole ([Errno 27] File too large)"
    # Orbax may warn of a slow disk.
    lines = [line for line in done.stderr.splitlines() if "checkpointing less frequently" not in line]
    assert len(lines) == 1, done.stderr
    assert re.fullmatch(rf"{tmp_path}/checkpoints/\d+: {re.escape(reason)}", lines[0])
    assert done.returncode == 2
    with train.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest() == 200
    ramp.train(config)
    assert history(tmp_path) == history(workdir)


def test_a_folder_says_how_its_run_was_made(whole):
    config = json.loads((whole[0] / "config.json").read_text())
    assert set(config) == {"experiment", "config", "command", "git", "caller_git", "versions", "device", "seeds"}
    assert config["seeds"] == [0]
    assert config["command"] == sys.orig_argv
    assert config["device"].startswith("1 x cpu: ")
    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert (config["git"] or "").removesuffix("-dirty") == git.stdout.strip()
