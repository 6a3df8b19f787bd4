"""Avro files written from Arrow batches, read back by fastavro and by Apache Avro."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import traceback
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import avro.datafile
import avro.io
import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SchemaError, UsageError
from schemas.fields import RecordType
from transforms.avro import (
    CODECS,
    FULL_BLOCK_BYTES,
    MAX_BLOCK_ROWS,
    AvroBatchEncoder,
    AvroFileWriter,
)

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
INSTANT = pa.timestamp("us", "UTC")
MARK = {"type": "enum", "name": "mark", "symbols": ["LOW", "MID", "HIGH"]}
SEAT = {
    "type": "record",
    "name": "seat",
    "fields": [
        {"name": "row", "type": "string"},
        {"name": "price", "type": ["null", MICROS]},
        {"name": "notes", "type": {"type": "array", "items": ["null", "string"]}},
    ],
}
SEAT_ARROW = pa.struct([("row", pa.string()), ("price", INSTANT), ("notes", pa.list_(pa.string()))])


def decimal_schema(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(lambda n: Decimal((n < 0, _digits(n), -scale)))


def _digits(number: int) -> tuple[int, ...]:
    return tuple(int(digit) for digit in str(abs(number)))


def record_type(*fields: tuple[str, Any], **attributes: Any) -> RecordType:
    columns = [{"name": name, "type": kind} for name, kind in fields]
    schema = {"type": "record", "name": "demand", "fields": columns, **attributes}
    fingerprint = hashlib.sha256(json.dumps(schema).encode()).hexdigest()
    return RecordType("demand", (), schema, fingerprint)


def written(
    kind: RecordType, *batches: pa.RecordBatch, codec: str = "null", **metadata: str
) -> bytes:
    sink = io.BytesIO()
    writer = AvroFileWriter(sink, kind, codec, metadata)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return sink.getvalue()


def read(data: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(data)))


def round_trip(kind: Any, array: pa.Array) -> list[Any]:
    batch = pa.RecordBatch.from_arrays([array], names=["x"])
    return [row["x"] for row in read(written(record_type(("x", kind)), batch))]


def assert_refused(kind: Any, array: pa.Array, message: str) -> None:
    batch = pa.RecordBatch.from_arrays([array], names=["x"])
    with pytest.raises(ValueError, match=message):
        AvroBatchEncoder(record_type(("x", kind))).encode(batch)


# --- Any values, of every kind and nesting ----------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=90)
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda when: when.replace(tzinfo=UTC)
)
SINGLE = st.floats(width=32, allow_nan=False)
SEATS = st.fixed_dictionaries(
    {"row": TEXT, "price": st.none() | INSTANTS, "notes": st.lists(st.none() | TEXT, max_size=3)}
)
PAIRS = st.dictionaries(TEXT, st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3)

KINDS: list[tuple[Any, pa.DataType, st.SearchStrategy[Any]]] = [
    ("string", pa.string(), TEXT),
    ("bytes", pa.binary(), st.binary(max_size=90)),
    ("boolean", pa.bool_(), st.booleans()),
    ("int", pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    ("long", pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    ("float", pa.float32(), SINGLE),
    ("double", pa.float64(), st.floats(allow_nan=False)),
    (decimal_schema(12, 2), pa.decimal128(12, 2), decimals(12, 2)),
    (decimal_schema(38, 9), pa.decimal128(38, 9), decimals(38, 9)),
    (MICROS, INSTANT, INSTANTS),
    ({"type": "int", "logicalType": "date"}, pa.date32(), st.dates()),
    (MARK, pa.string(), st.sampled_from(MARK["symbols"])),
    ({"type": "array", "items": "double"}, pa.list_(pa.float64()), st.lists(SINGLE, max_size=3)),
    (
        {"type": "array", "items": {"type": "array", "items": ["null", "int"]}},
        pa.list_(pa.list_(pa.int32())),
        st.lists(st.lists(st.none() | st.integers(0, 999), max_size=2), max_size=3),
    ),
    ({"type": "map", "values": ["null", "long"]}, pa.map_(pa.string(), pa.int64()), PAIRS),
    (SEAT, SEAT_ARROW, SEATS),
    (
        {"type": "array", "items": ["null", SEAT]},
        pa.list_(SEAT_ARROW),
        st.lists(st.none() | SEATS, max_size=3),
    ),
    (
        {"type": "map", "values": {"type": "array", "items": SEAT}},
        pa.map_(pa.string(), pa.list_(SEAT_ARROW)),
        st.dictionaries(TEXT, st.lists(SEATS, max_size=2), max_size=2),
    ),
]


def arrow_value(value: Any) -> Any:
    """A value as ``pa.array`` takes it: a map as pairs."""
    return list(value.items()) if isinstance(value, dict) and "row" not in value else value


def renamed(schema: Any, prefix: str) -> Any:
    """The schema with every named type renamed: Avro defines a name once a schema."""
    if isinstance(schema, list):
        return [renamed(part, prefix) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: renamed(part, prefix) for key, part in schema.items()}
    named = schema.get("type") in ("enum", "record")
    return parts | {"name": prefix + schema["name"]} if named else parts


@st.composite
def columns(
    draw: st.DrawFn, kind: tuple[Any, pa.DataType, st.SearchStrategy[Any]], rows: int
) -> tuple[Any, pa.Array, list[Any]]:
    schema, arrow, values = kind
    form = draw(st.sampled_from(["required", "null first", "null last"]))
    allowed = values if form == "required" else st.none() | values
    drawn = draw(st.lists(allowed, min_size=rows, max_size=rows))
    array = pa.array([arrow_value(value) for value in drawn], arrow)
    if pa.types.is_string(arrow) and draw(st.booleans()):
        array = array.dictionary_encode()
    unions = {"null first": ["null", schema], "null last": [schema, "null"]}
    return unions.get(form, schema), array, drawn


@st.composite
def batches(draw: st.DrawFn) -> tuple[RecordType, pa.RecordBatch, list[dict[str, Any]]]:
    """A record type, a batch that is a slice of a larger one, and the rows it holds."""
    rows = draw(st.integers(0, 6))
    drawn = [draw(columns(kind, rows)) for kind in draw(st.permutations(KINDS))]
    names = [f"c{number}" for number in range(len(drawn))]
    schemas = [renamed(schema, name) for (schema, _, _), name in zip(drawn, names, strict=True)]
    whole = pa.RecordBatch.from_arrays([array for _, array, _ in drawn], names=names)
    start = draw(st.integers(0, rows))
    values = zip(*(column for _, _, column in drawn), strict=True)
    expected = [dict(zip(names, row, strict=True)) for row in values]
    return (
        record_type(*zip(names, schemas, strict=True)),
        whole.slice(start),
        expected[start:],
    )


@settings(max_examples=100, deadline=None)
@given(batches())
def test_any_batch_reads_back_value_for_value(
    drawn: tuple[RecordType, pa.RecordBatch, list[dict[str, Any]]],
) -> None:
    kind, batch, expected = drawn
    assert read(written(kind, batch)) == expected


@settings(max_examples=30, deadline=None)
@given(batches(), st.integers(1, 4))
def test_how_rows_are_cut_into_batches_does_not_change_the_file(
    drawn: tuple[RecordType, pa.RecordBatch, list[dict[str, Any]]], step: int
) -> None:
    kind, batch, _ = drawn
    parts = [batch.slice(start, step) for start in range(0, batch.num_rows, step)]
    assert written(kind, *parts) == written(kind, batch)


# --- Values at the edges ----------------------------------------------------------------------


def test_extreme_integers_survive() -> None:
    values = [-(2**63), 2**63 - 1, -1, 0, 63, 64, -64, -65]
    assert round_trip("long", pa.array(values, pa.int64())) == values


def test_every_power_of_two_is_encoded_as_fastavro_encodes_it() -> None:
    values = [sign * 2**bit + step for bit in range(62) for sign in (1, -1) for step in (-1, 0)]
    payload = AvroBatchEncoder(record_type(("x", "long"))).encode(
        pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], names=["x"])
    )[1]
    expected = io.BytesIO()
    for value in values:
        fastavro.schemaless_writer(expected, "long", value)
    assert bytes(payload) == expected.getvalue()


def test_a_38_digit_negative_decimal_survives() -> None:
    values = [Decimal((1, (9,) * 38, -6)), Decimal((0, (9,) * 38, -6)), Decimal("-0.000001")]
    assert round_trip(decimal_schema(38, 6), pa.array(values, pa.decimal128(38, 6))) == values


@pytest.mark.parametrize(("precision", "width"), [(1, 1), (2, 1), (3, 2), (12, 6), (38, 16)])
def test_a_decimal_takes_the_fewest_bytes_that_hold_its_precision(
    precision: int, width: int
) -> None:
    array = pa.array([Decimal(-1)], pa.decimal128(precision, 0))
    batch = pa.RecordBatch.from_arrays([array], names=["x"])
    payload = AvroBatchEncoder(record_type(("x", decimal_schema(precision, 0)))).encode(batch)[1]
    assert bytes(payload) == bytes([2 * width]) + b"\xff" * width


def test_times_before_1970_survive() -> None:
    values = [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime(1700, 2, 28, tzinfo=UTC)]
    assert round_trip(MICROS, pa.array(values, INSTANT)) == values


def test_dates_before_1970_survive() -> None:
    schema = {"type": "int", "logicalType": "date"}
    values = [date(1969, 12, 31), date(1, 1, 1), date(9999, 12, 31)]
    assert round_trip(schema, pa.array(values, pa.date32())) == values


def test_not_a_number_and_infinity_keep_their_bits() -> None:
    values = [float("nan"), float("inf"), float("-inf"), -0.0]
    back = round_trip("double", pa.array(values, pa.float64()))
    assert struct.pack("<4d", *back) == struct.pack("<4d", *values)


def test_strings_above_64_kilobytes_survive() -> None:
    values = ["å" * 70_000, "", "x" * 3_000_000]
    assert round_trip("string", pa.array(values)) == values


def test_a_column_of_nulls_alone_needs_no_type() -> None:
    assert round_trip(["null", SEAT], pa.nulls(3)) == [None, None, None]


def test_lists_that_are_all_empty_survive() -> None:
    array = pa.array([[], []], pa.list_(pa.decimal128(5, 2)))
    assert round_trip({"type": "array", "items": decimal_schema(5, 2)}, array) == [[], []]


def test_fields_of_a_null_record_are_not_missing_values() -> None:
    values: list[Any] = [None, {"row": "A", "price": None, "notes": []}]
    assert round_trip(["null", SEAT], pa.array(values, SEAT_ARROW)) == values


def test_items_behind_a_null_list_are_not_written() -> None:
    mask = pa.array([False, True])
    array = pa.ListArray.from_arrays(
        pa.array([0, 1, 3], pa.int32()), pa.array([1, 2, 3]), mask=mask
    )
    assert round_trip(["null", {"type": "array", "items": "long"}], array) == [[1], None]


def test_columns_are_matched_by_name() -> None:
    kind = record_type(("a", "long"), ("b", "string"))
    batch = pa.RecordBatch.from_pydict({"b": ["x"], "a": [1]})
    assert read(written(kind, batch)) == [{"a": 1, "b": "x"}]


def test_narrower_and_larger_arrow_types_are_widened() -> None:
    assert round_trip("long", pa.array([7], pa.int16())) == [7]
    assert round_trip("string", pa.array(["x"], pa.large_string())) == ["x"]


def test_an_empty_batch_has_no_bytes() -> None:
    batch = pa.RecordBatch.from_pydict({"x": pa.array([], pa.int64())})
    rows, payload = AvroBatchEncoder(record_type(("x", "long"))).encode(batch)
    assert (rows, bytes(payload)) == (0, b"")


# --- What is refused --------------------------------------------------------------------------


def test_a_wrong_enum_symbol_is_refused_by_field_and_not_by_value() -> None:
    array = pa.array(["LOW", "secret", "HIGH"])
    assert_refused(MARK, array, "^field 'x' is none of its enum's symbols in 1 rows$")


def test_a_null_in_a_column_without_null_is_refused() -> None:
    assert_refused(
        "long", pa.array([1, None, None]), "^field 'x' is null in 2 rows and must not be$"
    )


def test_a_null_hidden_in_a_dictionary_is_refused() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    assert_refused("string", array, "^field 'x' is null in 1 rows")


def test_a_null_in_a_nested_field_is_refused_by_its_path() -> None:
    seats = [
        [{"row": "A", "price": None, "notes": []}],
        [{"row": None, "price": None, "notes": []}],
    ]
    array = pa.array(seats, pa.list_(SEAT_ARROW))
    assert_refused(
        {"type": "array", "items": SEAT}, array, r"^field 'x\[\]\.row' is null in 1 rows"
    )


def test_a_null_record_does_not_excuse_a_null_beside_it() -> None:
    seats: list[Any] = [None, {"row": None, "price": None, "notes": []}]
    assert_refused(
        ["null", SEAT], pa.array(seats, SEAT_ARROW), r"^field 'x\.row' is null in 1 rows"
    )


def test_a_null_map_value_is_refused() -> None:
    array = pa.array([[("k", None)]], pa.map_(pa.string(), pa.int64()))
    assert_refused({"type": "map", "values": "long"}, array, r"^field 'x\{\}' is null")


@pytest.mark.parametrize(
    ("schema", "array"),
    [
        ("int", pa.array([2**31])),
        ("long", pa.array([2**63], pa.uint64())),
        (decimal_schema(4, 2), pa.array([Decimal("12345.67")])),
        (decimal_schema(4, 2), pa.array([Decimal("0.125")])),
        (MICROS, pa.array([1], pa.timestamp("ns", "UTC"))),
    ],
)
def test_a_number_without_room_is_refused_and_not_shown(schema: Any, array: pa.Array) -> None:
    assert_refused(schema, array, r"^field 'x' holds a value that is no [a-z0-9]+[^:]*$")


def test_a_traceback_of_a_refused_number_does_not_show_it() -> None:
    batch = pa.RecordBatch.from_pydict({"x": [2**31]})
    with pytest.raises(ValueError, match="'x'") as raised:
        AvroBatchEncoder(record_type(("x", "int"))).encode(batch)
    assert "2147483648" not in "".join(traceback.format_exception(raised.value))


def test_a_decimal_beyond_its_own_precision_is_refused() -> None:
    raw = pa.array([Decimal(10**30)], pa.decimal128(38, 0)).buffers()
    array = pa.Array.from_buffers(pa.decimal128(4, 0), 1, raw)
    assert_refused(decimal_schema(4, 0), array, "^field 'x' holds a value")


@pytest.mark.parametrize(
    ("schema", "array"),
    [
        ("string", pa.array([b"x"])),
        ("bytes", pa.array(["x"])),
        ("long", pa.array([1.0])),
        ("float", pa.array([0.1], pa.float64())),
        (MICROS, pa.array([1], pa.timestamp("us"))),
        (MICROS, pa.array([1])),
        (MARK, pa.array([0])),
        (SEAT, pa.array([1])),
        ({"type": "array", "items": "long"}, pa.array([1])),
        ({"type": "map", "values": "long"}, pa.array([[1]])),
    ],
)
def test_an_arrow_type_that_means_something_else_is_refused(schema: Any, array: pa.Array) -> None:
    assert_refused(schema, array, "^field 'x' must be an Arrow ")


@pytest.mark.parametrize("columns", [{"a": [1]}, {"a": [1], "b": [1], "c": [1]}])
def test_missing_and_unknown_columns_are_refused_by_name(columns: dict[str, list[int]]) -> None:
    encoder = AvroBatchEncoder(record_type(("a", "long"), ("b", "long")))
    with pytest.raises(ValueError, match=r"do not have the same fields: [bc]$"):
        encoder.encode(pa.RecordBatch.from_pydict(columns))


@pytest.mark.parametrize(
    "schema",
    [
        ["null", "int", "string"],
        ["null"],
        {"type": "fixed", "name": "f", "size": 4},
        "other",
        {"type": "record", "name": "empty", "fields": []},
    ],
)
def test_a_schema_beyond_the_model_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        AvroBatchEncoder(record_type(("x", schema)))


# --- The file ---------------------------------------------------------------------------------

SAMPLE_TYPE = record_type(
    ("id", "string"),
    ("at", MICROS),
    ("price", decimal_schema(12, 2)),
    ("mark", ["null", MARK]),
    ("seats", {"type": "array", "items": SEAT}),
)
SAMPLE = [
    {
        "id": f"d-{number}",
        "at": datetime(2026, 1, 2, tzinfo=UTC),
        "price": Decimal(-number).scaleb(-2),
        "mark": None if number % 3 else "MID",
        "seats": [{"row": "A", "price": None, "notes": ["aisle", None]}] * (number % 3),
    }
    for number in range(1000)
]
SAMPLE_ARROW = pa.schema(
    [
        ("id", pa.string()),
        ("at", INSTANT),
        ("price", pa.decimal128(12, 2)),
        ("mark", pa.string()),
        ("seats", pa.list_(SEAT_ARROW)),
    ]
)
SAMPLE_BATCH = pa.RecordBatch.from_pylist(SAMPLE, schema=SAMPLE_ARROW)


def apache_read(data: bytes) -> list[dict[str, Any]]:
    with avro.datafile.DataFileReader(io.BytesIO(data), avro.io.DatumReader()) as reader:
        return list(reader)  # type: ignore[arg-type]


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Rows and stored bytes of each block, by the container format alone."""
    stream = io.BytesIO(data)
    decoder = avro.io.BinaryDecoder(stream)
    assert stream.read(4) == b"Obj\x01"
    while entries := decoder.read_long():
        for _ in range(2 * entries):
            decoder.read_bytes()
    sync = stream.read(16)
    while stream.tell() < len(data):
        yield decoder.read_long(), decoder.read_bytes()
        assert stream.read(16) == sync


def unsnapped(stored: bytes, size: int) -> bytes:
    data: bytes = pa.Codec("snappy").decompress(stored[:-4], size, asbytes=True)
    assert stored[-4:] == struct.pack(">I", zlib.crc32(data))
    return data


@pytest.mark.parametrize("codec", ["null", "deflate", "zstandard"])
def test_apache_avro_reads_each_codec(codec: str) -> None:
    assert apache_read(written(SAMPLE_TYPE, SAMPLE_BATCH, codec=codec)) == SAMPLE


def test_snappy_blocks_are_the_plain_blocks_with_a_checksum() -> None:
    # By hand: reading snappy takes a package that neither Avro reader brings along.
    plain = list(blocks(written(SAMPLE_TYPE, SAMPLE_BATCH)))
    stored = list(blocks(written(SAMPLE_TYPE, SAMPLE_BATCH, codec="snappy")))
    sizes = [len(data) for _, data in plain]
    back = [(rows, unsnapped(data, size)) for (rows, data), size in zip(stored, sizes, strict=True)]
    assert back == plain


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_rows_make_the_same_bytes(codec: str) -> None:
    first = written(SAMPLE_TYPE, SAMPLE_BATCH, codec=codec, source="a")
    assert written(SAMPLE_TYPE, SAMPLE_BATCH, codec=codec, source="a") == first


@pytest.mark.parametrize("codec", CODECS)
def test_the_header_names_the_codec(codec: str) -> None:
    header = avro.io.BinaryDecoder(io.BytesIO(written(SAMPLE_TYPE, codec=codec)[5:]))
    assert [header.read_utf8(), header.read_utf8()] == ["avro.codec", codec]


def test_schema_custom_attributes_and_metadata_survive_in_the_header() -> None:
    kind = record_type(("email", "string"), doc="Wünsche", subject="email")
    data = written(kind, fingerprint=kind.fingerprint)
    metadata = fastavro.reader(io.BytesIO(data)).metadata
    assert json.loads(metadata["avro.schema"]) == kind.avro
    assert metadata["fingerprint"] == kind.fingerprint


def test_files_of_different_metadata_have_different_sync_markers() -> None:
    first, second = written(SAMPLE_TYPE, source="a"), written(SAMPLE_TYPE, source="b")
    assert first[-16:] != second[-16:]


def test_the_order_of_metadata_does_not_matter() -> None:
    assert written(SAMPLE_TYPE, a="1", b="2") == written(SAMPLE_TYPE, b="2", a="1")


def test_a_file_without_rows_is_a_whole_avro_file() -> None:
    assert apache_read(written(SAMPLE_TYPE, SAMPLE_BATCH.slice(0, 0))) == []


def test_a_block_holds_no_more_rows_than_the_limit() -> None:
    batch = pa.RecordBatch.from_pydict({"x": range(2 * MAX_BLOCK_ROWS + 5)})
    data = written(record_type(("x", "long")), batch.slice(0, 10), batch.slice(10))
    assert [rows for rows, _ in blocks(data)] == [MAX_BLOCK_ROWS, MAX_BLOCK_ROWS, 5]


def test_a_block_ends_with_the_row_that_fills_it() -> None:
    batch = pa.RecordBatch.from_pydict({"x": ["y" * 1000] * 2000})
    *full, _ = (len(data) for _, data in blocks(written(record_type(("x", "string")), batch)))
    assert all(FULL_BLOCK_BYTES <= size < FULL_BLOCK_BYTES + 1002 for size in full)


def test_blocks_do_not_depend_on_how_rows_are_cut_into_batches() -> None:
    kind = record_type(("x", "string"))
    batch = pa.RecordBatch.from_pydict({"x": [str(row) * (row % 40) for row in range(40_000)]})
    parts = [batch.slice(start, 7001) for start in range(0, batch.num_rows, 7001)]
    assert written(kind, *parts) == written(kind, batch)


def test_small_batches_share_a_block() -> None:
    batches = [SAMPLE_BATCH.slice(row, 1) for row in range(50)]
    assert [rows for rows, _ in blocks(written(SAMPLE_TYPE, *batches))] == [50]


def test_full_blocks_are_written_before_the_file_is_closed() -> None:
    sink = io.BytesIO()
    writer = AvroFileWriter(sink, record_type(("x", "string")), "null")
    writer.write(pa.RecordBatch.from_pydict({"x": ["y" * FULL_BLOCK_BYTES] * 4}))
    assert len(sink.getvalue()) > 4 * FULL_BLOCK_BYTES


def test_closing_twice_writes_once() -> None:
    sink = io.BytesIO()
    writer = AvroFileWriter(sink, SAMPLE_TYPE)
    writer.write(SAMPLE_BATCH)
    writer.close()
    before = sink.getvalue()
    writer.close()
    assert sink.getvalue() == before


def test_rows_for_a_closed_file_are_refused() -> None:
    writer = AvroFileWriter(io.BytesIO(), SAMPLE_TYPE)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(SAMPLE_BATCH)


@pytest.mark.parametrize(
    "build",
    [
        lambda: AvroFileWriter(io.BytesIO(), SAMPLE_TYPE, "lzma"),
        lambda: AvroFileWriter(io.BytesIO(), SAMPLE_TYPE, "null", {"avro.codec": "null"}),
    ],
)
def test_an_unknown_codec_and_a_reserved_key_are_bad_usage(build: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        build()
