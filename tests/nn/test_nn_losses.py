"""Cross-entropies against plain loops in float64, with padding that may hold anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import nn
from recur.nn import _losses

ROWS, SIZE, CLASSES = (3, 4), 5, 6
MASK = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)


def plain(logits, labels, mask, smoothing):
    """The mean over rows that count of -sum_v target_v ln p_v."""
    nats = []
    for row in zip(*np.nonzero(mask), strict=True):
        log_p = logits[row] - np.log(np.sum(np.exp(logits[row])))
        target = np.full(CLASSES, smoothing / CLASSES)
        target[labels[row]] += 1 - smoothing
        nats.append(-np.sum(target * log_p))
    return np.mean(nats)


@pytest.fixture
def problem(key, x64):
    keys = jax.random.split(key, 4)
    hidden = jax.random.normal(keys[0], (*ROWS, SIZE))
    table, bias = jax.random.normal(keys[1], (CLASSES, SIZE)), jax.random.normal(keys[2], (CLASSES,))
    return hidden, table, bias, jax.random.randint(keys[3], ROWS, 0, CLASSES)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_both_equal_plain_loops_and_do_not_see_padding(problem, smoothing, monkeypatch):
    # Seven rows count: two whole blocks and a part of a third, the fourth is never reached.
    monkeypatch.setattr(_losses, "ROWS_AT_ONCE", 3)
    hidden, table, bias, labels = problem
    expected = plain(np.asarray(hidden @ table.T + bias[None, None]), np.asarray(labels), MASK, smoothing)
    hidden = jnp.where(MASK[..., None], hidden, jnp.nan)
    labels = jnp.where(MASK, labels, -7)

    def read_out(loss):
        return jax.value_and_grad(loss, (0, 1, 2))(hidden, table, bias)

    value, gradient = read_out(
        lambda hidden, table, bias: nn.cross_entropy(
            jnp.where(MASK[..., None], hidden, 0) @ table.T + bias[None, None],
            labels,
            mask=MASK,
            label_smoothing=smoothing,
        )
    )
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    found, found_gradient = read_out(
        lambda *weights: nn.readout_cross_entropy(*weights, labels, mask=MASK, label_smoothing=smoothing)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(
        nn.readout_cross_entropy(hidden, table, bias, labels, mask=MASK, label_smoothing=smoothing), found, rtol=1e-14
    )
    for leaf, wanted in zip(found_gradient, gradient, strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-10, atol=1e-13)
    assert np.all(found_gradient[0][~MASK] == 0)
    assert np.all(np.any(found_gradient[0][MASK] != 0, axis=-1))
    # The gradient of a loss that is scaled is scaled with it.
    scaled = jax.grad(lambda bias: 3 * nn.readout_cross_entropy(hidden, table, bias, labels, mask=MASK))(bias)
    alone = jax.grad(lambda bias: nn.readout_cross_entropy(hidden, table, bias, labels, mask=MASK))(bias)
    np.testing.assert_allclose(scaled, 3 * alone, rtol=1e-12)


def test_seeds_by_vmap_and_half_precision(problem):
    hidden, table, bias, labels = problem
    loss = jax.value_and_grad(lambda table: nn.readout_cross_entropy(hidden, table, bias, labels, mask=MASK))
    tables = jnp.stack([table, 2 * table])
    together = jax.vmap(loss)(tables)
    for index in range(2):
        for leaf, wanted in zip(together, loss(tables[index]), strict=True):
            np.testing.assert_allclose(leaf[index], wanted, rtol=1e-12, atol=1e-15)
    half = table.astype(jnp.bfloat16)
    value, gradient = loss(half)
    assert (value.dtype, gradient.dtype) == (jnp.float64, jnp.bfloat16)
    np.testing.assert_allclose(value, loss(half.astype(jnp.float64))[0], rtol=1e-12)


def test_where_nothing_counts_and_labels_that_are_none():
    hidden, table, bias = jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.zeros(4)
    none = np.zeros(2, bool)
    value, gradient = jax.value_and_grad(nn.readout_cross_entropy)(hidden, table, bias, jnp.array([0, 1]), mask=none)
    assert value == 0
    assert np.all(gradient == 0)
    assert nn.cross_entropy(jnp.ones((2, 4)), jnp.array([0, 1]), mask=none) == 0
    for label in (-1, 4):
        assert np.isnan(nn.cross_entropy(jnp.ones((2, 4)), jnp.array([label, 1])))
        assert np.isnan(nn.readout_cross_entropy(hidden, table, bias, jnp.array([label, 1])))


def test_accuracy_is_the_share_of_those_that_count():
    logits = jnp.array([[0.0, 2.0], [1.0, 0.0], [0.0, 1.0], [jnp.nan, 0.0]])
    labels = jnp.array([1, 1, 1, 0])
    assert nn.accuracy(logits, labels, mask=np.array([1, 1, 1, 0], bool)) == pytest.approx(2 / 3)
    assert nn.accuracy(logits[:1], labels[:1]) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": jnp.ones(2)}, TypeError, "labels: expected an integer dtype, got float32"),
        ({"labels": jnp.ones(3, int)}, ValueError, r"labels: expected shape \(2,\), got \(3,\)"),
        ({"mask": jnp.ones(2)}, TypeError, "mask: expected dtype bool"),
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing: expected a share in \[0, 1\), got 1.0"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"logits": jnp.ones((2, 4)), "labels": jnp.ones(2, int)} | change
    with pytest.raises(error, match=message):
        nn.cross_entropy(**arguments)
    del arguments["logits"]
    with pytest.raises(error, match=message):
        nn.readout_cross_entropy(jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(4), **arguments)
