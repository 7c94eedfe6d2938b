"""A study: cells, data and parts to records and a page, on one machine or many."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx

from recur import cells, report
from recur._checks import brief, check_positive
from recur._types import Array, Float
from recur.runs._machine import facts
from recur.study import _inputs, _journal
from recur.study._config import PRESETS, Config
from recur.study._executors import Failure, run_all
from recur.study._jobs import Done, Spec, forget, jobs_of, make_spec, perform, precision, setup_of
from recur.study.parts import PARTS
from recur.study.parts._setup import Given

Record = dict[str, Any]
# Called with the jobs done, the jobs in all, and the name of the last one.
Progress = Callable[[int, int, str], None]


@dataclasses.dataclass(frozen=True, repr=False)
class Study:
    """What `study` measured.

    Args:
        rows: The records: first that of the run, then those of the jobs in their order.
    """

    rows: tuple[Record, ...]

    @property
    def failed(self) -> dict[str, str]:
        """Job to traceback, of those that raised."""
        return {row["job"]: row["traceback"] for row in self.rows if row["kind"] == "failed"}

    def records(self) -> list[Record]:
        """Returns the records, for `report.write_jsonl`."""
        return [dict(row) for row in self.rows]

    def page(self, out: str | os.PathLike) -> pathlib.Path:
        """Writes page, figures and tables into a folder, with the records beside them.

        Returns:
            The path of `index.html`.

        Raises:
            ValueError: Nothing was measured that a page could show.
        """
        report.write_jsonl(pathlib.Path(out) / "records.jsonl", self.rows)
        return report.gradient_page(self.rows, out)

    def verdicts(self) -> list[Record]:
        """Returns a row for each verdict: cell, length, half-life, verdict."""
        return [
            {
                "cell": row["cell"],
                "length": row["length"],
                "half-life (steps)": row.get("half_life_steps"),
                "verdict": row["verdict"],
            }
            for row in self.rows
            if row["kind"] == "summary"
        ]

    def __str__(self) -> str:
        """The verdicts as a table, and the jobs that failed."""
        rows = self.verdicts()
        table = report.text_table(rows) if rows else f"{len(self.rows)} records"
        return "\n".join([table, *(f"failed: {job}" for job in self.failed)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return report.html_table(self.verdicts())


def study(
    of: Mapping[str, Any],
    xs: Float[Array, "T B X"] | str = "text",
    *,
    data: str | None = None,
    lengths: Sequence[int] | None = None,
    parts: Sequence[str] = ("lag_curves",),
    seeds: int = 10,
    seed: int = 0,
    preset: str = "quick",
    dtype: str = "float32",
    executor: Any = None,
    folder: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> Study:
    """Measures how gradients flow in cells, at initialisation and after training, by the parts that are named.

    Args:
        of: Name to a cell, a module of `recur.nn` (`RNN`, `Stack` of one direction), or a pair ``(cell, params)``.
            Parameters that are given are used as they are; those of a bare cell are drawn for every seed.
        xs: What the cells read ``[T, B, X]``, or one of "text", "noise", "series", "digits". Every seed reads a
            sequence of its own; with more sequences than seeds, each sequence is a seed.
        data: File for "text" or "series".
        lengths: Steps T to measure at; by default all of `xs`, or those of the preset.
        parts: Names of `PARTS`; none for all.
        seeds: Independent draws of parameters, and of data that is named.
        seed: Of all draws.
        preset: Name of `PRESETS`: the sizes that are particular to a part.
        dtype: Of parameters and inputs: "float32", "float64" or "bfloat16".
        executor: Where the jobs run: any `concurrent.futures.Executor` (processes must be spawned, not forked), Dask's
            ``Client.get_executor()``, submitit's, or anything whose ``submit(f, *args)`` gives something with
            ``done()`` and ``result()``. By default here, one after the other. A job is its names, so it pickles.
        folder: Keeps the records as they come: a study that was stopped goes on from there, wherever its jobs ran.
        progress: Called after each job with ``(jobs done, jobs in all, name of the job)``.

    Returns:
        `Study`. A job that raises is kept in its `failed`; the others finish.

    Raises:
        TypeError: Something that is no cell, module or pair.
        ValueError: Names or numbers that do not fit, or data that cannot be read.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> xs = jax.random.normal(jax.random.key(0), (30, 2, 3))
        >>> found = recur.study.study({"mine": recur.cells.gru(4)}, xs, seeds=2)
        >>> [(row["cell"], row["length"]) for row in found.verdicts()]
        [('mine', 30)]
    """
    if not isinstance(of, Mapping) or not of:
        raise TypeError(f"of: expected a mapping from names to cells, got {brief(of)}; as {{'mine': cell}}")
    check_positive("seeds", seeds)
    named = {str(name): _cell_and_params(str(name), value) for name, value in of.items()}
    if preset not in PRESETS:
        raise ValueError(f"preset: expected one of {list(PRESETS)}, got {preset!r}")
    kind, read = xs, None
    if not isinstance(xs, str):
        kind, read = "given", np.asarray(xs)
        if read.ndim != 3 or not np.issubdtype(read.dtype, np.floating):
            raise ValueError(f"xs: expected floats [T, B, X], time first, got {read.dtype} {read.shape}")
        seeds = max(seeds, read.shape[1])
        read = read[:, np.arange(seeds) % read.shape[1]]
    elif xs not in _inputs.INPUTS:
        raise ValueError(f"xs: expected an array [T, B, X] or one of {list(_inputs.INPUTS)}, got {xs!r}")
    longest = None if read is None else len(read)
    steps = tuple(lengths) if lengths is not None else ((longest,) if longest else PRESETS[preset].lengths)
    if longest is not None and steps and max(steps) > longest:
        raise ValueError(f"lengths: expected at most {longest} steps, as xs has, got {max(steps)}")
    config = Config(
        cells=tuple(named),
        hidden_size=max(cells.output_size(cell) for cell, _ in named.values()),
        lengths=steps,
        seeds=seeds,
        seed=seed,
        input=kind,
        data=data,
        dtype=dtype,
        preset=preset,
        parts=tuple(parts),
    )
    return measure(config, Given(named, read), folder=folder, executor=executor, progress=progress)


def measure(
    config: Config,
    given: Given | None = None,
    *,
    folder: str | os.PathLike | None = None,
    executor: Any = None,
    progress: Progress | None = None,
) -> Study:
    """Runs a study, or finishes one that was stopped with the same configuration (see `study`).

    Raises:
        ValueError: A configuration that does not fit, data that cannot be read, or a folder that cannot be written.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    started = time.perf_counter()
    config = dataclasses.replace(config, parts=part_names(config.parts))
    forget()
    spec = make_spec(config, given)
    with precision(config):
        jobs = {f"{part}: {name}": (part, job) for part in config.parts for name, job in jobs_of(spec, part).items()}
    run = _run_record(spec)
    journal = _journal.Journal(folder, run, jobs)
    missing = any(name not in journal.done and not job.gathers for name, (_, job) in jobs.items())
    todo = [name for name, (_, job) in jobs.items() if name not in journal.done or (missing and job.gathers)]
    order = [[name for name in todo if jobs[name][1].gathers is gathers] for gathers in (False, True)]
    count = len(jobs) - len(todo)
    setup = setup_of(spec)
    try:
        # What sums up other jobs comes last, and runs here, where their records are.
        for names, where in zip(order, (executor, None), strict=True):
            setup.rows[:] = journal.rows()
            calls = [(spec, jobs[name][0], jobs[name][1].name) for name in names]
            for index, result in run_all(where, perform, calls):
                _keep(journal, names[index], result)
                setup.rows[:] = journal.rows()
                count += 1
                if progress is not None:
                    progress(count, len(jobs), names[index])
    except KeyboardInterrupt:
        kept = "nothing is kept" if folder is None else f"finished jobs are kept in {folder}, the same call goes on"
        raise KeyboardInterrupt(f"stopped; {kept}") from None
    run["wall_s"] = round(time.perf_counter() - started, 2)
    rows = [run, *journal.rows()]
    journal.close(rows)
    return Study(tuple(rows))


def part_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the parts in the order of the page; all, if none are named.

    Raises:
        ValueError: An unknown name.
    """
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        raise ValueError(f"parts: expected names among {list(PARTS)}, got {unknown}")
    return tuple(part for part in PARTS if part in names or not names)


def _keep(journal: "_journal.Journal", name: str, result: Done | Failure) -> None:
    if isinstance(result, Failure):
        journal.keep(name, [{"kind": "failed", "job": name, **result._asdict()}], None)
    else:
        journal.keep(name, result.rows, result.wall_s)


def _cell_and_params(name: str, value: Any) -> tuple[cells.Cell, Any]:
    if isinstance(value, cells.Cell):
        return value, None
    if isinstance(value, nnx.Module) and hasattr(value, "as_cell"):
        return value.as_cell()
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], cells.Cell):
        return value
    raise TypeError(
        f"of[{name!r}]: expected a cell, a pair (cell, params) or a module with as_cell(), got {brief(value)}; a "
        "factory makes a cell of a size: recur.cells.lstm(64)"
    )


def _run_record(spec: Spec) -> Record:
    config = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(spec.config).items()
    }
    if spec.given.cells:
        config["given"] = spec.digest
    return {
        "kind": "run",
        "benchmark": "gradient_norms",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "config": config,
        **facts(),
    }
