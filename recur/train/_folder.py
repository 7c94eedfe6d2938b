"""The folder of checkpoints: which there are, which are damaged, who may write, what is removed."""

import contextlib
import datetime
import itertools
import json
import os
import re
import shutil
import socket
import stat
import warnings
from collections.abc import Collection
from pathlib import Path

import filelock

from recur._files import write_text
from recur.train import _manifest
from recur.train._layout import HISTORY, PROGRESS, STATE, find_damage

# What we make besides, and what Orbax leaves where a process is killed.
OURS = re.compile(r"\.\d+\.(draft|deleted).*|\d+\.orbax-checkpoint-tmp.*")
LOCK, OWNER = ".lock", ".owner.json"


class Folder:
    """A folder of checkpoints. Whatever is not ours in it is left alone."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = filelock.FileLock(path / LOCK, thread_local=False)
        # By step: which folder it was, and what of it is damaged.
        self._known: dict[int, tuple[tuple[int, int], str | None]] = {}
        self._warns = False

    def step(self, number: int) -> Path:
        """Returns the folder of a checkpoint."""
        return self.path / str(number)

    def draft(self, number: int) -> Path:
        """Returns where a checkpoint is written before it is complete."""
        return self.path / f".{number}.draft"

    def checkpoints(self) -> dict[int, str | None]:
        """Returns what there is on the disk now, in order: by step None, or what is damaged."""
        while True:
            steps = sorted(int(name) for name in os.listdir(self.path) if _is_step(name))
            # A process that writes there may remove one meanwhile; whether it wrote one is told by a new list.
            with contextlib.suppress(FileNotFoundError):
                return {step: self._look(step) for step in steps if _is_ours(self.step(step))}

    def sound(self) -> list[int]:
        """Returns the steps of the checkpoints that are not damaged, in order."""
        return [step for step, damage in self.checkpoints().items() if damage is None]

    def warn(self) -> None:
        """Warns of all that is damaged, now and when more is found."""
        self._warns = True
        for damage in filter(None, self.checkpoints().values()):
            _warn(damage)

    def mark(self, step: int, damage: str) -> None:
        """Says that a checkpoint is damaged, which its manifest did not tell."""
        self._known[step] = self._which(step), damage
        _warn(damage)

    def _look(self, step: int) -> str | None:
        which = self._which(step)
        if self._known.get(step, (None,))[0] != which:
            damage = find_damage(self.step(step))
            if damage is not None:
                if self._which(step) != which:
                    raise FileNotFoundError(self.step(step))
                if self._warns:
                    _warn(damage)
            self._known[step] = which, damage
        return self._known[step][1]

    def _which(self, step: int) -> tuple[int, int]:
        about = self.step(step).lstat()
        return about.st_ino, about.st_mtime_ns

    def acquire(self) -> None:
        """Takes the folder for this process to write in.

        Raises:
            ValueError: Another process, or another object of this one, is writing there.
        """
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            raise ValueError(
                f"{self.path}: {self._owner()} writes checkpoints there; wait for its end, stop it, or train in "
                "another folder"
            ) from None
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        write_text(self.path / OWNER, json.dumps(about))

    def release(self) -> None:
        """Gives the folder back."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                (self.path / OWNER).unlink()
            self._lock.release()

    def _owner(self) -> str:
        try:
            about = _manifest.read_json(self.path / OWNER)
            return f"process {about['pid']} on {about['host']}, since {about['since']},"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def clear(self) -> None:
        """Makes the folder ready to be written: damaged checkpoints and half-written ones make room."""
        for step, damage in self.checkpoints().items():
            if damage is not None:
                self.set_aside(step, "damaged")
        self.clear_drafts()

    def clear_drafts(self) -> None:
        """Removes what was half-written, or half-removed."""
        for name in filter(OURS.fullmatch, os.listdir(self.path)):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def set_aside(self, step: int, why: str) -> None:
        """Renames a checkpoint, so that it is none any more."""
        names = (f"{step}.{why}{number or ''}" for number in itertools.count())
        self.step(step).rename(next(path for path in map(self.path.joinpath, names) if not path.exists()))

    def check_free(self, step: int) -> None:
        """Raises OSError where something stands in the way of a checkpoint that is none."""
        if os.path.lexists(self.step(step)) and not _is_ours(self.step(step)):
            raise OSError(f"{self.step(step)}: in the way, and no checkpoint; move it to another place")

    def publish(self, step: int) -> None:
        """Makes a complete draft the checkpoint of its step, in the place of one that is there."""
        if os.path.lexists(self.step(step)):
            self.remove([step])
        self.draft(step).rename(self.step(step))
        self._known[step] = self._which(step), None

    def remove(self, steps: Collection[int]) -> None:
        """Removes checkpoints; each is renamed first, so that no half of it can be taken for a damaged one."""
        for step in steps:
            gone = self.path / f".{step}.deleted"
            shutil.rmtree(gone, ignore_errors=True)
            self.step(step).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def _is_ours(path: Path) -> bool:
    """Returns whether a folder has anything of a checkpoint; raises FileNotFoundError if there is nothing."""
    parts = (_manifest.NAME, PROGRESS, STATE, HISTORY)
    if stat.S_ISDIR(path.lstat().st_mode) and any(os.path.lexists(path / part) for part in parts):
        return True
    path.lstat()
    return False


def _warn(damage: str) -> None:
    warnings.warn(f"damaged checkpoint, passed over: {damage}", stacklevel=4)


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
