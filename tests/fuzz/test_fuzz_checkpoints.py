"""Checkpoints whose files are changed at random: the one before is taken, or the state is the one that was saved."""

import shutil
import warnings

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import optax
import pytest
from fuzz_cases import cases

from recur import train
from recur.train._layout import find_damage

ADAM = optax.adam(1e-3)
STEPS = (1, 2)


def state_at(step):
    params = {"kernel": jnp.full((2, 3), float(step)), "bias": jnp.full(2, -float(step))}
    return train.init_state(params, ADAM, jax.random.key(step))._replace(step=jnp.array(step, jnp.int32))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with train.Checkpoints(folder) as checkpoints:
        for step in STEPS:
            checkpoints.save(step, state_at(step), train.Progress(float(step), [], {}), 1 / step)
    return folder


@st.composite
def changes(draw):
    """A function from the bytes of a file to others; None removes it."""
    kind = draw(st.sampled_from(("flip", "cut", "insert", "replace", "remove", "double")))
    place, data = draw(st.floats(0, 1, exclude_max=True)), draw(st.binary(min_size=1, max_size=8))

    def change(before):
        at = int(place * len(before))
        return {
            "flip": before[:at] + bytes(a ^ (data[0] or 1) for a in before[at : at + 1]) + before[at + 1 :],
            "cut": before[:at],
            "insert": before[:at] + data + before[at:],
            "replace": data,
            "remove": None,
            "double": before + before,
        }[kind]

    return change


def is_state(found, step):
    pairs = zip(jax.tree.leaves(found.params), jax.tree.leaves(state_at(step).params), strict=True)
    return int(found.step) == step and all(bool(jnp.array_equal(a, b)) for a, b in pairs)


@cases(25, data=st.data())
def test_files_of_checkpoints(data, saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed") / "checkpoints"
    shutil.copytree(saved, folder)
    files = sorted(path for path in folder.glob("[12]/**/*") if path.is_file())
    chosen = data.draw(st.lists(st.sampled_from(range(len(files))), min_size=1, max_size=2, unique=True))
    changed = set()
    for place in chosen:
        path = files[place]
        before = path.read_bytes()
        after = data.draw(changes())(before)
        path.unlink()
        if after is not None:
            path.write_bytes(after)
        if after != before:
            changed.add(int(path.relative_to(folder).parts[0]))
    # A manifest may be written otherwise and say the same.
    sound = {step for step in STEPS if find_damage(folder / str(step)) is None}
    assert sound >= set(STEPS) - changed
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "damaged checkpoint, passed over")
        if sound:
            with train.Checkpoints(folder) as checkpoints:
                assert checkpoints.latest() == max(sound)
                state, progress = checkpoints.restore(state_at(0))
            assert is_state(state, max(sound))
            assert progress.wall_s == max(sound)
        else:
            with pytest.raises(ValueError, match="all checkpoints are damaged"):
                train.Checkpoints(folder)
    shutil.rmtree(folder.parent)
