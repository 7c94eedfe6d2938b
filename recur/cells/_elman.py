"""The simple recurrent network."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from recur._checks import is_one_of
from recur.cells._init import InitSpec
from recur.cells._pointwise import Activation, pointwise
from recur.cells._pointwise_cell import PointwiseCell

ACTIVATIONS: dict[str, Activation | None] = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": None}


def _elman(gate, state) -> Mapping[str, jax.Array]:
    del state
    return {"h": gate.h}


_DECLARED = {
    name: pointwise(state=("h",), gates={"h": activation}, name="elman" if name == "tanh" else f"elman_{name}")(_elman)
    for name, activation in ACTIVATIONS.items()
}


def elman(
    hidden_size: int,
    *,
    activation: str = "tanh",
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec = "orthogonal",
    bias_init: InitSpec = "zeros",
) -> PointwiseCell:
    """Returns the simple recurrent network, called SimpleRNN in Keras and RNN in torch.

        h_t = activation(x_t W + b + h_{t-1} U)

    Args:
        hidden_size: Units H.
        activation: ``"tanh"``, ``"relu"`` or ``"identity"``. The IRNN of Le et al. (2015) is
            ``elman(H, activation="relu", recurrent_init="identity")``.
        kernel_init: Initialiser of W (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of U.
        bias_init: Initialiser of b.

    Raises:
        ValueError: Unknown activation or initialiser.

    Reference:
        Elman (1990), "Finding structure in time", Cognitive Science 14,
        https://doi.org/10.1207/s15516709cog1402_1.
    """
    if not is_one_of(activation, _DECLARED):
        raise ValueError(f"activation: expected one of {sorted(_DECLARED)}, got {activation!r}")
    return _DECLARED[activation](
        hidden_size, kernel_init=kernel_init, recurrent_init=recurrent_init, bias_init=bias_init
    )
