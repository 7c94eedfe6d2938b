"""The command `recur`, also `python -m recur`: each subcommand is loaded when it is asked for."""

import importlib
import sys
from collections.abc import Sequence

_COMMANDS = {
    "check": ("recur.check._command", "main", "is a cell right, with every engine; is recur right on this device"),
    "study": ("recur.study", "study_main", "how gradients flow in cells, as records and a page"),
    "diagnose": ("recur.study", "diagnose_main", "how far gradients reach back in the layers of a model file"),
    "page": ("recur.study", "page_main", "draws the page of a run again from its records"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand with the arguments that follow its name.

    Returns:
        Its exit code; 2 for an unknown name, told in one line on standard error.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: recur COMMAND [arguments], with --help for those of a command\n")
        for command, (_, _, what) in _COMMANDS.items():
            print(f"  recur {command:10}{what}")
        return 0
    if name not in _COMMANDS:
        print(f"recur: expected a command among {', '.join(_COMMANDS)}, got {name!r}", file=sys.stderr)
        return 2
    module, function, _ = _COMMANDS[name]
    return getattr(importlib.import_module(module), function)(rest)


if __name__ == "__main__":
    sys.exit(main())
