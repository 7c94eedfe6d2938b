"""A training run as a value: problem, options, folder, resume, sweep. What experiments are written with."""

from recur.runs._compare import compare
from recur.runs._config import option
from recur.runs._entry import Config
from recur.runs._entry import main
from recur.runs._entry import run
from recur.runs._entry import sweep
from recur.runs._problem import Problem
from recur.runs._problem import each_seed
from recur.runs._pure import Pure
from recur.runs._pure import pure
from recur.runs._run import seed_keys

__all__ = [
    "Config",
    "Problem",
    "Pure",
    "compare",
    "each_seed",
    "main",
    "option",
    "pure",
    "run",
    "seed_keys",
    "sweep",
]
