"""Flags of every script and stored configurations that are no good, read in this process as the scripts read them."""

import dataclasses
import importlib
import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
from absl import flags
from fuzz_cases import answer, cases
from fuzz_strategies import hostile, numbers, spoiled

from benchmarks import long_sequences, selfcheck, speed
from recur.runs import _config, _folder, _main
from recur.study import _command

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py"))
CONFIGS = {name: importlib.import_module(f"experiments.{name}").Config for name in SCRIPTS}
spelled = st.one_of(
    hostile,
    numbers.map(str),
    st.sampled_from(
        [
            "",
            "lstm",
            "lstm,gru",
            "lstm,lstm",
            "true",
            "no",
            "1e400",
            "٣",
            "0x10",
            "1_000",
            "nan",
            "inf",
            "-inf",
            "--",
            "=",
        ]
    ),
)


@st.composite
def command_lines(draw, names):
    """Words of a command line, most of them flags that there are."""
    flag = st.builds("--{}={}".format, st.sampled_from(names), spelled)
    bare = st.one_of(st.sampled_from(names).map("--{}".format), st.sampled_from(names).map("--no{}".format), hostile)
    return draw(st.lists(st.one_of(flag, flag, bare), min_size=1, max_size=3))


def read(config, words):
    """Returns the configuration of a command line, as a script does."""
    values = flags.FlagValues()
    _config.define_flags(config, values)
    rest = values(["script", *words])
    if len(rest) > 1:
        raise ValueError(f"{rest[1]!r}: expected flags only, as --name=value")
    return _config.from_flags(config, values)


@st.composite
def scripts(draw):
    script = draw(st.sampled_from(SCRIPTS))
    names = [*(field.name for field in dataclasses.fields(CONFIGS[script])), "config"]
    return script, None, draw(command_lines(names))


@cases(105, call=scripts())
def test_flags_of_experiments(call):
    script, _, words = call
    assert_read_or_refused(CONFIGS[script], words)


def assert_one_line(error):
    assert _main.describe(error)
    assert "\n" not in _main.describe(error)


def assert_read_or_refused(config, words):
    """A configuration that says what the flags say, or what `_main.run` turns into one line and exit code 2."""
    try:
        found = read(config, words)
    except (flags.Error, ValueError, OSError) as error:
        assert_one_line(error)
    else:
        for field in dataclasses.fields(found):
            assert type(getattr(found, field.name)) is type(field.default)


@st.composite
def stored(draw):
    """A config.json of a script, spoiled at one place, or not one at all."""
    script = draw(st.sampled_from(SCRIPTS))
    options = dataclasses.asdict(CONFIGS[script]())
    option = draw(st.sampled_from(sorted(options)))
    value = draw(
        st.one_of(
            numbers, hostile, st.lists(st.integers(), max_size=2), st.dictionaries(hostile, st.integers(), max_size=1)
        )
    )
    content = {"experiment": script, "config": options | {option: value}}
    kind = draw(st.sampled_from(["spoiled", "spoiled", "spoiled", "other", "cut", "bytes", "nested"]))
    if kind == "other":
        content = draw(
            st.one_of(numbers, st.lists(numbers, max_size=2), st.just({"experiment": script, "config": [1]}))
        )
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    if kind == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    if kind == "bytes":
        data = draw(st.binary(max_size=50))
    if kind == "nested":
        data = b"[" * 3000
    return script, None, data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("configs")


@cases(50, call=stored())
def test_stored_configurations(call, folder):
    script, _, data = call
    path = folder / "config.json"
    path.write_bytes(data)
    # TypeError: a value of another type, which `_main.run` must not show as a traceback.
    assert_read_or_refused(CONFIGS[script], [f"--config={path}"])


@cases(25, call=stored())
def test_runs_that_are_there(call, folder):
    """A folder that holds another run, or a file that is none, is refused and left as it is."""
    script, _, data = call
    path = folder / "config.json"
    path.write_bytes(data)
    config = CONFIGS[script](workdir=str(folder))
    try:
        _folder.write_config(_folder.check_folder(script, config), script, config)
    except (ValueError, OSError) as error:
        assert_one_line(error)
        data_after = path.read_bytes()
    else:
        data_after = data
    assert data_after == data


OWN = (
    "preset",
    "parts",
    "cells",
    "cell",
    "hidden_size",
    "lengths",
    "seeds",
    "seed",
    "initializer",
    "gain",
    "input",
    "dtype",
)


@cases(42, words=command_lines(OWN))
def test_flags_of_the_gradient_benchmark(words):
    values = _command.study_flags()
    try:
        values(["script", *words])
        found = _command.config_of(values)
    except (flags.Error, ValueError) as error:
        assert_one_line(error)
    else:
        assert found.seeds >= 1
        assert min(found.lengths) >= 2


names = st.lists(st.one_of(st.sampled_from(["lstm", "gru", "all", "none", "a:b"]), hostile), max_size=3)
BENCHMARKS = {
    "long_sequences": (
        long_sequences.Config,
        {},
        {"cells": names.map(tuple), "lengths": st.lists(st.integers(1, 9), max_size=3).map(tuple)},
    ),
    "selfcheck": (selfcheck.Config, {}, {"cells": names.map(tuple), "seed": st.integers(-3, 2**33)}),
    "speed": (
        lambda **given: speed.choose(*given.values()),
        {"rows": [], "peers": ["all"], "repeats": None, "preset": "full", "seed": 0, "platform": "cpu"},
        {"rows": names, "peers": names, "repeats": st.integers(1, 9), "preset": st.sampled_from(list(speed.PRESETS))},
    ),
}


@cases(
    25, call=spoiled({name: (call, given, own) for name, (call, given, own) in BENCHMARKS.items()}, junk=st.nothing())
)
def test_values_of_the_other_benchmarks(call):
    """Values as absl hands them over: of the right type, and any at all."""
    _, function, arguments = call
    answer({*arguments, "initial", "seeds"}, function, **arguments)
