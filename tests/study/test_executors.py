"""Spawned workers: a job that kills its process is named and not tried for ever, the others finish."""

import pathlib
import sys

import pytest

from recur.study import Workers
from recur.study._executors import Failure, run_all


def test_a_job_that_kills_its_worker_has_failed_and_the_others_finish(monkeypatch):
    folder = str(pathlib.Path(__file__).parent)
    monkeypatch.setattr(sys, "path", [folder, *sys.path])
    monkeypatch.setenv("PYTHONPATH", folder)
    from dying_jobs import job

    names = ["a", "kills", "raises", "b"]
    with Workers(1) as workers:
        found = dict(run_all(workers, job, [(name,) for name in names]))
    assert (found[0], found[3]) == ("a", "b")
    assert isinstance(found[1], Failure)
    assert "its process died 2 times" in found[1].error
    assert found[2].error == "ValueError: by itself"


def test_whatever_has_submit_done_and_result_is_an_executor():
    class Later:
        def __init__(self, call):
            self.call, self.asked = call, 0

        def done(self):
            self.asked += 1
            return self.asked > 2

        def result(self):
            return self.call()

    class Scheduler:
        def submit(self, function, *args):
            return Later(lambda: function(*args))

    assert dict(run_all(Scheduler(), divmod, [(7, 2), (9, 4)])) == {0: (3, 1), 1: (2, 1)}
    found = dict(run_all(None, divmod, [(7, 0)]))
    assert found[0].error.startswith("ZeroDivisionError")
    with pytest.raises(AttributeError):
        dict(run_all(object(), divmod, [(7, 2)]))
