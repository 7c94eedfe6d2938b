"""torch as a peer, on one thread and on two."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks._speed_clock import Call, resident_growth, timed
from benchmarks._speed_programs import LEARNING_RATE, CannotError, Entry, Program
from benchmarks._speed_rows import Case, Module
from benchmarks._speed_weights import PullBack
from recur import interop

_CELLS = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}
THREADS = (1, 2)


def entries(case: Case) -> Iterator[Entry]:
    """Makes the layers of torch, several seeds one after the other as torch's layers cannot be mapped."""
    import torch

    if case.cell not in _CELLS:
        raise CannotError(f"has no layer {case.cell}")
    for threads in THREADS:
        yield _entry(torch, case, threads)


def _entry(torch: Any, case: Case, threads: int) -> Entry:
    layers = [interop.to_torch(module) for module in case.modules]
    lead = case.x.ndim == 4
    x, target = ([torch.from_numpy(one) for one in (array if lead else array[None])] for array in (case.x, case.target))
    watched = [one.clone().requires_grad_() for one in x]
    trained = [interop.to_torch(module) for module in case.modules]
    optimizer = torch.optim.Adam(
        [weight for layer in trained for weight in layer.parameters()], lr=LEARNING_RATE, fused=True
    )

    def forward() -> list[Any]:
        with torch.no_grad():
            return [layer(one)[0] for layer, one in zip(layers, x, strict=True)]

    def backward(layers: list[Any], x: list[Any]) -> float:
        total = 0.0
        for layer, one, wanted in zip(layers, x, target, strict=True):
            loss = torch.nn.functional.mse_loss(layer(one)[0], wanted)
            loss.backward()
            total += loss.item()
        return total

    def gradients() -> None:
        for leaf in [*watched, *(weight for layer in layers for weight in layer.parameters())]:
            leaf.grad = None
        backward(layers, watched)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = backward(trained, x)
        optimizer.step()
        return loss

    def found() -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
        gradients()
        pull_back = PullBack.of(_weights, case.modules[0])
        params = [{name: weight.grad.numpy() for name, weight in layer.named_parameters()} for layer in layers]
        return [pull_back(one) for one in params], [one.grad.numpy() for one in watched]

    calls = {"forward": forward, "gradients": gradients, "step": step}
    return Entry(
        name=f"torch.{_CELLS[case.cell]}, {threads} thread" + "s" * (threads > 1),
        on_jax=False,
        program=functools.cache(lambda measure: _program(_on(torch, threads, calls[measure]))),
        outputs=lambda: [one.numpy() for one in forward()],
        gradients=found,
    )


def _weights(module: Module) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy() for name, weight in interop.to_torch(module).named_parameters()}


def _on(torch: Any, threads: int, call: Callable[[], Any]) -> Call:
    def limited() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return call()

    return limited


def _program(call: Call) -> Program:
    first = timed(call)
    memory = resident_growth(call)
    return Program(call, first, memory, "not told" if memory is None else "growth of the process")
