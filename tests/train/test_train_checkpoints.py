"""Checkpoints: what is stored, how many, and what does not fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recur import train

ADAM = optax.adam(1e-3)


def state_of(hidden_size=3, optimizer=ADAM, seed=0, **more):
    params = {"kernel": jnp.arange(2.0 * hidden_size).reshape(2, hidden_size), **more}
    return train.init_state(params, optimizer, jax.random.key(seed))


RECORD = train.Record(8, 1.5, {"val_loss": np.array([0.1, np.inf, np.nan]), "train_loss": np.array(1 / 3)})
NOTHING = train.Progress(0.0, [], {})


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_progress_comes_back_exactly(tmp_path):
    means = {"loss": np.float32([0.1, 1 / 3])}
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state_of(), train.Progress(2.5, [RECORD], means, {"next_index": 7}))
        checkpoints.wait()
        _, progress = checkpoints.restore(state_of())
        assert checkpoints.progress(4).position == progress.position == {"next_index": 7}
    (record,) = progress.history
    assert (progress.wall_s, record[:2]) == (2.5, RECORD[:2])
    np.testing.assert_array_equal(progress.means["loss"].astype(np.float32), means["loss"])
    for name, value in RECORD.metrics.items():
        np.testing.assert_array_equal(record.metrics[name], value)
        assert record.metrics[name].dtype == value.dtype


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
