"""Cross-entropies against plain loops in float64, with padding that may hold anything."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_oracle import compiled, log_softmax

from recur import nn
from recur.nn import _losses

ROWS, SIZE, CLASSES = (3, 4), 5, 6
MASK = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((*ROWS, SIZE)), RNG.standard_normal((CLASSES, SIZE)), RNG.standard_normal(CLASSES)
LABELS = RNG.integers(0, CLASSES, ROWS)


def plain(hidden, table, bias, smoothing):
    """The mean over rows that count of -sum_v target_v ln p_v."""
    nats = []
    for row in zip(*np.nonzero(MASK), strict=True):
        target = np.full(CLASSES, smoothing / CLASSES)
        target[LABELS[row]] += 1 - smoothing
        nats.append(-np.sum(target * log_softmax(table @ hidden[row] + bias)))
    return np.mean(nats)


@pytest.mark.parametrize("smoothing", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_both_equal_plain_loops_and_do_not_see_padding(smoothing, monkeypatch, x64):
    # Seven rows count: two whole blocks and a part of a third; the fourth is never reached.
    monkeypatch.setattr(_losses, "MOST_ROWS", 3)
    options = {"mask": MASK, "label_smoothing": smoothing}
    labels = np.where(MASK, LABELS, -7)

    def whole(hidden, table, bias):
        return nn.cross_entropy(hidden @ table.T + bias[None, None], labels, **options)

    def in_blocks(hidden, table, bias):
        return 3 * nn.readout_cross_entropy(hidden, table, bias, labels, **options)

    @compiled
    def run(hidden, table, bias):
        losses = (jax.value_and_grad(loss, (0, 1, 2))(hidden, table, bias) for loss in (whole, in_blocks))
        return *losses, in_blocks(hidden, table, bias)

    hidden, table, bias = WEIGHTS
    (loss, gradient), (scaled, gradient_in_blocks), alone = run(np.where(MASK[..., None], hidden, np.nan), table, bias)
    expected = plain(hidden, table, bias, smoothing)
    np.testing.assert_allclose([loss, scaled / 3, alone / 3], expected, rtol=1e-12)
    # Hidden that are NaN would make those of the weights NaN where a product comes before the mask.
    (_, gradient), _, _ = run(np.where(MASK[..., None], hidden, 0), table, bias)
    for found, wanted in zip(gradient_in_blocks, gradient, strict=True):
        np.testing.assert_allclose(found / 3, wanted, rtol=1e-10, atol=1e-14)
    assert np.all(gradient_in_blocks[0][~MASK] == 0)
    # The gradient of the whole by differences, in a direction of each weight.
    for index in range(3):
        direction = RNG.standard_normal(WEIGHTS[index].shape)
        both = [
            plain(*(w + s * direction if i == index else w for i, w in enumerate(WEIGHTS)), smoothing)
            for s in (1e-6, -1e-6)
        ]
        np.testing.assert_allclose(np.vdot(gradient[index], direction), (both[0] - both[1]) / 2e-6, rtol=1e-6)


@pytest.mark.slow
def test_seeds_by_vmap_and_half_precision(x64):
    hidden, table, bias = WEIGHTS
    loss = jax.value_and_grad(lambda table: nn.readout_cross_entropy(hidden, table, bias, LABELS, mask=MASK))
    tables = np.stack([table, 2 * table])
    together = compiled(jax.vmap(loss))(tables)
    single = compiled(loss)
    for index in range(2):
        for leaf, wanted in zip(together, single(tables[index]), strict=True):
            np.testing.assert_allclose(leaf[index], wanted, rtol=1e-12, atol=1e-15)
    value, gradient = jax.eval_shape(loss, jnp.asarray(table, jnp.bfloat16))
    assert (value.dtype, gradient.dtype) == (jnp.float64, jnp.bfloat16)


def test_where_nothing_counts_and_labels_that_are_none():
    table, bias = jnp.ones((4, 3)), jnp.zeros(4)

    @compiled
    def run(labels, mask):
        losses = (
            lambda hidden: nn.readout_cross_entropy(hidden, table, bias, labels, mask=mask),
            lambda hidden: nn.cross_entropy(hidden @ table.T, labels, mask=mask),
        )
        return [jax.value_and_grad(loss)(jnp.ones((2, 3))) for loss in losses]

    for value, gradient in run(np.array([0, 1]), np.zeros(2, bool)):
        assert value == 0
        assert np.all(gradient == 0)
    for label in (-1, 4):
        assert np.all(np.isnan([value for value, _ in run(np.array([label, 1]), np.ones(2, bool))]))


def test_accuracy_is_the_share_of_those_that_count():
    logits = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 1.0], [np.nan, 0.0]])
    share = compiled(lambda logits, labels, mask: nn.accuracy(logits, labels, mask=mask))
    assert share(logits, np.array([1, 1, 1, 0]), np.array([1, 1, 1, 0], bool)) == pytest.approx(2 / 3)
    assert share(logits, np.array([1, 1, 1, 0]), np.zeros(4, bool)) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": np.ones(2)}, TypeError, "labels: expected an integer dtype, got float"),
        ({"labels": np.ones(3, int)}, ValueError, r"labels: expected shape \(2,\), got \(3,\)"),
        ({"mask": np.ones(2)}, TypeError, "mask: expected dtype bool"),
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing: expected a share in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"labels": np.ones(2, int)} | change
    for loss in (
        functools.partial(nn.cross_entropy, np.ones((2, 4))),
        functools.partial(nn.readout_cross_entropy, np.ones((2, 3)), np.ones((4, 3)), np.ones(4)),
    ):
        with pytest.raises(error, match=message):
            loss(**arguments)
