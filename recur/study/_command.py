"""`recur study`, `recur diagnose` and `recur page` from the shell."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from recur import report
from recur.study import _inputs, _made
from recur.study._config import PRESETS, Config
from recur.study._executors import Workers
from recur.study._study import Study, measure
from recur.study.parts import PARTS

STUDY = """usage: recur study [flags]

Measures how gradients vanish or explode over lag and sequence length, for every cell, and writes a page.

    recur study --preset=quick --out=runs/report
    recur study --cells=elman,gru,lstm --lengths=64,256,1024 --parts=lag_curves --out=runs/text
    recur study --cell=my_cells:leaky --parts=lag_curves,forget_bias --workers=2 --out=runs/leaky
    recur study --compare=runs/text,runs/leaky --out=runs/both

Every part is a set of jobs. A study that is stopped keeps all finished jobs, and the same command goes on from there.
Flags given beside --preset override it. Ends with exit code 1 when a job failed, and with 2 when an argument is wrong.
"""
PAGE = """usage: recur page RUN [--out=DIR]

Draws the page of a run again from its records alone.
"""


def study_flags() -> flags.FlagValues:
    """Returns the flags of `recur study`, not parsed yet."""
    values = flags.FlagValues()
    define = {
        "preset": (flags.DEFINE_enum, "quick", list(PRESETS), "Sizes of everything that no other flag sets."),
        "parts": (flags.DEFINE_list, [], f"Parts to run, by default all: {', '.join(PARTS)}."),
        "cells": (flags.DEFINE_list, None, "Names of recur.cells.CELLS, or your own as module:factory."),
        "cell": (flags.DEFINE_multi_string, [], "A cell of your own as module:factory, beside --cells; repeatable."),
        "lengths": (flags.DEFINE_list, None, "Sequence lengths, in steps."),
        "seed": (flags.DEFINE_integer, 0, "Seed of all random draws."),
        "initializer": (
            flags.DEFINE_enum,
            "own",
            _made.INITIALIZERS,
            "How recurrent kernels are drawn.",
        ),
        "gain": (flags.DEFINE_float, 1.0, "Factor of the recurrent kernels."),
        "input": (flags.DEFINE_enum, "text", _inputs.INPUTS, "What the cells read."),
        "data": (flags.DEFINE_string, None, "File to read for --input=text (UTF-8) or --input=series (CSV)."),
        "dtype": (flags.DEFINE_enum, "float32", ("float32", "float64", "bfloat16"), "Of parameters and inputs."),
        "out": (flags.DEFINE_string, None, "Folder for the page, records and tables; by default runs/gradient_norms."),
        "compare": (flags.DEFINE_list, [], "Folders of two earlier runs or more: puts them on one page, in --out."),
        "scheduler": (
            flags.DEFINE_string,
            None,
            "A Dask scheduler whose workers run the jobs: tcp://HOST:PORT.",
        ),
    }
    for name, (kind, *rest) in define.items():
        kind(name, *rest, flag_values=values)
    for name, default, text, least in (
        ("hidden_size", None, "Units of each cell.", 1),
        ("seeds", None, "Independent draws of parameters and data; below 10 the band means little.", 1),
        ("workers", 0, "Processes that run the jobs; 0 runs them in this one.", 0),
    ):
        flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=values)
    return values


def config_of(values: flags.FlagValues) -> Config:
    """Reads the flags: the preset, with what was given beside it."""
    preset = PRESETS[values.preset]
    return Config(
        cells=(*(preset.cells if values.cells is None else values.cells), *values.cell),
        hidden_size=preset.hidden_size if values.hidden_size is None else values.hidden_size,
        lengths=preset.lengths if values.lengths is None else _whole_numbers("lengths", values.lengths),
        seeds=preset.seeds if values.seeds is None else values.seeds,
        seed=values.seed,
        initializer=values.initializer,
        gain=values.gain,
        input=values.input,
        data=values.data,
        dtype=values.dtype,
        preset=values.preset,
        parts=tuple(values.parts),
    )


def study_main(argv: Sequence[str], *, program: str = "recur study") -> int:
    """Runs `recur study` with the arguments that follow its name.

    Returns:
        0; 1 where a job failed; 2 for a wrong argument, told in one line on standard error; 130 for Ctrl-C.
    """
    return guarded(program, STUDY, study_flags(), argv, _study)


def page_main(argv: Sequence[str], *, program: str = "recur page") -> int:
    """Runs `recur page` with the arguments that follow its name; exit codes as `study_main`."""
    values = flags.FlagValues()
    flags.DEFINE_string("out", None, "Folder of the page; by default that of the run.", flag_values=values)
    return guarded(program, PAGE, values, argv, _page)


def _study(values: flags.FlagValues, names: Sequence[str]) -> int:
    if names:
        raise ValueError(f"{names[0]!r}: expected flags only, as --name=value")
    out = _folder(values.out, "runs/compared" if values.compare else "runs/gradient_norms")
    if values.compare:
        _told(report.compare_pages(values.compare, out))
        return 0
    config = config_of(values)
    with _executor(values) as executor:
        found = benchmark(config, out, executor=executor)
    _told(out / "index.html")
    for job, error in ((row["job"], row["error"]) for row in found.rows if row["kind"] == "failed"):
        print(f"failed: {job}: {error}", file=sys.stderr)
    return 1 if found.failed else 0


def benchmark(config: Config, out: str | os.PathLike, *, executor: Any = None) -> Study:
    """Runs a study in a folder, with a progress bar, and writes its summary and page there."""
    import tqdm

    with contextlib.ExitStack() as stack:
        bars: list[tqdm.tqdm] = []

        def progress(done: int, of: int, name: str) -> None:
            if not bars:
                bars.append(stack.enter_context(tqdm.tqdm(total=of, desc="gradient norms", unit="job", disable=None)))
            bars[0].n = done
            bars[0].set_postfix_str(name)

        found = measure(config, folder=out, executor=executor, progress=progress)
    summary = {
        "verdicts": [row for row in found.rows if row["kind"] == "summary"],
        "numbers": [row for row in found.rows if row["kind"] == "number"],
    }
    report.write_json(pathlib.Path(out) / "summary.json", {**found.rows[0], **summary})
    report.gradient_page(found.rows, out)
    return found


def _page(values: flags.FlagValues, names: Sequence[str]) -> int:
    if len(names) != 1:
        raise ValueError(f"RUN: expected one folder that holds records.jsonl, got {list(names)}")
    run = pathlib.Path(names[0])
    print(report.gradient_page(report.read_jsonl(run / "records.jsonl"), _folder(values.out, run)))
    return 0


@contextlib.contextmanager
def _executor(values: flags.FlagValues) -> Iterator[Any]:
    if values.workers and values.scheduler:
        raise ValueError("scheduler: expected none beside --workers, got both; give one of the two")
    if values.workers:
        with Workers(values.workers) as workers:
            yield workers
    elif values.scheduler:
        try:
            import distributed
        except ImportError:
            raise ValueError("scheduler: needs Dask; pip install 'recur-jax[cluster]'") from None
        with distributed.Client(values.scheduler) as client:
            yield client.get_executor()
    else:
        yield None


def guarded(
    program: str,
    usage: str,
    values: flags.FlagValues,
    argv: Sequence[str],
    run: Callable[[flags.FlagValues, Sequence[str]], int],
) -> int:
    """Parses flags and runs a command; what is wrong is told in one line, with exit code 2."""
    if {"-h", "--help"} & set(argv):
        print(usage + values.get_help())
        return 0
    try:
        return run(values, values([program, *argv])[1:])
    except (flags.Error, ValueError, OSError) as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"{program}: {error or 'interrupted'}", file=sys.stderr)
        return 130


def _folder(given: str | None, default: str | os.PathLike) -> pathlib.Path:
    if given is not None and not given.strip():
        raise ValueError("out: expected a folder, got an empty name; leave the flag out for the default")
    return pathlib.Path(given or default)


def _told(page: pathlib.Path) -> None:
    print(f"{(page.parent / 'summary.md').read_text(encoding='utf-8')}\npage: {page}")


def _whole_numbers(name: str, words: Sequence[str]) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise ValueError(f"{name}: expected whole numbers, got {','.join(words)}") from None
