"""Optimisers and schedules of their step size, by name."""

import functools
import math

import optax

from recur._checks import check_number, check_positive, check_whole, is_one_of

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "exponential")


def make_optimizer(
    name: str, learning_rate: float | optax.Schedule, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Returns an optimiser of optax; of the last few arguments the same object, whose programs are compiled once.

    Many rates in one process share one program where the rate is a part of the state: see `fit`.

    Args:
        name: One of ``adam``, ``adamw``, ``rmsprop``, ``sgd``, each with optax's own defaults.
        learning_rate: A number, or what `make_schedule` returns.
        momentum: Of sgd alone, below 1.
        weight_decay: Of adamw alone: what each step takes off the parameters, times the step size.

    Raises:
        TypeError: A number that is none.
        ValueError: An unknown name, a number out of its range, or one that this optimiser has not.
    """
    if not is_one_of(name, OPTIMIZERS):
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if not callable(learning_rate):
        _check_rate(learning_rate)
    if not 0 <= check_number("momentum", momentum) < 1 or (momentum and name != "sgd"):
        raise ValueError(f"momentum: expected a number below 1 with sgd, 0 with any other, got {momentum} with {name}")
    if not 0 <= check_number("weight_decay", weight_decay) < math.inf or (weight_decay and name != "adamw"):
        raise ValueError(
            f"weight_decay: expected a number >= 0 with adamw, 0 with any other, got {weight_decay} with {name}"
        )
    return _optimizer(name, learning_rate, momentum, weight_decay)


# A few: a sweep over rates must not keep the programs of all of them.
@functools.lru_cache(maxsize=4)
def _optimizer(
    name: str, learning_rate: float | optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    if name == "adamw":
        return optax.adamw(learning_rate, weight_decay=weight_decay)
    if name == "sgd":
        return optax.sgd(learning_rate, momentum=momentum or None)
    return {"adam": optax.adam, "rmsprop": optax.rmsprop}[name](learning_rate)


def make_schedule(
    name: str, learning_rate: float, *, steps: int, warmup_steps: int = 0, decay_to: float = 0.01
) -> float | optax.Schedule:
    """Returns the step size of step n, counted from 0, as a function, the same one for the same arguments.

        r (n + 1) / W               for the first W steps, and then, with u = min((n - W) / (N - W), 1),
        r                           constant
        r (f + (1 - f) (1 + cos(pi u)) / 2)   cosine
        r f^u                       exponential

    Args:
        name: One of ``constant``, ``cosine``, ``exponential``.
        learning_rate: The greatest step size r.
        steps: N, steps of the whole run.
        warmup_steps: W, fewer than `steps`.
        decay_to: f, the last step size as a share of the greatest; from 0 to 1, above 0 for ``exponential``.

    Returns:
        The function; the number itself where it is constant without warm-up.

    Raises:
        TypeError: A number that is none.
        ValueError: An unknown name, or a number out of its range.

    Example:
        >>> rate = make_schedule("cosine", 0.1, steps=104, warmup_steps=4, decay_to=0.0)
        >>> [round(float(rate(n)), 3) for n in (0, 3, 4, 54, 104)]
        [0.025, 0.1, 0.1, 0.05, 0.0]
    """
    if not is_one_of(name, SCHEDULES):
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {name!r}")
    _check_rate(learning_rate)
    check_positive("steps", steps)
    if not 0 <= check_whole("warmup_steps", warmup_steps) < steps:
        raise ValueError(
            f"warmup_steps: expected 0 or more, fewer than the {steps} steps of the run, got {warmup_steps}"
        )
    if not 0 <= check_number("decay_to", decay_to) <= 1 or (decay_to == 0 and name == "exponential"):
        raise ValueError(f"decay_to: expected a number from 0 to 1, above 0 for exponential, got {decay_to}")
    return _schedule(name, learning_rate, steps, warmup_steps, decay_to)


@functools.cache
def _schedule(
    name: str, learning_rate: float, steps: int, warmup_steps: int, decay_to: float
) -> float | optax.Schedule:
    if name == "constant" and not warmup_steps:
        return learning_rate
    left = steps - warmup_steps
    after = {
        "constant": optax.constant_schedule(learning_rate),
        "cosine": optax.cosine_decay_schedule(learning_rate, left, alpha=decay_to),
        "exponential": optax.exponential_decay(learning_rate, left, decay_to, end_value=learning_rate * decay_to),
    }[name]
    # The first step is not lost: optax begins at step 0.
    before = optax.linear_schedule(learning_rate / max(warmup_steps, 1), learning_rate, warmup_steps - 1)
    return optax.join_schedules([before, after], [warmup_steps]) if warmup_steps else after


def _check_rate(learning_rate: float) -> None:
    if not 0 < check_number("learning_rate", learning_rate) < math.inf:
        raise ValueError(f"learning_rate: expected a positive number, got {learning_rate}")
