"""Names as checkpoints store them: parts joined by dots, distinct whatever is in them."""

import re
import urllib.parse

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
