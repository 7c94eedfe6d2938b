"""Measures how gradients vanish or explode over lag and sequence length, for every cell, and writes a page.

    python -m benchmarks.gradient_norms --cells=elman,gru,lstm --lengths=64,256,1024 --input=text --out=runs/text

For every cell and length, over seeds (each with parameters and a stretch of data of its own): the norm of the gradient
of the last output with respect to the state and the input k steps earlier, the parameter gradient norm, and a verdict.
"""

import dataclasses
import math
import os
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import flags

from benchmarks import _cells, _inputs, _lag_records
from experiments import _machine, _main
from recur import cells, report

CELLS = flags.DEFINE_list(
    "cells", ["elman", "gru", "lstm"], "Names of recur.cells.CELLS, or your own as module:factory."
)
HIDDEN_SIZE = flags.DEFINE_integer("hidden_size", 64, "Units of each cell.", lower_bound=1)
LENGTHS = flags.DEFINE_list("lengths", ["16", "64", "256", "1024"], "Sequence lengths, in steps.")
SEEDS = flags.DEFINE_integer("seeds", 10, "Independent draws of parameters and data; below 10 the band means little.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.")
INITIALIZER = flags.DEFINE_enum("initializer", "orthogonal", _cells.INITIALIZERS, "How recurrent kernels are drawn.")
GAIN = flags.DEFINE_float("gain", 1.0, "Factor of the recurrent kernels.")
INPUT = flags.DEFINE_enum("input", "text", _inputs.INPUTS, "What the cells read.")
DATA = flags.DEFINE_string("data", None, "File to read for --input=text (UTF-8) or --input=series (CSV).")
DTYPE = flags.DEFINE_enum("dtype", "float32", ("float32", "float64", "bfloat16"), "Of parameters and inputs.")
OUT = flags.DEFINE_string("out", "runs/gradient_norms", "Folder for the page, records and tables.")


@dataclasses.dataclass(frozen=True)
class Config:
    """All that decides the measurements."""

    cells: tuple[str, ...] = ("elman", "gru", "lstm")
    hidden_size: int = 64
    lengths: tuple[int, ...] = (16, 64, 256, 1024)
    seeds: int = 10
    seed: int = 0
    initializer: str = "orthogonal"
    gain: float = 1.0
    input: str = "text"
    data: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Checks what no single flag can."""
        if not self.cells or len(set(self.cells)) != len(self.cells):
            raise ValueError(f"cells: expected distinct names, at least one, got {list(self.cells)}")
        if not self.lengths or min(self.lengths) < 2 or len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"lengths: expected distinct lengths of at least 2 steps, got {list(self.lengths)}")
        if self.seeds < 1:
            raise ValueError(f"seeds: expected at least 1, got {self.seeds}")
        if not math.isfinite(self.gain):
            raise ValueError(f"gain: expected a finite number, got {self.gain}")


def benchmark(config: Config, out: str | os.PathLike) -> pathlib.Path:
    """Runs the benchmark, or finishes one that was stopped with the same configuration, and writes the page.

    Returns:
        Path of index.html.

    Raises:
        ValueError: A configuration that does not fit, data that cannot be read, or a folder that cannot be written.
    """
    started = time.perf_counter()
    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    chosen = {
        name: _cells.make_cell(name, config.hidden_size, config.initializer, config.gain, max(config.lengths))
        for name in config.cells
    }
    for_cells, for_data = jax.random.split(jax.random.key(config.seed))
    longest = _inputs.draw_inputs(config.input, config.data, for_data, config.seeds, max(config.lengths))
    out = _machine.writable_folder("out", out)
    run = _run_record(config)
    rows = _finished_rows(out, run)
    done = {(row["cell"], row["length"]) for row in rows if row["kind"] == "summary"}
    report.write_jsonl(out / "records.jsonl", [run, *rows])
    todo = [(name, length) for length in sorted(config.lengths) for name in config.cells if (name, length) not in done]
    params = {name: _draw(chosen[name], for_cells, config, longest.shape[-1]) for name in {name for name, _ in todo}}
    progress = tqdm.tqdm(todo, desc="gradient norms", unit="run", disable=None)
    for name, length in progress:
        progress.set_postfix_str(f"{name} T={length}")
        xs = jnp.asarray(longest[-length:], config.dtype)
        measured = _lag_records.measure(chosen[name], params[name], xs)
        fresh = _lag_records.records(_meta(config, name, length), *jax.tree.map(np.asarray, measured))
        rows += fresh
        for row in fresh:
            report.append_jsonl(out / "records.jsonl", row)
    run["wall_s"] = round(time.perf_counter() - started, 2)
    report.write_jsonl(out / "records.jsonl", [run, *rows])
    summaries = [row for row in rows if row["kind"] == "summary"]
    report.write_json(out / "summary.json", {**run, "verdicts": summaries})
    return report.gradient_page(report.read_jsonl(out / "records.jsonl"), out)


def _draw(cell: cells.Cell, key: jax.Array, config: Config, input_size: int) -> Any:
    """Draws parameters for every seed, leaves ``[S, ...]``."""
    keys = jax.random.split(key, config.seeds)
    return jax.jit(jax.vmap(lambda key: cell.init(key, input_size, jnp.dtype(config.dtype))))(keys)


def _meta(config: Config, name: str, length: int) -> dict[str, Any]:
    return {
        "cell": name.partition(":")[2] or name,
        "length": length,
        "hidden_size": config.hidden_size,
        "seeds": config.seeds,
        "dtype": config.dtype,
        "initializer": config.initializer,
        "gain": config.gain,
        "input": pathlib.Path(config.data).name if config.data else config.input,
    }


def _run_record(config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "gradient_norms",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": {**dataclasses.asdict(config), "cells": list(config.cells), "lengths": list(config.lengths)},
        **_machine.facts(),
    }


def _finished_rows(out: pathlib.Path, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a stopped run with the same configuration; none of a finished one, whose wall_s is written last."""
    if not (out / "records.jsonl").exists():
        return []
    try:
        before, *rows = report.read_jsonl(out / "records.jsonl")
    except ValueError:
        return []
    if "wall_s" in before or before.get("config") != run["config"] or before.get("versions") != run["versions"]:
        return []
    done = {(row["cell"], row["length"]) for row in rows if row["kind"] == "summary"}
    return [row for row in rows if (row["cell"], row["length"]) in done]


def main(argv: list[str]) -> None:
    del argv
    page = benchmark(
        Config(
            cells=tuple(CELLS.value),
            hidden_size=HIDDEN_SIZE.value,
            lengths=_main.whole_numbers("lengths", LENGTHS.value),
            seeds=SEEDS.value,
            seed=SEED.value,
            initializer=INITIALIZER.value,
            gain=GAIN.value,
            input=INPUT.value,
            data=DATA.value,
            dtype=DTYPE.value,
        ),
        OUT.value,
    )
    print(f"{(page.parent / 'summary.md').read_text(encoding='utf-8')}\npage: {page}")


if __name__ == "__main__":
    _main.run(main)
