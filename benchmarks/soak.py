"""Trains for half an hour with a growing history, and watches memory, compilations and speed.

    python -m benchmarks.soak --minutes=30
    python -m benchmarks.soak --minutes=1 --out=runs/soak

An LSTM of 32 units learns sums of two marked numbers, with a record every 2,000 steps, some three a second, which goes
to a file, and a checkpoint every half a minute, which holds the whole history. After a warm-up of a fifth of the time
(two minutes at most): the memory of the process must stay within 5 %, nothing may be compiled, and the speed of the
thirds of the time may not be further apart than 20 %, which takes a machine that does nothing else. Exit code 1 when a
check fails.

Leaves ``records.jsonl`` (a sample a line), ``history.jsonl``, ``checkpoints`` and ``summary.json`` in ``--out``, which
must hold no run.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from absl import flags

import recur
from benchmarks._soak_watch import Check, Sample, Watch, checks
from recur import cells, report, tasks, train
from recur.runs import _machine, _main

EVERY, STEPS_AT_MOST = 2000, 2**30
BATCH, LENGTH, UNITS = 32, 20, 32
OPTIMIZER = optax.adam(1e-3)
CELL = cells.lstm(UNITS)


@dataclasses.dataclass(frozen=True)
class Config:
    """How long to train, and what is allowed.

    Args:
        minutes: Of training, warm-up included.
        memory: Growth of the process after the warm-up, as a share.
        speed: Difference between the thirds of the time after it, as a share.
    """

    minutes: float = 30.0
    memory: float = 0.05
    speed: float = 0.2

    @property
    def warmup_s(self) -> float:
        """Seconds that do not count."""
        return min(12 * self.minutes, 120)

    @property
    def sample_s(self) -> float:
        """Seconds between samples."""
        return min(self.minutes, 5)


def soak(config: Config, out: str | os.PathLike) -> list[Check]:
    """Trains, and writes what was seen; returns the checks.

    Raises:
        ValueError: A folder that cannot be written, or holds a run.
    """
    out = _machine.writable_folder("out", out)
    if (out / "checkpoints").exists():
        raise ValueError(f"out: {out} holds a run already, whose history would count; give another --out")
    run = {"kind": "run", "benchmark": "soak", "config": dataclasses.asdict(config), **_machine.facts()}
    report.write_jsonl(out / "records.jsonl", [run | {"load": os.getloadavg()[0]}])

    def keep(sample: Sample) -> None:
        report.append_jsonl(out / "records.jsonl", {"kind": "sample", **sample._asdict()})

    watch = Watch(config.sample_s, keep)
    fitted = _train(out, watch, 60 * config.minutes, min(30.0, 6 * config.minutes))
    warm = [sample for sample in watch.samples if sample.at_s >= config.warmup_s]
    found = checks(warm, memory=config.memory, speed=config.speed)
    summary = {"run": run, "checks": [check._asdict() for check in found], "records": len(fitted.history)}
    report.write_json(out / "summary.json", summary)
    return found


def _train(out: Path, watch: Watch, seconds: float, checkpoint_every_s: float) -> train.Fit:
    with train.Checkpoints(out / "checkpoints") as checkpoints:
        hooks = train.Hooks(
            checkpoints=checkpoints,
            checkpoint_every_s=checkpoint_every_s,
            on_record=[lambda record: report.append_jsonl(out / "history.jsonl", record.to_json())],
            on_call=[watch],
            stop=lambda: watch.elapsed_s >= seconds,
        )
        key = jax.random.key(0)
        params = {"cell": CELL.init(key, 2), "readout": jnp.zeros((UNITS, 1))}
        state = train.init_state(params, OPTIMIZER, key)
        data = tasks.adding(jax.random.fold_in(key, 1), 64 * BATCH, LENGTH)
        validation = tasks.adding(jax.random.fold_in(key, 2), BATCH, LENGTH)
        options = {"batch_size": BATCH, "eval_every": EVERY, "validation": validation, "hooks": hooks}
        return train.fit(state, _loss, OPTIMIZER, data, steps=STEPS_AT_MOST, **options)


def _loss(params: dict, batch: tuple, key: jax.Array | None) -> tuple[jax.Array, dict]:
    del key
    x, y = batch
    run = recur.unroll(CELL, params["cell"], jnp.moveaxis(x, 1, 0))
    return jnp.mean((run.final.h @ params["readout"] - y) ** 2), {}


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    began = time.perf_counter()
    found = soak(Config(values.minutes, values.memory, values.speed), values.out)
    for check in found:
        print(f"{'holds' if check.met else 'FAILS'}  {check.name}: {check.words}")
    print(f"{time.perf_counter() - began:.0f} s; samples in {values.out}/records.jsonl", flush=True)
    sys.exit(0 if all(check.met for check in found) else 1)


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_float("minutes", Config.minutes, "Minutes of training.", lower_bound=0.05)
    flags.DEFINE_float("memory", Config.memory, "Growth of the memory allowed, as a share.", lower_bound=0.0)
    flags.DEFINE_float("speed", Config.speed, "Difference of speeds allowed, as a share.", lower_bound=0.0)
    flags.DEFINE_string("out", "runs/soak", "Folder for what was seen.")
    _main.run(main)
