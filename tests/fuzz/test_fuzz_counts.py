"""How many cases are tried, and what no file of this project may do."""

import re
from pathlib import Path

import fuzz_cases
import hypothesis
import pytest
import test_fuzz_checkpoints
import test_fuzz_data
import test_fuzz_flags
import test_fuzz_modules
import test_fuzz_numbers
import test_fuzz_readers
import test_fuzz_reports
import test_fuzz_training
import test_fuzz_unroll

ROOT = Path(__file__).parents[2]
MODULES = (
    *(test_fuzz_checkpoints, test_fuzz_data, test_fuzz_flags, test_fuzz_modules, test_fuzz_numbers),
    *(test_fuzz_readers, test_fuzz_reports, test_fuzz_training, test_fuzz_unroll),
)
SOURCES = sorted(path for name in ("recur", "experiments", "benchmarks") for path in (ROOT / name).rglob("*.py"))


def test_as_many_cases_are_tried_as_promised():
    """Every test of these fails by itself where it runs on fewer cases than it says."""
    assert {Path(module.__file__) for module in MODULES} == set(Path(__file__).parent.glob("test_*.py")) - {
        Path(__file__)
    }
    nightly = hypothesis.settings.get_current_profile_name() == "nightly"
    assert sum(fuzz_cases.COUNTS.values()) >= (20_000 if nightly else 1_000)
    assert fuzz_cases.NIGHTLY * sum(fuzz_cases.COUNTS.values()) >= 20_000


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_can_run_code(source):
    text = source.read_text(encoding="utf-8")
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    # These pickle values of their own, to compare them or to send them on; they read no file.
    writes_alone = str(source.relative_to(ROOT)) in ("recur/check/_laws.py", "recur/study/_jobs.py")
    assert writes_alone or not re.search(
        r"^\s*(import|from) (pickle|cPickle|dill|cloudpickle|marshal|shelve|joblib)\b", code, re.MULTILINE
    )
    assert not re.search(r"\b(eval|exec|__import__)\(|yaml\.(unsafe_)?load\(|allow_pickle=True|read_pickle", code)
    for call in re.findall(r"np\.load\([^)]*\)", code):
        assert "allow_pickle=False" in call
    for call in re.findall(r"torch\.load\([^)]*\)", code):
        assert "weights_only=True" in call
    # Orbax: arrays and JSON, no handler that would pickle.
    assert set(re.findall(r"ocp\.(\w+Handler)\b", code)) <= {
        "CompositeCheckpointHandler",
        "StandardCheckpointHandler",
        "JsonCheckpointHandler",
    }
