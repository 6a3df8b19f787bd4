"""Values as an export writes them: exact, and the same from either format."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.export.values import plain, rows_of, values_of

EAST = timezone(timedelta(hours=2))
NOON = datetime(2026, 1, 2, 12, 0, 0, 5, UTC)


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (pa.array([1], pa.timestamp("ns", "Europe/Berlin")), "1970-01-01T00:00:00.000000001Z"),
        (pa.array([NOON], pa.timestamp("us", "UTC")), "2026-01-02T12:00:00.000005Z"),
        (pa.array([datetime(2026, 1, 2)], pa.timestamp("s")), "2026-01-02T00:00:00"),
        (pa.array([time(1, 2, 3)], pa.time64("ns")), "01:02:03.000000000"),
        (pa.array([date(2026, 1, 2)]), "2026-01-02"),
        (pa.array([5], pa.duration("ns")), "5 ns"),
        (pa.array([Decimal("-1.10")], pa.decimal128(38, 2)), "-1.10"),
        (pa.array([float("-inf")]), "-Infinity"),
        (pa.array([b"\x00\xff"]), "AP8="),
        (pa.array([UUID(int=1).bytes], pa.uuid()), str(UUID(int=1))),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([[("a", NOON)]], pa.map_(pa.string(), pa.timestamp("us", "UTC"))),
         {"a": "2026-01-02T12:00:00.000005Z"}),
        (pa.array([[{"x": Decimal("1.0")}]]), [{"x": "1.0"}]),
    ],
)  # fmt: skip
def test_value_is_written_in_full(array: Any, shown: object) -> None:
    assert values_of(array) == [shown]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NOON.astimezone(EAST), "2026-01-02T12:00:00.000005Z"),
        (datetime(2026, 1, 2), "2026-01-02T00:00:00"),
        (Decimal("1.10"), "1.10"),
        (float("nan"), "NaN"),
        ({"a": [b"\x00", None]}, {"a": ["AA==", None]}),
        (UUID(int=1), str(UUID(int=1))),
    ],
)
def test_value_of_avro_is_written_alike(value: object, shown: object) -> None:
    assert plain(value) == shown


def test_null_parents_and_empty_lists_are_told_apart() -> None:
    kind = pa.list_(pa.struct([("x", pa.int64())]))
    rows = [[{"x": 1}, None, {"x": None}], [], None]
    assert values_of(pa.array(rows, kind)) == rows


@given(st.lists(st.none() | st.lists(st.none() | st.integers(0, 9))), st.integers(0, 3))
def test_slice_of_lists_is_read_from_where_it_begins(
    lists: list[list[int | None] | None], start: int
) -> None:
    array = pa.array(lists, pa.list_(pa.int64()))
    assert values_of(array.slice(start)) == lists[start:]


@given(st.lists(st.fixed_dictionaries({"a": st.none() | st.text(), "b": st.integers(0, 9)})))
def test_rows_survive_json(rows: list[dict[str, Any]]) -> None:
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    read = rows_of(pa.RecordBatch.from_pylist(rows, schema))
    assert msgspec.json.decode(msgspec.json.encode(read)) == rows
