"""Hostile words in a report: nothing that comes from data becomes a tag or an attribute of the page."""

import json
import math
import sys
import warnings
from pathlib import Path

import hypothesis.strategies as st
from fuzz_cases import answer, cases
from fuzz_strategies import hostile, numbers

from recur import report

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from report_html import Reader
from report_rows import lag_curve, parameter_norm, summary

MARK = "q7z"
ATTACKS = (
    f"<script>{MARK}()</script>",
    f"</script><script>{MARK}()</script>",
    f"</title></style></svg><img src=x onerror={MARK}()>",
    f'"><svg onload={MARK}()>',
    f"' {MARK}='1",
    f'" {MARK}="1',
    f"--><iframe srcdoc={MARK}>",
    f"]]><a href=javascript:{MARK}()>",
    f"&lt;b {MARK}&gt;",
    f"${MARK}$ \\frac{{1}}{{2}}",
    f"\ud800{MARK}\0\x1b[31m\u202e",
    f"{MARK}\r\n\u2028<b>",
)
words = st.one_of(st.sampled_from(ATTACKS), st.lists(st.sampled_from(ATTACKS), min_size=2, max_size=2).map("".join))
cells = st.one_of(words, hostile, numbers, st.dictionaries(st.sampled_from(["median", "p10", "p90", "text"]), numbers))
# What the page itself is made of; with scripts and styles as many as it has of its own.
OWN_ATTRIBUTES = {
    "http-equiv",
    "content",
    "charset",
    "name",
    "lang",
    "id",
    "class",
    "href",
    "scope",
    "role",
    "tabindex",
}
OWN_ATTRIBUTES |= {"aria-label", "data-value"}


def assert_inert(page, scripts=1):
    """Checks that the marks of attacks stand in text, or in attributes that are shown and never run."""
    reader = Reader(page)
    assert not reader.open
    names = [tag for tag, _ in reader.tags]
    assert names.count("script") == scripts
    assert not {"iframe", "img", "object", "embed", "form", "base", "link"} & set(names)
    for _, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or MARK in name]
        for name, value in attributes.items():
            assert MARK not in (value or "") or name == "aria-label", f"{name}={value}"
            assert not (value or "").lower().startswith("javascript:")
    assert all(MARK not in tag for tag, _ in reader.tags)


@cases(
    42,
    title=words,
    lead=words,
    rows=st.lists(st.dictionaries(words, cells, min_size=1, max_size=3), max_size=3),
    texts=st.lists(words, max_size=3),
)
def test_a_page(title, lead, rows, texts):
    page = report.Page(title, lead)
    page.heading(title)
    page.text(lead)
    page.items(texts)
    page.figure("<svg></svg>", title, texts)
    _, error = answer({"rows"}, page.table, rows, lead)
    if error is None:
        report.markdown_table(rows)
    rendered = page.render()
    assert_inert(rendered)
    own = {name for _, attributes in Reader(rendered).tags for name in attributes}
    assert own <= OWN_ATTRIBUTES


@cases(25, rows=st.lists(st.dictionaries(st.one_of(words, hostile), cells, max_size=3), max_size=3))
def test_tables(rows):
    """Markdown shows tags as text, and every row is one line."""
    text, error = answer({"rows"}, report.markdown_table, rows)
    if error is None:
        assert "<" not in text
        assert text.count("\n") == len(rows) + 2
        # As many cells in every line: nothing in a cell ends it.
        assert len({line.replace("\\\\", "").replace("\\|", "").count("|") for line in text.splitlines()}) <= 1


@cases(5, label=words, title=words)
def test_drawings(label, title):
    # A font need not have every letter.
    warnings.filterwarnings("ignore", "Glyph .* missing from font")
    figure = report.loss_curves(
        {label: ([1, 2], [1.0, 0.5])}, title=title, subtitle=label, x_label=title, floors={title: 0.1}
    )
    svg = report.to_svg(figure)
    assert_inert(f"<body>{svg}</body>", scripts=0)


@cases(4, cell=words, word=words)
def test_a_whole_report(cell, word, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    records = [
        {"kind": "run", "config": {word: word}, "versions": {word: word}, word: word},
        lag_curve(cell, -0.1, 8, dtype=word),
        parameter_norm(cell, 8, -1.0) | {"dtype": word},
        summary(cell, -0.1, 8, word) | {"dtype": word},
        {
            "kind": "literature",
            "source": word,
            "task": word,
            "cell": cell,
            "metric": word,
            "published": word,
            "budget": word,
        },
        {"kind": "check", "group": word, "name": word, "expected": 1, "measured": 2, "tolerance": 0, "passed": False},
        {"kind": word, "plot": word},
    ]
    report.write_jsonl(folder / "records.jsonl", records)
    page = report.gradient_page(report.read_jsonl(folder / "records.jsonl"), folder)
    assert_inert(page.read_text(encoding="utf-8"))
    for drawing in folder.glob("*.svg"):
        assert_inert(drawing.read_text(encoding="utf-8"), scripts=0)


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@cases(25, rows=st.lists(st.dictionaries(st.text(max_size=3), plain, max_size=3), min_size=1, max_size=3))
def test_records_come_back_as_they_were_written(rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    report.write_jsonl(path, rows)
    assert json.dumps(report.read_jsonl(path)) == json.dumps([decoded(row) for row in rows])
    path.unlink()
    for row in rows:
        report.append_jsonl(path, row)
    with path.open("ab") as file:
        file.write(b'{"torn": "by a cra')
    report.append_jsonl(path, {"after": 1})
    assert len(report.read_jsonl(path)) == len(rows) + 1


def decoded(value):
    """The three words that stand for numbers are read as these."""
    if isinstance(value, str):
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}.get(value, value)
    if isinstance(value, list):
        return [decoded(entry) for entry in value]
    return {key: decoded(entry) for key, entry in value.items()} if isinstance(value, dict) else value


RECORDS = json.loads(
    json.dumps(
        [lag_curve("a", -0.1, 4), parameter_norm("a", 4, -1.0), summary("a", -0.1, 4, "vanishes")],
        default=lambda value: value.tolist(),
    )
)


@cases(25, data=st.data())
def test_fuzzed_records(data, tmp_path_factory):
    """A record with a field that is missing, or something else, makes a page or one line that says which record."""
    records = [dict(record) for record in RECORDS]
    record = data.draw(st.sampled_from(records))
    field = data.draw(st.sampled_from(sorted(record)))
    if data.draw(st.booleans()):
        del record[field]
    else:
        record[field] = data.draw(plain)
    answer(
        {"record 1", "record 2", "record 3", "records"},
        report.gradient_page,
        records,
        tmp_path_factory.mktemp("fuzzed"),
    )
