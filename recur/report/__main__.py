"""Draws the report of earlier runs again, or of several together, from their records alone.

python -m recur.report RUN_DIR
python -m recur.report --compare RUN_A RUN_B --out DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recur.report import compare_pages, gradient_page, read_jsonl


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page of one run beside its records, or that of several runs in a folder of its own.

    Args:
        arguments: the command line without the program's name; by default the one of this process.

    Returns:
        The exit code: 0, or 2 where a folder holds no records to draw; one line on standard error says why.
    """
    parser = argparse.ArgumentParser(prog="python -m recur.report", description=main.__doc__.splitlines()[0])
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, nargs="?", help="folder that holds records.jsonl")
    parser.add_argument("--compare", metavar="RUN_DIR", type=Path, nargs="+", help="two folders or more, on one page")
    parser.add_argument("--out", type=Path, help="folder of the page; by default RUN_DIR")
    given = parser.parse_args(arguments)
    try:
        if (given.run_dir is None) == (given.compare is None):
            raise ValueError("expected RUN_DIR, or --compare with two folders or more, and not both")
        if given.compare is None:
            print(gradient_page(read_jsonl(given.run_dir / "records.jsonl"), given.out or given.run_dir))
        elif given.out is None:
            raise ValueError("out: expected a folder for the page that compares; name it by --out=DIR")
        else:
            print(compare_pages(given.compare, given.out))
    except (OSError, ValueError) as error:
        print(f"recur.report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
