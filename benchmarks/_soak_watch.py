"""What is watched in a process while it trains: memory, compilations, speed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


class Sample(NamedTuple):
    """One look: seconds since the first, steps done, bytes of the process in memory, programs compiled so far."""

    at_s: float
    step: int
    resident: int
    compiled: int


class Check(NamedTuple):
    """What must stay as it is, and whether it did."""

    name: str
    met: bool
    words: str


class Watch:
    """Takes a sample every so often; ``watch(step, loss)`` is a hook ``on_call`` of training.

    Args:
        every_s: Seconds between samples.
        on_sample: Called with each.
    """

    def __init__(self, every_s: float, on_sample: Callable[[Sample], None]):
        self.samples: list[Sample] = []
        self._every_s, self._on_sample = every_s, on_sample
        self._compiled, self._began = 0, None
        jax.monitoring.register_event_duration_secs_listener(self._count)

    def _count(self, event: str, seconds: float, **more: str | int) -> None:
        del seconds, more
        self._compiled += event == COMPILE_EVENT

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first call, by when the programs of training are compiled; 0 before it."""
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def __call__(self, step: int, loss: float) -> None:
        """Takes a sample if it is time."""
        del loss
        self._began = time.perf_counter() if self._began is None else self._began
        if not self.samples or self.elapsed_s - self.samples[-1].at_s >= self._every_s:
            self.samples.append(Sample(self.elapsed_s, step, resident_bytes(), self._compiled))
            self._on_sample(self.samples[-1])


def resident_bytes() -> int:
    """Returns the memory that the process has at hand, shared pages included.

    Raises:
        OSError: A system without ``/proc``.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def checks(samples: Sequence[Sample], *, memory: float, speed: float) -> list[Check]:
    """Holds the samples after the warm-up against one another.

    Memory: the greatest against the first. Speed: steps a second of each third of the time, the slowest against the
    fastest. Compilations: none.

    Args:
        samples: Of the time after the warm-up, four at least.
        memory: Growth allowed, as a share.
        speed: Difference allowed, as a share.

    Raises:
        ValueError: Fewer than four samples.
    """
    if len(samples) < 4:
        raise ValueError(f"samples: expected at least 4 after the warm-up, got {len(samples)}; run for longer")
    first, last = samples[0], samples[-1]
    greatest = max(sample.resident for sample in samples)
    growth = greatest / first.resident - 1
    cuts = [samples[index] for index in np.linspace(0, len(samples) - 1, 4).round().astype(int)]
    pairs = zip(cuts[:-1], cuts[1:], strict=True)
    speeds = [(after.step - before.step) / (after.at_s - before.at_s) for before, after in pairs]
    apart = 1 - min(speeds) / max(speeds)
    compiled = last.compiled - first.compiled
    told = ", ".join(f"{value:,.0f}" for value in speeds)
    return [
        Check(
            "memory",
            growth <= memory,
            f"{first.resident / 2**20:,.0f} MiB after the warm-up, {greatest / 2**20:,.0f} at most later: "
            f"{100 * growth:+.1f} %, allowed {100 * memory:g} %",
        ),
        Check("recompilation", compiled == 0, f"{compiled} programs compiled after the warm-up, allowed 0"),
        Check(
            "speed",
            apart <= speed,
            f"{told} steps/s in the thirds of the time, {100 * apart:.0f} % apart, allowed {100 * speed:g} %",
        ),
    ]
