"""How well does a recurrent network predict text, character by character?

    python -m experiments.char_lm --data=input.txt --workdir=runs/char_lm

By default the source text of the running Python's standard library, a million characters, or a text file
(``--data``); the last tenth is held out. Two layers of LSTM read 32 streams side by side, in windows of 64 characters,
and carry their state from window to window: the memory reaches back further than the gradient.

Metrics, one value a seed, losses in nats a character: ``train_loss`` (of the last epoch, with dropout) and ``val_loss``
(over all held-out characters, by the final network), ``val_text_loss`` (the same, read in 4 streams in place of 32, of
which each begins without a past), ``best_val_loss``, ``best_epoch``, ``unigram_loss`` and
``bigram_loss`` (of the held-out characters by counting, see `recur.tasks`), ``val_unknown`` (share of held-out
characters that the training text has not), and with ``--eval_data`` ``eval_loss`` and ``eval_unknown``.
"""

import dataclasses
import math
from typing import Any

from jaxtyping import PyTree

from experiments import _streams
from recur import tasks
from recur.runs import _config, _main, _problem, _run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_streams.StreamConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/char_lm", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(384, "Hidden units of a layer.", least=1)
    embedding_size: int = _config.option(128, "Features that a character is embedded in; 0 for one-hot.", least=0)
    epochs: int = _config.option(12, "Passes over the text.", least=1)
    dropout: float = _config.option(0.4, "Share of a layer's outputs that is dropped while training.", least=0.0)
    embedding_dropout: float = _streams.embedding_dropout(0.1)
    optimizer: str = _config.option("adamw", "Optimiser.")
    weight_decay: float = _config.option(0.05, "Weight decay of adamw.", least=0.0)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run.")
    ema_decay: float = _config.option(
        0.999, "Decay of a moving average of the parameters, which is evaluated; 0 for none.", least=0.0
    )


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("char_lm", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    corpus = _streams.read(config, "characters")
    counted = (corpus.training, corpus.held_out, len(corpus.vocabulary))
    unigram, bigram = (math.log(count(*counted)) for count in (tasks.unigram_perplexity, tasks.bigram_perplexity))
    model = _streams.model_of(config, corpus)

    def measure(params: PyTree) -> dict[str, Any]:
        text_loss = _streams.nats(params, corpus.held_out, config.window, model=model)
        return {"val_text_loss": text_loss, "unigram_loss": unigram, "bigram_loss": bigram}

    return _streams.pose(
        config,
        corpus,
        measure=measure,
        show=lambda params: {"samples": _streams.samples(config, corpus, params, "characters")},
        loss_name="cross-entropy in nats a character",
        loss_scale="linear",
        floors={"bigrams": bigram},
    )


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
