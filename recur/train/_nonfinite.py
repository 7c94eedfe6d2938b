"""Numbers that went wrong, on the device: steps that are refused, seeds that stop, step sizes that are halved."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, PyTree
from recur.train._state import Good, Health, TrainState

ON_NONFINITE = ("stop", "skip", "halve")
"""What may be done about a step whose loss, gradient, update or carry is infinite or not a number."""

MOST_SKIPPED = 100
"""So many bad steps in a row, skipped, stop a seed: it no longer learns."""

MOST_HALVINGS = 20
"""So many halvings stop a seed: a millionth of the step size did not help."""


def check_policy(policy: str) -> str:
    """Returns the name of what is done, or raises ValueError."""
    if policy not in ON_NONFINITE:
        raise ValueError(f"on_nonfinite: expected one of {', '.join(ON_NONFINITE)}, got {policy!r}")
    return policy


def watched(state: TrainState, policy: str, every: int) -> TrainState:
    """Returns a state with the counters, and with the state to go back to where the policy needs one.

    Args:
        state: With or without them.
        policy: One of `ON_NONFINITE`.
        every: Steps between records.
    """
    health, good = state.health, None
    if health is None:
        zero = jnp.zeros_like(state.step)
        health = Health(*[zero] * (len(Health._fields) - 1), taken=state.step % every)
    if policy == "halve":
        good = state.good or _snapshot(state)
    return state._replace(health=health, good=good)


def rate_factor(health: Health) -> Float[Array, ""]:
    """Returns what the step size is multiplied by, one half for each halving."""
    return jnp.ldexp(jnp.float32(1), -health.halvings)


def accept(
    policy: str,
    before: TrainState,
    after: TrainState,
    numbers: PyTree,
    first: Bool[Array, ""],
    axis_name: str | None,
) -> tuple[TrainState, Bool[Array, ""]]:
    """Returns the state after a step if it is sound, else the state that the policy says; and whether it is sound.

    Args:
        policy: One of `ON_NONFINITE`.
        before: The state before the step.
        after: The state after it.
        numbers: Loss and norm of the gradient.
        first: Whether the step is the first since a record.
        axis_name: As in `make_step`.
    """
    finite = _all_finite((numbers, after.params, after.carry))
    if axis_name is not None and before.carry is not None:
        # Each part of a batch has a carry of its own, and all take the step or none.
        finite = jax.lax.pmin(finite.astype(jnp.int32), axis_name) > 0
    old = before.health
    running, number = old.stopped == 0, after.step
    taken, bad = finite & running, ~finite & running
    in_a_row = jnp.where(taken, 0, old.in_a_row + bad)
    halvings = old.halvings + (bad if policy == "halve" else 0)
    spent = {"stop": bad, "skip": in_a_row >= MOST_SKIPPED, "halve": halvings >= MOST_HALVINGS}[policy]
    health = Health(
        first_bad=jnp.where(bad & (old.first_bad == 0), number, old.first_bad),
        last_bad=jnp.where(bad, number, old.last_bad),
        stopped=jnp.where(bad & spent, number, old.stopped),
        skipped=old.skipped + bad,
        in_a_row=in_a_row,
        halvings=halvings,
        taken=jnp.where(first, 0, old.taken) + taken,
    )
    held, good = _snapshot(before), before.good
    if good is not None:
        # The loss and the gradient at it are known to be finite.
        good = jax.tree.map(lambda new, kept: jnp.where(taken & first, new, kept), held, good)
    kept = jax.tree.map(lambda new, kept: jnp.where(taken, new, kept), _snapshot(after), good or held)
    return after._replace(**kept._asdict(), health=health, good=good), taken


def judge(policy: str, state: TrainState, loss: Float[Array, ""]) -> TrainState:
    """Returns the state after an evaluation whose loss may be infinite or not a number: it stops or goes back too."""
    old = state.health
    bad = ~jnp.isfinite(loss) & (old.stopped == 0)
    if policy == "skip":
        return state
    halvings = old.halvings + (bad if policy == "halve" else 0)
    spent = bad if policy == "stop" else bad & (halvings >= MOST_HALVINGS)
    state = state._replace(health=old._replace(halvings=halvings, stopped=jnp.where(spent, state.step, old.stopped)))
    if state.good is None:
        return state
    kept = jax.tree.map(lambda good, now: jnp.where(bad, good, now), state.good, _snapshot(state))
    return state._replace(**kept._asdict())


def health_metrics(health: Health) -> dict[str, Any]:
    """Returns what a record says of the steps so far."""
    return {
        "skipped": health.skipped,
        "halvings": health.halvings,
        "rate_factor": rate_factor(health),
        "stopped": health.stopped,
    }


def _snapshot(state: TrainState) -> Good:
    return Good(*(getattr(state, name) for name in Good._fields))


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    # Zero times infinity is nan, and so is a sum with it: on a CPU a third of the time of testing each entry.
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite((leaf * 0).sum()) for leaf in leaves]).all()
