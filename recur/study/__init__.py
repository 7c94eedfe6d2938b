"""Measurements put together: the gradients of a model under its own loss, diagnoses, studies of cells."""

from recur.study._diagnosis import Diagnosis
from recur.study._diagnosis import diagnose
from recur.study._loss_norms import loss_log_norms

__all__ = [
    "Diagnosis",
    "diagnose",
    "loss_log_norms",
]
