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


def series(plot, label, x, median, **changes):
    x, median = np.asarray(x, float), np.asarray(median, float)
    record = {"kind": "series", "plot": plot, "label": label, **META, "x": x, "median": median}
    if changes.pop("band", None) is not None:
        record |= {"p10": median - 0.3, "p90": median + 0.3}
    return record | changes


def flow_rows(cells=("gru", "lstm"), lags=60):
    """One small record, or a few, for every plot and table of the report, with numbers as they come out."""
    rates = dict(zip(cells, (-0.35, -0.31, -0.6), strict=False))
    k = np.arange(0, lags + 1, 2.0)
    rows = []
    for index, cell in enumerate(cells):
        own = {"cell": cell}
        for state, share in (("init", 1.0), ("trained", 0.25)):
            rows.append(
                series("trained_lag", f"{cell}, {state}", k, share * rates[cell] * k, band=1, state=state, **own)
            )
            exponents = share * rates[cell] - 2 * np.linspace(0, 1, 16) ** 2
            rows.append(
                series("lyapunov_spectrum", f"{cell}, {state}", np.arange(1, 17) / 16, exponents, state=state, **own)
                | {"task": "recall"}
            )
        rows.append(series("loss_gradient", cell, k, rates[cell] * k, **own))
        rows.append(series("lag_shares", cell, k, rates[cell] * k - 0.5, band=1, **own))
        steps, lag = np.arange(0, 401, 50.0), np.arange(0, lags + 1, 4.0)
        values = np.outer(lag, rates[cell] * (1 - 0.7 * steps / 400))
        rows.append(
            {"kind": "matrix", "plot": "training_heatmap", "label": cell, **META, **own, "x": steps, "y": lag}
            | {"values": values}
        )
        rows.append(series("condition_number", cell, k[1:], 0.9 * k[1:] - 0.4, band=1, **own))
        rows.append(series("condition_number", f"{cell}, (λ₁ − λₙ) k", k[1:], 0.9 * k[1:], reference=True, **own))
        bins = np.linspace(-3, 0.5, 36)
        for window in (1, 10, 100):
            density = np.exp(-((bins - rates[cell]) ** 2) * (1 + window / 5))
            rows.append(series("singular_values", f"{cell}, k = {window}", bins, density, **own))
        rows.append(series("gradient_snr", cell, k, -0.1 * k - index + 0.4 * np.sin(k), band=1, **own))
        rows.append(series("samples_needed", cell, k, 0.1 * k + index, band=1, **own))
        for gate in ("f", "i"):
            for statistic, level in (("mean", 0.6), ("saturated", 0.1)):
                y = level + 0.1 * np.tanh(steps / 200)
                rows.append(
                    series("gate_statistics", f"{cell}, {gate} {statistic}", steps, y, gate=gate, statistic=statistic)
                    | own
                )
        for task, hardness in (("adding", 1), ("copy", 3)):
            lengths = np.array([50, 100, 200, 400])
            y = np.clip(1.3 - hardness * lengths / 400 + 0.2 * index, 0, 1)
            rows.append(series("task_success", f"{task}, {cell}", lengths, y, task=task, **own))
    gains = np.array([0.5, 0.9, 1.5, 2, 3, 5])
    rows += [
        series("gain", f"N = {n}", gains, np.log(gains) * 0.4 - 8 / n, band=1, cell="elman", hidden_size=n)
        for n in (128, 256)
    ]
    rows.append(
        series("gain", "mean field", np.linspace(0.1, 9, 90), np.log(np.linspace(0.1, 9, 90)) * 0.4, reference=True)
    )
    taus = np.array([1.6, 2.2, 7, 20, 340])
    rows.append(series("forget_bias", "lstm, forget bias", taus[:4], taus[:4] * 1.03, cell="lstm"))
    rows.append(series("forget_bias", "lstm, chrono", taus[3:], taus[3:] * 0.97, cell="lstm", initializer="chrono"))
    rows.append(series("forget_bias", "measured = predicted", taus, taus, reference=True))
    sizes = np.array([0.5, 0.9, 0.99, 0.999])
    curse = np.log((1 + sizes**2) / (1 - sizes**2) ** 3)
    rows.append(series("memory_curse", "diagonal, simulated", sizes, curse + 0.02, band=1, cell="diagonal"))
    rows.append(series("memory_curse", "(1 + λ²) / (1 − λ²)³", sizes, curse, reference=True))
    for name, end in (("log space", math.inf), ("float64, plain", math.inf), ("float32, plain", 40)):
        rows.append(series("precision", name, k, np.where(k < end, -2.0 * k, -math.inf), cell="lstm"))
    for task, sign in (("adding", 1.0), ("copy", 0.8)):
        names = [f"{cell}, {init}" for cell in cells for init in ("orthogonal", "chrono")]
        x = 10.0 ** np.linspace(0.5, 2.5, len(names))
        y = np.array([0, *(25 * 2 ** np.arange(len(names) - 1))]) * sign
        record = {"kind": "points", "plot": "horizon_solved", "label": task, "x": x, "y": y, "names": names}
        rows.append(record | {"task": task, "seeds": 10})
        rows.append({"kind": "number", "plot": "horizon_solved", "name": "spearman", "value": 0.83, "task": task})
    row = {
        "kind": "literature",
        "source": "Bai et al. 2018",
        "task": "adding T = 600",
        "cell": "lstm",
        "metric": "loss",
    }
    rows.append(row | {"published": "0.164", "budget": "Adam 4e-3", "ours": None, "ours_budget": None, "differs": None})
    rows.append(
        row | {"published": "0.17", "budget": "SGD", "ours": "0.16", "ours_budget": "Adam", "differs": "fewer steps"}
    )
    for name, error in (("O1 rate", 0.0), ("O4 <rate>", 1.0)):
        check = {"kind": "check", "group": "closed forms", "name": name, "expected": -0.1, "measured": error - 0.1}
        rows.append(check | {"tolerance": 1e-6, "passed": not error})
    rows.append({"kind": "skipped", "plot": "condition_number", "cell": "odd", "reason": "its state has no Jacobian"})
    rows.append({"kind": "done", "job": "gain N = 128"})
    return rows
