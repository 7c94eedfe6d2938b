"""Numbers that went wrong, on the host: which step, seed, tensor and entry, and what was done about it."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import PyTree
from recur.train._evaluate import batch_size
from recur.train._loss import call_loss
from recur.train._program import Plan, Suspect
from recur.train._programs import Held, program
from recur.train._state import TrainState, loss_key
from recur.train._step import global_norm

STEP, VALIDATION = "loss or gradient", "validation loss"


class NonFinite(NamedTuple):
    """Numbers of a seed that are infinite or not a number.

    Attributes:
        what: "loss or gradient", or "validation loss".
        step: Which step, counted from 1, that of several at once which came last, but the first of all if it is among
            them; or after which step the validation loss was measured.
        seed: Index of the seed, None without an axis of seeds.
        skipped: How many steps were refused since the last such event.
        halvings: How often the step size has been halved up to now.
        stopped: The step at which the seed stopped for good, 0 if it goes on.
        found: Where the numbers went wrong at the first bad step of the run, tensor and entry; the validation loss;
            else "".
        checkpoint: The last checkpoint, whose numbers are sound; "" if there is none.
    """

    what: str
    step: int
    seed: int | None
    skipped: int
    halvings: int
    stopped: int
    found: str
    checkpoint: str

    def text(self, name: str | None = None) -> str:
        """Returns it as one line; `name` is what the seed is called, by default ``seed index N``."""
        if self.what == VALIDATION:
            of_seed = f" of {name or f'seed index {self.seed or 0}'}"
            words = [f"{VALIDATION}{of_seed} is {self.found} after step {self.step}; look at the validation data, or"]
            words += ["lower the learning rate"]
        else:
            name = name or ("" if self.seed is None else f"seed index {self.seed}")
            of_seed = f" of {name}" if name else ""
            words = [f"{STEP}{of_seed} is infinite or not a number at step {self.step}; lower the learning rate or"]
            words += ["clip_norm, or look at that batch", f"; {self.found}" if self.found else ""]
        line = " ".join(filter(None, words)).replace(" ;", ";")
        return f"{line}; {self._done()}; last good checkpoint: {self.checkpoint or 'none'}"

    def _done(self) -> str:
        rate = f"1/{2**self.halvings} of the learning rate"
        if self.stopped:
            return f"it stopped at step {self.stopped}" + (f", at {rate}" if self.halvings else "")
        if self.halvings:
            return f"it went back, and on with {rate}"
        return f"steps skipped: {self.skipped}" if self.skipped else "it goes on"


def locate(
    plan: Plan,
    suspect: Suspect,
    batch: PyTree,
    *,
    key: jax.Array,
    step: int,
    parts: int,
    before: TrainState | None,
    explain: Callable[[PyTree, PyTree], str] | None,
) -> str:
    """Returns where the numbers of a step of one seed went wrong, in words.

    Args:
        plan: How it was trained.
        suspect: Parameters and carry before the step.
        batch: Of the step.
        key: Of the run.
        step: Which step, counted from 1.
        parts: How many devices shared the batch.
        before: All of the state before the step, None if it is not known.
        explain: Of `Hooks`.
    """
    words = [*_bad_entries("batch", batch), *_bad_entries("parameter", suspect.params)]
    words += _bad_entries("carry", suspect.carry)
    words += list(filter(None, [explain(suspect.params, batch)])) if explain is not None else []
    grads, differentiate = None, program(_loss_and_gradient, loss=plan.loss)
    for own, own_key, carry in _parts(batch, loss_key(key, jnp.int32(step - 1)), suspect.carry, parts):
        (value, carry), more = differentiate(suspect.params, own, own_key, carry)
        words += _bad_entries("loss", value) + _bad_entries("new carry", carry)
        grads = more if grads is None else jax.tree.map(jnp.add, grads, more)
    words += _bad_entries("gradient of", grads)
    if not words and not np.isfinite(global_norm(grads)):
        largest, name = max((float(jnp.abs(leaf).max()), name) for name, leaf in _named(grads))
        words = [f"norm of the gradient overflows, the largest entry, of {name}, is {largest:.3g}"]
    if not words and before is not None:
        words = _bad_entries("new parameter", jax.jit(plan.step(None))(before, batch)[0].params)
    return ", ".join(dict.fromkeys(words)) or "computed alone, the step has finite numbers"


def _parts(batch: PyTree, key: jax.Array, carry: PyTree, parts: int) -> Iterator[tuple[PyTree, jax.Array, PyTree]]:
    """Yields what each device had of a batch, with its key and carry."""
    size = batch_size(batch)
    if parts == 1 or size % parts:
        yield batch, key, carry
        return
    share = size // parts
    for part in range(parts):
        cut = functools.partial(_rows, start=part * share, count=share)
        yield jax.tree.map(cut, batch), jax.random.fold_in(key, part), jax.tree.map(cut, carry)


def _rows(leaf: Any, start: int, count: int) -> Any:
    return leaf[start : start + count] if np.ndim(leaf) else leaf


def _loss_and_gradient(params: PyTree, batch: PyTree, key: jax.Array, carry: PyTree, *, loss: Held) -> Any:
    objective = functools.partial(call_loss, loss.function, batch=batch, key=key, carry=carry)
    (value, (_, carry)), grads = jax.value_and_grad(objective, has_aux=True)(params)
    return (value, carry), grads


def _named(tree: PyTree) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in paths]


def _bad_entries(what: str, tree: PyTree) -> list[str]:
    """Returns the first entry of the first leaf that is not finite, with how much else is not; or nothing."""
    leaves = [(name, leaf) for name, leaf in _named(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    bad = [(name, np.asarray(leaf)) for name, leaf in leaves if not np.isfinite(leaf).all()]
    if not bad:
        return []
    name, leaf = bad[0]
    where = np.argwhere(~np.isfinite(leaf))
    index = f"[{', '.join(map(str, where[0]))}]" if leaf.ndim else ""
    more = [f"{len(where)} of its {leaf.size} entries"] if leaf.ndim else []
    more += [f"and {len(bad) - 1} more of {len(leaves)} tensors"] if len(bad) > 1 else []
    amount = f" ({', '.join(more)})" if more else ""
    return [f"{f'{what} {name}'.strip()}{index} is {leaf[tuple(where[0])]}{amount}"]
