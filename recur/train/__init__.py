"""Training: pure steps, loops over data on the device and on the host, checkpoints. Knows no task and no cell."""

from recur.train._checkpoints import Checkpoints
from recur.train._diagnosis import NonFinite
from recur.train._epoch import make_epoch
from recur.train._evaluate import evaluate
from recur.train._evaluate import evaluate_batches
from recur.train._feed import Draw
from recur.train._fit import fit
from recur.train._fit_batches import BatchIterator
from recur.train._fit_batches import fit_batches
from recur.train._hooks import Hooks
from recur.train._interrupts import uninterrupted
from recur.train._lines import JsonLines
from recur.train._loop import Fit
from recur.train._loss import Loss
from recur.train._mesh import make_mesh
from recur.train._method import Method
from recur.train._nonfinite import ON_NONFINITE
from recur.train._optimizers import OPTIMIZERS
from recur.train._optimizers import SCHEDULES
from recur.train._optimizers import make_optimizer
from recur.train._optimizers import make_schedule
from recur.train._processes import batch_part
from recur.train._processes import gather
from recur.train._records import Probed
from recur.train._records import Progress
from recur.train._records import Record
from recur.train._state import Best
from recur.train._state import Good
from recur.train._state import Health
from recur.train._state import TrainState
from recur.train._state import init_state
from recur.train._step import make_step
from recur.train._watch import NonFiniteError

__all__ = [
    "ON_NONFINITE",
    "OPTIMIZERS",
    "SCHEDULES",
    "BatchIterator",
    "Best",
    "Checkpoints",
    "Draw",
    "Fit",
    "Good",
    "Health",
    "Hooks",
    "JsonLines",
    "Loss",
    "Method",
    "NonFinite",
    "NonFiniteError",
    "Probed",
    "Progress",
    "Record",
    "TrainState",
    "batch_part",
    "evaluate",
    "evaluate_batches",
    "fit",
    "fit_batches",
    "gather",
    "init_state",
    "make_epoch",
    "make_mesh",
    "make_optimizer",
    "make_schedule",
    "make_step",
    "uninterrupted",
]
