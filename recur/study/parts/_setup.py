"""What a part of the benchmark is given, and what it gives back."""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells
from recur.study import _inputs, _lag_records, _made
from recur.study._config import Config, label

Record = dict[str, Any]


class Job(NamedTuple):
    """The smallest piece of work that is kept when a run is stopped: seconds to a minute.

    Args:
        name: Distinct among the jobs of a part.
        run: Measures, and returns the records.
        gathers: Whether it sums up records of other jobs (`Setup.rows`): it then runs after all of these, in the
            process that keeps the records.
    """

    name: str
    run: Callable[[], Sequence[Record]]
    gathers: bool = False


class Given(NamedTuple):
    """What a user hands over from Python in place of names.

    Args:
        cells: Label to cell and parameters; None for parameters that each seed draws.
        xs: What the cells read ``[T, S, X]``; None for the data that the configuration names.
    """

    cells: Mapping[str, tuple[cells.Cell, Any]]
    xs: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What all parts share. A value of its own: measurements that several parts need are cached by it.

    Args:
        config: The run's configuration.
        cells: The chosen cells by label, a user's own among them.
        key: Of all random draws; `key_for` gives each purpose a key of its own.
        rows: Records of the jobs that are finished, those of a run that was stopped too: for jobs that sum up others.
        given: What was handed over from Python.
    """

    config: Config
    cells: Mapping[str, cells.Cell]
    key: jax.Array
    rows: list[Record] = dataclasses.field(default_factory=list)
    given: Given = Given({}, None)

    @property
    def preset(self) -> str:
        """Row of a part's own table ``SIZES``."""
        return self.config.preset

    @property
    def seeds(self) -> int:
        """Independent draws S of everything."""
        return self.config.seeds

    @property
    def dtype(self) -> Any:
        """Dtype of parameters and inputs."""
        return jnp.dtype(self.config.dtype)

    def meta(self, cell: str | None, /, **more: Any) -> Record:
        """Returns the fields that every record carries, with `more` over them.

        Args:
            cell: Label of the cell; None for what is of no cell of the run, where only seeds and dtype are told.
            **more: What differs from the configuration, or is told beside it; None takes a field out.
        """
        config = self.config
        common = {"seeds": config.seeds, "dtype": config.dtype}
        if cell is not None:
            common |= {
                "cell": cell,
                "hidden_size": cells.output_size(self.cells[cell]) if cell in self.cells else config.hidden_size,
                "initializer": config.initializer,
                "gain": config.gain,
                "input": pathlib.Path(config.data).name if config.data else config.input,
            }
        return {key: value for key, value in {**common, **more}.items() if value is not None}

    def key_for(self, purpose: str) -> jax.Array:
        """Returns a PRNG key that is the same for the same purpose, whatever else runs."""
        return jax.random.fold_in(self.key, zlib.crc32(purpose.encode()))

    def cell(
        self,
        cell: str,
        *,
        hidden_size: int | None = None,
        initializer: str | None = None,
        gain: float | None = None,
        max_steps: int | None = None,
    ) -> cells.Cell:
        """Makes a cell of the run anew, with another size, initialiser, gain, or T_max of chrono.

        Raises:
            ValueError: It does not fit the cell.
        """
        if cell in self.given.cells:
            # A given size is used as given.
            own = self.cells[cell]
            if initializer in (None, self.config.initializer):
                return own
            longest = max_steps or max(self.config.lengths)
            return _made.with_initializer(own, initializer, 1.0 if gain is None else gain, longest)
        (name,) = (name for name in self.config.cells if label(name) == cell)
        config = self.config
        return _made.make_cell(
            name,
            hidden_size or config.hidden_size,
            initializer or config.initializer,
            config.gain if gain is None else gain,
            max_steps or max(config.lengths),
        )

    def draw(self, cell: cells.Cell, input_size: int, purpose: str = "cells", *, label: str | None = None) -> Any:
        """Draws parameters for every seed, leaves ``[S, ...]``; what was given with the cell `label` is taken."""
        given_cell, params = self.given.cells.get(label, (None, None))
        if params is not None and cell == given_cell:
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.seeds, *jnp.shape(leaf))), params)
        return _draw(self, cell, input_size, purpose)

    def steps(self, most: int) -> int:
        """Returns `most`, or the longest length of the run if that is shorter: data may end there."""
        return min(most, max(self.config.lengths))

    def inputs(self, length: int) -> jax.Array:
        """Returns the last `length` steps of what the cells read, one sequence a seed, ``[T, S, X]``.

        Args:
            length: Steps T, at most the longest length of the run (see `steps`).

        Raises:
            ValueError: Data that cannot be read, or is shorter than the longest length.
        """
        if self.given.xs is not None:
            return jnp.asarray(self.given.xs[-length:], self.dtype)
        return jnp.asarray(_read(self, max(self.config.lengths), self.seeds)[-length:], self.dtype)

    def batches(self, length: int, size: int) -> jax.Array:
        """Returns `size` sequences a seed, ``[T, S, B, X]``; length and errors as for `inputs`."""
        if self.given.xs is not None:
            # Sequences of other seeds are as good as any.
            turned = [np.roll(self.given.xs[-length:], -shift, axis=1) for shift in range(size)]
            return jnp.asarray(np.stack(turned, axis=2), self.dtype)
        drawn = _read(self, length, self.seeds * size)
        return jnp.asarray(drawn.reshape(length, self.seeds, size, -1), self.dtype)


@functools.lru_cache(maxsize=4)
def _read(setup: Setup, length: int, sequences: int) -> np.ndarray:
    key = setup.key_for("inputs")
    return _inputs.draw_inputs(setup.config.input, setup.config.data, key, sequences, length)


@functools.lru_cache(maxsize=8)
def _draw(setup: Setup, cell: cells.Cell, input_size: int, purpose: str) -> Any:
    # One by one and not compiled as a whole, which would take longer than the draws.
    keys = jax.random.split(setup.key_for(purpose), setup.seeds)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(cell.init(key, input_size, setup.dtype) for key in keys))


def spread(values: Any) -> dict[str, float]:
    """Returns median, 10 % and 90 % of one number a seed, ``[S]``."""
    low, middle, high = _lag_records.quantiles(np.asarray(values, np.float64)[None])[:, 0]
    return {"median": float(middle), "p10": float(low), "p90": float(high)}


def series(plot: str, name: str, x: Any, values: Any, meta: Record) -> Record:
    """Makes one line of a plot.

    Args:
        plot: Key of the plot.
        name: Label of the line.
        x: Positions ``[N]``.
        values: ``[N, S]`` over seeds, of which median, 10 % and 90 % are kept; or ``[N]``.
        meta: Fields beside.
    """
    x, values = np.asarray(x), np.asarray(values, np.float64)
    row = {"kind": "series", "plot": plot, "label": name, "x": x.tolist(), "reference": False, **meta}
    if values.ndim == 1:
        return {**row, "median": values.tolist()}
    low, middle, high = _lag_records.quantiles(values)
    return {**row, "median": middle.tolist(), "p10": low.tolist(), "p90": high.tolist()}


def reference(plot: str, name: str, x: Any, values: Any, **meta: Any) -> Record:
    """Makes the line of a closed form or theory, which is drawn dashed."""
    return {**series(plot, name, x, values, meta), "reference": True}


def number(plot: str, name: str, value: Any, meta: Record) -> Record:
    """Makes a number that the words beside a plot need: one, or one a seed ``[S]``; `name` tells its unit."""
    value = np.asarray(value, np.float64)
    return {
        "kind": "number",
        "plot": plot,
        "name": name,
        "value": spread(value) if value.ndim else float(value),
        **meta,
    }


def skipped(plot: str, cell: str, reason: str, **meta: Any) -> Record:
    """Makes the record of a cell that cannot take part."""
    return {"kind": "skipped", "plot": plot, "cell": cell, "reason": reason, **meta}
