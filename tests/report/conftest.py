"""A made-up gradient-norm run: one cell vanishes to 1e-90, one explodes to 1e+80, one keeps its gradient."""

import math

import pytest
from report_rows import flow_rows, lag_curve, parameter_norm, summary

from recur import report


def made_up_run():
    cells = {
        "lstm": (-math.log(10) * 90 / 1000, "vanishes, half-life 3.3 steps"),
        "elman": (math.log(10) * 80 / 1000, "explodes, doubles every 3.8 steps"),
        "<script>alert(1)</script>": (0.0, "neither, a factor of 1 over 1000 steps"),
    }
    run = {"kind": "run", "benchmark": "gradient_norms", "created": "2026-11-22T12:00:00Z", "wall_s": 12.3}
    rows = [run | {"config": {"cells": "<b>all</b>"}, "versions": {"python": "3.11"}, "device": "cpu"}]
    for cell, (rate, verdict) in cells.items():
        for length in (64, 1000):
            rows.append(summary(cell, rate, length, verdict))
            rows += [lag_curve(cell, rate, length, quantity) for quantity in ("adjoint", "input")]
            rows += [parameter_norm(cell, length, max(rate, 0) * length, tensor) for tensor in ("all", "kernel")]
    return rows


@pytest.fixture
def records():
    return made_up_run()


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory):
    """The page of these records and all beside it, drawn once; to be looked at only."""
    out = tmp_path_factory.mktemp("records")
    report.gradient_page(made_up_run(), out)
    return out


@pytest.fixture(scope="session")
def flow_folder(tmp_path_factory):
    """The page of `flow_rows` and all beside it, drawn once; to be looked at only."""
    out = tmp_path_factory.mktemp("flow")
    report.gradient_page(flow_rows(), out)
    return out
