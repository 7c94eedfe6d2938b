"""How do memory and time grow with steps T, batch B, units H, seeds S, devices D? A model, against measured points.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --parts=memory --out=runs/scaling_memory

Parts:

- ``memory``: what the compiled training step of an LSTM plans for on each device. The constants of two formulas, for
  steps that are taken as a whole and in chunks, come from small sizes; the formulas are then held against others, up to
  some that no machine here could run, which compiling does not mind. Exit code 1 where one is off by more than 10 %.
- ``time``: seconds of that step, likewise, with 30 %. On a CPU the devices share its cores, so that more of them than
  cores tell nothing. Numbers mean something on an otherwise idle machine only.
- ``blocks``: one long sequence of a min_gru split over devices by blocks of time: memory and time.
- ``hidden``: an LSTM whose kernels are split by units over devices: memory, time, and what is sent at every step.
- ``extrapolate``: what the two models say of sizes to come.

Leaves ``records.jsonl``, ``summary.json`` and ``index.html`` in ``--out``.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import flags

from benchmarks import _scaling_model, _scaling_programs
from benchmarks._scaling_programs import Case
from benchmarks._speed_clock import interleave
from recur import report
from recur.runs import _machine, _main

Record = dict[str, Any]

PARTS = ("memory", "time", "blocks", "hidden", "extrapolate")
TOLERANCE = {"memory": 0.1, "time": 0.3}

MEMORY_FIT = (
    Case(64, 8, 32),
    Case(256, 8, 32),
    Case(256, 1, 32),
    Case(64, 32, 64),
    Case(64, 8, 256),
    Case(1024, 4, 64),
    Case(256, 16, 128),
    Case(64, 8, 64, S=4),
    Case(8192, 8, 32),
    Case(4096, 8, 64),
    Case(1024, 64, 64),
    Case(2048, 32, 128),
    Case(16_384, 1, 256),
    Case(512, 16, 256),
    Case(512, 64, 512),
    Case(2048, 16, 64, S=4),
)
MEMORY_CHECK = (
    Case(4096, 32, 256),
    Case(128, 64, 512, D=8),
    Case(512, 16, 128, S=8, D=8),
    Case(65_536, 1024, 4096, D=8),
    Case(1_000_000, 64, 2048, S=8, D=8),
)
TIME_FIT = (
    Case(512, 8, 32),
    Case(2048, 8, 64),
    Case(512, 64, 64),
    Case(512, 16, 128),
    Case(256, 32, 256),
    Case(512, 8, 64, S=4),
    Case(512, 64, 64, D=2),
    Case(64, 32, 256, D=2),
    Case(256, 32, 256, D=2),
)
TIME_CHECK = (Case(1024, 16, 64), Case(256, 64, 128), Case(128, 32, 256, D=2), Case(512, 16, 64, S=4, D=2))
TO_COME = (
    Case(1_000, 256, 1024, S=16, D=16),
    Case(10_000, 1024, 4096, S=8, D=512),
    Case(100_000, 4096, 4096, S=1, D=4096),
)
BLOCKS = (20_000, 1, 64)
HIDDEN = (64, 8, 512)
"""Steps, batch and units."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure.

    Args:
        parts: Names among `PARTS`.
        repeats: Turns of each timing, of which the fastest counts.
        small: Whether to keep to the smallest points, to see that all runs; the numbers then mean nothing.
    """

    parts: tuple[str, ...] = PARTS
    repeats: int = 5
    small: bool = False

    def __post_init__(self) -> None:
        """Checks what no single flag can."""
        if not self.parts or not set(self.parts) <= set(PARTS) or len(set(self.parts)) != len(self.parts):
            raise ValueError(f"parts: expected distinct names among {','.join(PARTS)}, got {','.join(self.parts)}")
        if "extrapolate" in self.parts and not {"memory", "time"} <= set(self.parts):
            raise ValueError("parts: expected memory and time with extrapolate, whose models it takes; add them")


def scaling(config: Config, out: str | os.PathLike) -> list[str]:
    """Measures, writes records.jsonl, summary.json and index.html, and prints tables.

    Returns:
        The checks that failed, as lines.
    """
    out = _machine.writable_folder("out", out)
    run = {
        "kind": "run",
        "benchmark": "scaling",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": dataclasses.asdict(config),
        **_machine.facts(),
        "load": os.getloadavg()[0],
    }
    report.write_jsonl(out / "records.jsonl", [run])
    models: dict[str, _scaling_model.Model] = {}
    records, failed, page = [run], [], report.Page("Scaling", f"{run['device']}; load average {run['load']:.2f}")
    for part in config.parts:
        rows = []
        for record in _measure(part, config, models):
            report.append_jsonl(out / "records.jsonl", record)
            records.append(record)
            rows.append(_told(record))
            if record.get("met") is False:
                failed.append(f"{part}: {rows[-1]}")
        words = [f"{kind}: {model.formula()}" for kind, model in models.items() if kind.startswith(part)]
        print("", *(words or [part]), report.markdown_table(rows), sep="\n", end="", flush=True)
        page.heading(part)
        for line in words:
            page.text(line)
        page.table(rows)
    formulas = {kind: dataclasses.asdict(model) | {"formula": model.formula()} for kind, model in models.items()}
    report.write_json(out / "summary.json", {"run": run, "models": formulas, "failed": failed})
    page.write(out / "index.html")
    return failed


def _measure(part: str, config: Config, models: dict[str, _scaling_model.Model]) -> Iterator[Record]:
    if part in ("memory", "time"):
        yield from _held(part, config, models)
    elif part == "blocks":
        yield from _split(part, _scaling_programs.blocks, BLOCKS, config)
    elif part == "hidden":
        yield from _split(part, _scaling_programs.hidden, HIDDEN, config)
    else:
        for case in TO_COME:
            memory, seconds = (models[kind](case) for kind in (_scaling_model.memory_kind(case), "time"))
            yield {"kind": part, **case._asdict(), "bytes": memory, "seconds": seconds}


def _held(kind: str, config: Config, models: dict[str, _scaling_model.Model]) -> Iterator[Record]:
    """Yields a record of each point: what was measured, what the model says, and whether that holds."""
    to_fit, to_check = (MEMORY_FIT, MEMORY_CHECK) if kind == "memory" else (TIME_FIT, TIME_CHECK)
    if config.small:
        to_check = to_check[:1]
    usable = [case for case in (*to_fit, *to_check) if jax.device_count() >= case.D]
    programs = {case: _scaling_programs.step(case) for case in usable}
    if kind == "memory":
        values = {case: float(_scaling_programs.planned_bytes(program)) for case, program in programs.items()}
    else:
        calls = {str(case): _scaling_programs.caller(program) for case, program in programs.items()}
        walls = interleave(calls, config.repeats)
        values = {case: min(walls[str(case)]) for case in usable}
    kinds = {case: _scaling_model.memory_kind(case) if kind == "memory" else kind for case in usable}
    for own in dict.fromkeys(kinds.values()):
        fitted = [case for case in to_fit if kinds.get(case) == own]
        models[own] = _scaling_model.fit(own, fitted, [values[case] for case in fitted])
    unit = "bytes" if kind == "memory" else "seconds"
    for case in usable:
        said = models[kinds[case]](case)
        off = said / values[case] - 1
        checked = {"met": bool(abs(off) <= TOLERANCE[kind])} if case in to_check else {}
        yield {"kind": kinds[case], **case._asdict(), unit: values[case], "model": said, "off": off, **checked}


def _split(part: str, make: Any, sizes: tuple[int, int, int], config: Config) -> Iterator[Record]:
    """Yields memory and time by number of devices, up to the cores, memory up to all devices."""
    steps, batch, units = (100, *sizes[1:]) if config.small else sizes
    counts = [count for count in (1, 2, 4, 8) if count <= jax.device_count()]
    programs = {count: make(steps, batch, units, count) for count in counts}
    timed = {str(n): _scaling_programs.caller(p) for n, p in programs.items() if n <= (os.cpu_count() or 1)}
    walls = interleave(timed, config.repeats)
    one = _scaling_programs.planned_bytes(programs[1])
    for count, program in programs.items():
        planned = _scaling_programs.planned_bytes(program)
        record = {
            "kind": part,
            "T": steps,
            "B": batch,
            "H": units,
            "D": count,
            "bytes": planned,
            "share": planned / one,
        }
        record["collectives"] = _collectives(program.as_text())
        if str(count) in walls:
            fastest = min(walls[str(count)])
            record |= {"seconds": fastest, "times_one_device": fastest / min(walls["1"])}
        yield record


def _collectives(text: str) -> int:
    """Returns how many places of a program send between devices, those in a loop counted once."""
    names = ("all-gather(", "all-reduce(", "reduce-scatter(", "collective-permute(", "all-to-all(")
    return sum(text.count(f" {name}") for name in names)


def _told(record: Record) -> Record:
    """Returns a record as a row of a table."""
    units = {"bytes": ("MiB on each device", 2**20), "seconds": ("ms", 1e-3)}
    row = {}
    for key, value in record.items():
        if key in units:
            name, unit = units[key]
            row[name] = f"{value / unit:,.4g}"
        elif key == "model":
            row["model says"] = f"{value / (2**20 if 'bytes' in record else 1e-3):,.4g}"
        elif key == "off":
            row["off"] = f"{100 * value:+.1f} %"
        elif key == "met":
            row["checked"] = "holds" if value else "OFF"
        elif key != "kind":
            row[key] = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
    return row


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    failed = scaling(Config(tuple(values.parts), values.repeats, values.small), values.out)
    if failed:
        print("\nthe model does not hold:", *failed, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_list("parts", list(PARTS), "Parts to run.")
    flags.DEFINE_integer("repeats", Config.repeats, "Turns of each timing, of which the fastest counts.", lower_bound=1)
    flags.DEFINE_bool("small", False, "Only the smallest points, to see that all runs.")
    flags.DEFINE_string("out", "runs/scaling", "Folder for the page and the records.")
    text = "Devices that a CPU is split into; memory is planned for as many."
    flags.DEFINE_integer("host_devices", 8, text, lower_bound=1, module_name="Run")
    _main.run(main)
