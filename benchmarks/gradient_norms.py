"""Measures how gradients vanish or explode over lag and sequence length, for every cell, and writes a page.

    python -m benchmarks.gradient_norms --preset=quick --out=runs/report

`recur study` by its older name; ``--help`` lists the flags.
"""

import sys

from recur import study
from recur.runs import _machine

if __name__ == "__main__":
    _machine.keep_memory()
    _machine.collect_seldom()
    sys.exit(study.study_main(sys.argv[1:], program="gradient_norms"))
