"""Checkpoints: what is stored, how many, and what does not fit."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from saved import ADAM, NOTHING, RECORD, fill, names, state_at

from recur import train
from recur.train import _manifest, _nonfinite
from tests.golden import make_checkpoint


def state_of(hidden_size=3, optimizer=ADAM, seed=0, **more):
    params = {"kernel": jnp.arange(2.0 * hidden_size).reshape(2, hidden_size), **more}
    return train.init_state(params, optimizer, jax.random.key(seed))


def test_the_newest_are_kept(tmp_path):
    with train.Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest() is None
        for step in (1, 2, 3):
            checkpoints.save(step, state_of()._replace(step=jnp.array(step, jnp.int32)), NOTHING)
        checkpoints.wait()
        assert checkpoints.latest() == 3
        assert checkpoints.restore(state_of(), 2)[0].step == 2
        with pytest.raises(ValueError, match=r"expected a checkpoint, found \[2, 3\]"):
            checkpoints.restore(state_of(), 1)
    assert names(tmp_path) == ["2", "3"]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    fill(tmp_path, [None, 0.5, 0.25, float("nan"), 0.75, 0.5, 0.5])
    assert names(tmp_path) == ["3", "6", "7"]
    with train.Checkpoints(tmp_path, keep=1) as checkpoints:
        assert (checkpoints.best(), checkpoints.latest()) == (3, 7)
        assert checkpoints.restore(state_of(), checkpoints.best())[0].params["kernel"][0, 0] == 3
        # Scores are known to whom opens the folder again, too.
        checkpoints.save(8, state_at(8), NOTHING, 0.5)
        checkpoints.wait()
        assert names(tmp_path) == ["3", "8"]
        checkpoints.save(9, state_at(9), NOTHING, 0.125)
        checkpoints.wait()
        assert checkpoints.best() == 9
    assert names(tmp_path) == ["9"]


def test_the_best_is_that_of_the_monitor(tmp_path):
    """By the median over two seeds, of a metric of which more is better."""
    gains = iter([0.1, 0.3, 0.2, 0.15])
    x = jnp.ones((4, 1))

    def batches():
        for gain in gains:
            yield {"x": x, "gain": jnp.array(gain)}

    class Batches:
        def __init__(self):
            self.batches = batches()

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.batches)

        def get_state(self):
            return 0

        def set_state(self, state):
            raise AssertionError

    def loss(params, batch, key):
        return jnp.mean(params["w"] * batch["x"]), {"gain": batch["gain"]}

    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.vmap(lambda key: train.init_state({"w": jnp.ones(())}, ADAM, key))(keys)
    with train.Checkpoints(tmp_path, keep=1) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, checkpoint_every_s=0)
        train.fit_batches(
            state,
            loss,
            ADAM,
            Batches(),
            steps=4,
            eval_every=1,
            monitor="train_gain",
            maximize=True,
            patience=9,
            hooks=hooks,
        )
        assert (checkpoints.best(), checkpoints.steps()) == (2, [2, 4])


def test_the_configuration_is_in_each(tmp_path):
    fill(tmp_path, [None], config={"cell": "gru", "sizes": [3, 4]})
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.config() == {"cell": "gru", "sizes": [3, 4]}


def test_a_layout_of_a_later_version_is_refused(tmp_path):
    fill(tmp_path, [None])
    about = tmp_path / "1" / "progress" / "metadata"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"layout": 9, "recur": "7.0"}))
    _manifest.write_manifest(tmp_path / "1")
    with train.Checkpoints(tmp_path) as checkpoints:
        for read in (lambda: checkpoints.restore(state_of()), checkpoints.progress, checkpoints.config):
            with pytest.raises(ValueError, match=r"1: checkpoint of layout 9, written by recur 7.0; .* layouts 1 to 4"):
                read()


@pytest.mark.parametrize("layout", [1, 2, 3, 4])
def test_stored_checkpoints_are_read(tmp_path, layout):
    """Of each layout there ever was, made by `tests.golden.make_checkpoint`."""
    shutil.unpack_archive(make_checkpoint.path_of(layout), tmp_path)
    wanted = make_checkpoint.state()
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == make_checkpoint.STEP
        state, progress = checkpoints.restore(jax.tree.map(jnp.zeros_like, wanted))
        config = checkpoints.config()
        assert checkpoints.best() == (None if layout == 1 else make_checkpoint.STEP)
    assert config == (None if layout == 1 else make_checkpoint.CONFIG)
    assert jax.tree.structure(state) == jax.tree.structure(wanted)
    pairs = zip(*map(jax.tree.leaves, (state, wanted)), strict=True)
    for found, leaf in pairs:
        assert found.dtype == leaf.dtype
        np.testing.assert_array_equal(raw(found), raw(leaf))
    assert progress.to_json() == make_checkpoint.PROGRESS.to_json()
    same_history(progress.history, make_checkpoint.PROGRESS.history)


@pytest.mark.parametrize("layout", [1, 2, 3, 4])
@pytest.mark.parametrize("policy", train.ON_NONFINITE)
def test_stored_checkpoints_of_before_steps_were_refused_are_gone_on_from(tmp_path, layout, policy):
    """They count no bad steps: the counters begin, and what is saved next has them."""
    shutil.unpack_archive(make_checkpoint.path_of(layout), tmp_path)
    wanted = make_checkpoint.state()
    watched = functools.partial(_nonfinite.watched, policy=policy, every=5)
    with train.Checkpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(watched(jax.tree.map(jnp.zeros_like, wanted)))
        assert jax.tree.structure(state) == jax.tree.structure(wanted)
        state = watched(state)
        assert (state.health.skipped.tolist(), state.health.taken.tolist()) == ([0, 0], [2, 2])
        checkpoints.save(8, state._replace(step=state.step + 1), make_checkpoint.PROGRESS)
        checkpoints.wait()
        # Whoever asks by a state without them gets them, too.
        again, _ = checkpoints.restore(jax.tree.map(jnp.zeros_like, wanted))
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert again.health.taken.tolist() == [2, 2]
    assert (again.good is not None) == (policy == "halve")


def same_history(found, wanted):
    assert [record[:2] for record in found] == [record[:2] for record in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert set(one.metrics) == set(other.metrics)
        for name, value in other.metrics.items():
            np.testing.assert_array_equal(one.metrics[name], value)
            assert (one.metrics[name].dtype, one.metrics[name].shape) == (value.dtype, value.shape)


def raw(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_progress_comes_back_exactly(tmp_path):
    means = {"loss": np.float32([0.1, 1 / 3])}
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state_of(), train.Progress(2.5, [RECORD], means, {"next_index": 7}))
        checkpoints.wait()
        _, progress = checkpoints.restore(state_of())
        assert checkpoints.progress(4).position == progress.position == {"next_index": 7}
    assert progress.wall_s == 2.5
    np.testing.assert_array_equal(progress.means["loss"].astype(np.float32), means["loss"])
    same_history(progress.history, [RECORD])


def test_a_history_whose_metrics_change_comes_back_exactly(tmp_path):
    """Of other names, of another number of seeds, and back again; its order is that of the steps."""
    draw = np.random.default_rng(0)

    def record(step, names, *seeds):
        return train.Record(step, draw.uniform(), {name: draw.standard_normal(seeds) for name in names})

    history = [record(step, ["a", "val.b"]) for step in range(12)]
    history += [record(12, ["a"]), record(13, ["a"], 3), record(14, ["a"], 3), record(15, ["a", "val.b"])]
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state_of(), NOTHING._replace(history=history))
        checkpoints.wait()
        same_history(checkpoints.progress().history, history)


def test_a_long_history_takes_eight_bytes_a_number(tmp_path):
    """Not the text of it, which grew with every checkpoint, in memory too."""
    draw = np.random.default_rng(0)
    history = [train.Record(step, 0.5, {"loss": draw.standard_normal(4)}) for step in range(10_000)]
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state_of(), NOTHING._replace(history=history))
        checkpoints.wait()
        same_history(checkpoints.progress().history, history)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert stored < 10_000 * 8 * 6 + 50_000


def test_leaves_are_raw_arrays_by_name(tmp_path):
    """The layout on the disk, which later versions must read."""
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(seed=7), NOTHING)
    keys = json.loads((tmp_path / "1" / "state" / "_METADATA").read_text())["tree_metadata"]
    names = {".".join(part["key"] for part in entry["key_metadata"]) for entry in keys.values()}
    assert names == {
        "params.kernel",
        "opt_state.0.count",
        "opt_state.0.mu.kernel",
        "opt_state.0.nu.kernel",
        "step",
        "key",
        "best.params.kernel",
        "best.value",
        "best.step",
    }


def test_what_is_saved_does_not_follow_later_steps(tmp_path):
    state = state_of()
    # The memory of the state is given away right after the save began.
    scale = jax.jit(
        lambda state: state._replace(params=jax.tree.map(lambda a: a * 0 - 1, state.params)), donate_argnums=0
    )
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, NOTHING)
        scale(state)
        checkpoints.wait()
        restored, _ = checkpoints.restore(state_of())
    np.testing.assert_array_equal(restored.params["kernel"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (state_of(5), r"params.kernel is float32 \[2, 3\] there and float32 \[2, 5\] here, 3 more differ"),
        (state_of(bias=jnp.zeros(3)), r"params.bias is nothing there and float32 \[3\] here"),
        (state_of(optimizer=optax.sgd(1e-3)), r"opt_state.0.count is int32 \[\] there and nothing here, 2 more differ"),
        (
            jax.tree.map(lambda leaf: leaf[None], state_of()),
            r"params.kernel is float32 \[2, 3\] there and float32 \[1, 2, 3\] here",
        ),
    ],
)
def test_another_model_is_refused_by_the_leaf_that_differs(tmp_path, like, message):
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(), NOTHING)
        checkpoints.wait()
        with pytest.raises(ValueError, match=f"checkpoint of another model: {message}"):
            checkpoints.restore(like)


def test_an_empty_folder_is_named(tmp_path):
    with (
        train.Checkpoints(tmp_path / "new") as checkpoints,
        pytest.raises(ValueError, match="new: expected a checkpoint, found none"),
    ):
        checkpoints.restore(state_of())
