"""What does a sentence say in another language?

    python -m experiments.translation --workdir=runs/numbers
    python -m experiments.translation --data=FOLDER --source=de --target=en --workdir=runs/translation

A network reads the source in both directions, a second one writes the translation word by word, and looks at all of the
source while it writes. The embedding of the words that it writes also reads them out.

Data: numbers as digits and their names, of which every tenth is held out (``--language`` en, de or ko); or a folder
with files NAME.SOURCE and NAME.TARGET, one sentence a line, of the names train and val (without val every tenth pair is
held out). Words are read and written in small letters.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (cross-entropy in nats a word, after the last epoch; in
training of smoothed targets), ``best_val_loss``, ``best_epoch``; of translations made without the right words before:
``val_bleu`` and ``val_beam_bleu`` (sacrebleu in small letters, greedy and by beam search), ``val_exact`` and
``val_beam_exact`` (share that is wholly right), and all of these with ``--eval_data`` as ``eval_...``.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from experiments import _pictures, _translation, _words
from recur import cells, nn, tasks
from recur.runs import _config, _main, _problem, _run

SHOWN, DRAWN, BUCKETS = 8, 3, 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_words.SentenceConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/translation", "Folder of the run; several cells get a folder each in it.")
    language: str = _config.option("en", "Language of the names of numbers: en, de, ko.")
    numbers: int = _config.option(12_000, "Numbers, where there is no data.", least=_translation.SMALL)
    data_seed: int = _config.option(0, "Draws the numbers.", least=0)
    source: str = _config.option("de", "Ending of the files to translate from.")
    target: str = _config.option("en", "Ending of the files to translate to.")
    hidden_size: int = _config.option(
        256, "Units of the decoder; the encoder has half of them in each direction.", least=2
    )
    embedding_size: int = _config.option(256, "Features that a word is embedded in.", least=1)
    attention: str = _config.option("dot", "How a decoder looks at the source: dot, general, additive.")
    dropout: float = _config.option(0.3, "Share of the features that training drops between layers.", least=0.0)
    unknown: float = _config.option(0.0, "Share of the source words that training reads as unknown.", least=0.0)
    label_smoothing: float = _config.option(0.1, "Share of a training target that is spread over all words.", least=0.0)
    beam_size: int = _config.option(5, "Translations that beam search keeps side by side.", least=2, free=True)
    max_words: int = _config.option(60, "Words of a translation at most.", least=1, free=True)
    seeds: int = _config.option(1, "How many seeds to train, together in one program.", least=1)
    epochs: int = _config.option(12, "Passes over the training data.", least=1)
    batch_size: int = _config.option(64, "Pairs of a batch.", least=1)
    learning_rate: float = _config.option(2e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    ema_decay: float = _config.option(
        0.999, "Decay of a moving average of the parameters, which is evaluated; 0 for none.", least=0.0
    )
    data: str = _config.option("", "Folder with train.SOURCE, train.TARGET, val.SOURCE, val.TARGET.")
    eval_data: str = _config.option("", "Folder with one such pair to evaluate on at the end, also for a finished run.")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("translation", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    drawn = (config.numbers, config.language, config.data_seed)
    files = (config.source, config.target)
    training, held_out = _translation.read(config.data, *files) if config.data else _translation.numbers(*drawn)
    pairs = {"val": held_out} | ({"eval": tasks.read_pairs(config.eval_data, *files)} if config.eval_data else {})
    words = _translation.Vocabularies(
        *(tasks.Vocabulary.build(map(_translation.split, texts), least_count=config.least_count) for texts in training)
    )
    model = _words.pure(functools.partial(_translator, config, *map(len, words)))
    loss = functools.partial(_translation.loss, model, config.label_smoothing, config.unknown)
    items = {name: _translation.encode(words, both, name, strict=config.strict) for name, both in pairs.items()}
    batches = _words.batches(config, _translation.PAD)
    translate = functools.partial(_translation.translate, model, words, batches, max_words=config.max_words)
    evaluate = _words.evaluation(loss, batches(items["eval"]) if config.eval_data else ())

    def measure(params: PyTree) -> dict[str, float]:
        metrics = evaluate(params)
        for name, (_, targets) in pairs.items():
            for search, beam_size in {"": 1, "beam_": config.beam_size}.items():
                said = translate(params, items[name], beam_size)
                wanted = [tasks.join_text(_translation.split(target), "words") for target in targets]
                metrics[f"{name}_{search}bleu"] = tasks.bleu(said, targets)
                metrics[f"{name}_{search}exact"] = tasks.exact_match(said, wanted)
        return metrics

    def show(params: PyTree) -> dict[str, Any]:
        params = _words.first_seed(params)
        said = translate(params, items["val"][:SHOWN], config.beam_size)
        drawn = tasks.Pairs(held_out.sources[:DRAWN], said[:DRAWN])
        looks = zip(*_translation.attended(model, words, params, drawn), strict=True)
        lines = zip(held_out.sources, said, held_out.targets, strict=False)
        return {
            "attention": _pictures.attention(*looks),
            "samples": [f"{source} -> {found} (is {right})" for source, found, right in lines],
        }

    return _problem.Problem(
        init=model.init,
        loss=loss,
        batches=batches(
            _translation.encode(words, training, "train", strict=False),
            key=jax.random.key(_words.ORDER_SEED),
            epochs=None,
            buckets=BUCKETS,
        ),
        validation=batches(items["val"]),
        loss_name="cross-entropy, nats a word",
        measure=_problem.each_seed(measure),
        show=show,
        recurrence=functools.partial(_recurrence, model, *_words.longest(items["val"], "source")),
        reads=lambda params, batch: _recurrence(model, batch["source"], params),
    )


def _translator(config: Config, source_size: int, target_size: int, rngs: Any) -> nn.EncoderDecoder:
    return nn.EncoderDecoder(
        source_size,
        target_size,
        cells.CELLS[config.cell],
        hidden_size=config.hidden_size,
        encoder_hidden_size=config.hidden_size // 2,
        embedding_size=config.embedding_size,
        bidirectional=True,
        attention=config.attention,
        tied=True,
        dropout=config.dropout,
        rngs=rngs,
    )


def _recurrence(model: _words.Pure, source: jax.Array, params: PyTree) -> tuple:
    """Returns the cell that reads the source forwards, and what it reads of some sentences."""
    network = model.merge(params)
    return *_words.lowest_forward(network.encoder), jnp.moveaxis(network.source_embedding(source), 1, 0)


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
