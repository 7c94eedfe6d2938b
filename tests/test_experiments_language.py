"""Experiments of letters, words and series, on tiny runs, against loops and closed forms."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _forecaster, _language, _series, _streams, char_lm, forecast, hihello, memorize, word_lm
from recur import tasks

# Elman cells: the least to compile.
TINY = {"cell": "elman", "hidden_size": 6, "seeds": 2, "tensorboard": False}
TEXT = "the cat saw the dog. the dog saw the cat and the hat. " * 12


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def values_of(summary, name):
    return summary["metrics"][name]["values"]


# ---- strings and paragraphs


def test_a_guess_from_the_last_letter_alone():
    # Of hihell -> ihello: i after h or e after h, h after i, l after e, l or o after l.
    assert hihello.accuracy_without_memory("hihello") == pytest.approx(4 / 6)
    assert hihello.accuracy_without_memory("abababa") == 1.0


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hihello") / "run"
    return folder, hihello.train(hihello.Config(workdir=str(folder), seeds=2, tensorboard=False))


def test_hihello_gets_every_letter_right(said):
    folder, summary = said
    assert values_of(summary, "accuracy") == [1.0, 1.0]
    lines = (folder / "predictions.txt").read_text().splitlines()
    assert lines == ["seed 0: hihell -> ihello", "seed 1: hihell -> ihello", "wanted: hihell -> ihello"]


def test_a_finished_string_is_evaluated_on_another(said, tmp_path):
    folder, _ = said
    other = write(tmp_path / "other.txt", "hihx\n")
    options = {"workdir": str(folder), "seeds": 2, "tensorboard": False, "eval_data": other}
    summary = hihello.train(hihello.Config(**options))
    assert values_of(summary, "eval_unknown") == [1 / 4, 1 / 4]
    # It reads h i h as before, and so says i h e.
    assert values_of(summary, "eval_accuracy") == pytest.approx([2 / 3, 2 / 3])
    with pytest.raises(ValueError, match="data: expected tokens of the vocabulary, got 'x' at place 3"):
        hihello.train(hihello.Config(**options, strict=True))


@pytest.mark.parametrize("text", ["", "a"])
def test_too_short_a_string_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="text: expected at least 2 letters"):
        hihello.train(hihello.Config(workdir=str(tmp_path), text=text))


def test_a_paragraph_comes_out_of_the_start_mark_alone(tmp_path):
    path = write(tmp_path / "p.txt", "여름 밤, 가을 밤.\n")
    config = memorize.Config(
        workdir=str(tmp_path / "run"), data=path, eval_data=path, cell="elman", epochs=150, hidden_size=24, seeds=1
    )
    summary = memorize.train(config)
    for prefix in ("", "eval_"):
        assert values_of(summary, f"{prefix}exact") == [1.0]
        assert values_of(summary, f"{prefix}regenerated") == [1.0]
    assert (tmp_path / "run" / "regenerated.txt").read_text() == "seed 0: 여름 밤, 가을 밤.\n"


def test_what_is_said_alone_follows_what_was_said():
    vocabulary = tasks.Vocabulary.build(["ab"])
    model = _language.language_model(len(vocabulary), "elman", 4)
    params = jax.jit(model.init)(jax.random.key(3))
    said = memorize.regenerate(params, 5, model=model).tolist()
    step = jax.jit(lambda state, token: model.bind(params).step(state, token))
    state, token, wanted = model.bind(params).initial_state(), vocabulary.begin, []
    while len(wanted) < 5:
        logits, state = step(state, jnp.int32(token))
        token = token if wanted and token == vocabulary.end else int(jnp.argmax(logits))
        wanted.append(token)
    assert said == wanted


# ---- long texts


def test_windows_hold_every_token_as_a_target_once():
    ids = np.arange(23, dtype=np.int32)
    rows = _streams.windows(ids, 2, 4, remainder="keep")
    kept = [row[:length] for row, length in zip(rows["targets"], rows["lengths"], strict=True)]
    assert sorted(np.concatenate(kept)) == list(range(1, 23))
    # Rows 2 n and 2 n + 1 are window n of both streams, each of which goes on where it ended.
    assert rows["inputs"][2, 0] == rows["targets"][0, -1]
    assert rows["first"].tolist() == [True, True] + [False] * (len(rows["first"]) - 2)
    dropped = _streams.windows(ids, 2, 4, remainder="drop")
    assert "lengths" not in dropped
    np.testing.assert_array_equal(dropped["targets"], dropped["inputs"] + 1)


def test_the_loss_of_streams_is_that_of_one_long_sequence():
    model = _language.language_model(9, "elman", 5)
    params = jax.jit(model.init)(jax.random.key(0))
    ids = np.random.default_rng(0).integers(0, 9, 30).astype(np.int32)
    logits = jax.jit(lambda params: model.bind(params)(ids[None, :-1]))(params)[0]
    wanted = -jax.nn.log_softmax(logits)[np.arange(29), ids[1:]].mean()
    np.testing.assert_allclose(_streams.nats(params, ids, 7, model=model), wanted, rtol=1e-5)


CHARACTERS = {**TINY, "layers": 1, "epochs": 2, "batch_size": 4, "window": 8, "sample_length": 10}
CHARACTERS |= {"dropout": 0.2, "embedding_dropout": 0.1, "recurrent_dropout": 0.1}


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("char_lm")
    options = {"workdir": str(folder / "run"), "data": write(folder / "text.txt", TEXT), **CHARACTERS}
    return folder, options, char_lm.train(char_lm.Config(**options))


def test_a_character_model_is_compared_with_counting(characters):
    folder, _, summary = characters
    assert summary["metrics"]["val_loss"]["max"] < np.log(len(set(TEXT)) + _language.MARKS)
    end = len(TEXT) * 9 // 10
    counts = collections.Counter(TEXT[:end])
    total = end + len(counts) + _language.MARKS
    nats = [-np.log((counts[letter] + 1) / total) for letter in TEXT[end + 1 :]]
    np.testing.assert_allclose(values_of(summary, "unigram_loss"), np.mean(nats))
    assert (folder / "run" / "samples.txt").read_text().count("--- seed 0") == len(_streams.TEMPERATURES)


def test_a_finished_character_model_is_evaluated_and_not_trained(characters):
    folder, options, summary = characters
    other = write(folder / "other.txt", TEXT[len(TEXT) * 9 // 10 :])
    again = char_lm.train(char_lm.Config(**options, eval_data=other))
    assert again["wall_s"] == summary["wall_s"]
    assert values_of(again, "eval_unknown") == [0.0, 0.0]
    # The same characters, read in one stream and not in four, each of which begins without a past.
    np.testing.assert_allclose(values_of(again, "eval_loss"), values_of(summary, "val_loss"), atol=0.1)
    strange = write(folder / "strange.txt", "the cät")
    with pytest.raises(ValueError, match="got 'ä' at place 5"):
        char_lm.train(char_lm.Config(**options, eval_data=strange, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt: expected at least one of the characters"),
        ({"window": 400}, "data: expected more than .* characters, for a window of 400 in each of 4 streams, got 648"),
        ({"tied": True}, "tied: expected an embedding as wide as"),
        ({"eval_data": "no-such-file"}, "expected a readable text file, got no-such-file"),
    ],
)
def test_what_does_not_fit_a_text_is_refused(characters, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        char_lm.train(char_lm.Config(**{**characters[1], "workdir": str(tmp_path), **options}))


# ---- words


def test_related_words_are_those_of_the_greatest_cosine():
    vocabulary = tasks.Vocabulary(("king", "queen", "table", "anti"))
    table = np.array([[9, 9]] * 4 + [[1, 0], [2, 1], [0, 5], [-3, 0]], np.float32)
    assert word_lm.related(vocabulary, table, "king") == ["queen 0.89", "table 0.00", "anti -1.00"]


def test_words_to_relate_are_the_ones_asked_for_or_frequent_ones():
    vocabulary = tasks.Vocabulary(("the", ",", "there", "king", "12345"))
    assert word_lm.words_to_relate(vocabulary, "king, the") == ["king", "the"]
    assert word_lm.words_to_relate(vocabulary, "") == ["there", "king"]
    with pytest.raises(ValueError, match="related: expected words of the training text, got 'King'"):
        word_lm.words_to_relate(vocabulary, "King")


def test_a_word_model_knows_its_baselines(tmp_path):
    options = {
        **TINY,
        "workdir": str(tmp_path / "run"),
        "data": write(tmp_path / "text.txt", TEXT),
        "seeds": 1,
        "embedding_size": 6,
        "batch_size": 2,
        "window": 8,
        "epochs": 1,
        "sample_length": 5,
        "prompt": "the",
    }
    summary = word_lm.train(word_lm.Config(**options))
    config = word_lm.Config(**options, related="cat", eval_data=write(tmp_path / "eval.txt", "the cat ate the dog"))
    again = word_lm.train(config)
    assert again["wall_s"] == summary["wall_s"]
    assert values_of(again, "eval_unknown") == [1 / 5]
    assert values_of(again, "eval_perplexity") == pytest.approx(np.exp(values_of(again, "eval_loss")))
    words = tasks.split_text(TEXT, "words")
    training, held_out = words[: len(words) * 9 // 10], words[len(words) * 9 // 10 :]
    counts = collections.Counter(training)
    total = len(training) + len(counts) + _language.MARKS
    wanted = np.exp(np.mean([-np.log((counts[word] + 1) / total) for word in held_out[1:]]))
    np.testing.assert_allclose(values_of(summary, "unigram_perplexity"), wanted)
    assert (tmp_path / "run" / "related.txt").read_text().startswith("cat: ")


# ---- series


def test_a_series_is_parted_in_time_and_scaled_by_its_training_part():
    values = np.arange(100.0)
    one = _series.part("line", values, 5, 12)
    assert (one.validation, one.test, one.period_steps) == (80, 90, 12)
    np.testing.assert_allclose([one.scaled[:80].mean(), one.scaled[:80].std()], [0, 1], atol=1e-5)
    training, validation = _series.samples([one], 5)
    back = [np.round(y[:, 0] * one.scale + one.mean).tolist() for _, y in (training, validation)]
    assert back == [list(range(5, 80)), list(range(80, 90))]
    np.testing.assert_array_equal(validation[0][0], one.scaled[75:80])


@pytest.mark.parametrize("period", [7, 24, 100])
def test_a_season_is_found_in_noise(period):
    noise = 0.5 * np.random.default_rng(0).standard_normal(1000)
    assert abs(_series.season(np.sin(2 * np.pi * np.arange(1000) / period) + noise) - period) <= period // 10


def test_there_is_no_season_in_a_line():
    assert _series.season(np.array([0.0, 1.0, 2.0])) == 1


def test_errors_are_those_of_a_loop():
    values = np.random.default_rng(1).standard_normal(12)
    one = _series.Series(values, 6, 8, 0.0, 1.0, 3)
    found = _series.errors(one, 8, values[8:] + 2, values[8:] - 1)
    wanted = {"one_step": 2.0, "free_running": 1.0}
    repeated = {
        "persistence": lambda step: step - 1,
        "seasonal": lambda step: step - 3,
        "free_persistence": lambda step: 7,
        "free_seasonal": lambda step: 5 + (step - 8) % 3,
    }
    for name, source in repeated.items():
        wanted[name] = np.sqrt(np.mean([(values[source(step)] - values[step]) ** 2 for step in range(8, 12)]))
    assert found == pytest.approx({f"{name}_rmse": value for name, value in wanted.items()})
    assert "seasonal_rmse" not in _series.errors(one._replace(period_steps=9), 8, values[8:], values[8:])


def test_forecasts_read_what_was_and_free_running_ones_what_was_forecast():
    one = _series.part("sine", 3 + np.sin(np.arange(60.0)), 4, 6)
    model = _forecaster.forecaster("elman", 3, 1)
    params, predict = jax.jit(model.pure.init)(jax.random.key(0)), jax.jit(model.predict)
    ahead, free = _forecaster.forecasts(params, one, one.test, 4, model=model)
    known, own = one.scaled[: one.test, 0].tolist(), one.scaled[: one.test, 0].tolist()
    for step in range(one.test, 60):
        for series, found in ((known, ahead), (own, free)):
            value = float(predict(params, np.float32(series[-4:])[None, :, None])[0, 0])
            assert found[step - one.test] == pytest.approx(value * one.scale + one.mean, abs=1e-5)
            series.append(float(one.scaled[step, 0]) if series is known else value)


def test_a_forecast_of_files_and_of_others_when_it_is_finished(tmp_path):
    steps = np.arange(120)
    for name, series in {"a": np.sin(steps), "b": 50 + 9 * np.cos(steps / 2)}.items():
        write(tmp_path / f"{name}.csv", "date,value\n" + "".join(f"d{n},{value}\n" for n, value in enumerate(series)))
    options = {**TINY, "workdir": str(tmp_path / "run"), "data": str(tmp_path / "[ab].csv"), "window": 6, "epochs": 1}
    summary = forecast.train(forecast.Config(**options))
    assert {"a.one_step_rmse", "b.free_running_rmse", "b.free_seasonal_rmse"} <= set(summary["metrics"])
    assert (tmp_path / "run" / "forecast_a.png").exists()
    again = forecast.train(forecast.Config(**options, eval_data=str(tmp_path / "a.csv")))
    assert again["wall_s"] == summary["wall_s"]
    period = _series.season(np.sin(steps)[:96])
    wanted = np.sqrt(np.mean((np.sin(steps[period:]) - np.sin(steps[period:] - 1)) ** 2))
    assert values_of(again, "eval_persistence_rmse") == pytest.approx([wanted, wanted], rel=1e-5)
    (tmp_path / "c.csv").write_text((tmp_path / "a.csv").read_text())
    with pytest.raises(ValueError, match="eval_data: expected series named as one of .'a', 'b'., got c"):
        forecast.train(forecast.Config(**options, eval_data=str(tmp_path / "c.csv")))


def test_files_of_one_name_are_several_series(tmp_path):
    rows = {place: "".join(f"{place + n % 7};{n}\n" for n in range(60)) for place in (0, 100)}
    for folder, place in (("a", 0), ("b", 100)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "flow.csv", "v;w\n" + rows[place])
    found = _series.read(str(tmp_path / "*" / "flow.csv"), 5, 0, columns=["v"])
    assert {name: one.values[0] for name, one in found.items()} == {"a_flow": 0, "b_flow": 100}
    write(tmp_path / "two.csv", "x,y\n" + rows[0].replace(";", ","))
    write(tmp_path / "two_0.csv", "x\n" + "1\n2\n" * 30)
    with pytest.raises(ValueError, match="expected series of distinct names, got 'two_0' twice"):
        _series.read(str(tmp_path / "*.csv"), 5, 0)
    flags = forecast.Config(columns="v, w", delimiter=";", decimal=",", header="no", time="t", missing="forward")
    path = write(tmp_path / "flags.csv", "1990-01-01;1,5\n1990-01-02;\n")
    assert tasks.read_series(path, **flags.reading | {"columns": [1], "time": 0}).tolist() == [[1.5], [1.5]]
    assert flags.reading["columns"] == ["v", "w"]
    for wrong in ({"header": "maybe"}, {"missing": "mask"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            forecast.train(forecast.Config(workdir=str(tmp_path / "run"), **wrong))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1", "2", ""], "expected a header and rows|expected more than"),
        (["1", "nan"] * 40, "expected a number in column 'v', got 'nan' in line 3"),
        (["2"] * 90, "expected a series that changes, got 2 throughout"),
        (["1", "2"] * 10, "expected more than 70 values for a window of 48, got 20"),
    ],
)
def test_what_is_no_series_is_refused(tmp_path, rows, message):
    path = write(tmp_path / "bad.csv", "v\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=message):
        forecast.train(forecast.Config(workdir=str(tmp_path / "run"), data=path))
