"""The model of memory and time recovers planted constants, and the command says where it does not hold."""

import json

import numpy as np
import pytest

from benchmarks import _scaling_model, _scaling_programs, scaling
from benchmarks._scaling_programs import Case


def test_planted_constants_come_back():
    planted = _scaling_model.Model("memory", (18.0, 4.0, 73.0, 150.0, 1000.0))
    found = _scaling_model.fit("memory", scaling.MEMORY_FIT, [planted(case) for case in scaling.MEMORY_FIT])
    np.testing.assert_allclose(found.constants, planted.constants, rtol=1e-6)
    big = Case(1_000_000, 64, 2048, S=8, D=8)
    assert found(big) == pytest.approx(planted(big))
    assert found.formula() == "18 s P + 4 T b X + 73 s T b H + 150 s b H + 1e+03"


def test_a_constant_below_zero_is_left_out():
    def values(case):
        return 5e-6 * case.T + 1e-11 * _scaling_model.time_terms(case)[1] - 1e-12 * _scaling_model.parameters(case)

    found = _scaling_model.fit("time", scaling.TIME_FIT, [values(case) for case in scaling.TIME_FIT])
    assert min(found.constants) == 0
    np.testing.assert_allclose(found.constants[:2], (5e-6, 1e-11), rtol=0.05)


def test_terms_are_those_of_one_device():
    """8 seeds and a batch of 32 on 16 devices: a seed each, and half of the batch."""
    case = Case(T=10, B=32, H=3, S=8, D=16)
    assert _scaling_model.shares(case) == (1, 16)
    assert _scaling_model.memory_terms(case) == [4 * 3 * 36, 10 * 16 * 32, 10 * 16 * 3, 16 * 3, 1]
    products = 10 * 16 * 4 * 3 * 35
    assert _scaling_model.time_terms(case) == [10, products, 10 * 16 * 3, 432, 432 * 4]


def test_steps_are_in_chunks_where_their_gates_need_more_than_16_mb():
    assert _scaling_model.memory_kind(Case(1024, 16, 64)) == _scaling_model.WHOLE
    assert _scaling_model.memory_kind(Case(1025, 16, 64)) == _scaling_model.CHUNKS
    assert _scaling_model.memory_kind(Case(1025, 16, 64, S=4)) == _scaling_model.CHUNKS
    assert _scaling_model.memory_kind(Case(1025, 16, 64, D=2)) == _scaling_model.WHOLE
    for cases in (scaling.MEMORY_FIT, scaling.MEMORY_CHECK):
        assert {_scaling_model.memory_kind(case) for case in cases} == {_scaling_model.WHOLE, _scaling_model.CHUNKS}


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="cases: expected at least 5 to fit memory, got 2"):
        _scaling_model.fit("memory", scaling.MEMORY_FIT[:2], [1.0, 2.0])


def test_a_point_off_the_model_fails(monkeypatch, tmp_path):
    planted = _scaling_model.Model("memory", (18.0, 4.0, 73.0, 150.0, 1000.0))
    wrong = scaling.MEMORY_CHECK[0]
    monkeypatch.setattr(_scaling_programs, "step", lambda case: case)
    monkeypatch.setattr(
        _scaling_programs, "planned_bytes", lambda case: planted(case) * (1.2 if case == wrong else 1.0)
    )
    failed = scaling.scaling(scaling.Config(parts=("memory",)), tmp_path)
    assert len(failed) == 1
    assert "'T': '4,096'" in failed[0]
    assert "-16.7 %" in failed[0]
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == failed
    assert (tmp_path / "index.html").is_file()


@pytest.mark.parametrize(
    ("parts", "message"), [((), "parts: expected distinct names"), (("extrapolate",), "memory and time with")]
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        scaling.Config(parts=parts)


def test_the_first_point_is_what_xla_plans_for():
    """State in and out, sequence in: what no program can do without; and the residuals of every step."""
    case = Case(16, 4, 8)
    found = _scaling_programs.planned_bytes(_scaling_programs.step(case))
    state = 4 * 4 * _scaling_model.parameters(case)
    assert found > state + 4 * case.T * case.B * (_scaling_programs.FEATURES + 4 * case.H)


@pytest.mark.slow
def test_the_command_runs_and_memory_holds(tmp_path):
    """On one device, that of the test: the models are fitted and checked on what it can run."""
    failed = scaling.scaling(scaling.Config(parts=("memory", "blocks", "hidden"), repeats=1, small=True), tmp_path)
    assert failed == []
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"run", "memory", "memory in chunks", "blocks", "hidden"}
    assert any(line.get("met") for line in lines)
