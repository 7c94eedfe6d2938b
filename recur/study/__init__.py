"""Measurements put together: the gradients of a model under its own loss, diagnoses, studies of cells."""

from recur.study._command import page_main
from recur.study._command import study_main
from recur.study._config import PRESETS
from recur.study._config import Config
from recur.study._diagnose_command import diagnose_main
from recur.study._diagnosis import Diagnosis
from recur.study._diagnosis import diagnose
from recur.study._executors import Workers
from recur.study._loss_norms import loss_log_norms
from recur.study._study import Study
from recur.study._study import measure
from recur.study._study import study
from recur.study.parts import PARTS

__all__ = [
    "PARTS",
    "PRESETS",
    "Config",
    "Diagnosis",
    "Study",
    "Workers",
    "diagnose",
    "diagnose_main",
    "loss_log_norms",
    "measure",
    "page_main",
    "study",
    "study_main",
]
