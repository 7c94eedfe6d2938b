"""What was published on the tasks of memory, with source and budget, beside what this run reached (T1)."""

from typing import NamedTuple

import numpy as np

from recur.study.parts._setup import Job, Record, Setup

HS97 = "Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735"
PASCANU = "Pascanu, Mikolov and Bengio (2013), https://arxiv.org/abs/1211.5063"
BN_LSTM = "Cooijmans et al. (2017), https://arxiv.org/abs/1603.09025, table 1"
TALLEC = "Tallec and Ollivier (2018), https://arxiv.org/abs/1804.11188"
TCN = "Bai, Kolter and Koltun (2018), https://arxiv.org/abs/1803.01271, table 1"
CORNN = "Rusch and Mishra (2021), https://openreview.net/forum?id=F3s69XzWOia"
LEM = "Rusch et al. (2022), https://openreview.net/forum?id=vwj6aUeocyf, logs in https://github.com/tk-rusch/LEM"
LRU = "Orvieto et al. (2023), https://arxiv.org/abs/2303.06349"
MIN_GRU = "Feng et al. (2024), https://arxiv.org/abs/2410.01201, table 2"
RIN = "Hu et al. (2018), https://arxiv.org/abs/1801.06105, fig. 2"
FLOSSING = "Engelken (2023), https://arxiv.org/abs/2312.17306"


class Row(NamedTuple):
    """A published result; `measured` and `measured_cell` name the task and cell of this run to set beside it."""

    source: str
    task: str
    cell: str
    metric: str
    published: str
    budget: str
    measured: str | None = None
    measured_cell: str = "lstm"
    differs: str = ""


ROWS = (
    Row(
        f"{HS97}, table 7",
        "adding, T = 100, 500, 1000",
        "LSTM, 93 weights",
        "wrong of 2560, error of 0.04 or more",
        "1, 0, 1",
        "74,000 / 209,000 / 853,000 sequences until solved, step size 0.5, 10 trials",
        "adding",
        "lstm",
        "their sampler marks early steps only, and numbers lie in [-1, 1]",
    ),
    Row(
        f"{HS97}, table 8",
        "multiplication, T = 100",
        "LSTM, 93 weights",
        "wrong of 2560, error of 0.04 or more",
        "139 after 482,000 sequences, 14 after 1,273,000",
        "step size 0.1, 10 trials",
        "multiplication",
        "lstm",
        "their sampler marks early steps only; ours any two",
    ),
    Row(
        f"{HS97}, table 9",
        "temporal order 6a, T = 100 to 110",
        "LSTM, 156 weights",
        "wrong of 2560",
        "1",
        "31,390 sequences until solved, 20 trials",
        "temporal order",
        "lstm",
        "their lengths vary from sequence to sequence",
    ),
    Row(
        f"{HS97}, table 9",
        "temporal order 6b, T = 100 to 110",
        "LSTM, 308 weights",
        "wrong of 2560",
        "2",
        "571,100 sequences until solved",
    ),
    Row(
        PASCANU,
        "temporal order and adding, T up to 200",
        "tanh, n = 50",
        "seeds that succeed",
        "100 %",
        "SGD with clipping and a regulariser that keeps gradients from vanishing, step size 0.01 or 0.001",
        "temporal order",
        "elman",
        "ours has no regulariser",
    ),
    Row(
        RIN,
        "adding, T = 200, 300, 400",
        "LSTM, n = 100",
        "solves",
        "200 and 300, fails at 400",
        "Adam 1e-4 to 1e-6, batch 32, 100,000 sequences, up to 300 epochs",
        "adding",
        "lstm",
        "they train on a fixed set, ours on fresh sequences",
    ),
    Row(
        f"{TALLEC}, fig. 2",
        "adding, T = 750",
        "LSTM, n = 128, chrono T_max = T",
        "time to converge",
        "7 times shorter than with forget bias 1",
        "RMSprop 1e-3, not clipped",
        "adding",
        "lstm",
        "ours starts with forget bias 1; the chrono ones stand among the points of horizon against length",
    ),
    Row(
        f"{TALLEC}, fig. 1",
        "copy, T = 500, 2000",
        "LSTM, n = 128, chrono T_max = 3T/2",
        "leaves 10 ln 8 / (T + 20)",
        "yes; with forget bias 1 no",
        "RMSprop 1e-3, not clipped",
        "copy",
        "lstm",
        "theirs copies 10 symbols of 8 kinds",
    ),
    Row(
        TCN,
        "adding, T = 600",
        "LSTM, GRU, TCN, about 70,000 weights",
        "mean squared error",
        "0.164, 5.3e-5, 5.8e-5",
        "Adam 4e-3, batch 32, 50,000 sequences, 10 epochs",
        "adding",
        "gru",
        "their sampler marks any two steps; ours one in each half",
    ),
    Row(
        TCN,
        "copy, T = 1000",
        "LSTM, GRU, TCN",
        "cross-entropy",
        "0.0204, 0.0197, 3.5e-5; floor 0.020387",
        "RMSprop 5e-4, clipped to 1, 10,000 sequences",
        "copy",
        "gru",
        "theirs copies 10 symbols of 8 kinds",
    ),
    Row(
        LEM,
        "adding, T = 2000, 5000, 10000",
        "LEM, n = 128",
        "mean squared error",
        "5.3e-5, 4.9e-5, 2.4e-5",
        "Adam 2.6e-3, batch 50, 30,000 steps; below 1e-3 after 3100, 3100, 4900",
        "adding",
        "lstm",
        "another cell",
    ),
    Row(
        MIN_GRU,
        "selective copy, T = 4096, 16 of 16 kinds",
        "minGRU, minLSTM, 3 layers",
        "accuracy in %",
        "99.5 (0.2), 96.0 (2.8)",
        "400,000 steps",
        "selective copy",
        "min_gru",
        "one layer here",
    ),
    Row(
        FLOSSING,
        "delayed copy and XOR",
        "tanh, n = 80",
        "seeds that succeed",
        "more with flossing than without",
        "AdamW 1e-3, batch 16, T = 300, clipped to 0.03",
    ),
    Row(
        BN_LSTM,
        "sequential MNIST / permuted",
        "LSTM, n = 100",
        "accuracy in %",
        "98.9 / 90.2",
        "RMSprop 1e-3, clipped to 1, recurrent kernel the identity",
    ),
    Row(
        TCN,
        "sequential MNIST / permuted",
        "LSTM, GRU, RNN, TCN",
        "accuracy in %",
        "87.2 / 85.7, 96.2 / 87.3, 21.5 / 25.3, 99.0 / 97.2",
        "not noted",
    ),
    Row(
        "Campos et al. (2018), Skip RNN, https://arxiv.org/abs/1708.06834, table 2",
        "sequential MNIST",
        "LSTM, GRU",
        "accuracy in %",
        "91.0 (4.5), 96.8 (1.3)",
        "600 epochs, 4 runs",
    ),
    Row(
        f"{TALLEC}, fig. 3",
        "permuted MNIST",
        "LSTM, n = 512, chrono T_max = 784, and forget bias 1",
        "accuracy in %, validation",
        "96.3, and 95.4",
        "RMSprop 1e-3",
    ),
    Row(
        CORNN,
        "sequential MNIST / permuted",
        "coRNN, n = 256",
        "accuracy in %",
        "99.4 / 97.3",
        "Adam 2.1e-3 / 5.4e-3, batch 120, 120 epochs",
    ),
    Row(
        LEM,
        "sequential MNIST / permuted",
        "LEM, n = 128",
        "accuracy in %",
        "99.45 / 96.62",
        "Adam, batch 128, 120 epochs, clipped to 1 / 1.1",
    ),
    Row(
        f"{LRU}, table 3",
        "Long Range Arena: sCIFAR, ListOps, Text, Retrieval, Pathfinder, PathX",
        "LRU, deep",
        "accuracy in %",
        "89.0, 60.2, 89.4, 89.9, 95.1, 94.2",
        "PathX: 100,000 steps, and a narrow ring of phases",
    ),
    Row(
        f"{LRU}, table 2",
        "sCIFAR",
        "dense, complex diagonal, stable, on a ring",
        "accuracy in %",
        "72.2, 86.5, 87.2, 88.1",
        "not noted",
    ),
)


def jobs(setup: Setup) -> list[Job]:
    return [Job("table", lambda: [_record(setup, row) for row in ROWS], gathers=True)]


def _record(setup: Setup, row: Row) -> Record:
    ours, budget, differs = None, None, None
    run = _run_of(setup, row)
    if run is not None:
        ours, budget = _ours(run), run["budget"]
        longest = max(run["lengths"])
        differs = f"{row.differs}; T up to {longest}, n = {run['hidden_size']}, another budget"
    return {
        "kind": "literature",
        **{field: getattr(row, field) for field in ("source", "task", "cell", "metric", "published", "budget")},
        "ours": ours,
        "ours_budget": budget,
        "differs": differs,
    }


def _run_of(setup: Setup, row: Row) -> Record | None:
    """Returns what this run measured of the same task and kind of cell, None if nothing."""
    runs = [
        found
        for found in setup.rows
        if found.get("kind") == "task_run"
        and found["task"] == row.measured
        and found["initializer"] == setup.config.initializer
    ]
    return next((run for run in runs if run["cell"] == row.measured_cell), None)


def _ours(run: Record) -> str:
    solved = np.isfinite(np.asarray(run["steps_to_criterion"], np.float64))
    shares = ", ".join(
        f"T = {length}: {int(row.sum())} of {row.size}" for length, row in zip(run["lengths"], solved, strict=True)
    )
    return f"{run['cell']}, seeds below a tenth of the floor: {shares}"
