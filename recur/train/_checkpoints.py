"""Checkpoints of a run, through Orbax."""

import concurrent.futures
import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np

from recur._checks import check_positive, is_one_of
from recur.train import _manifest, _writer
from recur.train._folder import Folder
from recur.train._json import as_json, differences
from recur.train._layout import HISTORY, STATE, DamagedError, Stored, about_path, read_about, to_json
from recur.train._leaves import as_saved, check_same, cooked, copied, marked, named_leaves, raw
from recur.train._records import Progress, check_columns, from_columns, to_columns
from recur.train._room import check_room
from recur.train._state import TrainState

Found = TypeVar("Found")


class Checkpoints:
    """A folder with checkpoints of a run, the newest and the best, each a subfolder named by its step.

    Each is written in the background under another name and renamed when complete, so that a killed process leaves
    none half-written; only then older ones are removed. Nothing in it can run code. Layout 4, which is written:

    - ``state/``: one raw array for each leaf of the `TrainState`, in the format of Orbax, named by its path
      (``params.readout.kernel``, ``opt_state.0.mu...``, ``key`` as its words, ``best.params...``, ``health...``),
      so the last and the best parameters. In a key of the path, dots, slashes and signs that cannot be printed are
      written as ``%2E``, and an empty one as ``%``.
    - ``progress/metadata``: JSON with ``layout``, the version of ``recur``, ``config``, ``fingerprint``, ``score``, the
      fields of `Progress` but the history, such as the position in the data, and the arrays that are ``empty``.
    - ``history/``: raw arrays again, of all records: ``0.step``, ``0.wall_s``, ``0.metrics.val_loss``, ..., and the
      same with 1 where records begin to have other metrics. Missing where there are no records.
    - ``manifest.json``: ``files``, size and SHA-256 of every file of these, by its path; written before the rename.

    Layout 3 writes names as they are, and knows no fingerprint. Layout 2 has the history in its JSON. Layout 1 is
    without manifest, and its JSON holds the fields of `Progress` alone. All are read; a layout of a later recur is
    refused.

    All files are compared with the manifests. A checkpoint that differs is warned of and passed over, and the first
    save renames it to ``STEP.damaged``. What is in the folder besides is left alone.

    Of a run by several processes each writes what its devices hold, into a folder that all see; any other number of
    processes restores it, one too.

    Handed to `fit` or `fit_batches`, it is where a run is saved, and where one goes on that is found there. Use it in a
    ``with`` block, or call `close`. Many processes may read a folder while one writes: a lock, which ends with its
    process, keeps others from writing.

    Args:
        folder: Where; made if it is missing.
        keep: How many of the newest to keep. The one of the lowest score is kept beside them.
        config: What each checkpoint is to say about the run: numbers, texts, lists and dicts by name. A run goes on
            only with the same configuration; one without is known by its loss, the structure of its optimiser's state,
            and the shapes of its data. Leave out what may change, such as the number of steps.
        on_other_config: "refuse" a run that is found there with another configuration, or "ignore" that it is another.

    Raises:
        OSError: The folder cannot be made.
        TypeError: A configuration that cannot be saved; the entry is named.
        ValueError: `keep` is not positive, or there are checkpoints and all of them are damaged.

    Warns:
        UserWarning: A checkpoint is damaged; names the file.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 2,
        config: Mapping[str, Any] | None = None,
        on_other_config: str = "refuse",
    ):
        self.folder = Path(folder).absolute()
        self._keep = check_positive("keep", keep)
        if not isinstance(config, Mapping | None):
            raise TypeError(f"config: expected a dict of options by name, got {type(config).__name__}")
        self._config = None if config is None else as_json("config", config)
        if not is_one_of(on_other_config, ("refuse", "ignore")):
            raise ValueError(f"on_other_config: expected refuse or ignore, got {on_other_config!r}")
        self._refuses = on_other_config == "refuse"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files = Folder(self.folder)
        self._fingerprint: Mapping[str, str] | None = None
        self._scores: dict[int, float | None] = {}
        self._claimed = False
        self._saving: tuple[int, concurrent.futures.Future] | None = None
        self._saved: int | None = None
        found = self._files.checkpoints()
        if found and None not in found.values():
            raise ValueError(
                f"{self.folder}: all checkpoints are damaged ({'; '.join(found.values())}); put a copy back, "
                "or train in another folder"
            )
        self._files.warn()

    def steps(self) -> list[int]:
        """Returns the steps of the checkpoints that are on the disk now and not damaged, in order."""
        return self._files.sound()

    def latest(self) -> int | None:
        """Returns the step of the newest checkpoint, None if there is none."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """Returns the step of the checkpoint of the lowest score, None if none has one."""
        steps = self.steps()
        self._read_scores(steps)
        return _lowest(self._scores, steps)

    def save(self, step: int, state: TrainState, progress: Progress, score: float | None = None) -> None:
        """Saves the state after `step` and returns before it is on the disk; a second call for it does nothing.

        Checkpoints of later steps, of which there are some where a run was restored from an earlier one, are of another
        run from then on: they are renamed to ``STEP.left``.

        Args:
            step: Number of the checkpoint.
            state: What to save.
            progress: What to save beside it.
            score: Says which checkpoint is the best: the one with the lowest. None, as nan, says nothing.

        Raises:
            OSError: The disk is full; the checkpoints before are whole.
            TypeError: A position that cannot be saved.
            ValueError: Another process writes to the folder.

        Warns:
            UserWarning: There are checkpoints of later steps.
        """
        if self._saved == step:
            return
        self._claim()
        # The one before is written first, or tells why it could not be.
        self.wait()
        self._files.check_free(step)
        self._leave_later(step)
        leaves = {name: raw(leaf) for name, leaf in named_leaves(state).items()}
        empty = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in leaves.items() if not leaf.size}
        arrays = {name: copied(leaf) for name, leaf in leaves.items() if leaf.size}
        columns = to_columns(progress.history)
        about = to_json(Stored(progress, self._config, score, self._fingerprint, empty))
        check_room(self.folder, [array.nbytes for array in (*arrays.values(), *columns.values())])
        items = {STATE: arrays, HISTORY: columns} if columns else {STATE: arrays}
        self._scores[step] = score
        task = _writer.in_background(lambda: self._write(step, items, about))
        self._saving, self._saved = (step, task), step

    def _leave_later(self, step: int) -> None:
        later = [other for other in self.steps() if other > step]
        if later:
            warnings.warn(
                f"{self.folder}: saving step {step} leaves the checkpoints of steps {later}; they are renamed to "
                f"{later[-1]}.left and the like",
                stacklevel=3,
            )
        if jax.process_index() == 0:
            for other in later:
                self._files.set_aside(other, "left")

    def _write(self, step: int, items: Mapping[str, Mapping[str, Any]], about: dict[str, Any]) -> None:
        # Of several processes the first writes what is not theirs together.
        draft, is_first = self._files.draft(step), jax.process_index() == 0
        try:
            _writer.write_arrays(draft, items)
            if not is_first:
                return
            about_path(draft).parent.mkdir()
            _manifest.write_json(about_path(draft), about)
            _manifest.write_manifest(draft)
            self._files.publish(step)
            steps = self.steps()
            kept = {*steps[-self._keep :], _lowest(self._scores, steps), step}
            self._files.remove(set(steps) - kept)
        except BaseException:
            if is_first:
                self._files.clear_drafts()
            raise

    def _claim(self) -> None:
        """Makes the folder this object's to write in; damaged checkpoints and half-written ones make room."""
        if self._claimed:
            return
        self._read_scores(self.steps())
        if jax.process_index() == 0:
            self._files.acquire()
            self._files.clear()
        self._claimed = True

    @contextlib.contextmanager
    def run(self, fingerprint: Mapping[str, str]) -> Iterator[None]:
        """Holds the folder for a run, and lets only the same run go on: the business of `fit` and `fit_batches`.

        Args:
            fingerprint: What the run is known by without a configuration.

        Raises:
            ValueError: The run that is found there is another, or another process writes there.
        """
        was_claimed = self._claimed
        self._claim()
        self._fingerprint = dict(fingerprint)
        try:
            if self._refuses and self.latest() is not None:
                self._check_same_run()
            yield
        finally:
            if not was_claimed:
                self._leave()

    def _check_same_run(self) -> None:
        stored, own = self._newest(lambda step: self._about(step)), self._config
        if stored.config is None or own is None:
            found, what = differences(stored.fingerprint or self._fingerprint, self._fingerprint), "run"
        else:
            found, what = differences(stored.config, own), "configuration"
        if found:
            more = f", {len(found) - 1} more differ" if len(found) > 1 else ""
            raise ValueError(
                f"{self.folder}: checkpoints of another {what}: {found[0]}{more}; train in another folder, or give "
                'Checkpoints(..., on_other_config="ignore") to go on all the same'
            )

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, Progress]:
        """Returns state and progress of a checkpoint.

        Args:
            like: A state of the same run, of which shapes, dtypes and structure are taken; a fresh one will do.
            step: Which one; by default the newest, or the one before where that turns out to be damaged.

        Raises:
            OSError: A process that writes there removed it meanwhile.
            ValueError: There is none, it is damaged, its layout is of a later recur, or it was made by another model or
                optimiser; the first leaf that differs is named.
        """

        def read(step: int) -> tuple[TrainState, Progress]:
            about = self._about(step)
            return self._state(step, like, about), self._progress(step, about)

        return self._newest(read) if step is None else self._of(self._existing(step), read)

    def progress(self, step: int | None = None) -> Progress:
        """Returns how far a run was at a checkpoint, by default the newest.

        Raises:
            ValueError: There is none, it is damaged, or its layout is of a later recur.
        """

        def read(step: int) -> Progress:
            return self._progress(step, self._about(step))

        return self._newest(read) if step is None else self._of(self._existing(step), read)

    def config(self, step: int | None = None) -> Mapping[str, Any] | None:
        """Returns the configuration that a checkpoint holds, by default the newest; None if it holds none.

        Raises:
            ValueError: There is none, it is damaged, or its layout is of a later recur.
        """

        def read(step: int) -> Mapping[str, Any] | None:
            return self._about(step).config

        return self._newest(read) if step is None else self._of(self._existing(step), read)

    def _newest(self, read: Callable[[int], Found]) -> Found:
        """Reads the newest checkpoint that can be read: one may turn out to be damaged, or be removed meanwhile."""
        while True:
            step = self.latest()
            if step is None:
                return self._existing(None)
            try:
                return self._of(step, read)
            except DamagedError as error:
                self._files.mark(step, str(error))
            except FileNotFoundError:
                continue

    def _of(self, step: int, read: Callable[[int], Found]) -> Found:
        folder = self._files.step(step)
        try:
            return read(step)
        except DamagedError:
            # What is being removed looks damaged.
            if not folder.exists():
                raise FileNotFoundError(f"{folder}: removed by the process that writes there") from None
            raise

    def _about(self, step: int) -> Stored:
        folder = self._files.step(step)
        try:
            return read_about(folder)
        except OSError as error:
            raise DamagedError(f"{about_path(folder)}: {error.strerror}") from None

    def _state(self, step: int, like: TrainState, about: Stored) -> TrainState:
        folder = self._files.step(step)
        stored = {**_read(folder / STATE, _writer.stored_arrays), **about.empty}
        like = as_saved(like, {name.partition(".")[0] for name in stored})
        leaves = named_leaves(like, escaped=about.layout >= 4)
        shapes = {name: jax.eval_shape(raw, leaf) for name, leaf in leaves.items()}
        check_same(str(folder), stored, shapes)
        full = {name: leaf for name, leaf in shapes.items() if name not in about.empty}
        arrays = _read(folder / STATE, lambda path: _writer.read_arrays(path, full))
        arrays |= {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in about.empty.items()}
        leaves = [cooked(arrays[name], leaf) for name, leaf in leaves.items()]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        # Where nothing was evaluated so far, layouts before said nan.
        return state._replace(best=state.best._replace(value=marked(state.best)))

    def _progress(self, step: int, about: Stored) -> Progress:
        folder = self._files.step(step) / HISTORY
        if not folder.exists():
            return about.progress
        _read(folder, lambda path: check_columns(_writer.stored_arrays(path), _stored_bytes(path)))
        history = _read(folder, lambda path: from_columns(_writer.read_arrays(path), escaped=about.layout >= 4))
        return about.progress._replace(history=history)

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if step not in steps:
            raise ValueError(f"{self.folder}: expected a checkpoint, found {steps or 'none'}")
        return step

    def _read_scores(self, steps: Iterable[int]) -> None:
        for step in steps:
            if step not in self._scores:
                self._scores[step] = self._about(step).score

    def wait(self) -> None:
        """Returns when everything saved is on the disk.

        Raises:
            OSError: The last could not be written; those before are whole.
        """
        if self._saving is None:
            return
        step, task = self._saving
        try:
            task.result()
        # TensorStore makes many kinds of an error of the system.
        except Exception as error:
            self._saved = None
            raise OSError(
                f"{self.folder}/{step}: checkpoint could not be written; those before are whole ({error})"
            ) from error
        finally:
            if task.done():
                self._saving = None

    def close(self) -> None:
        """Waits, and gives the folder back."""
        try:
            self.wait()
        finally:
            self._leave()

    def _leave(self) -> None:
        self._files.release()
        self._claimed = False

    def __enter__(self) -> "Checkpoints":
        """Returns the object."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes it."""
        self.close()


def _lowest(scores: Mapping[int, float | None], steps: Iterable[int]) -> int | None:
    scored = [(scores[step], step) for step in steps if scores.get(step) is not None and not np.isnan(scores[step])]
    return min(scored)[1] if scored else None


def _read(folder: Path, read: Callable[[Path], Found]) -> Found:
    """Reads arrays; whatever Orbax says of them, they are damaged, as their files are those that were written."""
    try:
        return read(folder)
    except MemoryError:
        raise
    except Exception as error:
        raise DamagedError(f"{folder}: {' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _stored_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))
