"""Cells whose gates begin with a lag, for runs that ask what is remembered."""

import dataclasses

from recur import cells
from recur.runs import _config

# Cells with a gate that keeps.
CHRONO = ("gru", "gru_reset_before", "lstm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LagConfig(_config.RunConfig):
    """What a run is told whose gates may begin with a lag."""

    chrono: int = _config.option(
        100, "Greatest lag in steps that gates of gru and lstm begin with (chrono biases); 0 for their own.", least=0
    )

    def make_cell(self) -> cells.Cell:
        """Returns the cell, one whose gates keep over as many steps as asked for where it can be told that."""
        told = {"bias_init": cells.Chrono(self.chrono)} if self.chrono and self.cell in CHRONO else {}
        return cells.CELLS[self.cell](self.hidden_size, **told)
