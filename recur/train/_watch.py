"""What the host does about numbers that went wrong: it finds where, tells of it, ends a run without a sound seed."""

import jax
import numpy as np

from recur._types import PyTree
from recur.train._diagnosis import STEP, VALIDATION, NonFinite, locate
from recur.train._hooks import Hooks
from recur.train._mesh import BATCH, batch_axis
from recur.train._processes import gather
from recur.train._program import Log, Plan, Source, Suspect
from recur.train._state import Health, TrainState


class NonFiniteError(FloatingPointError):
    """Loss or gradient became infinite or not a number, and no seed is left to go on with.

    Args:
        event: What happened to the seed that stopped first.
        seeds: How many seeds stopped.
    """

    def __init__(self, event: NonFinite, seeds: int = 1):
        super().__init__(event.text() + (f"; none of the {seeds} seeds is left" if seeds > 1 else ""))
        self.event, self.seeds = event, seeds


class Watch:
    """Compares the health of seeds from call to call of the compiled steps.

    Args:
        state: Before the first call.
        source: Data of the steps.
        plan: How they are trained.
        hooks: What is told of it.
    """

    def __init__(self, state: TrainState, source: Source, plan: Plan, hooks: Hooks):
        self._source, self._plan, self._hooks = source, plan, hooks
        self._has_axis = bool(state.step.ndim)
        self._known = _by_seed(gather(state.health))
        # By seed: what was wrong at its first bad step, and how it stopped.
        self._found: dict[int, str] = {}
        self._stops: dict[int, NonFinite] = {}

    def see_steps(self, state: TrainState, log: Log, health: Health) -> None:
        """Finds the steps of a call that were refused."""
        now, before = _by_seed(health), self._known
        self._known, self._told = now, []
        for seed in np.flatnonzero(now.skipped > before.skipped):
            is_first = before.first_bad[seed] == 0
            step = int((now.first_bad if is_first else now.last_bad)[seed])
            # What stops a seed at once is found in the state that it keeps.
            found = self._locate(state, log, int(seed), step) if is_first else ""
            if found:
                self._found[int(seed)] = f"the first time, at step {step}, {found}"
            elif now.stopped[seed]:
                found = self._found.get(int(seed), "")
            self._add(STEP, step, int(seed), int(now.skipped[seed] - before.skipped[seed]), found)

    def see_record(self, state: TrainState, step: int, metrics: dict[str, np.ndarray]) -> None:
        """Finds validation losses that went wrong, and raises NonFiniteError if no seed is left at this step.

        Raises:
            ValueError: It went wrong because the validation counts for nothing.
        """
        now = self._known
        losses = np.atleast_1d(metrics.get("val_loss", 0.0))
        # Of a seed that stopped before, there is none.
        stopped_before = (now.stopped > 0) & ((now.stopped < step) | ((now.stopped == step) & (now.last_bad == step)))
        for seed in np.flatnonzero(~np.isfinite(losses) & ~stopped_before):
            of_seed = int(seed) if self._has_axis else None
            if np.isnan(losses[seed]) and _is_here(state) and self._source.counts_for_nothing(state, of_seed):
                raise ValueError(
                    "validation: expected data that count for something, got a weight of 0 in all of them, so that "
                    "there is no mean; look at what the loss returns as weight, or leave validation out"
                )
            self._add(VALIDATION, step, int(seed), 0, str(losses[seed]))
        self._raise_if_none_is_left(step)

    def see_end(self, step: int) -> None:
        """Raises NonFiniteError if no seed is left at the end of a call, and else tells what was found in it."""
        self._raise_if_none_is_left(step)
        for event in self._told:
            for call in self._hooks.on_nonfinite:
                call(event)

    def _add(self, what: str, step: int, seed: int, skipped: int, found: str) -> None:
        stopped = int(self._known.stopped[seed])
        checkpoints = self._hooks.checkpoints
        latest = None if checkpoints is None else checkpoints.latest()
        event = NonFinite(
            what,
            step,
            seed if self._has_axis else None,
            skipped,
            int(self._known.halvings[seed]),
            stopped,
            found,
            "" if latest is None else f"step {latest}, {checkpoints.folder}",
        )
        self._told.append(event)
        if stopped:
            self._stops[seed] = event

    def _raise_if_none_is_left(self, step: int) -> None:
        stopped = self._known.stopped
        if (stopped > 0).all() and stopped.max() <= step:
            # After a restart the first may be one that stopped before it.
            first = min(self._stops, key=lambda seed: stopped[seed])
            raise NonFiniteError(self._stops[first], len(stopped))

    def _locate(self, state: TrainState, log: Log, seed: int, step: int) -> str:
        if not _is_here(state):
            return ""
        stops, of_seed = self._plan.method.on_nonfinite == "stop", seed if self._has_axis else None
        batch = self._source.batch(state, step - 1, of_seed)
        if batch is None:
            return ""
        own = Suspect(state.params, state.carry) if stops else log.suspect
        suspect, alone, batch = jax.device_put((_take(own, of_seed), _take(state, of_seed), batch), jax.devices()[0])
        mesh = self._plan.method.mesh
        return locate(
            self._plan,
            suspect,
            batch,
            key=alone.key,
            step=step,
            parts=1 if batch_axis(mesh) is None else mesh.shape[BATCH],
            before=alone._replace(step=alone.step * 0 + step - 1) if stops else None,
            explain=self._hooks.explain,
        )


def _is_here(state: TrainState) -> bool:
    """Returns whether this process has all of a state."""
    return all(leaf.is_fully_addressable for leaf in jax.tree.leaves(state))


def _take(tree: PyTree, seed: int | None) -> PyTree:
    return tree if seed is None else jax.tree.map(lambda leaf: leaf[seed], tree)


def _by_seed(health: Health) -> Health:
    """Returns the counters as arrays ``[S]``, S being 1 without an axis of seeds."""
    return jax.tree.map(np.atleast_1d, health)
