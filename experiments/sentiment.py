"""Is what a sentence says good or bad?

    python -m experiments.sentiment --data=FOLDER --workdir=runs/sentiment

A network reads the words in both directions; of each unit the greatest output over the sentence counts, and a linear
readout of these tells the class. Words of training are now and then read as unknown, and nearly all features that it
could learn by heart are dropped now and then.

Data: labelled lines, in a folder with one file a class, named by its ending, or in one file of ``label<TAB>text``, of
which every tenth line is held out for validation; by default 80 opinions on films, English and Korean, written by hand
to show the format. Words are read in small letters.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (cross-entropy in nats, after the last epoch),
``train_accuracy`` (with features and words dropped) and ``val_accuracy``, ``best_val_accuracy``, ``best_epoch``,
``majority_accuracy`` (always the most frequent class of training), and with ``--eval_data`` ``eval_loss``,
``eval_accuracy``, ``eval_majority_accuracy``.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import _words
from recur import cells, nn, tasks
from recur.runs import _config, _main, _problem, _run

PAD = {"words": tasks.Vocabulary.pad}
SHOWN = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_words.SentenceConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/sentiment", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(64, "Units that read words, in each direction.", least=1)
    embedding_size: int = _config.option(128, "Features that a word is embedded in.", least=1)
    epochs: int = _config.option(3, "Passes over the training data.", least=1)
    batch_size: int = _config.option(32, "Texts of a batch.", least=1)
    learning_rate: float = _config.option(2e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    data: str = _config.option("", "Folder of classes, or file of label<TAB>text, to train on, in place of the sample.")
    eval_data: str = _config.option("", "Such a folder or file to evaluate on at the end, also for a finished run.")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("sentiment", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    training, held_out = tasks.hold_out(tasks.read_labelled(config.data) if config.data else tasks.sample_sentiment())
    labels = tasks.Labels.build(training.labels)
    vocabulary = tasks.Vocabulary.build(map(_split, training.texts), least_count=config.least_count)
    model = _words.pure(functools.partial(_classifier, config, len(vocabulary), len(labels)))
    loss = functools.partial(_loss, model, config.unknown)
    items = functools.partial(_items, vocabulary, labels, strict=config.strict)
    batches = _words.batches(config, PAD)
    validation = items(held_out, "validation")
    baselines = {"majority_accuracy": tasks.majority_accuracy(training.labels, held_out.labels)}
    evaluate = _words.evaluation(loss)
    if config.eval_data:
        evaluated = tasks.read_labelled(config.eval_data, least_classes=1)
        baselines["eval_majority_accuracy"] = tasks.majority_accuracy(training.labels, evaluated.labels)
        evaluate = _words.evaluation(loss, batches(items(evaluated, "eval_data")))

    def show(params: PyTree) -> dict[str, list[str]]:
        # From all over: the classes come one after the other.
        places = np.linspace(0, len(validation) - 1, min(SHOWN, len(validation))).astype(int).tolist()
        batch = batches([validation[place] for place in places], batch_size=len(places), buckets=1)[0]
        shares = np.asarray(jax.nn.softmax(_logits(model, _words.first_seed(params), batch)))
        named = zip(labels.decode(shares.argmax(axis=1)), shares.max(axis=1), places, strict=True)
        return {
            "samples": [
                f"{name} {share:.2f} (is {held_out.labels[place]}): {held_out.texts[place]}"
                for name, share, place in named
            ]
        }

    return _problem.Problem(
        init=model.init,
        loss=loss,
        batches=batches(items(training, "data", strict=False), key=jax.random.key(_words.ORDER_SEED), epochs=None),
        validation=batches(validation),
        loss_name="cross-entropy, nats",
        loss_scale="linear",
        floors={"a guess": float(np.log(len(labels)))},
        monitor="val_accuracy",
        maximize=True,
        measure=_problem.each_seed(lambda params: baselines | evaluate(params)),
        show=show,
        recurrence=functools.partial(_recurrence, model, *_words.longest(validation, "words")),
        reads=lambda params, batch: _recurrence(model, batch["words"], params),
    )


def _split(text: str) -> list[str]:
    return tasks.split_text(text.lower(), "words")


def _items(vocabulary, labels, texts: tasks.Labelled, what: str, *, strict: bool) -> list[dict[str, np.ndarray]]:
    """Returns the words of every text and its label as numbers, and reports what is unknown."""
    ids = _words.encode(vocabulary, map(_split, texts.texts), f"{what}, words", strict=strict)
    return [{"words": words, "label": label} for words, label in zip(ids, labels.encode(texts.labels), strict=True)]


def _classifier(config: Config, vocabulary_size: int, classes: int, rngs: Any) -> nn.SequenceClassifier:
    classifier = nn.SequenceClassifier(
        classes,
        cells.CELLS[config.cell],
        vocabulary_size=vocabulary_size,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        bidirectional=True,
        pooling="max",
        dropout=config.dropout,
        rngs=rngs,
    )
    classifier.embedding.table[...] *= _words.EMBEDDING_SCALE
    return classifier


def _logits(model: _words.Pure, params: PyTree, batch: dict, key: Any = None) -> jax.Array:
    return model.merge(params)(batch["words"], lengths=_words.counted(batch, "words")[0], key=key)


def _loss(model: _words.Pure, unknown: float, params: PyTree, batch: dict, key: Any) -> tuple[jax.Array, dict]:
    logits = _logits(model, params, {**batch, "words": _words.forget(key, batch["words"], unknown)}, key)
    labels, mask = batch["label"], batch["valid"]
    nats = nn.cross_entropy(logits, labels, mask=mask)
    return nats, {"accuracy": nn.accuracy(logits, labels, mask=mask), "weight": mask.sum()}


def _recurrence(model: _words.Pure, words: jax.Array, params: PyTree) -> tuple:
    """Returns the cell that reads words forwards, and what it reads of some texts."""
    classifier = model.merge(params)
    return *_words.lowest_forward(classifier.stack), jnp.moveaxis(classifier.embedding(words), 1, 0)


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
