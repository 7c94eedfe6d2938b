"""The parts of the benchmark: each turns a setup into jobs, and its jobs into records."""

from collections.abc import Callable

from recur.study.parts import (
    _condition,
    _forget_bias,
    _gain,
    _initializers,
    _lag_curves,
    _lag_shares,
    _literature,
    _lyapunov,
    _memory_curse,
    _precision,
    _selfcheck,
    _snr,
    _tasks,
    _training,
)
from recur.study.parts._setup import Job as Job
from recur.study.parts._setup import Setup as Setup

PARTS: dict[str, Callable[[Setup], list[Job]]] = {
    "lag_curves": _lag_curves.jobs,
    "initializers": _initializers.jobs,
    "training": _training.jobs,
    "task_success": _tasks.success_jobs,
    "horizon_solved": _tasks.horizon_jobs,
    "lag_shares": _lag_shares.jobs,
    "lyapunov_spectrum": _lyapunov.jobs,
    "gain": _gain.jobs,
    "condition_number": _condition.condition_jobs,
    "singular_values": _condition.histogram_jobs,
    "forget_bias": _forget_bias.jobs,
    "gradient_snr": _snr.jobs,
    "memory_curse": _memory_curse.jobs,
    "precision": _precision.jobs,
    "literature": _literature.jobs,
    "selfcheck": _selfcheck.jobs,
}
"""Parts by name, in the order of the page."""
