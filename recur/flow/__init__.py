"""How the gradient of a cell flows along a trajectory. Everything in natural logarithms."""

from recur.flow._adjoint import GradientLogNorms
from recur.flow._adjoint import ParameterLogNorms
from recur.flow._adjoint import adjoint_log_norms
from recur.flow._adjoint import gradient_log_norms
from recur.flow._adjoint import input_log_norms
from recur.flow._adjoint import parameter_log_norms
from recur.flow._attractor import entropy_rate
from recur.flow._attractor import kaplan_yorke_dimension
from recur.flow._attractor import log_condition_numbers
from recur.flow._attractor import prediction_horizon_steps
from recur.flow._gate_statistics import GateStatistics
from recur.flow._gate_statistics import gate_statistics
from recur.flow._jacobian import jacobian_log_singular_values
from recur.flow._lyapunov import lyapunov_spectrum
from recur.flow._meanfield import MeanField
from recur.flow._meanfield import mean_field_tanh
from recur.flow._meanfield import memory_depth_steps
from recur.flow._meanfield import newman_exponents
from recur.flow._nonfinite import first_nonfinite
from recur.flow._sensitivity import parameter_sensitivity
from recur.flow._snr import GradientSNR
from recur.flow._snr import gradient_snr
from recur.flow._step import jacobians
from recur.flow._summary import Summary
from recur.flow._summary import summarize
from recur.flow._trajectory import NonFiniteState

__all__ = [
    "GateStatistics",
    "GradientLogNorms",
    "GradientSNR",
    "MeanField",
    "NonFiniteState",
    "ParameterLogNorms",
    "Summary",
    "adjoint_log_norms",
    "entropy_rate",
    "first_nonfinite",
    "gate_statistics",
    "gradient_log_norms",
    "gradient_snr",
    "input_log_norms",
    "jacobian_log_singular_values",
    "jacobians",
    "kaplan_yorke_dimension",
    "log_condition_numbers",
    "lyapunov_spectrum",
    "mean_field_tanh",
    "memory_depth_steps",
    "newman_exponents",
    "parameter_log_norms",
    "parameter_sensitivity",
    "prediction_horizon_steps",
    "summarize",
]
