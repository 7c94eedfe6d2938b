"""Data: tasks drawn from a key on the device, and readers of files. Knows no model."""

from recur.tasks._arrays import read_arrays
from recur.tasks._digits import Digits
from recur.tasks._digits import load_digits
from recur.tasks._multiplication import multiplication
from recur.tasks._multiplication import multiplication_floor
from recur.tasks._ramp import ramp
from recur.tasks._ramp import ramp_floor
from recur.tasks._series import read_series
from recur.tasks._text import Characters
from recur.tasks._text import characters
from recur.tasks._text import read_text
from recur.tasks._text import standard_library_source

__all__ = [
    "Characters",
    "Digits",
    "characters",
    "load_digits",
    "multiplication",
    "multiplication_floor",
    "ramp",
    "ramp_floor",
    "read_arrays",
    "read_series",
    "read_text",
    "standard_library_source",
]
