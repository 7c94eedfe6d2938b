"""Times the engines against one another as a sequence grows, from 100 steps to a million.

    python -m benchmarks.long_sequences
    python -m benchmarks.long_sequences --preset=quick --cells=diagonal_gru --out=runs/long

One sequence at a time (B = 1), for a cell whose step is affine in the state (min_gru) and a GRU whose units see
themselves alone, declared as a user would (diagonal_gru): outputs, and outputs with gradients. Results are held against
`Scan` in float64 first; what is further off than rounding is not timed. The engines are called in turn, each call until
all is computed. Told beside the times: planned memory, iterations and residual of Newton's method and whether it
converged (where it did not, the steps were taken one by one), compile time, and where one engine overtakes another.
Ctrl-C ends a run after the turn in progress and keeps what is done.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tqdm
from absl import flags

from benchmarks import _long_crossovers, _long_page
from benchmarks._long_cases import (
    LONG_CELLS,
    MEASURES,
    compile_program,
    error,
    fitting,
    make,
    memory_there,
    reference,
    solver,
    tolerance,
)
from benchmarks._speed_clock import interleave, quartiles
from recur import report
from recur.runs import _machine, _main

PRESETS = {
    "quick": ((100, 1_000, 10_000), 5),
    "full": ((100, 1_000, 10_000, 100_000, 1_000_000), 20),
}
"""Lengths and turns."""

LONG_FROM, FEW_TURNS = 100_000, 5
"""Steps from which a call takes so long that fewer turns tell as much, and these turns."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to time.

    Args:
        cells: Names among `LONG_CELLS`.
        lengths: Steps T.
        repeats: Turns, `FEW_TURNS` at most from `LONG_FROM` steps on.
        hidden_size: Units H.
        input_size: Features X.
        max_iters: Iterations that Newton's method may take.
        seed: Of parameters and inputs.
    """

    cells: tuple[str, ...] = LONG_CELLS
    lengths: tuple[int, ...] = PRESETS["full"][0]
    repeats: int = PRESETS["full"][1]
    hidden_size: int = 16
    input_size: int = 16
    max_iters: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks what no single flag can."""
        if not self.cells or not set(self.cells) <= set(LONG_CELLS) or len(set(self.cells)) != len(self.cells):
            raise ValueError(f"cells: expected distinct names among {','.join(LONG_CELLS)}, got {','.join(self.cells)}")
        if len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"lengths: expected distinct numbers, got {','.join(map(str, self.lengths))}")

    def turns(self, steps: int) -> int:
        """Returns the turns at a length."""
        return self.repeats if steps < LONG_FROM else min(self.repeats, FEW_TURNS)


def long_sequences(config: Config, out: str | os.PathLike) -> list[dict[str, Any]]:
    """Times everything and writes records.jsonl, summary.json, index.html, long_sequences.md and the pictures.

    Returns:
        Where engines overtake one another (see `_long_crossovers.compare`).

    Raises:
        ValueError: A folder that cannot be written.
        KeyboardInterrupt: Ctrl-C, after what is done was written.
    """
    out = _machine.writable_folder("out", out)
    records: list[dict[str, Any]] = [_run_record(config)]
    report.write_jsonl(out / "records.jsonl", records)
    todo = [(cell, steps) for cell in config.cells for steps in sorted(config.lengths)]
    notice = "stopping after this turn; Ctrl-C again stops at once"
    with _main.stop_on_interrupt(notice) as stopped, tqdm.tqdm(todo, "long", unit="case", disable=None) as progress:
        for cell, steps in progress:
            if stopped():
                break
            progress.set_postfix_str(f"{cell} T={steps:,}")
            for record in time_case(config, cell, steps, stopped):
                records.append(record)
                report.append_jsonl(out / "records.jsonl", record)
            progress.write(f"{cell} T={steps:,}: load average {os.getloadavg()[0]:.2f}")
        interrupted = stopped()
    compared = _long_crossovers.compare([record for record in records if record["kind"] == "long"])
    report.write_json(out / "summary.json", {"run": records[0], "interrupted": interrupted, "crossovers": compared})
    _long_page.write(out, records, compared)
    for title, rows in _long_page.tabulate(records, compared).items():
        if rows:
            print(f"\n{title}\n{report.markdown_table(rows)}", end="")
    print("", *(c["words"] for c in compared), sep="\n")
    if interrupted:
        raise KeyboardInterrupt(f"interrupted; what is done is in {out}")
    return compared


def time_case(
    config: Config, cell: str, steps: int, stopped: Callable[[], bool] = lambda: False
) -> Iterator[dict[str, Any]]:
    """Checks and times all engines on one cell and length.

    Yields:
        A record for each timing, and for each engine that is not timed, with the reason.
    """
    long = make(cell, steps, config.hidden_size, config.input_size, config.seed)
    bound, room = tolerance(long), memory_there()
    for measure in MEASURES:
        if stopped():
            return
        want = reference(long, measure)
        programs, told = {}, {}
        for name, engine in fitting(long.cell, config.max_iters).items():
            place = {"cell": cell, "steps": steps, "engine": name, "measure": measure}
            program = compile_program(long, engine, measure)
            if (program.memory_bytes or 0) > room:
                needed = f"plans {program.memory_bytes / 2**30:.1f} GiB of memory, there are {room / 2**30:.1f}"
                yield {"kind": "not_timed", **place, "reason": needed}
                continue
            results, info = program.call()
            off = error(want, results)
            # Written so that a NaN fails.
            if not off <= bound:
                yield {"kind": "not_timed", **place, "reason": f"WRONG: off float64 by {off:.1e} > {bound:.1e}"}
                continue
            programs[name] = program
            told[name] = {"kind": "long", **place, **solver(info), "error": off, "tolerance": bound}
        del want
        before = os.getloadavg()[0]
        calls = {name: program.call for name, program in programs.items()}
        for name, walls in interleave(calls, config.turns(steps), stopped).items():
            if walls:
                yield {
                    **told[name],
                    "wall_s": quartiles(walls),
                    "walls_s": walls,
                    "repeats": len(walls),
                    "compile_s": programs[name].compile_s,
                    "memory_bytes": programs[name].memory_bytes,
                    "load": before,
                }


def _run_record(config: Config) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "long_sequences",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": dataclasses.asdict(config),
        **_machine.facts(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "dtype": "float32",
        "load": os.getloadavg()[0],
    }


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    lengths, turns = PRESETS[values.preset]
    long_sequences(
        Config(
            cells=tuple(values.cells),
            lengths=_main.whole_numbers("lengths", values.lengths) if values.lengths else lengths,
            repeats=values.repeats or turns,
            hidden_size=values.hidden_size,
            input_size=values.input_size,
            max_iters=values.max_iters,
            seed=values.seed,
        ),
        values.out,
    )


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_list("cells", list(LONG_CELLS), "Cells to time.")
    flags.DEFINE_list("lengths", [], "Steps T; by default those of the preset.")
    flags.DEFINE_integer("repeats", None, "Turns; by default those of the preset.", lower_bound=1)
    flags.DEFINE_enum("preset", "full", list(PRESETS), "Lengths and turns, where no flag says otherwise.")
    flags.DEFINE_integer("hidden_size", Config.hidden_size, "Units.", lower_bound=1)
    flags.DEFINE_integer("input_size", Config.input_size, "Features of an input.", lower_bound=1)
    flags.DEFINE_integer("max_iters", Config.max_iters, "Iterations that Newton's method may take.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of parameters and inputs.", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_string("out", "runs/long_sequences", "Folder for the page and the records.")
    _main.run(main)
