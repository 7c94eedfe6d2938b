"""Recurrent layers of whole models and of their files: found by name, and equal to what the library computes."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from recur import cells, interop
from recur.nn import RNN, Bidirectional, Stack

torch = pytest.importorskip("torch", reason="makes files of torch; pip install 'recur-jax[peers]'")

B, T, X, H = 2, 5, 3, 4


def x_of(size=X):
    return np.random.default_rng(0).normal(size=(B, T, size)).astype(np.float32)


def assert_same(module, x, expected):
    np.testing.assert_allclose(np.asarray(module(jnp.asarray(x))), np.asarray(expected), rtol=1e-5, atol=1e-5)


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(X, X)
        self.encoder = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(X, H, 2, batch_first=True, bidirectional=True)})
        self.decoder = torch.nn.utils.parametrizations.weight_norm(
            torch.nn.GRU(2 * H, H, batch_first=True), "weight_hh_l0"
        )
        self.cell = torch.nn.RNNCell(H, H, nonlinearity="relu")


@pytest.fixture(scope="module")
def tagger():
    torch.manual_seed(0)
    return Tagger()


def check_tagger(found, tagger):
    assert {name: type(module) for name, module in found.items()} == {
        "encoder.lstm": Stack,
        "decoder": RNN,
        "cell": RNN,
    }
    with torch.no_grad():
        assert_same(found["encoder.lstm"], x_of(), tagger.encoder["lstm"](torch.tensor(x_of()))[0])
        assert_same(found["decoder"], x_of(2 * H), tagger.decoder(torch.tensor(x_of(2 * H)))[0])


def test_a_live_model_of_torch_and_its_wrappers(tagger):
    found = interop.find_recurrent(tagger)
    check_tagger(found, tagger)
    with torch.no_grad():
        one = tagger.cell(torch.tensor(x_of(H)[:, 0]))
    assert_same(found["cell"], x_of(H)[:, :1], one[:, None])
    check_tagger(interop.find_recurrent(torch.nn.DataParallel(tagger)), tagger)
    assert list(interop.find_recurrent(torch.nn.LSTM(X, H))) == ["lstm"]


def test_state_dicts_by_any_prefix_and_in_any_file_of_torch(tagger, tmp_path):
    state = tagger.state_dict()
    wrapped = {f"module._orig_mod.{name}": value for name, value in state.items()}
    safetensors = pytest.importorskip("safetensors.numpy", reason="writes safetensors")
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "model_state_dict": wrapped, "optimizer": {"lr": 1.0}}, tmp_path / "training.pth")
    safetensors.save_file({name: value.numpy() for name, value in state.items()}, tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{name: value.numpy() for name, value in state.items()})
    for source in (state, wrapped, *(tmp_path / f for f in ("plain.pt", "training.pth", "m.safetensors", "m.npz"))):
        check_tagger(interop.find_recurrent(source), tagger)


def test_weight_norm_of_the_older_kind_and_half_precision():
    torch.manual_seed(1)
    layer = torch.nn.LSTM(X, H, batch_first=True).half()
    (found,) = interop.find_recurrent(layer.state_dict()).values()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(found))} == {"float16"}
    layer = torch.nn.GRU(X, H, batch_first=True)
    state = layer.state_dict()
    v = state.pop("weight_hh_l0")
    state |= {"weight_hh_l0_v": 3 * v, "weight_hh_l0_g": v.norm(dim=1, keepdim=True)}
    (found,) = interop.find_recurrent(state).values()
    with torch.no_grad():
        assert_same(found, x_of(), layer(torch.tensor(x_of()))[0])
    del state["weight_hh_l0_g"]
    with pytest.raises(ValueError, match="magnitude and direction of the normalised weight 'weight_hh_l0'"):
        interop.find_recurrent(state)


def test_files_that_could_run_code_are_refused(tagger, tmp_path):
    torch.save(torch.nn.Sequential(tagger.embed), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match="expected weights alone in .*whole.pt"):
        interop.find_recurrent(tmp_path / "whole.pt")
    np.savez(tmp_path / "pickled.npz", x=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(ValueError, match="expected a readable file"):
        interop.find_recurrent(tmp_path / "pickled.npz")


def test_what_cannot_be_read_is_said(tagger, tmp_path):
    for name in ("a.pt", "a.safetensors", "a.npz", "a.h5"):
        (tmp_path / name).write_bytes(b"this is no model at all")
        with pytest.raises(ValueError, match="expected a readable file|expected weights alone"):
            interop.find_recurrent(tmp_path / name)
    with pytest.raises(ValueError, match="where there is none"):
        interop.find_recurrent(tmp_path / "missing.pt")
    with pytest.raises(ValueError, match="ends in one of"):
        interop.find_recurrent(__file__)
    with pytest.raises(ValueError, match="without one"):
        interop.find_recurrent(tmp_path)
    with pytest.raises(ValueError, match="got none in a torch Linear"):
        interop.find_recurrent(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="expected a model of torch"):
        interop.find_recurrent(3)
    model = torch.nn.ModuleDict({"good": torch.nn.GRU(2, 2), "odd": torch.nn.LSTM(2, 4, proj_size=3)})
    with pytest.raises(ValueError, match=r"got 'odd': .*proj_size=3.*found: 'good', 'odd'"):
        interop.find_recurrent(model)


def test_a_layer_number_costs_nothing():
    state = {f"weight_{way}_l0": np.ones((4, 4), np.float32) for way in ("ih", "hh")}
    for name in ("weight_ih_l10000000", "weight_ih_l2147483648", "weight_ih_l00", "weight_ih_l900000"):
        with pytest.raises(ValueError, match="source: expected"):
            interop.from_torch({**state, name: state["weight_ih_l0"]})
    with pytest.raises(ValueError, match="at least one hidden unit"):
        interop.from_torch({"weight_ih_l0": np.ones((0, 3), np.float32), "weight_hh_l0": np.ones((0, 0), np.float32)})


class Pair(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.RNN(nnx.OptimizedLSTMCell(X, H, rngs=rngs))
        self.both = nnx.Bidirectional(nnx.RNN(nnx.GRUCell(H, 2, rngs=rngs)), nnx.RNN(nnx.GRUCell(H, 2, rngs=rngs)))
        self.own = Stack([cells.lstm(H), cells.gru(H)], X, bidirectional=True, rngs=rngs)


def test_flax_nnx_live_and_its_parameters(tmp_path):
    model = Pair()
    found = interop.find_recurrent(model)
    assert {name: type(module) for name, module in found.items()} == {
        "both": Bidirectional,
        "first": RNN,
        "own": Stack,
    }
    assert found["own"] is model.own
    assert_same(found["first"], x_of(), model.first(x_of()))
    assert_same(found["both"], x_of(H), model.both(jnp.asarray(x_of(H))))
    by_names = interop.find_recurrent(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    assert_same(by_names["first"], x_of(), model.first(x_of()))
    assert_same(by_names["both"], x_of(H), model.both(jnp.asarray(x_of(H))))
    assert len([name for name in by_names if name.startswith("own.")]) == 2


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.RNN(linen.OptimizedLSTMCell(H), name="below")(x)
        return linen.RNN(linen.SimpleCell(H), name="above")(x)


def test_flax_linen_and_a_folder_of_orbax(tmp_path):
    import orbax.checkpoint as ocp

    net = LinenNet()
    variables = net.init(jax.random.key(0), x_of())
    ocp.PyTreeCheckpointer().save((tmp_path / "orbax").absolute(), variables)
    for found in (
        interop.find_recurrent(net, variables),
        interop.find_recurrent(variables),
        interop.find_recurrent(tmp_path / "orbax"),
    ):
        # Made inside of a compact method, cells stand beside their layers.
        assert sorted(found) == ["OptimizedLSTMCell_0", "SimpleCell_0"]
        y = found["SimpleCell_0"](found["OptimizedLSTMCell_0"](jnp.asarray(x_of())))
        np.testing.assert_allclose(y, net.apply(variables, x_of()), rtol=1e-5, atol=1e-5)
    both = linen.Bidirectional(linen.RNN(linen.GRUCell(2)), linen.RNN(linen.GRUCell(2)))
    variables = both.init(jax.random.key(0), x_of())
    (found,) = interop.find_recurrent(both, variables).values()
    assert_same(found, x_of(), both.apply(variables, x_of()))
    with pytest.raises(TypeError, match="params: expected the parameters of LinenNet"):
        interop.find_recurrent(net)


def test_a_gate_of_integers_among_floats_is_refused():
    net = linen.RNN(linen.OptimizedLSTMCell(H))
    params = net.init(jax.random.key(0), x_of())["params"]
    params["cell"]["hf"]["kernel"] = jnp.ones((H, H), jnp.int8)
    for convert in (lambda: interop.from_flax(net, params), lambda: interop.find_recurrent(params)):
        with pytest.raises((TypeError, ValueError), match="hf/kernel|floating"):
            convert()


def test_equinox():
    eqx = pytest.importorskip("equinox", reason="compares with Equinox")
    one, two = jax.random.split(jax.random.key(0))
    model = {"encoder": [eqx.nn.GRUCell(X, H, key=one)], "decoder": eqx.nn.LSTMCell(X, H, key=two)}

    class Model(eqx.Module):
        parts: dict

    found = interop.find_recurrent(Model(model))
    assert sorted(found) == ["parts.decoder", "parts.encoder.0"]
    h, hc = jnp.zeros(H), (jnp.zeros(H), jnp.zeros(H))
    gru, lstm = [], []
    for x in x_of()[0]:
        h, hc = model["encoder"][0](x, h), model["decoder"](x, hc)
        gru.append(h)
        lstm.append(hc[0])
    assert_same(found["parts.encoder.0"], x_of()[0], jnp.stack(gru))
    assert_same(found["parts.decoder"], x_of()[0], jnp.stack(lstm))


def test_haiku():
    hk = pytest.importorskip("haiku", reason="compares with Haiku")

    def forward(xs):
        core = hk.DeepRNN([hk.LSTM(H), hk.GRU(H), hk.VanillaRNN(2)])
        return hk.dynamic_unroll(core, xs, core.initial_state(B))[0]

    net = hk.without_apply_rng(hk.transform(forward))
    xs = jnp.moveaxis(jnp.asarray(x_of()), 0, 1)
    params = net.init(jax.random.key(0), xs)
    params = jax.tree.map(lambda a: a + 0.1 * jnp.cos(jnp.arange(a.size, dtype=float)).reshape(a.shape), params)
    found = interop.find_recurrent(net, params)
    assert sorted(found) == ["gru", "lstm", "vanilla_rnn"]
    y = jnp.asarray(x_of())
    for name in ("lstm", "gru", "vanilla_rnn"):
        y = found[name](y)
    np.testing.assert_allclose(jnp.moveaxis(y, 0, 1), net.apply(params, xs), rtol=1e-5, atol=1e-5)


@pytest.fixture
def keras_model():
    keras = pytest.importorskip("keras", reason="makes files of Keras")
    with jax.numpy_rank_promotion("allow"):  # Keras relies on it.
        yield make_keras_model(keras)


def make_keras_model(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs, inner = keras.Input((None, X)), keras.Input((None, 2 * H))
    below = layers.Bidirectional(layers.LSTM(H, return_sequences=True), name="both")(inputs)
    nested = keras.Model(
        inner, layers.GRU(H, return_sequences=True, reset_after=False, name="inside")(inner), name="net"
    )
    return keras.Model(inputs, layers.SimpleRNN(3, name="top", return_sequences=True)(nested(below)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_live_and_in_files(keras_model, tmp_path):
    keras_model.save(tmp_path / "m.keras")
    keras_model.save(tmp_path / "m.h5")
    expected = keras_model(x_of())
    for source in (keras_model, tmp_path / "m.keras", tmp_path / "m.h5"):
        found = interop.find_recurrent(source)
        assert list(found) == ["both", "net.inside", "top"], source
        y = jnp.asarray(x_of())
        for module in found.values():
            y = module(y)
        np.testing.assert_allclose(y, np.asarray(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_class_that_a_file_of_keras_names_is_not_imported(keras_model, tmp_path):
    keras_model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    top = next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == "top")
    top["config"]["activation"] = {"module": "antigravity", "class_name": "run", "config": {}}
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        for name, data in {**content, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="layer 'top': expected a SimpleRNN with Keras's own tanh"):
        interop.find_recurrent(tmp_path / "evil.keras")
