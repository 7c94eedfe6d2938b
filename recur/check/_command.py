"""`recur check`: is a cell right, with every engine; without a cell, is recur right on this device."""

import sys
from collections.abc import Sequence

from absl import flags

from recur import cells
from recur.check._check import check_cell, selfcheck
from recur.check._engine_checks import HIDDEN

USAGE = """usage: recur check [CELL ...] [--engines=NAME,...] [--seed=N]

Checks each CELL: laws of a run, and every engine against a plain loop in float64. CELL is a name of recur.cells.CELLS,
module:factory, or file.py:factory. Without a CELL it checks recur on this device: all cells, all engines, closed forms.
Ends with exit code 1 when a check fails, and with 2 when an argument is wrong.
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command with the arguments that follow its name.

    Returns:
        0 where all checks pass, 1 where one fails, 2 for a wrong argument, told in one line on standard error.
    """
    values = flags.FlagValues()
    flags.DEFINE_list("engines", None, "Names of recur.engines.ENGINES; by default all.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of all draws.", flag_values=values)
    if {"-h", "--help"} & set(argv):
        print(USAGE + values.get_help())
        return 0
    try:
        names = values(["recur check", *argv])[1:]
        made = [_make(name) for name in names]
        cards = [check_cell(cell, engines=values.engines, seed=values.seed) for cell in made]
    except (TypeError, ValueError, flags.Error) as error:
        print(f"recur check: {error}", file=sys.stderr)
        return 2
    cards = cards or [selfcheck(seed=values.seed)]
    for name, card in zip(names or ["this device"], cards, strict=True):
        print(f"{name}\n{card}\n")
    return 0 if all(card.passed for card in cards) else 1


def _make(name: str) -> cells.Cell:
    factory = cells.find_factory(name)
    try:
        return factory(HIDDEN)
    except TypeError as error:
        raise ValueError(f"cell: expected {name} to be made from a number of units alone, got: {error}") from None
