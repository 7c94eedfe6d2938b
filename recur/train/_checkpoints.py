"""Checkpoints of a run, through Orbax."""

import itertools
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from recur._checks import check_positive
from recur._types import PyTree
from recur.train._layout import Stored, find_damage, from_json, to_json
from recur.train._manifest import write_manifest
from recur.train._records import Progress, from_columns, to_columns
from recur.train._room import check_room
from recur.train._state import Good, Health, TrainState

DELETED = "deleted"
HISTORY = "history"


class Checkpoints:
    """A folder with checkpoints of a run, the newest and the best, each a subfolder named by its step.

    Each is written in the background to a temporary name and renamed when complete, so that a killed process leaves
    none half-written; only then older ones are renamed, and deleted in the folder ``deleted``. Nothing in it can run
    code. Layout 3, which is written:

    - ``state/``: one raw array for each leaf of the `TrainState`, in the format of Orbax, named by its path
      (``params.readout.kernel``, ``opt_state.0.mu...``, ``key`` as its words, ``best.params...``, ``health...``),
      so the last and the best parameters.
    - ``progress/metadata``: JSON with ``layout``, the version of ``recur``, ``config``, ``score``, and the fields of
      `Progress` but the history, such as the position in the data.
    - ``history/``: raw arrays again, of all records: ``0.step``, ``0.wall_s``, ``0.metrics.val_loss``, ..., and the
      same with 1 where records begin to have other metrics. Missing where there are no records.
    - ``manifest.json``: ``files``, size and SHA-256 of every file of these, by its path; written before the rename.

    Layout 2 has the history in its JSON. Layout 1 is without manifest, and its JSON holds the fields of `Progress`
    alone. Both are read, too; a layout of a later recur is refused.

    When the folder is opened, all files are compared with the manifests. A checkpoint that differs is warned of and
    passed over, and the first save renames it to ``STEP.damaged``.

    Of a run by several processes each writes what its devices hold, into a folder that all see; any other number of
    processes restores it, one too.

    Handed to `fit` or `fit_batches`, it is where a run is saved, and where one goes on that is found there. Use it in a
    ``with`` block, or call `close`. Many processes may read a folder, one may write.

    Args:
        folder: Where; made if it is missing.
        keep: How many of the newest to keep. The one of the lowest score is kept beside them.
        config: What each checkpoint is to say about the run: numbers, texts, lists and dicts by name.

    Raises:
        OSError: The folder cannot be made.
        ValueError: `keep` is not positive, or there are checkpoints and all of them are damaged.

    Warns:
        UserWarning: A checkpoint is damaged; names the file.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 2, config: Mapping[str, Any] | None = None):
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep, self._config = check_positive("keep", keep), config
        self._scores: dict[int, float | None] = {}
        self._saving: int | None = None
        self._manager = self._open(cleans=False)
        self._damaged = {
            step: damage
            for step in self._manager.all_steps()
            if (damage := find_damage(self.folder / str(step))) is not None
        }
        if self._damaged and not self.steps():
            raise ValueError(
                f"{self.folder}: all checkpoints are damaged ({'; '.join(self._damaged.values())}); put a copy back, "
                "or train in another folder"
            )
        for damage in self._damaged.values():
            warnings.warn(f"damaged checkpoint, passed over: {damage}", stacklevel=2)

    def _open(self, *, cleans: bool) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_Kept(self._keep, self._scores),
                # What a killed process left half-written.
                cleanup_tmp_directories=cleans,
                # Renamed before it is deleted, so that no half of it can be taken for a damaged one.
                todelete_subdir=DELETED,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._list_files),
            ),
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "progress": ocp.JsonCheckpointHandler(),
                HISTORY: ocp.StandardCheckpointHandler(),
            },
        )

    def _list_files(self) -> None:
        # Orbax calls it when everything is written, and renames then.
        (written,) = self.folder.glob(f"{self._saving}{ocp.path.atomicity.TMP_DIR_SUFFIX}*")
        write_manifest(written)

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints that are not damaged, in order."""
        return [step for step in self._manager.all_steps() if step not in self._damaged]

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, None if there is none."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Returns the step of the checkpoint of the lowest score, None if none has one."""
        self._read_scores()
        return _lowest(self._scores, self.steps())

    def save(self, step: int, state: TrainState, progress: Progress, score: float | None = None) -> None:
        """Saves the state after `step` and returns before it is on the disk; a second call for it does nothing.

        Args:
            step: Number of the checkpoint.
            state: What to save.
            progress: What to save beside it.
            score: Says which checkpoint is the best: the one with the lowest. None, as nan, says nothing.

        Raises:
            OSError: The disk is full; the checkpoints before are whole.
        """
        if self.latest() == step:
            return
        # Not before the one before is written: `_list_files` has to know which it is.
        self.wait()
        arrays = {name: _copied(_raw(leaf)) for name, leaf in _named_leaves(state).items()}
        columns = to_columns(progress.history)
        check_room(self.folder, [array.nbytes for array in (*arrays.values(), *columns.values())])
        if self._saving is None:
            self._claim()
        fields = to_json(Stored(progress, self._config, score))
        items = {"state": ocp.args.StandardSave(arrays), "progress": ocp.args.JsonSave(fields)}
        if columns:
            items[HISTORY] = ocp.args.StandardSave(columns)
        self._saving, self._scores[step] = step, score
        self._manager.save(step, args=ocp.args.Composite(**items))

    def _claim(self) -> None:
        """Makes the folder ready to be written: damaged checkpoints and half-written ones make room."""
        self._read_scores()
        # Of several processes the first writes what is not theirs together.
        for step in self._damaged if jax.process_index() == 0 else ():
            path = self.folder / str(step)
            names = (f"{step}.damaged{number or ''}" for number in itertools.count())
            path.rename(next(path.with_name(name) for name in names if not path.with_name(name).exists()))
        self._damaged = {}
        self._manager.close()
        self._manager = self._open(cleans=True)

    def _read_scores(self) -> None:
        for step in self.steps():
            if step not in self._scores:
                self._scores[step] = self._stored(step).score

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, Progress]:
        """Returns state and progress of a checkpoint.

        Args:
            like: A state of the same run, of which shapes, dtypes and structure are taken; a fresh one will do.
            step: Which one; by default the newest.

        Raises:
            ValueError: There is none, its layout is of a later recur, or it was made by another model or optimiser;
                the first leaf that differs is named.
        """
        step = self._existing(step)
        progress = self.progress(step)
        saved = self._manager.item_metadata(step).state
        like = _as_saved(like, {name.partition(".")[0] for name in saved})
        leaves = _named_leaves(like)
        # Whoever saved it, each process reads the whole.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = {name: jax.eval_shape(_raw, leaf) for name, leaf in leaves.items()}
        wanted = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here) for name, leaf in shapes.items()}
        _check_same(f"{self.folder}/{step}", dict(saved.items()), wanted)
        stored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        state = [_cooked(stored.state[name], leaf) for name, leaf in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(like), state), progress

    def progress(self, step: int | None = None) -> Progress:
        """Returns how far a run was at a checkpoint, by default the newest.

        Raises:
            ValueError: There is none, or its layout is of a later recur.
        """
        step = self._existing(step)
        progress = self._stored(step).progress
        if not (self.folder / str(step) / HISTORY).exists():
            return progress
        found = self._manager.restore(step, args=ocp.args.Composite(history=ocp.args.StandardRestore()))
        return progress._replace(history=from_columns(found.history))

    def config(self, step: int | None = None) -> Mapping[str, Any] | None:
        """Returns the configuration that a checkpoint holds, by default the newest; None if it holds none.

        Raises:
            ValueError: There is none, or its layout is of a later recur.
        """
        return self._stored(self._existing(step)).config

    def _stored(self, step: int) -> Stored:
        found = self._manager.restore(step, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))
        return from_json(f"{self.folder}/{step}", found.progress)

    def _existing(self, step: int | None) -> int:
        step = self.latest() if step is None else step
        if step not in self.steps():
            raise ValueError(f"{self.folder}: expected a checkpoint, found {self.steps() or 'none'}")
        return step

    def wait(self) -> None:
        """Returns when everything saved is on the disk.

        Raises:
            OSError: The last could not be written; those before are whole.
        """
        try:
            self._manager.wait_until_finished()
        # ValueError is what TensorStore makes of an error of the system.
        except (OSError, ValueError) as error:
            raise OSError(
                f"{self.folder}/{self._saving}: checkpoint could not be written; those before are whole ({error})"
            ) from error
        if self._saving is not None and jax.process_index() == 0:
            shutil.rmtree(self.folder / DELETED, ignore_errors=True)

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


class _Kept:
    """Which checkpoints are kept, as Orbax asks for it: the newest, and the one of the lowest score."""

    def __init__(self, newest: int, scores: Mapping[int, float | None]):
        self._newest, self._scores = newest, scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-self._newest :], _lowest(self._scores, steps)}
        return [step in kept for step in steps]


def _lowest(scores: Mapping[int, float | None], steps: Iterable[int]) -> int | None:
    scored = [(scores[step], step) for step in steps if scores.get(step) is not None and not np.isnan(scores[step])]
    return min(scored)[1] if scored else None


def _as_saved(like: TrainState, saved: set[str]) -> TrainState:
    """Returns a state that has what `fit` adds to it where it is saved, and only there.

    Older versions did not count bad steps, and what to do about them may change from run to run.
    """
    health = Health(*[like.step] * len(Health._fields)) if "health" in saved else None
    good = Good(like.params, like.opt_state, like.ema, like.carry) if "good" in saved else None
    return like._replace(health=health, good=good)


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
