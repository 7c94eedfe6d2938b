"""Diagnoses: padding changes nothing, curves are those of flow, levers that lengthen the reach are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recur import cells, flow, nn, report, study
from recur.study._shape import shape_in_words

B, X, H = 3, 4, 6
KEY = jax.random.key(0)


def test_padding_changes_nothing_and_curves_are_those_of_flow():
    both = nn.Bidirectional(cells.lstm(H), X, rngs=nnx.Rngs(0))
    x = jax.random.normal(KEY, (B, 20, X))
    padded = jnp.pad(x, ((0, 0), (0, 280), (0, 0)), constant_values=9.0)
    short = study.diagnose(both, x)
    long = study.diagnose(both, padded, lengths=jnp.full(B, 20))
    for a, b in zip(short.layers, long.layers, strict=True):
        assert (a.name, a.verdict, a.gates.keys()) == (b.name, b.verdict, b.gates.keys())
        np.testing.assert_allclose(a.curve, b.curve, atol=1e-5)
        np.testing.assert_allclose(list(a.gates.values()), list(b.gates.values()), atol=1e-6)
        assert a.horizons.tolist() == b.horizons.tolist()
        assert np.isneginf(b.log_norms[21:]).all()
    for layer, rnn, xs in zip(short.layers, (both.forward, both.backward), (x, x[:, ::-1]), strict=True):
        expected = flow.adjoint_log_norms(*rnn.as_cell(), jnp.moveaxis(xs, 1, 0))
        np.testing.assert_allclose(layer.log_norms, np.asarray(expected), atol=1e-5)
        mean = flow.gate_statistics(*rnn.as_cell(), jnp.moveaxis(xs, 1, 0))
        for gate, share in layer.gates.items():
            assert share == pytest.approx(float(mean[gate].saturated_low + mean[gate].saturated_high), abs=1e-6)


def test_what_lengthens_the_reach_is_measured(tmp_path):
    class Model(nnx.Module):
        def __init__(self):
            self.rnn = nn.RNN(cells.lstm(H, forget_bias=0.0), X, rngs=nnx.Rngs(1))
            self.readout = nnx.Linear(H, 1, rngs=nnx.Rngs(2))

        def __call__(self, x):
            return self.readout(self.rnn(x))[..., 0]

    model, x = Model(), jax.random.normal(KEY, (B, 80, X))
    before = nnx.state(model)
    changes = {"chrono": cells.Chrono(60), "bias 3": 3, "gru": cells.gru, "identity": "identity"}
    found = study.diagnose(model, x, loss=lambda y: y[:, -1] ** 2, compare=changes)
    models = [row["model"] for row in found.rows()]
    assert models == ["as given", "at initialisation", *changes]
    reach = dict(zip(models, (float(np.median(layer.horizons)) for layer in found.layers), strict=True))
    assert reach["chrono"] > 1.5 * reach["at initialisation"]
    assert reach["bias 3"] > 1.5 * reach["at initialisation"]
    # The given model is not touched.
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model), before)
    # A loss at the end reaches as far as the last output does.
    layer = found.layers[0]
    assert layer.loss_reach_steps == pytest.approx(np.flatnonzero(layer.curve >= np.log(1e-3)).max(), abs=1)
    assert "chrono" in str(found)
    assert "<table>" in found._repr_html_()
    page = found.page(tmp_path / "out")
    text = page.read_text(encoding="utf-8")
    assert found.measured in text
    assert "Gradient of your loss" in text
    assert report.read_jsonl(tmp_path / "out" / "records.jsonl") == report.read_jsonl(page.parent / "records.jsonl")
    assert found.plot().axes


def test_changes_that_do_not_fit_are_refused():
    rnn, x = nn.RNN(cells.elman(H), X, rngs=nnx.Rngs(0)), jnp.ones((B, 5, X))
    for change, match in (
        (cells.Chrono(9), "keeps the state"),
        (cells.gru(H + 1), "give the factory"),
        ({"bias": 1}, "expected options among"),
        (object(), "expected cells.Chrono"),
    ):
        with pytest.raises((TypeError, ValueError), match=match):
            study.diagnose(rnn, x, compare={"it": change})
    with pytest.raises(TypeError, match="compare: expected a mapping"):
        study.diagnose(rnn, x, compare=["chrono"])


def test_a_cliff_and_a_plain_get_no_common_slope():
    lags = np.arange(200)
    cliff = np.where(lags <= 5, -0.8 * lags, -4.0 - (lags - 5) * np.log(2) / 21)
    assert shape_in_words(cliff) == "loses 4.0 nats in the first 5 steps, then half-life 21.0 steps"
    assert shape_in_words(np.where(lags <= 5, -0.8 * lags, -4.0)) == "loses 4.0 nats in the first 5 steps, then lasts"
    straight = -0.1 * lags
    assert shape_in_words(straight) == flow.summarize(straight).verdict
