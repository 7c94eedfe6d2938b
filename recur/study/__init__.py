"""Measurements put together: the gradients of a model under its own loss, diagnoses, studies of cells."""

from recur.study._loss_norms import loss_log_norms

__all__ = [
    "loss_log_norms",
]
