"""Times recur beside the other libraries, after checking that all of them compute the same.

    python -m benchmarks.speed --peers=all
    python -m benchmarks.speed --peers=flax_nnx,torch --rows=C0,C2 --repeats=40 --out=runs/speed

For each row of `benchmarks/_speed_rows.py` and each of its cells: outputs, gradients to parameters and inputs, and a
training step with Adam, in float32. Every library gets the same weights and batch-major data. A peer whose outputs or
gradients differ from a float64 run of recur by more than rounding is reported as wrong and not timed. The others are
called in turn, each call until all is computed. Compile time, memory and errors are told apart. Ctrl-C ends a run
after the turn in progress and keeps what is done.

Where JAX runs on a GPU the rows are G1 to G7, some in bfloat16 too, with recur's engines beside its own choice; on any
other machine these are refused, as they would take hours.
"""

import contextlib
import dataclasses
import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from benchmarks import (
    _speed_by_hand,
    _speed_engines,
    _speed_equinox,
    _speed_flax,
    _speed_haiku,
    _speed_keras,
    _speed_page,
    _speed_recur,
    _speed_torch,
    _speed_verdicts,
)
from benchmarks._speed_clock import interleave, quartiles
from benchmarks._speed_floor import Machine, floor_s
from benchmarks._speed_floor import measure as measure_machine
from benchmarks._speed_programs import MEASURES, CannotError, Entry
from benchmarks._speed_rows import GPU_ROWS, ROWS, Case, Row, make_case
from benchmarks._speed_weights import errors, reference, tolerance
from recur import report
from recur.runs import _machine, _main

PEERS: dict[str, tuple[str, Callable[[Case], Iterator[Entry]]]] = {
    "flax_nnx": ("flax", _speed_flax.nnx_entries),
    "flax_linen": ("flax", _speed_flax.linen_entries),
    "haiku": ("haiku", _speed_haiku.entries),
    "equinox": ("equinox", _speed_equinox.entries),
    "keras": ("keras", _speed_keras.entries),
    "torch": ("torch", _speed_torch.entries),
    "by_hand": ("jax", _speed_by_hand.entries),
}
"""What each is imported as, and what compiles it for a case."""

PRESETS = {
    "quick": {"cpu": ("C0", "C2", "C5"), "gpu": ("G1", "G3", "G6"), "repeats": 5},
    "full": {"cpu": tuple(ROWS), "gpu": tuple(GPU_ROWS), "repeats": 20},
}
"""Rows on a GPU and elsewhere, and repeats. Five turns show where things stand; claims need at least 20 on an idle
machine."""

BUSY = 1.5
"""Load average a core above which something else was running: what is timed keeps every core busy itself."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to time.

    Args:
        rows: The rows by name.
        peers: Names in `PEERS`.
        repeats: Turns.
        seed: Of weights and data.
    """

    rows: Mapping[str, Row] = dataclasses.field(default_factory=lambda: dict(ROWS))
    peers: tuple[str, ...] = tuple(PEERS)
    repeats: int = 20
    seed: int = 0


def choose(
    rows: Sequence[str], peers: Sequence[str], repeats: int | None, preset: str, seed: int, platform: str = "cpu"
) -> Config:
    """Returns the configuration that flags ask for, on a platform as `jax.default_backend` names it.

    Raises:
        ValueError: A row or peer that is unknown or there twice, no peer where `none` was not said, or a row for a GPU
            where there is none.
    """
    known_rows, on_gpu = {**ROWS, **GPU_ROWS}, platform == "gpu"
    names = tuple(rows) or PRESETS[preset]["gpu" if on_gpu else "cpu"]
    chosen = tuple(PEERS) if list(peers) == ["all"] else () if list(peers) == ["none"] else tuple(peers)
    for what, given, known in (("rows", names, known_rows), ("peers", chosen, PEERS)):
        if not set(given) <= set(known) or len(set(given)) != len(given) or (what == "peers" and not peers):
            more = ", or all, or none" if what == "peers" else ""
            raise ValueError(f"{what}: expected distinct names among {','.join(known)}{more}, got {','.join(given)}")
    refused = [] if on_gpu else [name for name in names if name in GPU_ROWS]
    if refused:
        raise ValueError(
            f"rows: expected some of {','.join(ROWS)} where JAX runs on {platform}, got {','.join(refused)}, which "
            "take hours without a GPU"
        )
    return Config({name: known_rows[name] for name in names}, chosen, repeats or PRESETS[preset]["repeats"], seed)


def speed(config: Config, out: str | os.PathLike) -> list[dict[str, Any]]:
    """Times everything and writes records.jsonl, summary.json, index.html, speed.md and the plots.

    Returns:
        The goals, with what was reached.

    Raises:
        ValueError: A folder that cannot be written.
        KeyboardInterrupt: Ctrl-C, after what is done was written.
    """
    out = _machine.writable_folder("out", out)
    machine = measure_machine()
    records: list[dict[str, Any]] = [_run_record(config, machine)]
    report.write_jsonl(out / "records.jsonl", records)
    todo = [(name, row, cell) for name, row in config.rows.items() for cell in row.cells]
    notice = "stopping after this turn; Ctrl-C again stops at once"
    with _main.stop_on_interrupt(notice) as stopped, tqdm.tqdm(todo, "speed", unit="case", disable=None) as progress:
        for name, row, cell in progress:
            if stopped():
                break
            progress.set_postfix_str(f"{name} {cell}")
            with _precision(row):
                for record in time_case(config, name, make_case(row, cell, config.seed), machine, stopped):
                    records.append(record)
                    report.append_jsonl(out / "records.jsonl", record)
            progress.write(f"{name} {cell} ({row.sizes}): load average {os.getloadavg()[0]:.2f}")
        interrupted = stopped()
    compared = _speed_verdicts.compare([record for record in records if record["kind"] == "speed"])
    reached = _speed_verdicts.goals(compared)
    summary = {"run": records[0], "interrupted": interrupted, "goals": reached, "ratios": compared}
    report.write_json(out / "summary.json", summary)
    _speed_page.write(out, records, compared, reached)
    for title, rows in _speed_page.tabulate(records, compared, reached).items():
        if rows:
            print(f"\n{title}\n{report.markdown_table(rows)}", end="")
    loads = [record["load"] for record in records if "load" in record]
    if max(loads) > BUSY * (os.cpu_count() or 1):
        print(f"\nload average up to {max(loads):.2f} on {os.cpu_count()} cores: too busy for claims")
    if interrupted:
        raise KeyboardInterrupt(f"interrupted; what is done is in {out}")
    return reached


def time_case(
    config: Config, name: str, case: Case, machine: Machine, stopped: Callable[[], bool] = lambda: False
) -> Iterator[dict[str, Any]]:
    """Checks and times all peers on one case.

    Yields:
        A record for each timing, and for each peer that is not timed, with the reason.
    """
    place = {"row": name, "cell": case.cell}
    want, bound = reference(case), tolerance(case)
    entries, accuracy = {}, {}
    for found in _all_entries(config, case):
        if stopped():
            return
        if not isinstance(found, Entry):
            yield {"kind": "not_timed", **place, "peer": found[0], "reason": str(found[1])}
            continue
        off = errors(want, found.outputs(), *found.gradients(), found.absent)
        # Written so that a NaN fails.
        if not (off.outputs <= bound and off.gradients <= bound):
            reason = f"WRONG: off float64 by {off.outputs:.1e} (outputs), {off.gradients:.1e} (gradients) > {bound:.1e}"
            yield {"kind": "not_timed", **place, "peer": found.name, "reason": reason}
            continue
        entries[found.name], accuracy[found.name] = found, off
    for measure in MEASURES:
        if stopped():
            return
        before = os.getloadavg()[0]
        calls = {peer: entry.program(measure).call for peer, entry in entries.items()}
        for peer, walls in interleave(calls, config.repeats, stopped).items():
            if not walls:
                continue
            program = entries[peer].program(measure)
            yield {
                "kind": "speed",
                **place,
                "sizes": case.row.sizes,
                "dtype": case.row.dtype,
                "peer": peer,
                "on_jax": entries[peer].on_jax,
                "measure": measure,
                "wall_s": quartiles(walls),
                "walls_s": walls,
                "repeats": len(walls),
                "compile_s": program.compile_s,
                "memory_bytes": program.memory_bytes,
                "memory_source": program.memory_source,
                "error_outputs": accuracy[peer].outputs,
                "error_gradients": accuracy[peer].gradients,
                "tolerance": bound,
                "floor_s": floor_s(machine, case.row, case.cell, measure),
                "load": before,
            }


def _all_entries(config: Config, case: Case) -> Iterator[Entry | tuple[str, Exception]]:
    yield from _speed_recur.entries(case)
    yield from _speed_engines.entries(case)
    for peer in config.peers:
        package, entries = PEERS[peer]
        if peer == "torch" and jax.default_backend() == "gpu":
            yield peer, CannotError("is timed on the cores of a CPU alone")
            continue
        if importlib.util.find_spec(package) is None:
            yield peer, CannotError("not installed; pip install 'recur-jax[peers]' brings it")
            continue
        try:
            yield from entries(case)
        except CannotError as error:
            yield peer, error


def _precision(row: Row) -> contextlib.AbstractContextManager[None]:
    """Asks a GPU for products in float32 where a row does; leaves JAX as it is elsewhere."""
    return jax.default_matmul_precision("float32") if row.products == "float32" else contextlib.nullcontext()


def _run_record(config: Config, machine: Machine) -> dict[str, Any]:
    return {
        "kind": "run",
        "benchmark": "speed",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": {"rows": list(config.rows), "peers": list(config.peers), "repeats": config.repeats},
        "seed": config.seed,
        **_machine.facts(),
        "machine": machine._asdict(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "load": os.getloadavg()[0],
    }


def main(argv: Sequence[str]) -> None:
    del argv
    values = flags.FLAGS
    platform = jax.default_backend()
    speed(choose(values.rows, values.peers, values.repeats, values.preset, values.seed, platform), values.out)


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_list("peers", ["all"], f"Libraries beside recur: all, none, or some of {','.join(PEERS)}.")
    flags.DEFINE_list(
        "rows", [], f"Rows to time, some of {','.join((*ROWS, *GPU_ROWS))}; by default those of the preset."
    )
    flags.DEFINE_integer("repeats", None, "Turns; by default those of the preset.", lower_bound=1)
    flags.DEFINE_enum("preset", "full", list(PRESETS), "Rows and turns, where no flag says otherwise.")
    flags.DEFINE_integer("seed", 0, "Seed of weights and data.", lower_bound=0)
    flags.DEFINE_string("out", "runs/speed", "Folder for the page and the records.")
    _main.run(main)
