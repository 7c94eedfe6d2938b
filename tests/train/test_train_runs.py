"""Which run a folder holds, who writes there, what is saved of it, and what is lost of nothing."""

import json
import string
import threading

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from saved import ADAM, NOTHING, fill, names, state_at

from recur import train

SGD = optax.sgd(0.1)
X = np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32)


def loss(params, batch, key):
    return jnp.mean((batch @ params["w"] - 1) ** 2), {}


def another_loss(params, batch, key):
    return loss(params, batch, key)


def start(optimizer=SGD, **more):
    return train.init_state({"w": jnp.ones(3), **more}, optimizer, jax.random.key(0))


def fit(folder, steps=2, state=None, data=X, loss=loss, hooks=None, keep=2, config=None, on="refuse", **options):
    with train.Checkpoints(folder, keep=keep, config=config, on_other_config=on) as checkpoints:
        hooks = train.Hooks(checkpoints=checkpoints, **(hooks or {}))
        return train.fit(state or start(), loss, SGD, data, batch_size=4, steps=steps, hooks=hooks, **options)


def test_another_configuration_is_refused_with_both_values(tmp_path):
    config = {"cell": "gru", "model": {"units": np.int64(64)}, "rates": (0.1, float("nan"))}
    fit(tmp_path, config=config)
    assert fit(tmp_path, 4, config=config).state.step == 4
    other = {**config, "model": {"units": 32}, "new": True}
    message = r"another configuration: model.units: 64 there, 32 here, 1 more differ; train in another folder, or give"
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, 4, config=other)
    assert fit(tmp_path, 4, config=other, on="ignore").state.step == 4
    with pytest.raises(ValueError, match="on_other_config: expected refuse or ignore, got 'warn'"):
        train.Checkpoints(tmp_path, on_other_config="warn")


def test_without_a_configuration_loss_and_data_tell_runs_apart(tmp_path):
    fit(tmp_path)
    with pytest.raises(ValueError, match="another run: loss: 'loss' there, 'another_loss' here"):
        fit(tmp_path, 4, loss=another_loss)
    with pytest.raises(ValueError, match=r"another run: data: 'float32 \[8, 3\]' there, 'float32 \[6, 3\]' here"):
        fit(tmp_path, 4, data=X[:6])
    with pytest.raises(ValueError, match="another run: optimizer: "):
        fit(tmp_path, 4, state=start(optax.chain(SGD, optax.identity())))
    # With a configuration on one side only, too.
    with pytest.raises(ValueError, match="another run: loss"):
        fit(tmp_path, 4, loss=another_loss, config={"a": 1})
    assert fit(tmp_path, 4, loss=another_loss, on="ignore").state.step == 4


@pytest.mark.parametrize("wrong", [{"a": object()}, {"b": {3: 1}}, {"c": [1, jax.random.key(0)]}])
def test_a_configuration_that_cannot_be_saved_is_named_at_the_start(tmp_path, wrong):
    with pytest.raises(TypeError, match=rf"config\['{next(iter(wrong))}'\].*: expected"):
        train.Checkpoints(tmp_path / "new", config=wrong)
    assert not (tmp_path / "new").exists()


def test_names_that_look_alike_are_distinct_and_arrays_without_entries_come_back(tmp_path):
    more = {name: jnp.full(1, float(n)) for n, name in enumerate(["a.b", "a/b", "", "%", "%2E", "[0]*\\\n"])}
    more |= {"a": {"b": jnp.full(1, 9.0)}, "none": jnp.zeros((0, 3))}
    state = start(**more)
    fitted = fit(tmp_path, state=state)
    with train.Checkpoints(tmp_path) as checkpoints:
        found, _ = checkpoints.restore(jax.tree.map(jnp.zeros_like, state._replace(key=0))._replace(key=state.key))
        with pytest.raises(ValueError, match=r"params.none is float32 \[0, 3\] there and float32 \[3, 0\] here"):
            checkpoints.restore(start(**{**more, "none": jnp.zeros((3, 0))}))
    assert found.params["none"].shape == (0, 3)
    for name, leaf in fitted.state.params.items():
        jax.tree.map(np.testing.assert_array_equal, found.params[name], leaf)


def test_every_character_may_stand_in_a_path(tmp_path):
    characters = string.printable.replace("/", "") + "é☃"
    for begin in range(0, len(characters), 12):
        folder = tmp_path / f"sweep,units=[64]{characters[begin : begin + 12]}x" / "checkpoints"
        fill(folder, [None])
        with train.Checkpoints(folder) as checkpoints:
            assert checkpoints.restore(state_at(0))[0].step == 1
    folder = tmp_path / "x[64]*?y"
    assert fit(folder, 2).state.step == 2
    assert fit(folder, 4).state.step == 4


def test_records_are_not_written_twice_after_a_kill(tmp_path):
    """The process ends between a record and the checkpoint that would hold it."""
    history, probes = tmp_path / "history.jsonl", tmp_path / "probes.jsonl"

    def run(steps, checkpoint_every_s, kill_at=None):
        def kill(record):
            if record.step == kill_at:
                raise KeyboardInterrupt

        hooks = {"on_record": [train.JsonLines(history), kill], "probe": jnp.sum, "probe_every": 2}
        hooks["on_probe"] = [train.JsonLines(probes, row=lambda found: {"step": found.step, "sum": found.values})]
        hooks["probe"] = total
        fit(tmp_path / "run", steps, hooks={**hooks, "checkpoint_every_s": checkpoint_every_s}, eval_every=1)

    def steps_of(path):
        return [json.loads(line)["step"] for line in path.read_text().splitlines()]

    run(3, 0)
    with pytest.raises(KeyboardInterrupt):
        run(9, 1e9, kill_at=7)
    assert steps_of(history) == [1, 2, 3, 4, 5, 6, 7]
    with history.open("a") as file:
        file.write('{"step": 8, "torn')
    run(9, 0)
    assert steps_of(history) == list(range(1, 10))
    assert steps_of(probes) == [0, 2, 4, 6, 8]
    # A run that begins, begins its files too.
    train.fit(start(), loss, SGD, X, batch_size=4, steps=1, hooks=train.Hooks(on_record=[train.JsonLines(history)]))
    assert steps_of(history) == [1]
    history.write_text("a letter\n")
    with pytest.raises(ValueError, match="history.jsonl, line 1: expected a record with a step, got 'a letter"):
        train.JsonLines(history).rewind(3)
    assert history.read_text() == "a letter\n"


def total(params):
    return params["w"].sum()


def test_one_writes_and_many_read(tmp_path):
    with train.Checkpoints(tmp_path) as one, train.Checkpoints(tmp_path) as other:
        one.save(1, state_at(1), NOTHING)
        one.wait()
        # A reader sees what is written after it was opened.
        assert other.latest() == 1
        assert other.restore(state_at(0))[0].step == 1
        with pytest.raises(ValueError, match=r"process \d+ on .*, since 20.*, writes checkpoints there;"):
            other.save(2, state_at(2), NOTHING)
        one.close()
        other.save(2, state_at(2), NOTHING)
        other.wait()
        assert one.latest() == 2


# TensorStore tells there of files that are removed while it reads.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("settled")
def test_readers_beside_a_writer_find_no_damage(tmp_path):
    """While checkpoints are renamed and removed under their hands."""
    fill(tmp_path, [None])

    def write():
        with train.Checkpoints(tmp_path, keep=1) as checkpoints:
            for step in range(2, 40):
                checkpoints.save(step, state_at(step), NOTHING)

    seen = []
    writer = threading.Thread(target=write)
    writer.start()
    with train.Checkpoints(tmp_path) as reader:
        while writer.is_alive():
            state, _ = reader.restore(state_at(0))
            assert state.params["kernel"][0, 0] == state.step
            seen.append(int(state.step))
    writer.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_fits_in_threads_save_each_in_its_folder(tmp_path):
    found = {}

    def run(number):
        hooks = {"checkpoint_every_s": 0}
        found[number] = fit(tmp_path / str(number), 12, state=start(), hooks=hooks, eval_every=2)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(found) == [0, 1, 2, 3]
    for number, fitted in found.items():
        with train.Checkpoints(tmp_path / str(number)) as checkpoints:
            assert checkpoints.latest() == 12
            np.testing.assert_array_equal(checkpoints.restore(start())[0].params["w"], fitted.state.params["w"])


def test_a_run_that_goes_on_from_an_earlier_step_is_saved(tmp_path):
    fill(tmp_path, [None, None, None], keep=3)
    with train.Checkpoints(tmp_path, keep=3) as checkpoints:
        state, progress = checkpoints.restore(state_at(0), step=1)
        with pytest.warns(UserWarning, match=r"saving step 2 leaves the checkpoints of steps \[3\]"):
            checkpoints.save(2, state._replace(params={"kernel": jnp.full((2, 3), 9.0)}), progress)
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore(state_at(0))[0].params["kernel"][0, 0] == 9
    assert names(tmp_path) == ["1", "2", "3.left"]


def test_what_is_not_ours_is_left_alone(tmp_path):
    for foreign in ("deleted", "9999", "7.old"):
        (tmp_path / foreign).mkdir()
        (tmp_path / foreign / "letter").write_text("mine")
    fill(tmp_path, [None, None, None], keep=1)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [3]
        with pytest.raises(OSError, match="9999: in the way, and no checkpoint"):
            checkpoints.save(9999, state_at(4), NOTHING)
    assert names(tmp_path) == ["3", "7.old", "9999", "deleted"]
    assert (tmp_path / "9999" / "letter").read_text() == "mine"


def test_an_error_of_saving_does_not_lose_the_fit(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("no more room")

    monkeypatch.setattr(train._checkpoints._writer, "write_arrays", fails)
    with pytest.raises(OSError, match="checkpoint could not be written") as raised:
        fit(tmp_path, 4, eval_every=2)
    assert raised.value.fit.finished
    assert raised.value.fit.state.step == 4
    assert [record.step for record in raised.value.fit.history] == [2, 4]


class Loader:
    """Says where it stands by a dict of its own, which goes on; or by bytes, as grain's loaders do."""

    def __init__(self, form):
        self.form, self.place = form, {"at": 0, "seen": np.int64(0)}

    def __iter__(self):
        return self

    def __next__(self):
        self.place["at"] += 1
        return np.roll(X, self.place["at"], axis=0)[:4]

    def get_state(self):
        return {"own": self.place, "bytes": b"%d" % self.place["at"], "stuck": {"at": 0}, "set": {1}}[self.form]

    def set_state(self, state):
        if self.form != "stuck":
            self.place["at"] = int(state) if self.form == "bytes" else state["at"]


@pytest.mark.parametrize("form", ["own", "bytes"])
def test_the_place_in_the_data_is_that_of_the_step(tmp_path, form):
    whole = train.fit_batches(start(ADAM), loss, ADAM, Loader(form), steps=9, eval_every=3)
    places = []
    for steps in (4, 9):
        with train.Checkpoints(tmp_path) as checkpoints:
            hooks = train.Hooks(checkpoints=checkpoints, checkpoint_every_s=0)
            fitted = train.fit_batches(start(ADAM), loss, ADAM, Loader(form), steps=steps, eval_every=3, hooks=hooks)
            for step in checkpoints.steps():
                place = checkpoints.progress(step).position
                assert place == ({"at": step, "seen": 0} if form == "own" else b"%d" % step)
                places.append(step)
    assert len(places) >= 2
    np.testing.assert_array_equal(fitted.state.params["w"], whole.state.params["w"])


def test_a_place_that_cannot_be_saved_or_gone_to_is_named(tmp_path):
    def run(form, steps):
        with train.Checkpoints(tmp_path / form) as checkpoints:
            hooks = train.Hooks(checkpoints=checkpoints)
            return train.fit_batches(start(), loss, SGD, Loader(form), steps=steps, hooks=hooks)

    with pytest.raises(TypeError, match=r"batches: get_state\(\): expected numbers, texts, lists and dicts"):
        run("set", 2)
    # Where nothing is saved, there is nothing to go back to.
    assert train.fit_batches(start(), loss, SGD, Loader("set"), steps=2).finished
    run("own", 2)
    (tmp_path / "own").rename(tmp_path / "stuck")
    with pytest.raises(ValueError, match="expected an iterator that set_state moves to {'at': 2, 'seen': 0}, got"):
        run("stuck", 4)


def test_validation_may_begin_where_a_run_goes_on(tmp_path):
    fit(tmp_path, 4, eval_every=1)
    fitted = fit(tmp_path, 8, eval_every=1, patience=3, validation=X)
    assert "val_loss" in fitted.history[-1].metrics
    # The best is that of the validation, not of what was watched before.
    losses = [float(record.metrics["val_loss"]) for record in fitted.history[4:]]
    np.testing.assert_allclose(fitted.state.best.value, min(losses), rtol=1e-6)
    assert fitted.state.best.step == 5 + int(np.argmin(losses))


def test_a_folder_that_cannot_be_made_leaves_nothing_to_wait_for(tmp_path):
    (tmp_path / "file").write_text("")
    before = threading.enumerate()
    with pytest.raises(OSError, match="file"):
        train.Checkpoints(tmp_path / "file" / "checkpoints")
    assert threading.enumerate() == before


class Rows:
    """What grain reads from; it compares sources by their repr."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index]

    def __repr__(self):
        return "Rows"


def test_a_loader_of_grain_goes_on(tmp_path):
    """Its place is bytes."""

    def loader():
        sampler = grain.samplers.IndexSampler(
            num_records=8, shard_options=grain.sharding.NoSharding(), shuffle=True, seed=1
        )
        operations = [grain.transforms.Batch(batch_size=4)]
        return grain.DataLoader(data_source=Rows(), sampler=sampler, operations=operations, worker_count=0)

    whole = train.fit_batches(start(ADAM), loss, ADAM, loader(), steps=5)
    for steps in (3, 5):
        with train.Checkpoints(tmp_path) as checkpoints:
            hooks = train.Hooks(checkpoints=checkpoints)
            fitted = train.fit_batches(start(ADAM), loss, ADAM, loader(), steps=steps, hooks=hooks)
            assert isinstance(checkpoints.progress().position, bytes)
    np.testing.assert_array_equal(fitted.state.params["w"], whole.state.params["w"])
