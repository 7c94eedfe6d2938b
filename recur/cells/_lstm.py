"""Long short-term memory."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from recur._checks import check_number
from recur.cells._init import Chrono, InitSpec
from recur.cells._pointwise import pointwise
from recur.cells._pointwise_cell import PointwiseCell


@pointwise(
    state=("h", "c"),
    gates={"i": sigmoid, "f": sigmoid, "g": jnp.tanh, "o": sigmoid},
    keep="f",
    write="i",
    cudnn_name="lstm",
    name="lstm",
)
def _lstm(gate, state) -> Mapping[str, jax.Array]:
    c = gate.f * state.c + gate.i * gate.g
    return {"h": gate.o * jnp.tanh(c), "c": c}


def lstm(
    hidden_size: int,
    *,
    forget_bias: float | None = None,
    kernel_init: InitSpec = "glorot_uniform",
    recurrent_init: InitSpec = "orthogonal",
    bias_init: InitSpec | Chrono = "zeros",
) -> PointwiseCell:
    """Returns the long short-term memory with forget gate.

        i, f, o = sigmoid(x_t W_g + b_g + h_{t-1} U_g)   for g = i, f, o
        g       = tanh(x_t W_g + b_g + h_{t-1} U_g)
        c_t     = f c_{t-1} + i g
        h_t     = o tanh(c_t)

    Gate order i, f, g, o, as torch and Keras have it; one bias a gate (torch adds two).

    Args:
        hidden_size: Units H.
        forget_bias: Initial bias of gate f. By default 1 (Jozefowicz et al. 2015; Keras too; torch has 0), unless
            `bias_init` sets it.
        kernel_init: Initialiser of the W (see `recur.cells.pointwise`).
        recurrent_init: Initialiser of the U.
        bias_init: Initialiser of the b, or `Chrono`.

    Raises:
        TypeError: A `forget_bias` that is no number.
        ValueError: Unknown initialiser, or `forget_bias` beside a `bias_init` that sets gate f itself.

    Reference:
        Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735; forget gate: Gers,
        Schmidhuber and Cummins (2000), https://doi.org/10.1162/089976600300015015.
    """
    if forget_bias is not None:
        forget_bias = check_number("forget_bias", forget_bias)
    sets_forget = isinstance(bias_init, Chrono) or (isinstance(bias_init, Mapping) and "f" in bias_init)
    if not sets_forget:
        others = bias_init if isinstance(bias_init, Mapping) else dict.fromkeys("igo", bias_init)
        bias_init = {**others, "f": 1.0 if forget_bias is None else forget_bias}
    elif forget_bias is not None:
        raise ValueError(
            f"forget_bias: expected None because bias_init={bias_init} sets gate f, got {forget_bias}; give one of both"
        )
    return _lstm(hidden_size, kernel_init=kernel_init, recurrent_init=recurrent_init, bias_init=bias_init)
