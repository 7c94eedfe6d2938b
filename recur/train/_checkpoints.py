"""Checkpoints of a run, through Orbax."""

import os
from pathlib import Path
from types import TracebackType

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from recur._checks import check_positive
from recur._types import PyTree
from recur.train._records import Progress
from recur.train._state import TrainState


class Checkpoints:
    """A folder with the newest checkpoints of a run, one a subfolder named by its step.

    Each is written in the background to a temporary name and renamed when complete, so that a killed process leaves
    none half-written. It holds ``state``, one raw array for each leaf of the `TrainState`, named by its path
    (``params.readout.kernel``, ``opt_state.0.mu...``, ``key`` as its words, ``best.params...``), so the last and
    the best parameters; and ``progress``, history and position in the data (`Progress`), as JSON. Nothing in it can
    run code.

    Of a run by several processes each writes what its devices hold, into a folder that all see; any other number of
    processes restores it, one too.

    Handed to `fit` or `fit_batches`, it is where a run is saved, and where one goes on that is found there. Use it in a
    ``with`` block, or call `close`.

    Args:
        folder: Where; made if it is missing.
        keep: How many to keep.

    Raises:
        OSError: The folder cannot be made.
        ValueError: `keep` is not positive.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 2):
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=check_positive("keep", keep)),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "progress": ocp.JsonCheckpointHandler()},
        )

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, progress: Progress) -> None:
        """Saves the state after `step` and returns before it is on the disk; a second call for it does nothing."""
        if self.latest() == step:
            return
        arrays = {name: _copied(_raw(leaf)) for name, leaf in _named_leaves(state).items()}
        items = {"state": ocp.args.StandardSave(arrays), "progress": ocp.args.JsonSave(progress.to_json())}
        self._manager.save(step, args=ocp.args.Composite(**items))

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, Progress]:
        """Returns state and progress of a checkpoint.

        Args:
            like: A state of the same run, of which shapes, dtypes and structure are taken; a fresh one will do.
            step: Which one; by default the newest.

        Raises:
            ValueError: There is none, or it was made by another model or optimiser; the first leaf that differs is
                named.
        """
        step = self._existing(step)
        leaves = _named_leaves(like)
        # Whoever saved it, each process reads the whole.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = {name: jax.eval_shape(_raw, leaf) for name, leaf in leaves.items()}
        wanted = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here) for name, leaf in shapes.items()}
        _check_same(f"{self.folder}/{step}", dict(self._manager.item_metadata(step).state.items()), wanted)
        stored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        state = [_cooked(stored.state[name], leaf) for name, leaf in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(like), state), self.progress(step)

    def progress(self, step: int | None = None) -> Progress:
        """Returns how far a run was at a checkpoint, by default the newest.

        Raises:
            ValueError: There is none.
        """
        stored = self._manager.restore(self._existing(step), args=ocp.args.Composite(progress=ocp.args.JsonRestore()))
        return Progress.from_json(stored.progress)

    def _existing(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step not in self._manager.all_steps():
            raise ValueError(f"{self.folder}: expected a checkpoint, found {self._manager.all_steps() or 'none'}")
        return step

    def wait(self) -> None:
        """Returns when everything saved is on the disk, or raises what went wrong with it."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the threads that write."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        """Returns the object."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes it."""
        self.close()


def _named_leaves(tree: PyTree) -> dict[str, jax.Array]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: jax.Array) -> jax.Array:
    """Returns the words of a PRNG key, any other array as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _copied(leaf: jax.Array) -> np.ndarray | jax.Array:
    """Returns a copy, because training goes on and gives the state's own memory to the next steps.

    Of an array on the devices of several processes it stays there: each of them writes its part.
    """
    return np.array(leaf, copy=True) if leaf.is_fully_addressable else jnp.copy(leaf)


def _cooked(stored: np.ndarray, like: jax.Array) -> jax.Array:
    """Returns the array in memory of JAX's own, which may be donated; a key if `like` is one."""
    array = jnp.array(stored, copy=True)
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like)) if _is_key(like) else array


def _check_same(where: str, stored: dict, wanted: dict[str, jax.ShapeDtypeStruct]) -> None:
    def outline(leaf: jax.ShapeDtypeStruct | None) -> str:
        return "nothing" if leaf is None else f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"

    names = [*wanted, *(name for name in stored if name not in wanted)]
    different = [name for name in names if outline(stored.get(name)) != outline(wanted.get(name))]
    if different:
        name, more = different[0], len(different) - 1
        raise ValueError(
            f"{where}: checkpoint of another model: {name} is {outline(stored.get(name))} there and "
            f"{outline(wanted.get(name))} here{f', {more} more differ' if more else ''}; "
            "restore it with the configuration it was made with, or train in another folder"
        )
