"""The speed benchmark times only what computes the same, and sums it up rightly."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import _speed_engines, _speed_recur, _speed_verdicts, speed
from benchmarks._speed_clock import interleave, quartiles, ratios
from benchmarks._speed_floor import Machine, floor_s
from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import CELLS, GPU_ROWS, ROWS, Row, make_case
from benchmarks._speed_weights import PullBack, errors, loss, reference, tolerance, weights
from recur import engines, report

ROOT = pathlib.Path(__file__).parents[2]
MACHINE = Machine(flops_per_s=1e9, tanh_s=1e-9, loop_s=1e-7)
# What each library shows in a row that all can run.
NAMES = {
    "flax_nnx": {"flax_nnx.OptimizedLSTMCell", "flax_nnx.LSTMCell"},
    "flax_linen": {"flax_linen.OptimizedLSTMCell", "flax_linen.LSTMCell"},
    "haiku": {"haiku.LSTM"},
    "equinox": {"equinox.LSTMCell"},
    "keras": {"keras.LSTM"},
    "torch": {"torch.LSTM, 1 thread", "torch.LSTM, 2 threads"},
}


@pytest.fixture(autouse=True)
def _as_libraries_expect():
    # Other libraries add biases to batches.
    with jax.numpy_rank_promotion("allow"):
        yield


def installed(peers):
    return tuple(peer for peer in peers if importlib.util.find_spec(speed.PEERS[peer][0]))


def entries(config, case):
    return [found for found in speed._all_entries(config, case) if isinstance(found, Entry)]


def loop(module, x):
    """The LSTM as equations, in float64."""
    params = {name: np.asarray(value[...], np.float64) for name, value in module.params.items()}
    h = c = np.zeros((len(x), module.output_size))
    outputs = []
    for step in np.moveaxis(x.astype(np.float64), 1, 0):
        sums = np.einsum("bx,xgh->gbh", step, params["kernel"]) + params["bias"][:, None]
        sums += np.einsum("bk,kgh->gbh", h, params["recurrent_kernel"])
        i, f, o = (1 / (1 + np.exp(-sums[gate])) for gate in (0, 1, 3))
        c = f * c + i * np.tanh(sums[2])
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


@pytest.fixture(scope="module")
def lstm():
    """An LSTM of all libraries that are installed."""
    with jax.numpy_rank_promotion("allow"):
        case = make_case(Row(2, 5, 2, 3, ("lstm",)), "lstm")
        return case, reference(case), entries(speed.Config({}, installed(NAMES)), case)


def test_the_reference_is_the_cell_in_float64(lstm):
    case, want, _ = lstm
    np.testing.assert_allclose(want.outputs[0], loop(case.modules[0], case.x), rtol=1e-13)
    loss = np.mean((loop(case.modules[0], case.x) - case.target) ** 2)
    shifted = case.x.astype(np.float64)
    shifted[1, 2, 0] += 1e-6
    slope = (np.mean((loop(case.modules[0], shifted) - case.target) ** 2) - loss) / 1e-6
    np.testing.assert_allclose(want.x[0][1, 2, 0], slope, rtol=1e-5)


def test_all_libraries_compute_the_same_values_and_gradients(lstm):
    case, want, found = lstm
    assert {entry.name for entry in found} == {"recur"}.union(*(NAMES[peer] for peer in installed(NAMES)))
    for entry in found:
        off = errors(want, entry.outputs(), *entry.gradients(), entry.absent)
        assert max(off) < tolerance(case) < 1e-5, (entry.name, off)


def test_training_steps_descend_alike(lstm):
    case, want, found = lstm
    third = {}
    for entry in found:
        if entry.name in ("recur", "keras.LSTM", "torch.LSTM, 1 thread"):
            call = entry.program("step").call
            losses = [float(call()) for _ in range(3)]
            assert losses[2] < losses[1] < losses[0], entry.name
            third[entry.name] = losses
    ours = third["recur"]
    np.testing.assert_allclose(ours[0], np.mean((want.outputs[0] - case.target) ** 2), rtol=1e-6)
    # torch is not among these: it has two biases a gate, so that Adam moves their sum twice as far.
    np.testing.assert_allclose(third.get("keras.LSTM", ours), ours, rtol=1e-5)


@pytest.mark.parametrize(
    ("row", "cell", "peers"),
    [
        (Row(2, 5, 2, 3, (), bidirectional=True), "gru", ("equinox", "torch")),
        (Row(2, 5, 2, 3, ()), "min_gru", ("by_hand",)),
        pytest.param(Row(1, 5, 2, 3, (), layers=2, seeds=2), "gru", ("keras", "torch"), marks=pytest.mark.slow),
        pytest.param(Row(2, 5, 2, 3, (), layers=2), "lstm", tuple(NAMES), marks=pytest.mark.slow),
        pytest.param(Row(2, 5, 2, 3, (), bidirectional=True), "gru", tuple(NAMES), marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rows_with_layers_directions_and_seeds(row, cell, peers):
    case = make_case(row, cell)
    want, found = reference(case), entries(speed.Config({}, installed(peers)), case)
    for entry in found:
        off = errors(want, entry.outputs(), *entry.gradients(), entry.absent)
        assert max(off) < tolerance(case) < 1e-5, (entry.name, off)
    libraries = {_speed_verdicts.library_of(entry.name).partition(",")[0] for entry in found}
    assert libraries - {"recur", "recur_vmap"} == set(installed(peers)) - ({"haiku"} if cell == "gru" else set())


def test_a_peer_that_is_wrong_is_not_timed(monkeypatch):
    case = make_case(Row(2, 5, 2, 3, ()), "elman")
    graph = nnx.graphdef(case.modules[0])

    def wrong(case):
        yield on_jax(case, Model("late", lambda p, x: jnp.roll(nnx.merge(graph, p)(x), 1, axis=1), nnx.state))
        # Right values, and gradients that stop at the inputs.
        stop = jax.lax.stop_gradient
        yield on_jax(case, Model("stopped", lambda p, x: nnx.merge(graph, p)(stop(x)), nnx.state))
        raise CannotError("has nothing more")

    monkeypatch.setitem(speed.PEERS, "wrong", ("jax", wrong))
    monkeypatch.setitem(speed.PEERS, "missing", ("no_such_library", wrong))
    config = speed.Config({}, ("wrong", "missing"), repeats=2)
    records = list(speed.time_case(config, "C", case, MACHINE))
    reasons = {record["peer"]: record["reason"] for record in records if record["kind"] == "not_timed"}
    assert reasons["late"].startswith("WRONG: off float64 by ")
    assert reasons["stopped"].startswith("WRONG: off float64 by ")
    assert reasons["wrong"] == "has nothing more"
    assert reasons["missing"].startswith("not installed")
    timed = [record for record in records if record["kind"] == "speed"]
    assert [(record["peer"], record["measure"]) for record in timed] == [
        ("recur", "forward"),
        ("recur", "gradients"),
        ("recur", "step"),
    ]
    assert all(record["wall_s"] == quartiles(record["walls_s"]) and record["repeats"] == 2 for record in timed)


def test_pulling_back_is_the_transpose_of_a_conversion():
    module = make_case(Row(1, 1, 2, 3, ()), "elman").modules[0]
    kernel, bias, recurrent = (module.params[name].shape for name in ("kernel", "bias", "recurrent_kernel"))

    def convert(one):  # transposed; two copies of the bias; without the recurrent kernel; a constant
        return [jnp.transpose(one.params["kernel"][...]), 1 + one.params["bias"][...], one.params["bias"][...]]

    generator = np.random.default_rng(0)
    gradients = [generator.standard_normal(shape) for shape in (kernel[::-1], bias, bias)]
    got = PullBack.of(convert, module)(gradients)
    assert list(got) == list(weights(module))
    got = {path.split("'")[-2]: value for path, value in got.items()}
    np.testing.assert_array_equal(got["kernel"], gradients[0].transpose())
    np.testing.assert_allclose(got["bias"], gradients[1] + gradients[2])
    assert got["recurrent_kernel"].shape == recurrent
    assert np.isnan(got["recurrent_kernel"]).all()


def test_recur_says_why_a_row_is_not_split():
    case = make_case(Row(1, 2, 2, 2, ()), "elman")
    name, why = list(_speed_recur.entries(case))[-1]
    assert name == "recur_mesh"
    assert "--host_devices" in str(why)


def test_the_clock_takes_turns_and_stops():
    taken = []
    calls = {name: lambda name=name: taken.append(name) for name in "abc"}
    walls = interleave(calls, 3)
    assert {name: len(wall) for name, wall in walls.items()} == {"a": 3, "b": 3, "c": 3}
    assert taken[:3] == ["a", "b", "c"]
    # Short calls come in pairs, the first of which warms up.
    for turn in range(3):
        now = taken[3 + 6 * turn : 9 + 6 * turn]
        assert now[::2] == now[1::2]
        assert sorted(now[::2]) == ["a", "b", "c"]
    assert interleave(calls, 3, lambda: True) == {"a": [], "b": [], "c": []}
    assert ratios([2.0, 6.0, 8.0], [1.0, 2.0, 2.0]) == {"median": 3.0, "p25": 2.5, "p75": 3.5}


def timing(row, peer, wall, on_jax=True, cell="lstm", measure="gradients"):
    return {"row": row, "cell": cell, "peer": peer, "measure": measure, "on_jax": on_jax, "walls_s": [wall] * 3}


def test_goals_are_judged_by_geometric_means_against_the_fastest():
    timings = [
        *(timing("C0", "recur", 4.0), timing("C0", "recur_mesh", 2.0)),
        *(timing("C0", "flax_nnx.A", 8.0), timing("C0", "flax_nnx.B", 4.0)),
        timing("C0", "torch.LSTM, 2 threads", 1.0, on_jax=False),
        *(timing("C1", "recur", 1.0), timing("C1", "keras.LSTM", 8.0)),
    ]
    compared = _speed_verdicts.compare(timings)
    found = {(c["row"], c["peer"]): (c["ratio"]["median"], c["ratio_one_device"]["median"]) for c in compared}
    assert found["C0", "flax_nnx.B"] == (2.0, 1.0)
    assert found["C0", "torch.LSTM, 2 threads"] == (0.5, 0.25)
    assert found["C1", "keras.LSTM"] == (8.0, 8.0)
    every, jax_mean, torch_mean, *steps = _speed_verdicts.goals(compared)
    assert (every["reached"], every["met"], every["below"]) == (0.5, False, ["C0 lstm torch.LSTM, 2 threads 0.50"])
    assert jax_mean["reached"] == pytest.approx(4.0)  # the root of 2 and 8
    assert jax_mean["met"] is True
    assert (torch_mean["reached"], torch_mean["met"]) == (pytest.approx(0.5), False)
    assert [step["met"] for step in steps] == [None, None, None]
    means = {line["peer"]: line["forward + backward"] for line in _speed_verdicts.by_peer(compared)}
    assert means == pytest.approx({"flax_nnx": 2.0, "torch, 2 threads": 0.5, "keras": 8.0})


def test_the_floor_counts_products():
    row = Row(2, 10, 3, 4, (), layers=2, seeds=5)
    products = 5 * 2 * 2 * 10 * 4 * 4 * ((3 + 4) + (4 + 4))
    assert floor_s(MACHINE, row, "lstm", "forward") == pytest.approx(products / 1e9)
    assert floor_s(MACHINE, row, "lstm", "step") == pytest.approx(3 * products / 1e9)
    slow = MACHINE._replace(loop_s=1.0)
    assert floor_s(slow, row, "lstm", "step") == 20.0
    assert floor_s(slow._replace(tanh_s=1.0), row, "lstm", "forward") == 5 * 2 * 2 * 10 * 4 * 5
    # A GPU: no loop; four gates read and one output written a unit, 8 bytes in the time of a tanh.
    on_gpu = row._replace(products="tf32")
    assert floor_s(slow, on_gpu, "lstm", "step") == pytest.approx(3 * products / 1e9)
    assert floor_s(slow._replace(tanh_s=1.0), on_gpu, "lstm", "forward") == (4 + 1) * 4 / 8 * 5 * 2 * 2 * 10 * 4
    fast = slow._replace(bfloat16_flops_per_s=4e9)
    assert floor_s(fast, row._replace(products="bfloat16"), "lstm", "step") == pytest.approx(3 * products / 4e9)


def test_a_run_leaves_records_tables_and_plots(tmp_path, capsys):
    config = speed.Config({"tiny": Row(2, 5, 2, 3, ("leaky",))}, ("by_hand", "torch"), repeats=2)
    reached = speed.speed(config, tmp_path)
    run, *records = report.read_jsonl(tmp_path / "records.jsonl")
    assert run["config"] == {"rows": ["tiny"], "peers": ["by_hand", "torch"], "repeats": 2}
    assert {(r["peer"], r["measure"]) for r in records if r["kind"] == "speed"} == {
        (peer, measure) for peer in ("recur", "by_hand.scan") for measure in ("forward", "gradients", "step")
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["goals"] == reached
    assert summary["interrupted"] is False
    text = (tmp_path / "speed.md").read_text()
    assert "has no layer leaky" in text or "not installed" in text
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg ") == 3
    assert all((tmp_path / f"ratios_{measure}.png").exists() for measure in ("forward", "gradients", "step"))
    assert "Goals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "peers", "word"),
    [
        (["C9"], ["all"], "rows"),
        (["C0", "C0"], ["all"], "rows"),
        ([], ["jax"], "peers"),
        ([], ["all", "torch"], "peers"),
    ],
)
def test_unknown_rows_and_peers_are_refused(rows, peers, word):
    with pytest.raises(ValueError, match=f"^{word}: expected distinct names among"):
        speed.choose(rows, peers, None, "full", 0)


def test_flags_choose_rows_and_peers():
    assert speed.choose([], ["none"], None, "full", 0) == speed.Config(ROWS, (), 20)
    assert speed.choose(["C4"], ["torch"], 7, "quick", 3) == speed.Config({"C4": ROWS["C4"]}, ("torch",), 7, 3)
    assert list(speed.choose([], ["all"], None, "quick", 0).rows) == ["C0", "C2", "C5"]


def test_rows_for_a_gpu_are_chosen_and_run_only_there():
    assert speed.choose([], ["none"], None, "full", 0, platform="gpu").rows == GPU_ROWS
    assert not set(speed.choose([], ["none"], None, "full", 0, platform="tpu").rows) & set(GPU_ROWS)
    assert list(speed.choose(["C2", "G4_bf16"], ["none"], 3, "full", 0, platform="gpu").rows) == ["C2", "G4_bf16"]
    with pytest.raises(ValueError, match=r"^rows: expected some of C0.* where JAX runs on cpu, got G1,G7, which take"):
        speed.choose(["C0", "G1", "G7"], ["none"], None, "full", 0, platform="cpu")
    words = {row.products: row.sizes for row in GPU_ROWS.values()}
    assert words["bfloat16"] == "B=128 T=256 X=1024 H=1024, products in bfloat16"


# Every kind of row, at sizes that do not matter: cells, engines and dtypes as they stand in the table.
KINDS = sorted({(cell, row.products, row.engines) for row in GPU_ROWS.values() for cell in row.cells})


@pytest.mark.parametrize(("cell", "products", "engines_beside"), KINDS)
def test_rows_for_a_gpu_lower_to_it(cell, products, engines_beside):
    row = Row(2, 3, 2, 2, (cell,), products=products, engines=engines_beside)
    case = make_case(row, cell)
    params, x, target = nnx.state(case.modules[0]), case.x, case.target
    assert {leaf.dtype.name for leaf in jax.tree.leaves((params, x))} == {row.dtype}
    found = []
    for key in ("auto", *engines_beside):
        engine = engines.ENGINES[key]()
        if engine.refusal(CELLS[cell](2)):
            continue
        apply = _speed_engines.model(case, engine).apply
        differentiate = jax.value_and_grad(lambda params, x, apply=apply: loss(apply(params, x), target), (0, 1))
        lowered = jax.jit(differentiate).trace(params, x).lower(lowering_platforms=("cuda",))
        shapes = jax.tree.map(lambda leaf: leaf.shape, lowered.out_info[1])
        assert shapes == jax.tree.map(jnp.shape, (params, x))
        found.append(key)
    serving = {"lru": {"scan", "associative"}, "min_gru": {"scan", "associative", "newton"}}
    assert found == ["auto", *(key for key in engines_beside if key in serving.get(cell, {"scan", "newton"}))]


def test_an_engine_of_a_row_runs_beside_the_one_chosen_or_says_why_not():
    case = make_case(
        Row(2, 3, 2, 2, (), products="float32", engines=("newton", "associative", "cudnn")), "diagonal_gru"
    )
    newton, *refused = _speed_engines.entries(case)
    assert newton.name == "recur.Newton"
    np.testing.assert_allclose(newton.outputs()[0], case.modules[0](case.x), atol=1e-6)
    assert [(name, str(why).split(",")[0]) for name, why in refused] == [
        ("recur.Associative", "its step is not affine in the state"),
        ("recur.Cudnn", "cuDNN runs the LSTM alone"),
    ]


def test_tolerances_follow_what_products_resolve():
    case = make_case(Row(1, 2, 2, 2, ()), "elman")
    bounds = [
        tolerance(case._replace(row=case.row._replace(products=p))) for p in (None, "float32", "tf32", "bfloat16")
    ]
    assert bounds[0] == bounds[1] == pytest.approx(16 * 2**-23 * 6**0.5)
    assert bounds[2:] == [2**-5, 2**-3]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "slstm"])
def test_libraries_agree_in_bfloat16(cell):
    case = make_case(Row(2, 5, 2, 3, (), products="bfloat16"), cell)
    want = reference(case)
    for entry in entries(speed.Config({}, installed(set(NAMES) - {"torch"})), case):
        off = errors(want, entry.outputs(), *entry.gradients(), entry.absent)
        assert max(off) < tolerance(case), (entry.name, off)


def test_a_wrong_flag_ends_with_one_line():
    command = [sys.executable, "-m", "benchmarks.speed", "--rows=C99"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "rows: expected distinct names among C0,C1" in done.stderr


ON_TWO_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
from benchmarks import _speed_floor, speed
from benchmarks._speed_rows import Row, make_case
for row in (Row(4, 5, 2, 3, ()), Row(1, 5, 2, 3, (), layers=2, seeds=4)):
    machine = _speed_floor.Machine(1e9, 1e-9, 1e-7)
    for record in speed.time_case(speed.Config({}, (), repeats=1), "C", make_case(row, "gru"), machine):
        print(record["kind"], record["peer"], record.get("measure"))
"""


@pytest.mark.slow
def test_the_mesh_computes_the_same_on_two_devices():
    done = subprocess.run([sys.executable, "-c", ON_TWO_DEVICES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    timed = done.stdout.splitlines()
    for measure in ("forward", "gradients", "step"):
        assert timed.count(f"speed recur_mesh {measure}") == 2
    assert not [line for line in timed if line.startswith("not_timed")]
