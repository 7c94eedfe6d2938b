"""The minimal gated recurrent unit."""

from collections.abc import Mapping

import jax
from jax.nn import sigmoid

from recur.cells._init import InitSpec
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell


@pointwise(state=("h",), gates={"z": sigmoid, "n": None}, recurrence="none", write="z", name="min_gru")
def _min_gru(gate, state) -> Mapping[str, jax.Array]:
    return {"h": (1 - gate.z) * state.h + gate.z * gate.n}


def min_gru(
    hidden_size: int, *, kernel_init: InitSpec = "glorot_uniform", bias_init: InitSpec = "zeros"
) -> PointwiseCell:
    """Returns the minimal gated recurrent unit: gates read the input alone, so the step is affine in the state.

        z   = sigmoid(x_t W_z + b_z)
        n   = x_t W_n + b_n
        h_t = (1 - z) h_{t-1} + z n

    Its z **writes**, as in the paper; the z of `gru` keeps. The paper's form in log space, which bounds n from below
    so that a parallel scan may take logarithms, is not used: the parallel engine works on h itself.

    Args:
        hidden_size: Units H.
        kernel_init: Initialiser of the W (see `recur.cells.pointwise`).
        bias_init: Initialiser of the b.

    Raises:
        ValueError: Unknown initialiser.

    Reference:
        Feng et al. (2024), "Were RNNs all we needed?", https://arxiv.org/abs/2410.01201, section 3.1.
    """
    return _min_gru(hidden_size, kernel_init=kernel_init, bias_init=bias_init)
