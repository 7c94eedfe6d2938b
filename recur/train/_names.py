"""Names of the leaves of a tree, as checkpoints store them: distinct, whatever the keys are."""

import re
import urllib.parse
from typing import Any

import jax

from recur._types import PyTree

SPECIAL = re.compile(r"[%./\\\x00-\x1f\x7f]")
"""What stands for something else in a name, or in a path."""


def escape(part: str) -> str:
    """Returns a part of a name without dots and slashes; `unescape` reads it back.

    Example:
        >>> escape("kernel"), escape("a.b"), escape("")
        ('kernel', 'a%2Eb', '%')
    """
    return SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", part) or "%"


def unescape(part: str) -> str:
    """Returns what `escape` was given."""
    return "" if part == "%" else urllib.parse.unquote(part)


def named_leaves(tree: PyTree, *, escaped: bool = True) -> dict[str, Any]:
    """Returns the leaves by their path, parts joined by dots; up to layout 3 parts were not escaped."""
    write = escape if escaped else str
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(write(jax.tree_util.keystr((part,), simple=True)) for part in path): leaf for path, leaf in leaves}
