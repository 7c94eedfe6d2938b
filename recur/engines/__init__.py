"""How a cell runs over time. `ENGINES` is the table of engines that all suites multiply."""

from recur.engines._associative import Associative
from recur.engines._auto import Auto
from recur.engines._base import Engine
from recur.engines._base import Info
from recur.engines._base import Problem
from recur.engines._base import Run
from recur.engines._blocks import Blocks
from recur.engines._cudnn import Cudnn
from recur.engines._fused import Fused
from recur.engines._newton import Newton
from recur.engines._scan import Scan
from recur.engines._table import ENGINES
from recur.engines._unroll import unroll

__all__ = [
    "ENGINES",
    "Associative",
    "Auto",
    "Blocks",
    "Cudnn",
    "Engine",
    "Fused",
    "Info",
    "Newton",
    "Problem",
    "Run",
    "Scan",
    "unroll",
]
