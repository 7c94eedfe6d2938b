"""Experiments on words, letters and sentences: tagging, sentiment, captions, translation, on tiny runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _pictures, _translation, _words, captioning, pos_tagging, sentiment, translation
from recur import tasks

TINY = {"hidden_size": 4, "embedding_size": 3, "seeds": 1, "steps": 2, "tensorboard": False}
TINY_TAGGER = TINY | {"character_hidden_size": 2, "character_embedding_size": 2, "spelled": 4, "batch_size": 8}


def medians(summary):
    return {name: metric["median"] for name, metric in summary["metrics"].items()}


def assert_same_on_the_same_data(metrics):
    """Held-out data given as a file of their own have the numbers of validation."""
    assert {"eval_loss"} <= {name for name in metrics if name.startswith("eval_")}
    for name, value in metrics.items():
        if name.startswith("eval_"):
            twin = name.removeprefix("eval_")
            assert value == pytest.approx(metrics.get(f"val_{twin}", metrics.get(twin)), rel=1e-5)


def write_conllu(path, sentences):
    lines = []
    for words, tags in sentences:
        rows = enumerate(zip(words, tags, strict=True), start=1)
        lines += ["\t".join([str(n), word, "_", tag, *"______"]) for n, (word, tag) in rows] + [""]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def test_tagging_runs_and_is_evaluated_again(tmp_path, capsys):
    options = TINY_TAGGER | {"workdir": str(tmp_path / "run")}
    first = pos_tagging.train(pos_tagging.Config(**options))
    assert "validation, words: " in capsys.readouterr().out
    training, held_out = tasks.hold_out(tasks.sample_tagging())
    write_conllu(tmp_path / "eval.conllu", held_out)
    again = pos_tagging.train(pos_tagging.Config(**options, eval_data=str(tmp_path / "eval.conllu")))
    assert again["wall_s"] == first["wall_s"]
    metrics = medians(again)
    assert_same_on_the_same_data(metrics)
    assert metrics["majority_accuracy"] == tasks.majority_tag_accuracy(training, held_out)
    # The samples show what the accuracy counts: six sentences are all that are held out.
    words = (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8").split()
    wrong = sum(word.endswith("]") for word in words)
    assert metrics["val_accuracy"] == pytest.approx(1 - wrong / len(words))


def test_sentiment_reads_labelled_lines(tmp_path):
    texts, labels = tasks.sample_sentiment()
    lines = [f"{label}\t{text}\n" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "data.tsv").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "eval.tsv").write_text("".join(lines[9::10]), encoding="utf-8")
    files = {"data": str(tmp_path / "data.tsv"), "eval_data": str(tmp_path / "eval.tsv")}
    config = sentiment.Config(**TINY, workdir=str(tmp_path / "run"), batch_size=8, **files)
    metrics = medians(sentiment.train(config))
    assert_same_on_the_same_data(metrics)
    assert metrics["majority_accuracy"] == 0.5
    assert "(is neg): " in (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8")


def test_captions_spell_digits(tmp_path):
    digits = tasks.load_digits()
    np.savez(tmp_path / "data.npz", x=digits.images[:200], y=digits.labels[:200])
    np.savez(tmp_path / "eval.npz", x=digits.images[9:200:10], y=digits.labels[9:200:10, None])
    files = {"data": str(tmp_path / "data.npz"), "eval_data": str(tmp_path / "eval.npz")}
    config = captioning.Config(**TINY, workdir=str(tmp_path / "run"), **files)
    metrics = medians(captioning.train(config))
    assert_same_on_the_same_data(metrics)
    assert (tmp_path / "run" / "digits.png").read_bytes()[:4] == b"\x89PNG"
    lines = (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8").splitlines()
    wanted = [captioning.CAPTIONS[label] for label in digits.labels[9:200:10][: captioning.SHOWN]]
    assert [line.rpartition(" (is ")[2] for line in lines] == [f"{name})" for name in wanted]


def test_translation_goes_both_ways(tmp_path):
    sample = tasks.sample_translation()
    for name, place in {"train": slice(20), "val": slice(20, 24)}.items():
        for ending, texts in zip(("de", "en"), sample, strict=True):
            (tmp_path / f"{name}.{ending}").write_text("\n".join(texts[place]), encoding="utf-8")
    folder = tmp_path / "eval"
    folder.mkdir()
    for ending in ("de", "en"):
        (folder / f"test.{ending}").write_text((tmp_path / f"val.{ending}").read_text("utf-8"), encoding="utf-8")
    sizes = TINY | {"batch_size": 8, "least_count": 1, "max_words": 6, "max_length": 8, "beam_size": 2}
    files = {"data": str(tmp_path), "eval_data": str(folder)}
    config = translation.Config(**sizes, workdir=str(tmp_path / "run"), **files)
    metrics = medians(translation.train(config))
    assert_same_on_the_same_data(metrics)
    assert {"val_bleu", "val_beam_bleu", "val_exact", "val_beam_exact"} <= set(metrics)
    assert (tmp_path / "run" / "attention.png").read_bytes()[:4] == b"\x89PNG"


def test_numbers_are_distinct_and_named_rightly():
    training, held_out = _translation.numbers(1_500, "de", seed=1)
    assert (len(training.sources), len(held_out.sources)) == (1_350, 150)
    sources, names = training.sources + held_out.sources, training.targets + held_out.targets
    found = {int(source.replace(" ", "")): name for source, name in zip(sources, names, strict=True)}
    assert len(found) == 1_500
    assert set(range(1_000)) <= set(found)
    assert all(name == " ".join(tasks.number_words(number, "de")) for number, name in found.items())


def test_without_a_validation_pair_every_tenth_is_held_out(tmp_path):
    for ending in ("ko", "en"):
        (tmp_path / f"all.{ending}").write_text("\n".join(f"{ending} {n}" for n in range(20)), encoding="utf-8")
    _, held_out = _translation.read(str(tmp_path), "ko", "en")
    assert held_out == tasks.Pairs(["ko 9", "ko 19"], ["en 9", "en 19"])


def test_unknown_words_are_counted_or_refused(capsys):
    vocabulary = tasks.Vocabulary(("나는", "간다"))
    ids = _words.encode(vocabulary, [["나는", "집에", "간다"], ["온다"]], "words", strict=False)
    assert [row.tolist() for row in ids] == [[4, 1, 5], [1]]
    assert capsys.readouterr().out.startswith("words: 2 of 4 tokens unknown (50.00 %), first '집에'")
    with pytest.raises(ValueError, match="words: expected with --strict .* got '집에', and 2 of 4 in all"):
        _words.encode(vocabulary, [["나는", "집에", "간다"], ["온다"]], "words", strict=True)


def test_words_are_forgotten_in_training_only():
    ids = jnp.full((100, 100), 7)
    assert _words.forget(None, ids, 0.3) is ids
    forgotten = np.asarray(_words.forget(jax.random.key(0), ids, 0.3))
    assert set(np.unique(forgotten)) == {tasks.Vocabulary.unknown, 7}
    # Four standard deviations of the mean of 10,000 draws.
    assert abs((forgotten == tasks.Vocabulary.unknown).mean() - 0.3) < 4 * (0.3 * 0.7 / 1e4) ** 0.5


def test_copies_and_padding_do_not_count():
    batch = {"words": np.zeros((2, 3)), "words_lengths": np.array([2, 2]), "valid": np.array([True, False])}
    lengths, mask = _words.counted(batch, "words")
    assert lengths.tolist() == [2, 0]
    assert mask.tolist() == [[True, True, False], [False, False, False]]


def test_lengths_to_pad_to_reach_the_longest():
    assert _words.buckets(16) == [16]
    assert _words.buckets(65) == [16, 32, 64, 128]


def test_the_longest_items_are_cut_to_one_length():
    items = [{"a": np.arange(n), "b": np.arange(n) + 10} for n in (2, 4, 3)]
    a, b = _words.longest(items, "a", "b")
    assert a.tolist() == [[0, 1]] * 3
    assert b.tolist() == [[10, 11]] * 3


def test_a_wrong_tag_shows_the_right_one():
    sentence = tasks.Sentence(("Dogs", "bark"), ("NOUN", "VERB"))
    numbers = pos_tagging.TAGS.encode(["NOUN", "NOUN", "X"])
    assert pos_tagging._tagged(sentence, numbers) == "Dogs/NOUN bark/NOUN[VERB]"


def test_pictures_write_no_letter_that_their_font_has_not():
    figure = _pictures.attention([np.eye(2)], [["나는", "Äpfel"]], [["ich", "<end>"]])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["□□", "Äpfel"]


def test_wrong_values_and_files_are_named_before_anything_is_written(tmp_path):
    run = {"workdir": str(tmp_path / "run")}
    (tmp_path / "bad.conllu").write_text("1\tA\t_\tDET\n", encoding="utf-8")
    (tmp_path / "one.tsv").write_text("pos\tgood\n" * 20, encoding="utf-8")
    (tmp_path / "x.de").write_text("ja\nnein\n", encoding="utf-8")
    (tmp_path / "x.en").write_text("yes\n", encoding="utf-8")
    np.savez(tmp_path / "eleven.npz", x=np.zeros((20, 8, 8)), y=np.full(20, 11))
    for experiment, options, message in [
        (pos_tagging, {"data": "bad.conllu"}, "10 columns .* line 1 of"),
        (pos_tagging, {"strict": True}, "validation, words: expected with --strict"),
        (pos_tagging, {"max_length": 3}, "at most 3, got length"),
        (pos_tagging, {"dropout": 1.0}, "dropout: expected a share below 1"),
        (sentiment, {"data": "one.tsv"}, "at least two classes"),
        (captioning, {"eval_data": "eleven.npz"}, "whole numbers below 10, got 11"),
        (translation, {"data": "."}, "as many lines in both files, got 2 in .* and 1 in"),
        (translation, {"attention": "dots"}, "attention: expected one of"),
    ]:
        files = {key: str(tmp_path / value) if "data" in key else value for key, value in options.items()}
        with pytest.raises(ValueError, match=message):
            experiment.train(experiment.Config(**run | files))
    assert not (tmp_path / "run").exists()
