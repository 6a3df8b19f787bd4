"""The drift check of a lake on disk whose files are written by Arrow and fastavro."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from runners.commands.schemas import app
from schemas.arrow import arrow_schema
from schemas.errors import LakeError
from schemas.registry import load_registry
from stores.objects import LocalObjectStore, ObjectInfo
from transforms.drift import Difference, Drift, find_drift

REGISTRY = load_registry()
EVENT = REGISTRY["event"]
SCHEMA = arrow_schema(EVENT)


@pytest.fixture
def lake(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path)


def key(name: str, type_name: str = "event", date: str = "2026-01-02") -> str:
    return f"type={type_name}/date={date}/{name}"


def parquet(schema: Any, rows: int = 0) -> bytes:
    sink = pa.BufferOutputStream()
    nothing = pa.table([pa.nulls(rows, f.type) for f in schema], schema=schema.remove_metadata())
    pq.write_table(nothing.replace_schema_metadata(schema.metadata), sink)
    return bytes(sink.getvalue())


def avro(schema: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, json.loads(json.dumps(schema)), [])
    return sink.getvalue()


def avro_with(**changed: Any) -> bytes:
    """An event file whose fields of these names have other types."""
    fields = [{**f, "type": changed.get(f["name"], f["type"])} for f in EVENT.avro["fields"]]
    return avro({**EVENT.avro, "fields": fields})


def replaced(name: str, kind: Any, nullable: bool = False) -> Any:
    return SCHEMA.set(SCHEMA.get_field_index(name), pa.field(name, kind, nullable=nullable))


def only_difference(store: LocalObjectStore) -> Difference:
    (drift,) = find_drift(store, REGISTRY)
    (difference,) = drift.differences
    return difference


def test_empty_lake_has_no_drift(lake: LocalObjectStore) -> None:
    assert find_drift(lake, REGISTRY) == []


@pytest.mark.parametrize("record_type", [*REGISTRY], ids=lambda t: t.name)
def test_files_of_the_registrys_schema_have_no_drift(
    lake: LocalObjectStore, record_type: Any
) -> None:
    lake.put(key("a.parquet", record_type.name), parquet(arrow_schema(record_type)))
    lake.put(key("b.avro", record_type.name), avro(record_type.avro))
    assert find_drift(lake, REGISTRY) == []


def test_missing_column_is_named(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(SCHEMA.remove(SCHEMA.get_field_index("capacity"))))
    assert only_difference(lake) == Difference("column_missing", "capacity", "int32 not null")


def test_extra_column_is_named(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(SCHEMA.append(pa.field("seats", pa.int64()))))
    assert only_difference(lake) == Difference("column_extra", "seats", found="int64")


def test_other_type_is_named(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(replaced("capacity", pa.int64())))
    expected = Difference("type_differs", "capacity", "int32 not null", "int64 not null")
    assert only_difference(lake) == expected


def test_other_nullability_is_named(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(replaced("capacity", pa.int32(), nullable=True)))
    assert only_difference(lake) == Difference(
        "type_differs", "capacity", "int32 not null", "int32"
    )


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.field("item", pa.large_string(), nullable=False)),
        pa.list_(pa.field("array", pa.dictionary(pa.int32(), pa.string()), nullable=False)),
    ],
)
def test_other_spelling_of_a_list_is_no_drift(lake: LocalObjectStore, kind: Any) -> None:
    lake.put(key("a.parquet"), parquet(replaced("tags", kind, nullable=True)))
    assert find_drift(lake, REGISTRY) == []


def test_difference_inside_a_nested_type_is_found(lake: LocalObjectStore) -> None:
    kind = pa.list_(pa.field("element", pa.int32(), nullable=False))
    lake.put(key("a.parquet"), parquet(replaced("tags", kind, nullable=True)))
    assert only_difference(lake).found == "list<int32 not null>"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"capacity": "long"}, "long"),
        ({"capacity": ["null", "int"]}, "null|int"),
        ({"starts_at": "long"}, "long"),
        ({"tags": ["null", {"type": "map", "values": "string"}]}, "null|map<string>"),
        ({"name": {"type": "enum", "name": "e", "symbols": ["A", "B"]}}, "enum<A, B>"),
    ],
)
def test_other_avro_type_is_named(
    lake: LocalObjectStore, changed: dict[str, Any], found: str
) -> None:
    lake.put(key("a.avro"), avro_with(**changed))
    difference = only_difference(lake)
    assert (difference.rule, difference.found) == ("type_differs", found)


def test_decimal_of_other_scale_is_found(lake: LocalObjectStore) -> None:
    text = json.dumps(REGISTRY["sale"].avro).replace('"scale": 2', '"scale": 4')
    lake.put(key("a.avro", "sale"), avro(json.loads(text)))
    (drift,) = find_drift(lake, REGISTRY)
    assert drift.fingerprint != REGISTRY["sale"].fingerprint
    assert [d.column for d in drift.differences] == ["total", "items"]


def test_other_order_of_columns_is_another_fingerprint(lake: LocalObjectStore) -> None:
    fields = [*reversed(EVENT.avro["fields"])]
    lake.put(key("a.avro"), avro({**EVENT.avro, "fields": fields}))
    assert only_difference(lake).rule == "fingerprint_differs"


def test_file_without_a_fingerprint_is_reported(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(SCHEMA.remove_metadata()))
    assert only_difference(lake) == Difference(
        "fingerprint_differs", expected=EVENT.fingerprint, found="none"
    )


def test_folder_of_an_unknown_type_is_reported(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet", "ghost"), parquet(SCHEMA))
    found = Drift("ghost", None, (Difference("unknown_type"),), 1, key("a.parquet", "ghost"))
    assert find_drift(lake, REGISTRY) == [found]


@pytest.mark.parametrize("name", ["a.parquet", "a.avro"])
@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"x" * 100, b"Obj\x01" + b"\xff" * 50, b"\xff" * 8 + b"PAR1"],
)
def test_unreadable_file_is_reported(lake: LocalObjectStore, name: str, content: bytes) -> None:
    lake.put(key(name), content)
    assert only_difference(lake).rule == "unreadable"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_file_never_stops_the_check(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name, whole = data.draw(
        st.sampled_from([("a.parquet", parquet(SCHEMA)), ("a.avro", avro(EVENT.avro))])
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = (
        whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 4)) :]
    )
    lake = LocalObjectStore(tmp_path_factory.mktemp("lake"))
    lake.put(key(name), damaged)
    assert len(find_drift(lake, REGISTRY)) <= 1


def test_files_that_differ_alike_are_counted_together(lake: LocalObjectStore) -> None:
    content = parquet(SCHEMA.append(pa.field("seats", pa.int64())))
    for day in range(1, 31):
        lake.put(key("a.parquet", date=f"2026-01-{day:02}"), content)
    (drift,) = find_drift(lake, REGISTRY)
    assert (drift.files, drift.example) == (30, key("a.parquet", date="2026-01-01"))


def test_files_that_differ_otherwise_are_told_apart(lake: LocalObjectStore) -> None:
    for name in ("seats", "rows"):
        lake.put(key(f"{name}.parquet"), parquet(SCHEMA.append(pa.field(name, pa.int64()))))
    assert [d.files for d in find_drift(lake, REGISTRY)] == [1, 1]


@pytest.mark.parametrize(
    "ignored",
    [
        key("_a.parquet"), key(".a.parquet"), key("a.json"), "type=event/a.parquet",
        "_lethe/log/1.json", "errors/date=2026-01-02/a.ndjson",
    ],
)  # fmt: skip
def test_what_readers_ignore_is_not_checked(lake: LocalObjectStore, ignored: str) -> None:
    lake.put(ignored, b"no data file")
    assert find_drift(lake, REGISTRY) == []


class CountingStore(LocalObjectStore):
    """Counts the bytes that are read."""

    read_bytes = 0

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        stream = super().open(key, offset)
        plain_read = stream.read

        class Counted(io.RawIOBase):
            def read(inner, size: int = -1) -> bytes:  # noqa: N805
                part = plain_read(size)
                self.read_bytes += len(part)
                return part

            def close(inner) -> None:  # noqa: N805
                stream.close()

        return Counted()  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["a.parquet", "a.avro"])
def test_large_file_is_not_read_whole(tmp_path: Path, name: str) -> None:
    store = CountingStore(tmp_path)
    padding = bytes(2_000_000)
    store.put(
        key(name), padding + parquet(SCHEMA) if "parquet" in name else avro(EVENT.avro) + padding
    )
    assert find_drift(store, REGISTRY) == []
    assert 0 < store.read_bytes <= 64 * 1024


def test_schema_longer_than_the_first_read_is_read(lake: LocalObjectStore) -> None:
    wide = {**EVENT.avro, "doc": "x" * 100_000}
    lake.put(key("a.avro"), avro(wide))
    lake.put(
        key("b.parquet"), parquet(SCHEMA.with_metadata({**SCHEMA.metadata, b"n": b"x" * 100_000}))
    )
    assert find_drift(lake, REGISTRY) == []


class MovingStore(LocalObjectStore):
    """Changes a file between its listing and its reading; ``content`` None removes it."""

    content: bytes | None = None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        for info in [*super().list(prefix, start_after=start_after)]:
            if self.content is None:
                self.delete(info.key)
            else:
                self.put(info.key, self.content)
            yield info


def test_file_removed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    store = MovingStore(tmp_path)
    store.put(key("a.parquet"), parquet(SCHEMA))
    assert find_drift(store, REGISTRY) == []


def test_file_replaced_meanwhile_is_read_again(tmp_path: Path) -> None:
    store = MovingStore(tmp_path)
    store.put(key("a.parquet"), parquet(SCHEMA) + bytes(100_000))
    store.content = parquet(SCHEMA)
    assert find_drift(store, REGISTRY) == []


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_command_prints_drift_and_fails(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(replaced("capacity", pa.int64())))
    result = run("drift", "--lake", lake.uri)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"event\t{EVENT.fingerprint}\t1 file\t{key('a.parquet')}",
        "\ttype_differs\tcapacity\texpected int32 not null, found int64 not null",
    ]


def test_command_succeeds_without_drift(lake: LocalObjectStore) -> None:
    lake.put(key("a.parquet"), parquet(SCHEMA))
    result = run("drift", "--lake", lake.uri)
    assert (result.exit_code, result.stdout) == (0, "no drift\n")


def test_lake_without_data_is_an_error_and_no_success(tmp_path: Path) -> None:
    error = run("drift", "--lake", tmp_path / "typo").exception
    assert isinstance(error, LakeError)
