"""The scripts as commands: flags, exit codes, signals."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import ramp
from recur import report
from recur.runs import _main

ROOT = pathlib.Path(__file__).parents[1]


def start(*arguments, module="experiments.ramp", **options):
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_whole_numbers():
    assert _main.whole_numbers("lengths", ["16", " 64"]) == (16, 64)
    for wrong in ([], ["0"], ["1.5"], ["-2"], ["x"], [""]):
        with pytest.raises(ValueError, match="lengths: expected whole numbers >= 1"):
            _main.whole_numbers("lengths", wrong)


def test_errors_are_one_line():
    assert _main.describe(ValueError("two\n  lines")) == "two lines"
    assert _main.describe(OSError(2, "No such file", "a/b")) == "a/b: No such file"
    assert _main.describe(ValueError()) == "ValueError"


def test_wrong_flags_end_with_code_2_and_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    # Side by side, since starting takes longest.
    processes = {
        arguments: start(*arguments)
        for arguments in (
            ("--sells=gru",),
            ("--cell=lstn", f"--workdir={tmp_path}/a"),
            (f"--workdir={file}/below",),
            (f"--eval_data={file}", f"--workdir={tmp_path}/b"),
            ("--epochs=3", "more"),
        )
    }
    for arguments, process in processes.items():
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 2, (arguments, errors)
        assert len(errors.strip().splitlines()) == 1, (arguments, errors)
        assert "Traceback" not in errors
        assert output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_cpu_is_split_into_devices():
    code = "from recur.runs import _machine; _machine.split_cpu(3); import jax; print(jax.device_count())"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr


def test_help_ends_with_code_0():
    process = start("--help")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    lines = output.splitlines()
    # Each flag under its heading, and none of absl's own.
    assert {"Data:", "Model:", "Run:", "Training:"} <= set(lines)
    place = {
        name: next(n for n, line in enumerate(lines) if line.strip().startswith(name)) for name in ("--seeds", "--cell")
    }
    assert lines.index("Model:") < place["--cell"] < lines.index("Run:") < place["--seeds"] < lines.index("Training:")
    assert "--verbosity" not in output


def newest(folder):
    """The step of the newest checkpoint that is whole; one that is being written has another name."""
    return max((int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdecimal()), default=0)


def test_a_run_killed_and_interrupted_ends_as_one_never_stopped(tmp_path):
    """SIGKILL, the same command again, SIGTERM, Ctrl-C, and the rest as a Python call: the same bits and history."""
    options = {"hidden_size": 3, "seeds": 1, "checkpoint_every_s": 0.2, "tensorboard": False}
    config = ramp.Config(**options, epochs=1_000_000, workdir=str(tmp_path / "stopped"))
    folder = pathlib.Path(config.workdir)
    command = [f"--{name}={getattr(config, name)}" for name in ("workdir", "epochs", *options)] + ["--host_devices=1"]
    killed_at = 0
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start(*command)
        # With a record at least.
        while newest(folder) <= max(killed_at, 20):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        killed_at = newest(folder)
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        if number != signal.SIGKILL:
            assert f"stopped after step {killed_at:,} of 1,000,000; the same command goes on from there" in errors
    rows = report.read_jsonl(folder / "history.jsonl")
    assert [row["step"] for row in rows] == list(range(20, killed_at + 1, 20))
    # Cut short to a little more than is done.
    stored = json.loads((folder / "config.json").read_text())
    stored["config"]["epochs"] = killed_at
    (folder / "config.json").write_text(json.dumps(stored))
    config = dataclasses.replace(config, epochs=killed_at + 50)
    stopped = ramp.train(config)
    whole = ramp.train(dataclasses.replace(config, workdir=str(tmp_path / "whole")))
    assert stopped["metrics"] == whole["metrics"]
    histories = [report.read_jsonl(tmp_path / name / "history.jsonl") for name in ("stopped", "whole")]
    for row in (row for history in histories for row in history):
        del row["wall_s"]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_and_the_second_acts(number, code, capsys):
    before = signal.getsignal(number)
    with _main.stop_on_interrupt("stopping") as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        assert signal.getsignal(number) is before
        assert _main.StoppedError("", stop.number).exit_code == code
    assert _main.StoppedError("", None).exit_code == 143, "another process was asked"
    assert capsys.readouterr().err == "\nstopping\n"
    assert signal.getsignal(signal.SIGTERM) is not None


def test_tensorboard_files_need_no_torch():
    """Which tensorboardX imports where it is installed."""
    pytest.importorskip("tensorboardX")
    code = "import sys; from recur.runs import _history; _history._tensorboard(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
