"""The table of engines: name -> class, every one made without arguments."""

from collections.abc import Callable

from recur.engines._associative import Associative
from recur.engines._auto import Auto
from recur.engines._base import Engine
from recur.engines._blocks import Blocks
from recur.engines._cudnn import Cudnn
from recur.engines._fused import Fused
from recur.engines._newton import Newton
from recur.engines._scan import Scan

ENGINES: dict[str, Callable[..., Engine]] = {
    "associative": Associative,
    "auto": Auto,
    "blocks": Blocks,
    "cudnn": Cudnn,
    "fused": Fused,
    "newton": Newton,
    "scan": Scan,
}
"""Every engine by name. A new engine is one file and one row here; the conformance suite then runs it."""
