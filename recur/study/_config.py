"""What the benchmark measures: presets of sizes, and the configuration of one run."""

import dataclasses
import math
from typing import NamedTuple

from recur import cells


class Preset(NamedTuple):
    """Sizes that all parts share; those of one part alone stand in its own table ``SIZES``."""

    cells: tuple[str, ...]
    hidden_size: int
    lengths: tuple[int, ...]
    seeds: int


_STANDARD = ("elman", "gru", "lstm", "ind_rnn", "lru", "min_gru", "orthogonal")

PRESETS = {
    "tiny": Preset(("elman", "lstm"), 4, (8, 16), 2),
    "quick": Preset(("elman", "gru", "lstm"), 64, (16, 256, 4096), 10),
    "standard": Preset(_STANDARD, 64, (16, 256, 1024, 4096), 10),
    "full": Preset(tuple(cells.CELLS), 128, (16, 64, 256, 1024, 4096, 16384), 30),
}
"""``tiny`` shows within a minute whether a cell of one's own takes part everywhere; its numbers mean nothing."""


@dataclasses.dataclass(frozen=True)
class Config:
    """All that decides the measurements.

    Args:
        cells: Names of `recur.cells.CELLS`, or a user's own as module:factory.
        hidden_size: Units of each cell.
        lengths: Sequence lengths, in steps.
        seeds: Independent draws of parameters and data.
        seed: Seed of all random draws.
        initializer: How recurrent kernels are drawn: own as the cell's factory says.
        gain: Factor of the recurrent kernels.
        input: What the cells read.
        data: File to read.
        dtype: Of parameters and inputs.
        preset: Name in `PRESETS`: the sizes that are particular to a part.
        parts: Names of the parts to run; all, if there are none.
    """

    cells: tuple[str, ...] = PRESETS["quick"].cells
    hidden_size: int = PRESETS["quick"].hidden_size
    lengths: tuple[int, ...] = PRESETS["quick"].lengths
    seeds: int = PRESETS["quick"].seeds
    seed: int = 0
    initializer: str = "own"
    gain: float = 1.0
    input: str = "text"
    data: str | None = None
    dtype: str = "float32"
    preset: str = "quick"
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks what no single flag can."""
        if not self.cells or len({label(name) for name in self.cells}) != len(self.cells):
            raise ValueError(f"cells: expected distinct names, at least one, got {list(self.cells)}")
        if not self.lengths or min(self.lengths) < 2 or len(set(self.lengths)) != len(self.lengths):
            raise ValueError(f"lengths: expected distinct lengths of at least 2 steps, got {list(self.lengths)}")
        if self.seeds < 1:
            raise ValueError(f"seeds: expected at least 1, got {self.seeds}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: expected 0 <= seed < 2**32, got {self.seed}")
        if not math.isfinite(self.gain):
            raise ValueError(f"gain: expected a finite number, got {self.gain}")
        if self.preset not in PRESETS:
            raise ValueError(f"preset: expected one of {list(PRESETS)}, got {self.preset!r}")
        if len(set(self.parts)) != len(self.parts):
            raise ValueError(f"parts: expected distinct names, got {list(self.parts)}")


def label(name: str) -> str:
    """Returns what a cell is called in records: a user's own by its factory, without the module."""
    return name.rpartition(":")[2]
