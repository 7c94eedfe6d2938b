"""What does an image show, spelled out letter by letter?

    python -m experiments.captioning --workdir=runs/captioning

A network turns the 64 grey values of a digit into the first state of a recurrent one, which spells the digit's name in
English and in Korean: ``seven 칠``. What it spells is right if every character is.

Data: the 1,797 handwritten digits of scikit-learn, or a NumPy archive with ``x [N, 8, 8]``, grey values from 0 to 1,
and the digits ``y [N]``; every tenth is held out for validation.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (cross-entropy in nats a character, after the last epoch),
``train_accuracy`` and ``val_accuracy`` (of characters, those before being known), ``best_val_loss``, ``best_epoch``,
``val_exact`` (names spelled wholly right, greedily), ``majority_exact`` (always the most frequent name of training),
and with ``--eval_data`` ``eval_loss``, ``eval_accuracy``, ``eval_exact``.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from experiments import _classification, _pictures, _words
from recur import cells, nn, tasks
from recur.runs import _config, _main, _problem, _run

SIDE, SHOWN = 8, 16
CAPTIONS = [" ".join(names) for names in zip(*tasks.DIGIT_NAMES.values(), strict=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.RunConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/captioning", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(256, "Units that spell; the image makes their first state.", least=1)
    embedding_size: int = _config.option(32, "Features that a character is embedded in.", least=1)
    dropout: float = _config.option(0.1, "Share of the pixels that training hides.", least=0.0)
    epochs: int = _config.option(40, "Passes over the training data.", least=1)
    learning_rate: float = _config.option(2e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run: constant, cosine, exponential.")
    ema_decay: float = _config.option(
        0.99, "Decay of a moving average of the parameters, which is evaluated; 0 for none.", least=0.0
    )
    data: str = _config.option("", "NumPy archive to train on, with x [N, 8, 8] and y [N].")

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        _words.check_shares(self)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("captioning", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    training, held_out = tasks.hold_out(_read(config.data) if config.data else tasks.load_digits())
    alphabet, ids = _alphabet()
    majority = tasks.majority_accuracy(training.labels.tolist(), held_out.labels.tolist())
    model = _words.pure(functools.partial(_captioner, config, len(alphabet)))
    loss = functools.partial(_loss, model, config.dropout)
    samples = {"val": held_out} | ({"eval": _read(config.eval_data)} if config.eval_data else {})
    evaluate = _words.evaluation(loss, [(d.images, ids[d.labels]) for name, d in samples.items() if name == "eval"])

    def spell(params: PyTree, images: np.ndarray) -> list[str]:
        return ["".join(alphabet.decode(row)) for row in np.asarray(_spell(params, images, ids.shape[1], model=model))]

    def measure(params: PyTree) -> dict[str, float]:
        metrics = {"majority_exact": majority}
        for name, digits in samples.items():
            captions = [CAPTIONS[label] for label in digits.labels]
            metrics[f"{name}_exact"] = tasks.exact_match(spell(params, digits.images), captions)
        return metrics | evaluate(params)

    def show(params: PyTree) -> dict[str, Any]:
        said = spell(_words.first_seed(params), held_out.images[:SHOWN])
        pairs = list(zip(said, (CAPTIONS[label] for label in held_out.labels[:SHOWN]), strict=True))
        # The font of pictures has no Korean.
        latin = ["".join(filter(str.isascii, name if name == right else f"[{name}]")) for name, right in pairs]
        title = "Digits held out, and what they are called; [wrong] in brackets"
        return {
            "digits": _pictures.captioned(held_out.images[:SHOWN], latin, title),
            "samples": [f"{name} (is {right})" for name, right in pairs],
        }

    return _problem.Problem(
        init=model.init,
        loss=loss,
        data=(jnp.asarray(training.images), jnp.asarray(ids[training.labels])),
        validation=(jnp.asarray(held_out.images), jnp.asarray(ids[held_out.labels])),
        loss_name="cross-entropy, nats a character",
        measure=_problem.each_seed(measure),
        show=show,
        recurrence=functools.partial(_recurrence, model, jnp.asarray(ids[:, :-1])),
    )


def _alphabet() -> tuple[tasks.Vocabulary, Int[np.ndarray, "10 T"]]:
    """Returns the characters, and the captions as numbers, begin and end marked."""
    alphabet = tasks.Vocabulary.build(CAPTIONS)
    ids = alphabet.encode_all(CAPTIONS, begin=True, end=True).ids
    length = max(map(len, ids))
    return alphabet, np.stack([np.pad(row, (0, length - len(row))) for row in ids])


def _captioner(config: Config, alphabet_size: int, rngs: Any) -> nn.Captioner:
    sizes = {"hidden_size": config.hidden_size, "embedding_size": config.embedding_size}
    return nn.Captioner(SIDE**2, alphabet_size, cells.CELLS[config.cell], **sizes, rngs=rngs)


def _read(path: str) -> tasks.Digits:
    return tasks.Digits(*_classification.read_samples(path, (SIDE, SIDE), len(CAPTIONS), every_step=False))


def _loss(model: _words.Pure, hidden: float, params: PyTree, batch: tuple, key: Any) -> tuple[jax.Array, dict]:
    images, ids = batch
    if key is not None:
        images = jnp.where(jax.random.bernoulli(key, hidden, images.shape), 0, images / (1 - hidden))
    mask = ids[:, 1:] != tasks.Vocabulary.pad
    logits = model.merge(params)(images.reshape(len(images), -1), ids[:, :-1])
    nats = nn.cross_entropy(logits, ids[:, 1:], mask=mask)
    return nats, {"accuracy": nn.accuracy(logits, ids[:, 1:], mask=mask), "weight": mask.sum()}


@functools.partial(jax.jit, static_argnames=("most", "model"))
def _spell(params: PyTree, images: Float[Array, "B 8 8"], most: int, *, model: _words.Pure) -> Int[Array, "B T"]:
    """Returns the likeliest characters, one after the other, up to the end mark."""
    captioner, pixels = model.merge(params), images.reshape(len(images), -1)
    begin = jnp.full(len(images), tasks.Vocabulary.begin)
    step, state = functools.partial(captioner.step, pixels), captioner.initial_state(pixels)
    return nn.greedy(step, state, begin, max_length=most, end=tasks.Vocabulary.end).tokens


def _recurrence(model: _words.Pure, ids: Int[Array, "B T"], params: PyTree) -> tuple:
    """Returns the cell that spells, and what it reads of every caption."""
    captioner = model.merge(params)
    return *captioner.stack.as_cell(), jnp.moveaxis(captioner.vocabulary.embedding(ids), 1, 0)


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
