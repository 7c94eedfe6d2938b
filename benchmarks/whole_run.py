"""Times a whole experiment as a user waits for it, beside Keras 3 on JAX.

    python -m benchmarks.whole_run
    python -m benchmarks.whole_run --epochs=5 --repeats=1 --out=runs/short

`experiments.multiplication` with an LSTM and its own defaults: one seed, eight seeds together, and the same in Keras:
the same sequences, split, layers, optimiser, clipping, batch size, epochs and shuffling, validated after every epoch.
Each run is a process of its own, from its start to its end, importing and compiling included, with no cache of compiled
programs; the three take turns, in another order each time. Goals: one seed takes at most a third of Keras's time, eight
seeds at most three times that of one. Ctrl-C ends the benchmark after the run in progress and keeps what is done.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import _whole_run_page
from benchmarks._speed_clock import ratios
from experiments import multiplication
from recur import report, tasks
from recur.runs import _machine, _main

ROOT = Path(__file__).parents[1]
ONE, SEVERAL, KERAS = "recur, 1 seed", "recur, 8 seeds", "Keras 3 on JAX"
SEEDS = {ONE: 1, SEVERAL: 8}
FASTER_THAN_KERAS, SEVERAL_OVER_ONE = 3.0, 3.0
"""Goals: Keras's time over recur's at least, the time of eight seeds over that of one at most."""

BUSY = 1.5
"""Load average a core above which something else was running."""

Run = Callable[[Path], dict[str, float]]
"""Runs one process to its end in a folder of its own; returns what it says of its training."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to time.

    Args:
        epochs: Passes over the training data.
        repeats: Turns.
        seed: The first seed.
        host_devices: Devices that recur splits a CPU into.
    """

    epochs: int = 100
    repeats: int = 5
    seed: int = 0
    host_devices: int = os.cpu_count() or 1


def whole_run(config: Config, out: str | os.PathLike) -> list[dict[str, Any]]:
    """Times everything and writes records.jsonl, summary.json, index.html and whole_run.md.

    Returns:
        The goals, with what was reached.

    Raises:
        ValueError: A folder that cannot be written.
        RuntimeError: A run that fails.
        KeyboardInterrupt: Ctrl-C, after what is done was written.
    """
    out = _machine.writable_folder("out", out)
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: _recur(config, seeds) for name, seeds in SEEDS.items()}
        if importlib.util.find_spec("keras"):
            runs[KERAS] = _keras(config, Path(folder))
        else:
            print("Keras is not installed; pip install 'recur-jax[peers]' brings it")
        return take_turns(config, runs, out)


def take_turns(config: Config, runs: Mapping[str, Run], out: Path) -> list[dict[str, Any]]:
    """Takes the turns and writes what was found (see `whole_run`)."""
    records = [_run_record(config)]
    report.write_jsonl(out / "records.jsonl", records)
    generator = np.random.default_rng(0)
    todo = [(turn, name) for turn in range(config.repeats) for name in generator.permutation(list(runs))]
    with _main.stop_on_interrupt("stopping after this run; Ctrl-C again stops at once") as stopped:
        for turn, name in todo:
            if stopped():
                break
            record = {"kind": "whole_run", "turn": turn, "name": str(name), **timed(runs[name])}
            records.append(record)
            report.append_jsonl(out / "records.jsonl", record)
            print(f"turn {turn + 1}, {name}: {record['wall_s']:.1f} s, load {record['load']:.2f}", flush=True)
        interrupted = stopped()
    found = [record for record in records if record["kind"] == "whole_run"]
    reached = goals(found)
    report.write_json(out / "summary.json", {"run": records[0], "interrupted": interrupted, "goals": reached})
    _whole_run_page.write(out, records[0], found, reached)
    if max((record["load"] for record in found), default=0) > BUSY * (os.cpu_count() or 1):
        print(f"load average above {BUSY} a core: too busy for claims")
    if interrupted:
        raise KeyboardInterrupt(f"interrupted; what is done is in {out}")
    return reached


def timed(run: Run) -> dict[str, float]:
    """Runs a process in a new folder and returns its seconds, the load before it, and what it says."""
    with tempfile.TemporaryDirectory() as folder:
        before, started = os.getloadavg()[0], time.perf_counter()
        told = run(Path(folder))
        return {"wall_s": time.perf_counter() - started, "load": before, **told}


def goals(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns both goals with what was reached over the turns that have both runs; None where none has."""
    walls = {(record["name"], record["turn"]): record["wall_s"] for record in records}
    found = []
    for name, over, under, limit in (
        ("Keras's time over recur's, at least", KERAS, ONE, FASTER_THAN_KERAS),
        ("time of 8 seeds together over that of one, at most", SEVERAL, ONE, SEVERAL_OVER_ONE),
    ):
        turns = sorted({turn for _, turn in walls if (over, turn) in walls and (under, turn) in walls})
        ratio = ratios(*([walls[who, turn] for turn in turns] for who in (over, under))) if turns else None
        met = None
        if ratio:
            met = bool(ratio["median"] >= limit if over == KERAS else ratio["median"] <= limit)
        found.append(
            {
                "goal": name,
                "limit": limit,
                "reached": ratio and _whole_run_page.spread(ratio),
                "turns": len(turns),
                "met": met,
            }
        )
    return found


def samples(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sequences that the experiment draws for its first seed, ``x [N, T, 2]`` and ``y [N, 1]``."""
    default = multiplication.Config()
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    x, y = tasks.multiplication(key, default.sequences, default.length)
    return np.asarray(x), np.asarray(y)


def _recur(config: Config, seeds: int) -> Run:
    command = [
        *(sys.executable, "-m", "experiments.multiplication", "--cell=lstm"),
        *(f"--seeds={seeds}", f"--seed={config.seed}", f"--epochs={config.epochs}"),
        f"--host_devices={config.host_devices}",
    ]

    def run(folder: Path) -> dict[str, float]:
        _process([*command, f"--workdir={folder}"])
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        losses = {name: summary["metrics"][name]["median"] for name in ("val_loss", "test_loss")}
        return {"train_s": summary["wall_s"], **losses}

    return run


def _keras(config: Config, folder: Path) -> Run:
    x, y = samples(config)
    np.savez(folder / "samples.npz", x=x, y=y)
    default = multiplication.Config()
    names = ("batch_size", "learning_rate", "clip_norm", "hidden_size", "layers")
    end = round(len(x) * multiplication.TRAIN_AND_VALIDATION)
    validation = round(end * multiplication.VALIDATION)
    settings = {
        "data": str(folder / "samples.npz"),
        "training": end - validation,
        "validation": validation,
        "epochs": config.epochs,
        "seed": config.seed,
        **{name: getattr(default, name) for name in names},
    }
    report.write_json(folder / "settings.json", settings)

    def run(mine: Path) -> dict[str, float]:
        result = mine / "result.json"
        _process([sys.executable, "-m", "benchmarks._whole_run_keras", str(folder / "settings.json"), str(result)])
        return json.loads(result.read_text(encoding="utf-8"))

    return run


def _process(command: Sequence[str]) -> None:
    # Without what earlier runs compiled. In a session of its own, so that Ctrl-C does not reach it.
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")


def _run_record(config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "whole_run",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": dataclasses.asdict(config),
        **_machine.facts(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "load": os.getloadavg()[0],
    }


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    whole_run(Config(values.epochs, values.repeats, values.seed, values.host_devices), values.out)


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_integer("epochs", Config.epochs, "Passes over the training data.", lower_bound=1)
    flags.DEFINE_integer("repeats", Config.repeats, "Turns.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "First seed.", lower_bound=0, upper_bound=2**32 - 8)
    flags.DEFINE_string("out", "runs/whole_run", "Folder for the page and the records.")
    _main.run(main)
