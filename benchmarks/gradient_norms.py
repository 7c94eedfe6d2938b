"""Measures how gradients vanish or explode over lag and sequence length, for every cell, and writes a page.

    python -m benchmarks.gradient_norms --preset=quick --out=runs/report
    python -m benchmarks.gradient_norms --cells=elman,gru,lstm --lengths=64,256,1024 --parts=lag_curves --out=runs/text
    python -m benchmarks.gradient_norms --cell=my_cells:leaky --parts=lag_curves,forget_bias --out=runs/leaky
    python -m benchmarks.gradient_norms --compare=runs/text,runs/leaky --out=runs/both

Every part of the benchmark is a set of jobs. A run that is stopped keeps all finished jobs, and the same command goes
on from there. Flags given beside --preset override it.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from benchmarks import _cells, _inputs, _resume
from benchmarks._config import PRESETS, Config, label
from benchmarks.parts import PARTS, Setup
from experiments import _machine, _main
from recur import report

PRESET = flags.DEFINE_enum("preset", "quick", list(PRESETS), "Sizes of everything that no other flag sets.")
PART_NAMES = flags.DEFINE_list("parts", [], f"Parts to run, by default all: {', '.join(PARTS)}.")
CELLS = flags.DEFINE_list("cells", None, "Names of recur.cells.CELLS, or your own as module:factory.")
CELL = flags.DEFINE_multi_string("cell", [], "A cell of your own as module:factory, beside --cells; may be repeated.")
HIDDEN_SIZE = flags.DEFINE_integer("hidden_size", None, "Units of each cell.", lower_bound=1)
LENGTHS = flags.DEFINE_list("lengths", None, "Sequence lengths, in steps.")
SEEDS = flags.DEFINE_integer("seeds", None, "Independent draws of parameters and data; below 10 the band means little.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of all random draws.")
INITIALIZER = flags.DEFINE_enum(
    "initializer", "own", _cells.INITIALIZERS, "How recurrent kernels are drawn: by default as each cell's own."
)
GAIN = flags.DEFINE_float("gain", 1.0, "Factor of the recurrent kernels.")
INPUT = flags.DEFINE_enum("input", "text", _inputs.INPUTS, "What the cells read.")
DATA = flags.DEFINE_string("data", None, "File to read for --input=text (UTF-8) or --input=series (CSV).")
DTYPE = flags.DEFINE_enum("dtype", "float32", ("float32", "float64", "bfloat16"), "Of parameters and inputs.")
OUT = flags.DEFINE_string("out", None, "Folder for the page, records and tables; by default runs/gradient_norms.")
COMPARE = flags.DEFINE_list("compare", [], "Folders of two earlier runs or more: puts them on one page, in --out.")


def benchmark(config: Config, out: str | os.PathLike) -> pathlib.Path:
    """Runs the benchmark, or finishes one that was stopped with the same configuration, and writes the page.

    Returns:
        Path of index.html.

    Raises:
        ValueError: A configuration that does not fit, data that cannot be read, or a folder that cannot be written.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    started = time.perf_counter()
    if config.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    config = dataclasses.replace(config, parts=_part_names(config.parts))
    setup = make_setup(config)
    jobs = {f"{part}: {job.name}": job for part in config.parts for job in PARTS[part](setup)}
    out = _machine.writable_folder("out", out)
    records = out / "records.jsonl"
    run = _run_record(config)
    kept, done = _resume.finished(records, run, jobs)
    rows = setup.rows
    rows += kept
    report.write_jsonl(records, [run, *rows])
    progress = tqdm.tqdm(jobs.items(), desc="gradient norms", unit="job", disable=None)
    try:
        for name, job in progress:
            progress.set_postfix_str(name)
            if name not in done:
                began = time.perf_counter()
                found = job.run()
                rows += _resume.keep(records, name, found, time.perf_counter() - began)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; finished jobs are kept in {out}, the same command goes on") from None
    run["wall_s"] = round(time.perf_counter() - started, 2)
    report.write_jsonl(records, [run, *rows])
    report.write_json(out / "summary.json", {**run, **_summary(rows)})
    return report.gradient_page(report.read_jsonl(records), out)


def make_setup(config: Config) -> Setup:
    """Makes what all parts share.

    Raises:
        ValueError: A cell or initialiser that does not fit, or data that cannot be read.
    """
    longest = max(config.lengths)
    chosen = {
        label(name): _cells.make_cell(name, config.hidden_size, config.initializer, config.gain, longest)
        for name in config.cells
    }
    setup = Setup(config, chosen, jax.random.key(config.seed))
    setup.inputs(longest)
    return setup


def _part_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the parts in the order of the page; all, if none are named."""
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        raise ValueError(f"parts: expected names among {list(PARTS)}, got {unknown}")
    return tuple(part for part in PARTS if part in names or not names)


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        "verdicts": [row for row in rows if row["kind"] == "summary"],
        "numbers": [row for row in rows if row["kind"] == "number"],
    }


def _run_record(config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "gradient_norms",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(config).items()
        },
        **_machine.facts(),
    }


def _config() -> Config:
    """Reads the flags: the preset, with what was given beside it."""
    preset = PRESETS[PRESET.value]
    return Config(
        cells=(*(preset.cells if CELLS.value is None else CELLS.value), *CELL.value),
        hidden_size=preset.hidden_size if HIDDEN_SIZE.value is None else HIDDEN_SIZE.value,
        lengths=preset.lengths if LENGTHS.value is None else _main.whole_numbers("lengths", LENGTHS.value),
        seeds=preset.seeds if SEEDS.value is None else SEEDS.value,
        seed=SEED.value,
        initializer=INITIALIZER.value,
        gain=GAIN.value,
        input=INPUT.value,
        data=DATA.value,
        dtype=DTYPE.value,
        preset=PRESET.value,
        parts=tuple(PART_NAMES.value),
    )


def main(argv: list[str]) -> None:
    del argv
    if COMPARE.value:
        page = report.compare_pages(COMPARE.value, _machine.writable_folder("out", OUT.value or "runs/compared"))
    else:
        page = benchmark(_config(), OUT.value or "runs/gradient_norms")
    print(f"{(page.parent / 'summary.md').read_text(encoding='utf-8')}\npage: {page}")


if __name__ == "__main__":
    _main.run(main)
