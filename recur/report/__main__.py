"""Draws the report of an earlier gradient-norm run again: `python -m recur.report RUN_DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recur.report import gradient_page, read_jsonl


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads RUN_DIR/records.jsonl and writes the report beside it.

    Args:
        arguments: the command line without the program's name; by default the one of this process.

    Returns:
        The exit code: 0, or 2 where the folder holds no records to draw; one line on standard error says why.
    """
    parser = argparse.ArgumentParser(prog="python -m recur.report", description=main.__doc__.splitlines()[0])
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder that holds records.jsonl")
    run_dir = parser.parse_args(arguments).run_dir
    try:
        print(gradient_page(read_jsonl(run_dir / "records.jsonl"), run_dir))
    except (OSError, ValueError) as error:
        print(f"recur.report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
