"""Checkpoints that were damaged, and disks that are full."""

import json
import os
import re
import resource

import jax
import jax.numpy as jnp
import pytest
import tensorstore
from saved import ADAM, NOTHING, fill, names, state_at

from recur import train
from recur.train import _manifest, _room


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def remove(path):
    path.unlink()


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", [truncate, flip, remove])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(tmp_path, damage):
    """Every file of it in turn, those that hold arrays among them."""
    fill(tmp_path / "run", [None, None])
    kept = sorted((tmp_path / "run" / "2").glob("*/**/*"))
    paths = [path for path in kept if path.is_file()] + [tmp_path / "run" / "2" / "manifest.json"]
    assert len(paths) > 5
    for path in paths:
        whole = path.read_bytes()
        damage(path)
        # Another digest in the manifest stands against the file whose it was.
        named = path.parent if path.name == "manifest.json" and damage is flip else path
        with pytest.warns(UserWarning, match=f"damaged checkpoint, passed over: {re.escape(str(named))}"):
            checkpoints = train.Checkpoints(tmp_path / "run")
        with checkpoints:
            assert checkpoints.latest() == 1
            state, progress = checkpoints.restore(state_at(0))
        assert (float(state.params["kernel"][0, 0]), progress.wall_s) == (1, 1)
        path.write_bytes(whole)


def test_a_file_that_was_not_written_is_a_damage_and_one_with_a_dot_is_not(tmp_path):
    fill(tmp_path, [None, None])
    (tmp_path / "2" / "state" / ".nfs0001").write_bytes(b"left behind")
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 2
    (tmp_path / "2" / "state" / "more").write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over: .*2/state/more: not among the files that were written"):
        checkpoints = train.Checkpoints(tmp_path)
    with checkpoints:
        assert checkpoints.latest() == 1


def test_a_run_goes_on_beside_a_damaged_checkpoint(tmp_path):
    fill(tmp_path, [0.5, 0.25])
    flip(tmp_path / "2" / "progress" / "metadata")
    (tmp_path / "7.orbax-checkpoint-tmp").mkdir()
    damaged = files(tmp_path / "2")
    with pytest.warns(UserWarning, match="2/progress/metadata: not the bytes that were written"):
        checkpoints = train.Checkpoints(tmp_path, keep=1)
    assert names(tmp_path) == ["1", "2", "7.orbax-checkpoint-tmp"]
    with checkpoints:
        checkpoints.save(2, state_at(2), NOTHING, 1.0)
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.best()) == ([1, 2], 1)
    assert names(tmp_path) == ["1", "2", "2.damaged"]
    assert files(tmp_path / "2.damaged") == damaged


def test_nothing_is_overwritten_when_all_are_damaged(tmp_path):
    fill(tmp_path, [None, None])
    truncate(tmp_path / "1" / "state" / "manifest.ocdbt")
    remove(tmp_path / "2" / "state" / "_METADATA")
    before = files(tmp_path)
    message = r"all checkpoints are damaged \(.*1/state/manifest.ocdbt: .* bytes, where .* were written; .*2/state/_MET"
    with pytest.raises(ValueError, match=message):
        train.Checkpoints(tmp_path)
    assert files(tmp_path) == before


@pytest.fixture
def file_limit():
    """Lets a test say how large a file may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def wide_state(step):
    kernels = {name: jax.random.normal(jax.random.key(0), (40, 40)) for name in "abc"}
    return train.init_state(kernels, ADAM, jax.random.key(0))._replace(step=jnp.array(step, jnp.int32))


def test_without_room_nothing_is_begun(tmp_path, file_limit):
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, wide_state(1), NOTHING)
        checkpoints.wait()
        file_limit(4 * 40 * 40 - 1)
        with pytest.raises(
            OSError, match="File too large: a checkpoint takes 6,400 bytes, and there is room for 6,399"
        ):
            checkpoints.save(2, wide_state(2), NOTHING)
        assert names(tmp_path) == ["1"]
        assert checkpoints.restore(wide_state(0))[0].step == 1


def test_where_a_process_has_no_limit_only_the_disk_counts(tmp_path, file_limit, monkeypatch):
    file_limit(4 * 40 * 40 - 1)
    monkeypatch.setattr(_room, "resource", None)
    _room.check_room(tmp_path, [4 * 40 * 40])
    with pytest.raises(OSError, match="No space left on device: a checkpoint takes"):
        _room.check_room(tmp_path, [2**62])


# What fails in the background is told there, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("settled")
def test_a_disk_that_fills_up_during_a_save_leaves_the_one_before(tmp_path, file_limit):
    fill(tmp_path, [None])
    checkpoints = train.Checkpoints(tmp_path, keep=1)
    # Enough for any array, not for the file with all of them.
    file_limit(4 * 40 * 40)
    checkpoints.save(2, wide_state(2), NOTHING)
    with pytest.raises(OSError, match=f"{tmp_path}/2: checkpoint could not be written; those before are whole"):
        checkpoints.close()
    file_limit(resource.RLIM_INFINITY)
    with train.Checkpoints(tmp_path) as again:
        assert again.steps() == [1]
        assert again.restore(state_at(0))[0].step == 1
        again.save(2, state_at(2), NOTHING)
        again.wait()
        assert names(tmp_path) == ["1", "2"]


def rewrite(folder, change):
    """Changes what a manifest or the JSON says, as a stranger may; the manifest then fits the files again."""
    about = folder / "progress" / "metadata"
    about.write_text(json.dumps(change(json.loads(about.read_text()))))
    _manifest.write_manifest(folder)


def listed(folder, **entries):
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"files": json.loads(manifest.read_text())["files"] | entries}))


MALFORMED = {
    "device": lambda path: listed(path, **{"/dev/zero": {"bytes": 0, "sha256": ""}}),
    "outside": lambda path: listed(path, **{"../../secret": {"bytes": 0, "sha256": ""}}),
    "link to a device": lambda path: swap(path / "state" / "_METADATA", lambda p: p.symlink_to("/dev/zero")),
    "pipe": lambda path: swap(path / "progress" / "metadata", os.mkfifo),
    "size": lambda path: (path / "manifest.json").write_text('{"files": {"state/_METADATA": {"bytes": 1e999}}}'),
    "list": lambda path: (path / "manifest.json").write_text("[[]]"),
    "deep": lambda path: (path / "manifest.json").write_text("[" * 100_000),
    "bytes": lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe"),
    "layout": lambda path: rewrite(path, lambda fields: fields | {"layout": "four"}),
    "fields": lambda path: rewrite(path, lambda fields: {"layout": 4}),
    "no object": lambda path: rewrite(path, lambda fields: [fields]),
    "seconds": lambda path: rewrite(path, lambda fields: fields | {"wall_s": "long"}),
    "means": lambda path: rewrite(path, lambda fields: fields | {"means": {"loss": "low"}}),
    "empty": lambda path: rewrite(path, lambda fields: fields | {"empty": {"params.w": ["float32", [10**10]]}}),
    "score": lambda path: rewrite(path, lambda fields: fields | {"score": {}}),
    "config": lambda path: rewrite(path, lambda fields: fields | {"config": "gru"}),
    "arrays": lambda path: rewrite(path, lambda fields: remove(path / "state" / "manifest.ocdbt") or fields),
}


def swap(path, make):
    path.unlink()
    make(path)


def opened_and_restored(folder):
    checkpoints = train.Checkpoints(folder)
    return checkpoints, *checkpoints.restore(state_at(0))


# TensorStore tells of what it could not read there, too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("kind", MALFORMED)
def test_files_of_strangers_are_damaged_and_the_older_one_is_taken(tmp_path, kind):
    fill(tmp_path, [None, None])
    MALFORMED[kind](tmp_path / "2")
    with pytest.warns(UserWarning, match=f"damaged checkpoint, passed over: {re.escape(str(tmp_path / '2'))}"):
        checkpoints, state, progress = opened_and_restored(tmp_path)
    with checkpoints:
        assert (float(state.params["kernel"][0, 0]), progress.wall_s) == (1, 1)
        assert checkpoints.steps() == [1]
        checkpoints.save(3, state_at(3), NOTHING)
        checkpoints.wait()
    assert names(tmp_path) == ["1", "2.damaged", "3"]


def test_arrays_that_are_declared_only_are_not_made(tmp_path):
    """A history of 1e10 records in a file of a few bytes: 80 GB."""
    fill(tmp_path, [None, None])
    history = tmp_path / "2" / "history"
    kvstore = {"driver": "ocdbt", "base": f"file://{history}/", "path": "0.step/"}
    spec = {"driver": "zarr", "kvstore": kvstore, "metadata": {"shape": [10**10], "dtype": "<i8", "chunks": [1]}}
    tensorstore.open(spec, create=True, delete_existing=True).result()
    _manifest.write_manifest(tmp_path / "2")
    with train.Checkpoints(tmp_path) as checkpoints:
        with pytest.warns(UserWarning, match="2/history: 10,000,000,.* entries are declared, which "):
            state, progress = checkpoints.restore(state_at(0))
        assert (float(state.params["kernel"][0, 0]), progress.wall_s) == (1, 1)
