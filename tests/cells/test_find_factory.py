"""Cells by name: of the table, of a module, of a file."""

import pickle
import sys

import pytest

from recur import cells

OWN = """
import jax.numpy as jnp
from recur import cells


@cells.pointwise(state=("h",), gates={"n": jnp.tanh})
def leaky(gate, state):
    return {"h": 0.5 * state.h + 0.5 * gate.n}


NO_FACTORY = 3
"""


def test_names_modules_and_files(tmp_path, monkeypatch):
    (tmp_path / "own_cells_of_a_file.py").write_text(OWN)
    place = f"{tmp_path}/own_cells_of_a_file.py"
    leaky = cells.find_factory(f"{place}:leaky")
    assert cells.find_factory(f"{place}:leaky") is leaky, "a file is run once"
    assert leaky(3).declaration.name == "leaky"
    monkeypatch.chdir(tmp_path)
    assert cells.find_factory("own_cells_of_a_file.py:leaky") is leaky
    assert cells.find_factory("own_cells_of_a_file:leaky") is leaky
    assert cells.find_factory("recur.cells:gru") is cells.gru
    assert all(cells.find_factory(name) is make for name, make in cells.CELLS.items())
    # Another file of the same name is another module.
    (tmp_path / "other").mkdir()
    (tmp_path / "other/own_cells_of_a_file.py").write_text(OWN)
    assert cells.find_factory("other/own_cells_of_a_file.py:leaky") is not leaky
    pickle.dumps(leaky)


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "own_cells_too.py").write_text(OWN)
    (tmp_path / "own_cells_that_fail.py").write_text("import a_module_that_is_not_there")
    wrong = {
        "lsmt": "got 'lsmt'; did you mean 'lstm'",
        "quite another": "known are antisymmetric, elman",
        "no_module_of_this_name:x": "expected a module that can be imported, got 'no_module_of_this_name'",
        ":x": "before the colon",
        f"{tmp_path}/none.py:x": "where there is none",
        f"{tmp_path}/own_cells_too.py:leeky": "got no 'leeky' there; did you mean 'leaky'",
        f"{tmp_path}/own_cells_too.py:NO_FACTORY": "to be a factory such as recur.cells.pointwise makes, got int",
    }
    for name, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            cells.find_factory(name)
    with pytest.raises(TypeError, match="cell: expected the name of a cell, got int"):
        cells.find_factory(3)
    # What fails inside of the user's module is the user's to see.
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        cells.find_factory(f"{tmp_path}/own_cells_that_fail.py:x")
    assert "own_cells_that_fail" not in sys.modules
