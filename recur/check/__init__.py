"""Laws and oracles as a library: is a cell, an engine, this device right?"""

from recur.check._check import check_cell
from recur.check._check import check_engine
from recur.check._check import selfcheck
from recur.check._closed_forms import checks as closed_form_checks
from recur.check._engine_checks import HIDDEN
from recur.check._engine_checks import checks as engine_checks
from recur.check._scorecard import Check
from recur.check._scorecard import Score
from recur.check._scorecard import Scorecard

__all__ = [
    "HIDDEN",
    "Check",
    "Score",
    "Scorecard",
    "check_cell",
    "check_engine",
    "closed_form_checks",
    "engine_checks",
    "selfcheck",
]
