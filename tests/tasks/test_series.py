"""Number columns of CSV files: what is read, and what is refused by line and column."""

import sys

import hypothesis.strategies as st
import numpy as np
import pandas
import pytest
from hypothesis import given

from recur import tasks


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        return tasks.read_table(tmp_path / "a.csv", **options)

    return read


DATES = "day,temp,wind\n1990-01-01,1,10\n1990-01-02,3,\n1990-01-06,7,?\n1990-01-07,8,40\n"


def test_series_with_dates(tmp_path):
    (tmp_path / "a.csv").write_text('"Date","Temp","Wind"\n"1981-01-01",20.7,1\n"1981-01-02",-17.9,2e3\n')
    np.testing.assert_array_equal(tasks.read_series(tmp_path / "a.csv"), [[20.7, 1.0], [-17.9, 2000.0]])


def test_series_of_one_column(read):
    assert read("value\n1\n\n2\n3\n").values.tolist() == [[1], [2], [3]]


def test_columns_are_chosen_by_name_or_number(read):
    table = read(DATES, columns=["temp"])
    assert table.values.tolist() == [[1], [3], [7], [8]]
    assert (table.names, table.times, table.gaps) == (("temp",), None, None)
    assert read("a,b,c\n1,x,3\n4,y,6\n", columns=[2, "a"]).values.tolist() == [[3, 1], [6, 4]]


def test_times_and_their_gaps(read):
    table = read(DATES, columns=["temp"], time="day")
    assert table.gaps.tolist() == [0, 86400, 4 * 86400, 86400]
    assert table.times[2] == np.datetime64("1990-01-06")
    steps = read("v,t\n5,0.5\n6,2\n7,2\n", time="t")
    assert (steps.values.tolist(), steps.gaps.tolist()) == ([[5], [6], [7]], [0, 1.5, 0])
    assert read("n,v\nd0,1\nd1,2\nd10,3\n").gaps.tolist() == [0, 1, 9]
    zones = read("t,v\n2020-01-01T00:00:00Z,1\n2020-01-01T02:00:00+01:00,2\n")
    assert zones.gaps.tolist() == [0, 3600]


def test_days_and_months_are_not_guessed(read):
    """First the month, first the day, or either: the order and the numbers beyond 12 tell, or nothing does."""
    assert read("d,v\n1/30/1990,1\n2/1/1990,2\n", time="d").gaps[1] == 2 * 86400
    assert read("d,v\n30/1/1990,1\n1/2/1990,2\n", time="d").gaps[1] == 2 * 86400
    either = "d,v\n1/1/1990,1\n2/1/1990,2\n"
    assert (read(either).values.tolist(), read(either).gaps) == ([[1], [2]], None)
    with pytest.raises(ValueError, match="'1/1/1990', which may be day or month first"):
        read(either, time="d")
    assert read(either, time="d", time_format="%d/%m/%Y").gaps[1] == 86400


def test_rows_are_sorted_when_that_is_asked_for(read):
    text = "t,v\n1990-01-03,3\n1990-01-01,\n1990-01-05,5\n1990-01-02,2\n1989-12-31,0\n"
    table = read(text, unsorted="sort", missing="interpolate")
    assert table.values.ravel().tolist() == [0, 1, 2, 3, 5]
    assert table.gaps.tolist() == [0, 86400, 86400, 86400, 2 * 86400]


@pytest.mark.parametrize(
    ("missing", "wind"),
    [("forward", [10, 10, 10, 40]), ("interpolate", [10, 15, 35, 40])],
)
def test_missing_values_are_filled(read, missing, wind):
    """A line is drawn in time: 1, 5 and 6 days after the first row."""
    table = read(DATES, missing=missing)
    np.testing.assert_allclose(table.values, np.stack([[1, 3, 7, 8], wind], axis=1))


def test_missing_values_are_marked(read):
    values = read(DATES, missing="mask").values
    assert values.tolist() == [[1, 10, 1, 1], [3, 0, 1, 0], [7, 0, 1, 0], [8, 40, 1, 1]]
    # Whether or not any is missing.
    assert read("v\n1\n2\n", missing="mask").values.tolist() == [[1, 1], [2, 1]]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_sign_between_cells_is_found(read, sign):
    assert read("a,b;c\n1,5;7\n".replace(",", "_"), columns=["c"], delimiter=";").values.tolist() == [[7]]
    assert read(f"a{sign}b\n1{sign}2\n3{sign}4\n").values.tolist() == [[1, 2], [3, 4]]


def test_decimal_commas(read):
    text = "date;temp, mean\n1981-01-01;-3,5\n1981-01-02;4,25\n"
    assert read(text, decimal=",").values.tolist() == [[-3.5], [4.25]]
    assert read("v\n1,5\n2,5\n", decimal=",").values.tolist() == [[1.5], [2.5]]
    for refused in (text, "wind; m/s, mean\n-3,5\n-2,5\n"):
        with pytest.raises(ValueError, match="expected rows that one sign parts, got ',' and ';' in"):
            read(refused)


def test_a_file_without_a_header(read):
    text = "1981-01-01,20.7\n1981-01-02,17.9\n1981-01-03,18.8\n"
    with pytest.raises(ValueError, match=r"expected a header in line 1, got \['1981-01-01', '20.7'\] .*header=False"):
        read(text)
    table = read(text, header=False)
    assert (table.values.ravel().tolist(), table.names) == ([20.7, 17.9, 18.8], ("1",))
    assert read("1990,1991\n1,2\n", header=True).names == ("1990", "1991")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("returns,volume\nNaN,10\n0.1,11\n", "expected a number in column 'returns', got 'NaN' in line 2"),
        ('"ret","vol"\nNA,10\n0.1,11\n', "expected a number in column 'ret', got 'NA' in line 2"),
        ("temp,hum\n?,10\n21.5,11\n", "expected a number in column 'temp', got '[?]' in line 2"),
        ('sales,visits\n"1,234",10\n950,11\n', "got '1,234' in line 2 .*write thousands without a sign"),
        ("a,b\ninf,1\n2,3\n", "expected a number in column 'a', got 'inf' in line 2"),
        ("a,b\nNA,1\nNA,3\n", "expected a number in column 'a', got 'NA' in line 2"),
        (DATES + "Total,11,1\n", "expected dates or numbers in column 'day', got 'Total' in line 6"),
        ("d,v\nd0,2\nd1,3\nTotal,5\n", "expected dates or numbers in column 'd', got 'Total' in line 4"),
        ("d,v\n00:00,2\n01:00,3\n", "expected dates or numbers in column 'd', got '00:00' in line 2"),
        ("who,v\nann,2\nbob,3\n", "expected dates or numbers in column 'who', got 'ann' .*columns="),
        ("d,v\n1990-01-02,2\n1990-01-01,3\n", "got '1990-01-01' after '1990-01-02' in line 3 .*unsorted='sort'"),
        (",v\n0,2\n1,3\n", "expected columns with names, got none for column 0 .*columns="),
    ],
)
def test_what_a_column_is_is_decided_by_all_its_cells(read, text, words):
    with pytest.raises(ValueError, match=words):
        read(text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected text, got the empty file"),
        ("a,b\n", "expected a header and rows of numbers, got 1 lines"),
        ("1,2\n3,4\n", r"expected a header in line 1, got \['1', '2'\]"),
        ("a,b\n1,2\n3\n", "expected 2 columns, got 1 in line 3"),
        ("a,b\n1,2\n3,\n", "expected a number in column 'b', got '' in line 3"),
        ("a,b\n1,2\n3,x\n", "expected a number in column 'b', got 'x' in line 3"),
        ("a,b\n1,2\n3,nan\n", "expected a number in column 'b', got 'nan' in line 3"),
        ("a,b\n1,2\n3,inf\n", "expected a number in column 'b', got 'inf' in line 3"),
        ("a,b\nx,2\n3,4\ny,\n", "expected a number in column 'a', got 'x' in line 2"),
        ('a,b\n1,2\n3,"\n4"\n5,x\n', "expected a number in column 'b', got 'x' in line 5"),
    ],
)
def test_bad_series_are_named(read, content, words):
    with pytest.raises(ValueError, match=words):
        read(content)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"columns": "temp"}, TypeError, "columns: expected a list of names, got 'temp'"),
        ({"columns": []}, ValueError, "columns: expected at least one name"),
        ({"columns": ["rain"]}, ValueError, r"columns: expected a column of .*, got 'rain' where there are \['day'"),
        ({"columns": [3]}, ValueError, "columns: expected a column of .*, got 3"),
        ({"time": "t"}, ValueError, "time: expected a column of .*, got 't'"),
        ({"delimiter": ""}, ValueError, "delimiter: expected one sign"),
        ({"delimiter": ",", "decimal": ","}, ValueError, "delimiter: expected another sign than the decimal one"),
        ({"time": True}, ValueError, "time: expected a column of .*, got True"),
        ({"columns": [None]}, ValueError, "columns: expected a column of .*, got None"),
        ({"columns": 3}, TypeError, "columns: expected a sequence, got 3"),
        ({"decimal": ";"}, ValueError, "decimal: expected one of"),
        ({"header": 1}, TypeError, "header: expected True or False"),
        ({"missing": "drop"}, ValueError, "missing: expected one of .* got 'drop'"),
        ({"unsorted": "keep"}, ValueError, "unsorted: expected one of"),
        ({"time_format": 3}, TypeError, "time_format: expected a format"),
    ],
)
def test_wrong_options_are_named(read, options, error, words):
    with pytest.raises(error, match=words):
        read(DATES, **options)


@pytest.mark.parametrize("missing", ["forward", "interpolate"])
def test_nothing_is_made_up_at_the_ends(read, missing):
    with pytest.raises(ValueError, match="expected values before .*what is missing in column 'v', got none"):
        read("v\nNA\n1\n2\n", missing=missing)
    if missing == "interpolate":
        with pytest.raises(ValueError, match="expected values before and after"):
            read("v\n1\n2\nNA\n", missing=missing)


def test_two_columns_of_one_name_are_not_told_apart(read):
    with pytest.raises(ValueError, match="columns: .* got 'a' where there are two of that name"):
        read("a,a\n1,2\n", columns=["a"])


def test_without_pandas_numbers_are_read_and_dates_say_what_to_install(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert read("a,b\n1,2\n").values.tolist() == [[1, 2]]
    with pytest.raises(ImportError, match=r'expected pandas, got none; pip install "recur-jax\[data\]"'):
        read(DATES)


def test_a_series_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a\n\xff\n")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        tasks.read_series(tmp_path / "a.csv")


NUMBER = st.floats(-1e9, 1e9).map(lambda x: float(f"{x:.6g}"))
CELLS = st.lists(st.tuples(*[st.one_of(st.just(""), NUMBER)] * 3), min_size=1, max_size=8)


@given(cells=CELLS, sign=st.sampled_from(",;\t|"), decimal=st.sampled_from(".,"), has_header=st.booleans())
def test_what_pandas_reads_is_read(cells, sign, decimal, has_header, tmp_path_factory):
    """Another reader finds the same numbers, and the same cells missing."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    if sign == decimal:
        sign = ";"
    frame = pandas.DataFrame([[np.nan if cell == "" else cell for cell in row] for row in cells], columns=list("xyz"))
    frame.to_csv(path, sep=sign, decimal=decimal, header=has_header, index=False)
    options = {"delimiter": sign, "decimal": decimal}
    oracle = pandas.read_csv(path, sep=sign, decimal=decimal, header=0 if has_header else None).to_numpy(float)
    values = tasks.read_series(path, **options, header=has_header, columns=[0, 1, 2], missing="mask")
    np.testing.assert_array_equal(values[:, :3], np.nan_to_num(oracle))
    np.testing.assert_array_equal(values[:, 3:], np.isfinite(oracle))
