"""Outputs: the same results in every format, and no cell that a spreadsheet computes."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.contacts import Reason, Result, Status
from schemas.errors import UsageError
from transforms.contacts.columns import neutralised, summary_of
from transforms.contacts.output import (
    WRITERS,
    Columns,
    OutputFormat,
    decode_results,
    encode_results,
    output_format,
)

NAMES = st.sampled_from(["name", "score", "=x"])
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
SIDES = st.dictionaries(
    NAMES, VALUES | st.text(st.characters(codec="utf-8"), max_size=5) | st.lists(VALUES, max_size=2)
)
BATCHES = st.lists(st.lists(st.tuples(SIDES, SIDES), max_size=3), max_size=3)


def result(contact: dict[str, Any], enrichment: dict[str, Any]) -> Result:
    return Result(1, "c-1", Status.ENRICHED, None, None, contact, enrichment)


def written(fmt: OutputFormat, *batches: list[Result]) -> bytes:
    columns, sink = Columns(), io.BytesIO()
    for batch in batches:
        columns = columns.with_those_of(summary_of(batch, with_columns=True))
    writer = WRITERS[fmt](sink, columns)
    for batch in batches:
        writer.add(encode_results(batch))
    writer.finish()
    return sink.getvalue()


@given(BATCHES)
def test_an_array_holds_what_the_lines_hold(batches: list[Any]) -> None:
    results = [[result(*sides) for sides in batch] for batch in batches]
    lines = written(OutputFormat.NDJSON, *results)
    assert decode_results(lines) == [each for batch in results for each in batch]
    array = json.loads(written(OutputFormat.ARRAY, *results))
    assert array == [json.loads(line) for line in lines.splitlines()]


@given(BATCHES)
@example([[({"score": 2**53 + 1}, {}), ({"score": 0.5}, {})]])
def test_a_table_has_a_row_a_result_and_a_column_a_field(batches: list[Any]) -> None:
    results = [[result(*sides) for sides in batch] for batch in batches]
    table = pq.read_table(pa.BufferReader(written(OutputFormat.PARQUET, *results)))
    rows = [*csv.reader(io.StringIO(written(OutputFormat.CSV, *results).decode(), newline=""))]
    assert table.num_rows == len(rows) - 1 == sum(map(len, results))
    assert table.column_names == rows[0]
    contacts = [each.contact or {} for batch in results for each in batch]
    assert {name[8:] for name in rows[0] if name.startswith("contact.")} == set().union(*contacts)


def test_a_column_of_one_kind_keeps_its_type() -> None:
    batches = [
        [result({"a": 1, "b": 1, "c": 1}, {"d": True})],
        [result({"a": 2, "b": 0.5, "c": "x"}, {"d": None})],
    ]
    table = pq.read_table(pa.BufferReader(written(OutputFormat.PARQUET, *batches)))
    assert table.to_pylist()[0] | {"line": 1} == table.to_pylist()[0]
    assert [table.schema.field(f"contact.{n}").type for n in "abc"] == [
        pa.int64(), pa.float64(), pa.string(),
    ]  # fmt: skip
    assert table.column("contact.c").to_pylist() == ["1", "x"]
    assert table.column("enrichment.d").to_pylist() == [True, None]


@pytest.mark.parametrize("whole", [2**53 + 1, -(2**53) - 1, 2**63 - 1])
def test_a_whole_number_among_fractions_is_the_nearest_double(whole: int) -> None:
    results = [result({"score": whole}, {}), result({"score": 0.5}, {}), result({}, {})]
    table = pq.read_table(pa.BufferReader(written(OutputFormat.PARQUET, results)))
    assert table.column("contact.score").to_pylist() == [float(whole), 0.5, None]


@given(st.text(st.characters(codec="utf-8")))
def test_no_cell_is_a_formula(text: str) -> None:
    cell = neutralised(text)
    assert cell.endswith(text)
    assert not cell.startswith(("=", "@", "\t", "\r", "\n"))
    assert not cell.startswith(("+", "-")) or cell[1:].replace(".", "", 1).isdecimal()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://example.com")', '\'=HYPERLINK("http://example.com")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20SUM(1)", "'\uff20SUM(1)"),
        ("+12005550100", "+12005550100"),
        ("-4.5", "-4.5"),
        ("a=b", "a=b"),
    ],
)
def test_formulas_are_told_from_numbers(text: str, cell: str) -> None:
    assert neutralised(text) == cell


def test_a_failed_row_is_in_a_table_with_its_reason() -> None:
    failed = Result(7, None, Status.FAILED, Reason.INVALID_JSON, None, None, None)
    assert written(OutputFormat.CSV, [failed]).decode().splitlines() == [
        "line,id,status,reason,field", "7,,failed,invalid_json,",
    ]  # fmt: skip


def test_an_ending_that_says_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\.parquet"):
        output_format("out.xlsx")
