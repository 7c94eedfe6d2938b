"""The jobs of a study, and one of them by its names: what goes to another process or machine and comes back."""

import contextlib
import functools
import hashlib
import pickle
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from recur import cells, report
from recur.study import _made
from recur.study._config import Config, label
from recur.study.parts import PARTS
from recur.study.parts._setup import Given, Job, Setup

Record = dict[str, Any]


class Spec(NamedTuple):
    """All that decides the measurements of a study; it pickles.

    Args:
        config: Names and numbers.
        given: Cells, parameters and inputs that were handed over from Python.
        digest: Of both: equal for equal contents.
    """

    config: Config
    given: Given
    digest: str


class Done(NamedTuple):
    """What a finished job hands back.

    Args:
        rows: Its records, as they stand in a file.
        wall_s: Seconds that it took.
    """

    rows: list[Record]
    wall_s: float


def make_spec(config: Config, given: Given | None = None) -> Spec:
    """Names all that decides a study."""
    given = Given({}, None) if given is None else given
    plain = {name: (cell, jax.tree.map(np.asarray, params)) for name, (cell, params) in given.cells.items()}
    given = Given(plain, None if given.xs is None else np.asarray(given.xs))
    contents = hashlib.sha256(repr(config).encode())
    for name, (cell, params) in plain.items():
        contents.update(name.encode() + pickle.dumps(cell))
        for place, leaf in jax.tree_util.tree_leaves_with_path(params):
            contents.update(jax.tree_util.keystr(place).encode() + leaf.tobytes())
    if given.xs is not None:
        contents.update(repr(given.xs.shape).encode() + given.xs.tobytes())
    return Spec(config, given, contents.hexdigest()[:16])


def make_setup(config: Config, given: Given | None = None) -> Setup:
    """Makes what all parts share.

    Raises:
        ValueError: A cell or initialiser that does not fit, or data that cannot be read.
    """
    given = Given({}, None) if given is None else given
    longest = max(config.lengths)
    chosen = {name: cell for name, (cell, _) in given.cells.items()}
    for name in config.cells:
        if label(name) not in chosen:
            made = _made.make_cell(name, config.hidden_size, config.initializer, config.gain, longest)
            chosen[label(name)] = made
    ordered: Mapping[str, cells.Cell] = {label(name): chosen[label(name)] for name in config.cells}
    setup = Setup(config, ordered, jax.random.key(config.seed), given=given)
    setup.inputs(longest)
    return setup


def precision(config: Config) -> contextlib.AbstractContextManager[None]:
    """Lets JAX compute in 64 bits while a study in float64 is measured, and not after it."""
    return jax.enable_x64(True) if config.dtype == "float64" else contextlib.nullcontext()


@functools.lru_cache(maxsize=2)
def _known(digest: str) -> dict[str, Any]:
    """What this process has made for a study already; filled by `setup_of` and `jobs_of`."""
    del digest
    return {}


def forget() -> None:
    """Lets a study that begins anew measure anew."""
    _known.cache_clear()


def setup_of(spec: Spec) -> Setup:
    """Returns the setup of a study, made once in a process."""
    known = _known(spec.digest)
    if "setup" not in known:
        known["setup"] = make_setup(spec.config, spec.given)
    return known["setup"]


def jobs_of(spec: Spec, part: str) -> dict[str, Job]:
    """Returns the jobs of a part by name, made once in a process."""
    known = _known(spec.digest)
    if part not in known:
        known[part] = {job.name: job for job in PARTS[part](setup_of(spec))}
    return known[part]


def perform(spec: Spec, part: str, name: str) -> Done:
    """Runs one job; this is what an executor is given."""
    began = time.perf_counter()
    with precision(spec.config):
        rows = [report.normalize(row) for row in jobs_of(spec, part)[name].run()]
    return Done(rows, time.perf_counter() - began)
