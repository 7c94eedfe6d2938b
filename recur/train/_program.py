"""What the compiled programs of training are made of: a step that is logged, a record, the best parameters."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as Spec

from recur._types import Array, Int, PyTree
from recur.train._loss import Metrics
from recur.train._mesh import BATCH, SEED, over_seeds
from recur.train._method import Method
from recur.train._nonfinite import accept, health_metrics, judge
from recur.train._programs import Held
from recur.train._state import Best, Good, Health, TrainState
from recur.train._step import seeing, step_of

# Of the optimiser, not of the loss: these need no word on whose they are.
WHOLE = ("grad_norm", "clipped")

RECORDS_PER_CALL = 100
"""How many records there is room for between two visits of the host."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the compiled programs of a run are made from.

    Args:
        loss: As in `make_step`.
        update: Of the optimiser.
        sees_loss: Whether it takes more than gradients, state and parameters.
        method: How it is trained and judged, resolved.
    """

    loss: Held
    update: Held
    sees_loss: bool
    method: Method

    @property
    def held(self) -> tuple[Held, ...]:
        """The functions that the programs die with."""
        return self.loss, self.update

    def step(self, axis_name: str | None) -> Callable[[TrainState, PyTree], tuple[TrainState, Metrics]]:
        """Returns the step."""
        update, method = seeing(self.update.function, self.sees_loss), self.method
        return step_of(self.loss.function, update, method.clip_norm, method.ema_decay, axis_name)

    def over_seeds(self, function: Callable, state: TrainState, **options: Any) -> Callable:
        """Returns a function of one seed as one of all seeds of the state; options as in `_mesh.over_seeds`."""
        at_once = self.method.seeds_at_once if state.step.ndim else None
        return over_seeds(function, mesh=self.method.mesh, at_once=at_once, **options)

    def is_better(self, value: jax.Array, best: Best) -> jax.Array:
        """Returns whether a value of the monitored metric is finite and beats the best one so far, if there is one."""
        beats = value > best.value if self.method.maximize else value < best.value
        return jnp.isfinite(value) & ((best.step == 0) | beats)


class Suspect(NamedTuple):
    """Parameters and carry before the first bad step of the run, to look for what is wrong with them."""

    params: PyTree
    carry: PyTree


class Log(NamedTuple):
    """What is measured on the device between two visits of the host, with leading axes S for S seeds.

    Attributes:
        means: Means of the metrics over the steps since the last record that were not refused; nan for none.
        records: Metrics of the records of this call, ``[RECORDS_PER_CALL]`` each; what is behind them is older.
        suspect: Where the first bad step began; None where bad steps stop a seed, whose state then is just that.
    """

    means: Metrics
    records: Metrics
    suspect: Suspect | None = None


class Source(Protocol):
    """Data, and the compiled programs that take steps on them."""

    def start(self, state: TrainState, position: Any) -> Log:
        """Returns an empty log, ready to go on where the data stood in `position`; None is their beginning."""

    def advance(self, state: TrainState, log: Log, start: int, stop: int, total: int) -> tuple[TrainState, Log]:
        """Takes the steps `start` to `stop`, of `total` in all, evaluates where that is due, and gives up its input."""

    def counts_for_nothing(self, state: TrainState, seed: int | None) -> bool:
        """Returns whether all validation of a seed, whose mean is not a number, has no weight."""

    def fingerprint(self) -> dict[str, str]:
        """Returns what tells the data from others, in words."""

    def position(self) -> Any:
        """Returns where the data stand, as JSON."""

    def batch(self, state: TrainState, index: int, seed: int | None) -> PyTree | None:
        """Returns what a seed took in the step `index`, counted from 0, of the last call; None if that is gone."""


def take_step(
    plan: Plan,
    state: TrainState,
    log: Log,
    batch: PyTree,
    index: Int[Array, ""],
    axis_name: str | None,
) -> tuple[TrainState, Log]:
    """Takes the step `index`, counted from 0, or refuses it if its numbers are not finite; and writes it in the log."""
    after, metrics = plan.step(axis_name)(state, batch)
    first = index % plan.method.eval_every == 0
    numbers = (metrics["loss"], metrics["grad_norm"])
    kept, taken = accept(plan.method.on_nonfinite, state, after, numbers, first, axis_name)
    steps = kept.health.taken

    def mean(old: jax.Array, new: jax.Array) -> jax.Array:
        # A running mean: a sum over many steps would lose digits.
        new = jnp.where(steps == 1, new, old + (new - old) / jnp.maximum(steps, 1).astype(new.dtype))
        return jnp.where(taken, new, jnp.where(first, jnp.full_like(old, jnp.nan), old))

    suspect = log.suspect
    if suspect is not None:
        is_found = kept.health.first_bad != state.health.first_bad
        now = Suspect(state.params, state.carry)
        suspect = jax.tree.map(lambda new, old: jnp.where(is_found, new, old), now, suspect)
    return kept, log._replace(means=jax.tree.map(mean, log.means, metrics), suspect=suspect)


def record(
    plan: Plan, state: TrainState, log: Log, validation: Metrics | None, slot: Int[Array, ""]
) -> tuple[TrainState, Log]:
    """Writes a record of the steps since the last one in its slot, and keeps the parameters if they are the best."""
    evaluated = state.evaluated
    if validation is not None:
        is_over = state.health.stopped > 0
        state = judge(plan.method.on_nonfinite, state, validation["loss"])
        # Of a seed that stopped before, what would be measured is no result of training.
        validation = jax.tree.map(lambda value: jnp.where(is_over, jnp.full_like(value, jnp.nan), value), validation)
    metrics = record_metrics(log.means, validation, state.health)
    if plan.method.monitor not in metrics:
        raise ValueError(f"monitor: expected one of {sorted(metrics)}, got {plan.method.monitor!r}")
    value = metrics[plan.method.monitor].astype(state.best.value.dtype)
    better = functools.partial(jnp.where, plan.is_better(value, state.best))
    best = jax.tree.map(better, Best(evaluated, value, state.step), state.best)
    records = jax.tree.map(lambda array, value: array.at[slot].set(value), log.records, metrics)
    return state._replace(best=best), log._replace(records=records)


def record_metrics(means: Metrics, validation: Metrics | None, health: Health) -> Metrics:
    """Returns the metrics of a `Record`."""
    metrics = {name if name in WHOLE else f"train_{name}": value for name, value in means.items()}
    metrics |= {f"val_{name}": value for name, value in (validation or {}).items()}
    return metrics | health_metrics(health)


def empty_log(plan: Plan, state: TrainState, step: Metrics, validation: Metrics | None) -> Log:
    """Returns the `Log` to begin with: zeros, for metrics of these shapes, ``[]`` or ``[S]``."""
    rooms = jax.tree.map(
        lambda value: jnp.zeros((*value.shape, RECORDS_PER_CALL), value.dtype),
        jax.eval_shape(record_metrics, step, validation, state.health),
    )
    means = jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), step)
    suspect = None if plan.method.on_nonfinite == "stop" else Suspect(state.params, state.carry)
    return Log(means, rooms, jax.tree.map(jnp.zeros_like, suspect))


def slot_of(end: Int[Array, ""], start: Int[Array, ""], every: int) -> Int[Array, ""]:
    """Returns where in its call, begun at `start`, a record after `end` steps stands."""
    return (end - 1) // every - start // every


def seed_spec(state: TrainState) -> Spec:
    """Returns how whatever belongs to seeds is split: by them, if there are several."""
    return Spec(SEED) if state.step.ndim else Spec()


def state_specs(state: TrainState) -> TrainState:
    """Returns how a state is split: by seeds, and its carry as batches are."""
    by_seed = seed_spec(state)
    of_carry = Spec(*by_seed, BATCH)
    good = by_seed if state.good is None else Good(by_seed, by_seed, by_seed, of_carry)
    return TrainState(*[by_seed] * 6, carry=of_carry, health=by_seed, good=good)


def log_specs(state: TrainState, log: Log) -> Log:
    """Returns how a log is split: by seeds, and a carry as batches are."""
    by_seed = seed_spec(state)
    return Log(by_seed, by_seed, by_seed if log.suspect is None else Suspect(by_seed, Spec(*by_seed, BATCH)))


def run_probe(state: TrainState, *, probe: Held, plan: Plan) -> PyTree:
    """Returns what `probe` says of the parameters, with a leading axis S for S seeds."""
    specs = seed_spec(state)
    return plan.over_seeds(probe.function, state, in_axes=(0,), in_specs=(specs,), out_specs=specs)(state.params)
