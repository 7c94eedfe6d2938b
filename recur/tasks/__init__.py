"""Data: tasks drawn from a key on the device, and readers of files. Knows no model."""

from recur.tasks._adding import adding
from recur.tasks._adding import adding_floor
from recur.tasks._arrays import read_arrays
from recur.tasks._copying import copy_memory
from recur.tasks._copying import copy_memory_floor
from recur.tasks._copying import selective_copy
from recur.tasks._copying import selective_copy_floor
from recur.tasks._digits import Digits
from recur.tasks._digits import load_digits
from recur.tasks._multiplication import multiplication
from recur.tasks._multiplication import multiplication_floor
from recur.tasks._ramp import ramp
from recur.tasks._ramp import ramp_floor
from recur.tasks._recall import delayed_recall
from recur.tasks._recall import delayed_recall_floor
from recur.tasks._series import read_series
from recur.tasks._temporal_order import temporal_order
from recur.tasks._temporal_order import temporal_order_floor
from recur.tasks._text import Characters
from recur.tasks._text import characters
from recur.tasks._text import read_text
from recur.tasks._text import standard_library_source

__all__ = [
    "Characters",
    "Digits",
    "adding",
    "adding_floor",
    "characters",
    "copy_memory",
    "copy_memory_floor",
    "delayed_recall",
    "delayed_recall_floor",
    "load_digits",
    "multiplication",
    "multiplication_floor",
    "ramp",
    "ramp_floor",
    "read_arrays",
    "read_series",
    "read_text",
    "selective_copy",
    "selective_copy_floor",
    "standard_library_source",
    "temporal_order",
    "temporal_order_floor",
]
