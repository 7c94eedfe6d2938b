"""Makes records as a gradient-norm run leaves them."""

import math

import numpy as np

META = {
    "hidden_size": 64,
    "seeds": 10,
    "dtype": "float32",
    "initializer": "orthogonal",
    "gain": 1.0,
    "input": "text",
}


def lag_curve(cell, rate, length, quantity="adjoint", **changes):
    lags = np.arange(length + (quantity == "adjoint"))
    record = {"kind": "lag_curve", "quantity": quantity, "cell": cell, "length": length, **META, "lag_steps": lags}
    record |= {"ln_median": rate * lags, "ln_p10": rate * lags - 0.5, "ln_p90": rate * lags + 0.5}
    return record | changes


def parameter_norm(cell, length, ln_median, tensor="all"):
    record = {"kind": "parameter_norm", "cell": cell, "length": length, "tensor": tensor, **META}
    return record | {"ln_median": ln_median, "ln_p10": ln_median - 0.3, "ln_p90": ln_median + 0.3}


def spread(median):
    return {"median": median, "p10": median * 0.9, "p90": median * 1.1}


def summary(cell, rate, length, verdict):
    fields = {"kind": "summary", "cell": cell, "length": length, **META, "rate_nats_per_step": spread(rate)}
    fields["half_life_steps"] = spread(math.log(2) / -rate if rate else math.inf)
    for digit in (3, 6):
        horizon = math.floor(math.log(10**-digit) / rate) if rate < 0 else length
        fields[f"horizon_1e-{digit}_steps"] = spread(float(min(horizon, length)))
    return fields | {"verdict": verdict}
