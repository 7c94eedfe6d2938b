"""How well does a recurrent network predict text, word by word, and what does it learn about words?

    python -m experiments.word_lm --data=input.txt --related=king --workdir=runs/word_lm

The text of `experiments.char_lm`, split in words, signs and line ends; the last tenth is held out. Words that the
training part has only once are unknown ones, so that the network learns when to expect one. Network and baselines
know the same words. The table that words are embedded in also reads out the logits.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (nats a word), ``val_perplexity`` (e to the loss over all
held-out words, by the best network), ``unigram_perplexity`` and ``bigram_perplexity`` (of the same words by counting,
see `recur.tasks`), ``best_val_loss``, ``best_epoch``, ``val_unknown`` (share of held-out words that are unknown), and
with ``--eval_data`` ``eval_loss``, ``eval_perplexity``, ``eval_unknown`` and both baselines of that text,
``eval_unigram_perplexity`` and ``eval_bigram_perplexity``.

The page shows samples, and for the words of ``--related``, or else for frequent ones, those whose vectors have the
greatest cosine with theirs.
"""

import dataclasses
from typing import Any

import numpy as np

from experiments import _language, _streams
from recur import tasks
from recur.runs import _config, _main, _problem, _run

FREQUENT, NEIGHBOURS = 8, 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_streams.StreamConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/word_lm", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(128, "Hidden units of a layer.", least=1)
    layers: int = _config.option(1, "Layers.", least=1)
    embedding_size: int = _config.option(128, "Features that a word is embedded in.", least=1)
    tied: bool = _config.option(True, "Read the logits from the table of the embedding, which is as wide as a layer.")
    dropout: float = _config.option(0.5, "Share of a layer's outputs that is dropped while training.", least=0.0)
    embedding_dropout: float = _streams.embedding_dropout(0.5)
    least_count: int = _config.option(2, "How often a word must occur in the training text to be known.", least=1)
    epochs: int = _config.option(15, "Passes over the text.", least=1)
    window: int = _config.option(
        32, "Steps that the gradient goes back; the state goes on from window to window.", least=1
    )
    learning_rate: float = _config.option(4e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run.")
    related: str = _config.option("", "Words, with commas between, to show related words of.", free=True)
    sample_length: int = _config.option(100, "Words of a sample.", least=1, free=True)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("word_lm", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    corpus = _streams.read(config, "words", least_count=config.least_count)
    words = words_to_relate(corpus.vocabulary, config.related)
    model = _streams.model_of(config, corpus)
    texts = {"val": corpus.held_out} | ({} if corpus.evaluation is None else {"eval": corpus.evaluation})
    counted = {
        ("eval_" if part == "eval" else "") + f"{name}_perplexity": count(corpus.training, ids, len(corpus.vocabulary))
        for part, ids in texts.items()
        for name, count in {"unigram": tasks.unigram_perplexity, "bigram": tasks.bigram_perplexity}.items()
    }

    def measure(params):
        losses = {part: float(_streams.nats(params, ids, config.window, model=model)) for part, ids in texts.items()}
        return {f"{part}_perplexity": tasks.perplexity(loss) for part, loss in losses.items()} | counted

    def show(params):
        table = np.asarray(model.bind(_language.seeds_of(params)[0]).vocabulary.embedding.table[...])
        lines = [f"{word}: {', '.join(related(corpus.vocabulary, table, word))}" for word in words]
        return {"related": lines, "samples": _streams.samples(config, corpus, params, "words")}

    baselines = {f"{name}s": np.log(counted[f"{name}_perplexity"]) for name in ("unigram", "bigram")}
    return _streams.pose(
        config,
        corpus,
        measure=measure,
        measured="best",
        show=show,
        loss_name="cross-entropy in nats a word",
        loss_scale="linear",
        floors=baselines,
    )


def words_to_relate(vocabulary: tasks.Vocabulary, words: str) -> list[str]:
    """Returns the words asked for, or else the most frequent ones of four letters or more.

    Raises:
        ValueError: A word that the vocabulary has not.
    """
    asked = [word.strip() for word in words.split(",") if word.strip()]
    missing = [word for word in asked if word not in vocabulary.tokens]
    if missing:
        raise ValueError(f"related: expected words of the training text, got {missing[0]!r}; mind upper and lower case")
    return asked or [token for token in vocabulary.tokens if token.isalpha() and len(token) > 3][:FREQUENT]


def related(vocabulary: tasks.Vocabulary, table: np.ndarray, word: str) -> list[str]:
    """Returns the words whose vectors ``table [V, E]`` have the greatest cosine with that of a word, nearest first."""
    vectors = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), np.finfo(table.dtype).tiny)
    own = _language.MARKS + vocabulary.tokens.index(word)
    cosine = vectors @ vectors[own]
    cosine[: _language.MARKS] = cosine[own] = -np.inf
    best = np.argsort(-cosine, kind="stable")[: min(NEIGHBOURS, len(vocabulary.tokens) - 1)]
    return [f"{vocabulary.tokens[n - _language.MARKS]} {cosine[n]:.2f}" for n in best]


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
