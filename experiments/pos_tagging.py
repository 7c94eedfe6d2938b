"""Which part of speech is each word of a sentence?

    python -m experiments.pos_tagging --data=FILE.conllu --workdir=runs/pos_tagging

A network reads the words in both directions, each as its embedding beside what a smaller one makes of its characters,
and gives every word a universal tag. Some words of training are read as unknown: characters must do. Data: CoNLL-U
files, every tenth sentence held out; by default 60 sentences, English and Korean, written by hand to show the format.

Metrics, one value a seed: ``train_loss``, ``val_loss`` (nats a word, after the last epoch), ``train_accuracy``,
``val_accuracy``, ``best_val_accuracy``, ``best_epoch``, ``majority_accuracy`` (giving every word its most frequent tag
of training), and with ``--eval_data`` ``eval_loss``, ``eval_accuracy``, ``eval_majority_accuracy``.
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

TAGS, SHOWN, PAD = tasks.Labels(tasks.UPOS), 8, dict.fromkeys(("words", "characters", "tags"), tasks.Vocabulary.pad)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_words.SentenceConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/pos_tagging", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(128, "Units that read words, in each direction.", least=1)
    embedding_size: int = _config.option(96, "Features that a word is embedded in.", least=1)
    character_hidden_size: int = _config.option(64, "Units that read characters, in each direction.", least=1)
    character_embedding_size: int = _config.option(32, "Features that a character is embedded in.", least=1)
    spelled: int = _config.option(20, "Letters of a word that are read.", least=1)
    dropout: float = _config.option(0.4, "Share of the features that training drops between layers.", least=0.0)
    unknown: float = _config.option(0.25, "Share of the words that training reads as unknown.", least=0.0)
    least_count: int = _config.option(1, "How often training must have a word; others are unknown.", least=1)
    epochs: int = _config.option(15, "Passes over the training data.", least=1)
    batch_size: int = _config.option(16, "Sentences of a batch.", least=1)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    data: str = _config.option("", "CoNLL-U file to train on, in place of the sample.")
    eval_data: str = _config.option("", "CoNLL-U file to evaluate on at the end, also for a finished run.")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("pos_tagging", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    training, held_out = tasks.hold_out(tasks.read_conllu(config.data) if config.data else tasks.sample_tagging())
    words = tasks.Vocabulary.build((s.words for s in training), least_count=config.least_count)
    alphabet = tasks.Vocabulary.build(word for sentence in training for word in _words.letters(sentence.words))
    model = _words.pure(functools.partial(_tagger, config, len(words), len(alphabet)))
    loss = functools.partial(_loss, model, config.unknown)
    items = functools.partial(_items, words, alphabet, config.spelled, strict=config.strict)
    batches = _words.batches(config, PAD)
    validation = items(held_out, "validation")
    baselines = {"majority_accuracy": tasks.majority_tag_accuracy(training, held_out)}
    evaluate = _words.evaluation(loss)
    if config.eval_data:
        evaluated = tasks.read_conllu(config.eval_data)
        baselines["eval_majority_accuracy"] = tasks.majority_tag_accuracy(training, evaluated)
        evaluate = _words.evaluation(loss, batches(items(evaluated, "eval_data")))

    def show(params: PyTree) -> dict[str, list[str]]:
        logits = _logits(model, _words.first_seed(params), batches(validation[:SHOWN], batch_size=SHOWN)[0])
        tags = np.asarray(jnp.argmax(logits, axis=-1))
        return {"samples": [_tagged(*both) for both in zip(held_out[:SHOWN], tags, strict=False)]}

    return _problem.Problem(
        init=model.init,
        loss=loss,
        batches=batches(items(training, "data", strict=False), key=jax.random.key(_words.ORDER_SEED), epochs=None),
        validation=batches(validation),
        loss_name="cross-entropy, nats a word",
        monitor="val_accuracy",
        maximize=True,
        measure=_problem.each_seed(lambda params: baselines | evaluate(params)),
        show=show,
        recurrence=functools.partial(_recurrence, model, *_words.longest(validation, "words", "characters")),
        reads=lambda params, batch: _recurrence(model, batch["words"], batch["characters"], params),
    )


def _items(words, alphabet, most: int, sentences: list[tasks.Sentence], what: str, *, strict: bool) -> list[dict]:
    """Returns words, their characters and their tags as numbers, and reports what is unknown."""
    said = [sentence.words for sentence in sentences]
    ids = _words.encode(words, said, f"{what}, words", strict=strict)
    spelled = _words.spell(alphabet, said, most, f"{what}, letters", strict=strict)
    tags = [TAGS.encode(sentence.tags) for sentence in sentences]
    return [dict(zip(PAD, item, strict=True)) for item in zip(ids, spelled, tags, strict=True)]


def _tagger(config: Config, vocabulary_size: int, alphabet_size: int, rngs: Any) -> nn.SequenceTagger:
    tagger = nn.SequenceTagger(
        vocabulary_size,
        len(TAGS),
        cells.CELLS[config.cell],
        hidden_size=config.hidden_size,
        embedding_size=config.embedding_size,
        alphabet_size=alphabet_size,
        character_hidden_size=config.character_hidden_size,
        character_embedding_size=config.character_embedding_size,
        dropout=config.dropout,
        rngs=rngs,
    )
    tagger.embedding.table[...] *= _words.EMBEDDING_SCALE
    # Letters are few, and all of them count.
    tagger.character_embedding.dropout = 0.0
    return tagger


def _logits(model: _words.Pure, params: PyTree, batch: dict, key: Any = None) -> jax.Array:
    characters = batch["characters"]
    options = {"lengths": _words.counted(batch, "words")[0], "character_lengths": (characters > 0).sum(axis=-1)}
    return model.merge(params)(batch["words"], characters, **options, key=key)


def _loss(model: _words.Pure, unknown: float, params: PyTree, batch: dict, key: Any) -> tuple[jax.Array, dict]:
    lengths, mask = _words.counted(batch, "words")
    batch = {**batch, "words": _words.forget(key, batch["words"], unknown)}
    logits = _logits(model, params, batch, key)
    nats = nn.cross_entropy(logits, batch["tags"], mask=mask)
    return nats, {"accuracy": nn.accuracy(logits, batch["tags"], mask=mask), "weight": lengths.sum()}


def _recurrence(model: _words.Pure, words: jax.Array, characters: jax.Array, params: PyTree) -> tuple:
    """Returns the cell that reads words forwards, and what it reads of some sentences."""
    tagger = model.merge(params)
    embedded = tagger.character_embedding(characters)
    spelled = tagger.spelling(embedded, lengths=(characters > 0).sum(axis=-1), return_sequences=False)
    xs = jnp.concatenate([tagger.embedding(words), spelled], axis=-1)
    return *_words.lowest_forward(tagger.stack), jnp.moveaxis(xs, 1, 0)


def _tagged(sentence: tasks.Sentence, numbers: np.ndarray) -> str:
    """Returns a sentence with its tags; behind a wrong one stands the right one."""
    entries = zip(*sentence, TAGS.decode(numbers[: len(sentence.words)]), strict=True)
    return " ".join(f"{word}/{tag}" + ("" if tag == right else f"[{right}]") for word, right, tag in entries)


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
