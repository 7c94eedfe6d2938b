"""Every code block of the README runs as printed; long commands only with fewer steps."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What a reader would wait minutes for. absl takes the last value of a flag.
SHORTER = {
    "benchmarks.gradient_norms": ["--preset=tiny", "--parts=lag_curves", "--lengths=8", "--seeds=2", "--hidden_size=4"],
    "benchmarks.long_sequences": ["--lengths=100", "--repeats=1"],
    "benchmarks.selfcheck": ["--cells=elman"],
    "benchmarks.speed": ["--rows=C5", "--repeats=1"],
    "experiments.multiplication": ["--epochs=1", "--seeds=1", "--hidden_size=4", "--sequences=80", "--length=9"],
    "experiments.ramp": ["--epochs=2", "--seeds=1"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition(" # ")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line]


def test_python_blocks_run_in_order(capsys):
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "vanishes, half-life" in printed
    assert "(1000, 64) (64,) fused" in printed
    assert names["outputs"].shape == (2, 50, 64)
    assert (names["outputs"][1, 20:] == 0).all()


def test_own_cell_takes_ten_lines():
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("make")])
def test_make_targets_exist(command):
    for target in [word for word in shlex.split(command)[1:] if "=" not in word]:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def runnable() -> list:
    """Blocks of commands; what times peers takes minutes however few its turns."""
    found = [block for block in blocks("bash") if "python -m" in block]
    return [pytest.param(block, marks=[pytest.mark.slow] if "benchmarks.speed" in block else []) for block in found]


@pytest.mark.parametrize("block", runnable())
def test_commands_run_as_printed(block, tmp_path):
    (tmp_path / "my_cells.py").write_text(blocks("python")[0].partition("\ncell = ")[0])
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    for line in block.splitlines():
        words = shlex.split(line)
        done = subprocess.run(
            [sys.executable, *words[1:], *SHORTER.get(words[2], [])],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if words[2] == "recur.report":
            assert (tmp_path / words[-1] / "index.html").is_file()
        else:
            folder = next(word.partition("=")[2] for word in words if word.startswith(("--out=", "--workdir=")))
            assert (tmp_path / folder / "summary.json").is_file()


def test_links_and_pictures_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target
