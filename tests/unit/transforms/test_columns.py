"""Values: one cast of a column and the parsing of each value agree, and refuse the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.changes import ErrorCode
from schemas.fields import (
    DateKind,
    DecimalKind,
    FloatKind,
    IntegerKind,
    Kind,
    ListKind,
    StringKind,
    TimestampKind,
)
from transforms.columns import Column, ScalarReader, reader_for
from transforms.values import BadValue, parse_time

NUMERIC = [
    IntegerKind(32),
    IntegerKind(64),
    FloatKind(32),
    FloatKind(64),
    DecimalKind(12, 2),
    DecimalKind(38, 0),
    DecimalKind(38, 38),
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

number_texts = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"[+-]?[0-9]{0,45}\.?[0-9]{0,45}([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.text("0123456789+-.eExX_ ain", max_size=8),
)


def read(kind: Kind, *values: dict[str, Any], nullable: bool = False) -> Column:
    reader = reader_for(kind, nullable)
    return reader.read([msgspec.convert(value, reader.value_type) for value in values])


def outcome(column: Column) -> tuple[list[Any], list[tuple[int, ErrorCode]]]:
    values = column.array
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())  # not every instant is a datetime
    return values.to_pylist(), [(fault.row, fault.code) for fault in column.faults]


def both_ways(kind: Kind, text: str, tag: str) -> tuple[Any, Any]:
    """What a column makes of a text when all are cast at once, and when none is."""
    reader = reader_for(kind, False)
    assert isinstance(reader, ScalarReader)
    together = outcome(read(kind, {tag: text}))
    array, faults = reader._one_by_one([text])
    return together, outcome(Column(array, 0, faults))


@pytest.mark.parametrize("kind", NUMERIC, ids=str)
@given(text=number_texts)
@example(text="9" * 39)
@example(text="9223372036854775808")
@example(text="0x1F")
@example(text="-0")
@example(text="1E+37")
@example(text="0E+999999999")
@example(text="1." + "0" * 5_000)
@example(text="340282350000000000000000000000000000000")
def test_numbers_are_the_same_cast_and_parsed(kind: Kind, text: str) -> None:
    cast, parsed = both_ways(kind, text, "N")
    assert repr(cast) == repr(parsed)


@given(number=st.integers(0, 10**38 - 1), scale=st.integers(0, 38), sign=st.sampled_from("-+"))
def test_38_digits_lose_nothing(number: int, scale: int, sign: str) -> None:
    digits = str(number).rjust(scale + 1, "0")
    point = len(digits) - scale
    text = f"{sign}{digits[:point]}.{digits[point:]}"
    column = read(DecimalKind(38, scale), {"N": text})
    assert (column.array[0].as_py(), column.faults) == (Decimal(text), [])


def test_one_long_number_spoils_no_other_of_its_column() -> None:
    column = read(DecimalKind(12, 2), {"N": "1.50"}, {"N": "9" * 39}, {"N": "2"})
    assert column.array.to_pylist() == [Decimal("1.50"), None, Decimal("2.00")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1E+2", 100),
        ("7.0", 7),
        ("-0", 0),
        ("+5", 5),
        ("007", 7),
        ("1.5", ErrorCode.WRONG_TYPE),
        ("2147483648", ErrorCode.NUMBER_OUT_OF_RANGE),
        ("1E+999999999999999999999", ErrorCode.NUMBER_OUT_OF_RANGE),
        (" 1", ErrorCode.BAD_NUMBER),
        ("1_000", ErrorCode.BAD_NUMBER),
        ("0x1F", ErrorCode.BAD_NUMBER),
        ("NaN", ErrorCode.BAD_NUMBER),
        ("\u0661", ErrorCode.BAD_NUMBER),
        ("", ErrorCode.BAD_NUMBER),
    ],
)
def test_whole_numbers_in_all_notations(text: str, expected: int | ErrorCode) -> None:
    column = read(IntegerKind(32), {"N": text})
    found = column.faults[0].code if column.faults else column.array[0].as_py()
    assert found == expected


@given(text=st.text("0123456789-:TtZz+., Ww", max_size=30))
@example(text="9999-12-31T23:59:59-01:00")
@example(text="0000-01-01T00:00:00Z")
@example(text="2026-01-02T03:04:05.123456789Z")
def test_times_are_the_same_cast_and_parsed(text: str) -> None:
    cast, parsed = both_ways(TimestampKind(), text, "S")
    assert cast == parsed


@given(
    moment=st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30)),
    digits=st.integers(0, 9),
    separator=st.sampled_from("Tt "),
    zone=st.sampled_from(["Z", "z", "+00:00", "-00:00", "+0530", "-08", "+14:00"]),
)
def test_times_in_every_accepted_notation(
    moment: datetime, digits: int, separator: str, zone: str
) -> None:
    fraction = f"{moment.microsecond:06d}000"[:digits]
    text = moment.strftime(f"%Y-%m-%d{separator}%H:%M:%S").rjust(19, "0")
    text += ("." + fraction if fraction else "") + zone
    cast, parsed = both_ways(TimestampKind(), text, "S")
    offset = {"+0530": 330, "-08": -480, "+14:00": 840}.get(zone, 0)
    kept = moment.replace(microsecond=int(fraction.ljust(6, "0")[:6] or "0"), tzinfo=UTC)
    micros = (kept - timedelta(minutes=offset) - EPOCH) // timedelta(microseconds=1)
    assert cast == parsed == ([micros], [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-01-02T24:00:00Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-12-31T23:59:60Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-01-02T03:04:05", ErrorCode.BAD_TIMESTAMP),
        ("2026-01-02", ErrorCode.BAD_TIMESTAMP),
        ("2026-W01-1T00:00:00Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-001T00:00:00Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-02-30T00:00:00Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-01-02x03:04:05Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-01-02T030405Z", ErrorCode.BAD_TIMESTAMP),
        ("2026-01-02T03:04:05+14:60", ErrorCode.BAD_TIMESTAMP),
        ("1767225600000", ErrorCode.BAD_TIMESTAMP),
        ("1899-12-31T23:59:59Z", ErrorCode.DATE_OUT_OF_RANGE),
        ("1900-01-01T00:30:00+01:00", ErrorCode.DATE_OUT_OF_RANGE),
        ("0000-01-01T00:00:00Z", ErrorCode.DATE_OUT_OF_RANGE),
        ("10000-01-01T00:00:00Z", ErrorCode.DATE_OUT_OF_RANGE),
        ("9999-12-31T23:59:59-01:00", ErrorCode.DATE_OUT_OF_RANGE),
    ],
)
def test_times_that_are_refused(text: str, code: ErrorCode) -> None:
    (fault,) = read(TimestampKind(), {"S": text}).faults
    assert fault.code is code


def test_basic_notation_is_a_time() -> None:
    assert parse_time("20260102T030405Z") == parse_time("2026-01-02T03:04:05Z")


def test_digits_beyond_microseconds_are_cut_off_before_1970_too() -> None:
    assert parse_time("1969-12-31T23:59:59.1234569Z") == -876_544


@pytest.mark.parametrize("millis", [0, -1, -2_208_988_800_000, 253_402_300_799_999])
def test_epoch_milliseconds_are_times(millis: int) -> None:
    assert outcome(read(TimestampKind(), {"N": str(millis)})) == ([millis * 1000], [])


@pytest.mark.parametrize(
    ("text", "micros"), [("1.7672256E+12", 1_767_225_600_000_000), ("1.5", 1_500), ("-0.5", -500)]
)
def test_epoch_milliseconds_in_other_notations(text: str, micros: int) -> None:
    assert outcome(read(TimestampKind(), {"N": text})) == ([micros], [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("253402300800000", ErrorCode.DATE_OUT_OF_RANGE),
        ("-2208988800001", ErrorCode.DATE_OUT_OF_RANGE),
        ("9" * 5_000, ErrorCode.DATE_OUT_OF_RANGE),
        ("1E+999", ErrorCode.DATE_OUT_OF_RANGE),
        ("soon", ErrorCode.BAD_NUMBER),
        ("1_000", ErrorCode.BAD_NUMBER),
    ],
)
def test_epoch_milliseconds_that_are_refused(text: str, code: ErrorCode) -> None:
    (fault,) = read(TimestampKind(), {"N": text}).faults
    assert fault.code is code


@given(text=st.one_of(st.dates().map(str), st.text("0123456789-W", max_size=12)))
@example(text="0000-01-01")
@example(text="9999-12-31")
@example(text="2026-W01-1")
def test_dates_are_the_same_cast_and_parsed(text: str) -> None:
    cast, parsed = both_ways(DateKind(), text, "S")
    assert cast == parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02", date(2026, 1, 2)),
        ("1899-12-31", ErrorCode.DATE_OUT_OF_RANGE),
        ("0000-01-01", ErrorCode.DATE_OUT_OF_RANGE),
        ("10000-01-01", ErrorCode.DATE_OUT_OF_RANGE),
        ("2026-02-29", ErrorCode.BAD_TIMESTAMP),
        ("20260102", ErrorCode.BAD_TIMESTAMP),
        ("2026-W01-1", ErrorCode.BAD_TIMESTAMP),
    ],
)
def test_dates(text: str, expected: date | ErrorCode) -> None:
    column = read(DateKind(), {"S": text})
    found = column.faults[0].code if column.faults else column.array[0].as_py()
    assert found == expected


@pytest.mark.parametrize(
    ("value", "keys"), [({}, 1), ({"NULL": False}, 1), ({"NULL": True}, 2), ({"S": "a"}, 2)]
)
def test_no_key_is_counted_that_is_not_there(value: dict[str, Any], keys: int) -> None:
    column = read(StringKind(), value, nullable=True)
    assert np_sum(column.keys) == keys


def test_an_item_without_content_is_a_fault_of_its_row() -> None:
    kind = ListKind(TimestampKind())
    column = read(kind, {"L": []}, {"L": [{"N": "0"}, {"NULL": True}]})
    assert outcome(column)[1] == [(1, ErrorCode.MISSING_FIELD)]


def test_a_list_and_a_set_give_the_same_items() -> None:
    column = read(ListKind(IntegerKind(32)), {"L": [{"N": "1"}, {"N": "2"}]}, {"NS": ["1", "2"]})
    assert column.array.to_pylist() == [[1, 2], [1, 2]]


def np_sum(keys: Any) -> int:
    return int(keys if isinstance(keys, int) else keys.sum())


def test_bad_values_carry_their_code() -> None:
    with pytest.raises(BadValue) as caught:
        parse_time("soon")
    assert caught.value.code is ErrorCode.BAD_TIMESTAMP
