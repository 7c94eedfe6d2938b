"""The command `recur`: one sub-command a question, each imported when it is asked for."""

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "study": ("recur.study", "study_main", "measure how gradients flow through cells, and write a page"),
    "diagnose": ("recur.study", "diagnose_main", "find the recurrent layers of a model's file, and measure them"),
    "check": ("recur.check._command", "main", "check a cell, or recur on this device, against oracles"),
    "page": ("recur.study", "page_main", "draw the page of a study's records again"),
    "compare": ("recur.runs._compare", "main", "compare finished runs on one page"),
    "cells": ("recur.cells._command", "main", "list the cells, their states and gates"),
}
"""Name to module, function of the arguments, and what it does."""


def usage() -> str:
    """Returns what there is."""
    width = max(map(len, COMMANDS))
    lines = [f"  recur {name:{width}}  {text}" for name, (_, _, text) in COMMANDS.items()]
    return "\n".join(["usage: recur COMMAND [--help]", "", *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a sub-command; returns its exit code, 2 for an unknown one."""
    name, *rest = [*(sys.argv[1:] if argv is None else argv), ""]
    rest = rest[:-1]
    if name in ("", "-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(importlib.import_module("recur").__version__)
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(COMMANDS)}"
        print(f"recur: expected a command, got {name!r}; {hint}", file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[name]
    # absl and error messages read the name of the program.
    sys.argv[:] = [f"recur {name}", *rest]
    return getattr(importlib.import_module(module), function)(rest) or 0


if __name__ == "__main__":
    sys.exit(main())
