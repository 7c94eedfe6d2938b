"""`recur study`, `recur diagnose` and `recur page`: exit codes, one line for what is wrong, and pages."""

import numpy as np
import pytest
import torch

from recur.__main__ import main


def test_a_torch_file_is_diagnosed(tmp_path, capsys):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.LSTM(3, 5, batch_first=True)
            self.tagger = torch.nn.GRU(7, 4, batch_first=True)

    torch.manual_seed(0)
    torch.save(Model().state_dict(), tmp_path / "model.pt")
    x = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, n=[20, 9])
    arguments = ["diagnose", str(tmp_path / "model.pt"), f"--inputs={tmp_path / 'x.npz'}"]
    assert main([*arguments, "--lengths=n", "--chrono=30", f"--out={tmp_path / 'page'}"]) == 0
    told = capsys.readouterr().out
    assert told.count("encoder  ") == 3
    assert "not measured: tagger, which reads 7 features, not 3" in told
    assert (tmp_path / "page" / "index.html").exists()
    # The page again, from its records alone.
    assert main(["page", str(tmp_path / "page"), f"--out={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again" / "index.html").exists()
    capsys.readouterr()
    for wrong, words in (
        ([*arguments, "--layers=decoder"], "encoder (reads 3 features), tagger (reads 7 features)"),
        ([arguments[0], str(tmp_path / "none.pt"), arguments[2]], "none.pt"),
        (arguments[:2], "inputs: expected a NumPy archive"),
        ([*arguments, "--lengths=m"], "x.npz"),
        (["page", str(tmp_path)], "records.jsonl"),
        (["study", "--preset=slow"], "preset"),
        (["study", "--workers=-1"], "workers"),
        (["study", "--out="], "out: expected a folder"),
        (["studdy"], "did you mean 'study'"),
    ):
        assert main(wrong) == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["study", "diagnose", "page"])
def test_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"usage: recur {command}" in capsys.readouterr().out


def test_help_names_the_commands(capsys):
    assert main(["--help"]) == 0
    assert "recur diagnose" in capsys.readouterr().out
