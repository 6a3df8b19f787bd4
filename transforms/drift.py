"""Does the lake still hold what the schemas say? Files whose own schema differs from the registry.

Only a file's schema is read: a Parquet footer or an Avro header, never a row. Files that differ
in the same way are counted together, so that a lake of many files gives a short answer.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.schema import parse_schema

from schemas.arrow import FINGERPRINT_KEY, arrow_schema
from schemas.errors import InputError, ObjectChanged, ObjectMissing
from schemas.fields import RecordType
from schemas.registry import Registry, fingerprint
from stores.objects.port import ObjectInfo, ObjectStore

DATA_FILE = re.compile(r"^type=[^/]+/date=[^/]+/[^/_.][^/]*\.(parquet|avro)$")

_FIRST_READ = 64 * 1024
_LONGEST_SCHEMA = 16 * 1024 * 1024
"""Bytes of footer or header; a file that claims more is called unreadable."""

_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, order=True)
class Difference:
    """One way in which a file departs from the registry.

    ``rule`` is ``unknown_type``, ``unreadable``, ``column_missing``, ``column_extra``,
    ``type_differs`` or ``fingerprint_differs`` (the columns are equal, but not their order or
    the names of nested types). Types are written in the file format's own words.
    """

    rule: str
    column: str = ""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True)
class Drift:
    """Files of one type that differ in the same way; ``example`` is the first one's key.

    ``fingerprint`` is the files' own, None where they have none that can be read.
    """

    type: str
    fingerprint: str | None
    differences: tuple[Difference, ...]
    files: int
    example: str


@dataclass(frozen=True)
class _FileSchema:
    fingerprint: str | None
    columns: Mapping[str, str]


@dataclass(frozen=True)
class _Group:
    type: str
    fingerprint: str | None
    differences: tuple[Difference, ...]


def find_drift(store: ObjectStore, registry: Registry) -> list[Drift]:
    """All drift of the lake in ``store``, by type; empty if every file is as its schema says.

    A file that is removed meanwhile is passed over. Raises ``StoreError`` as the store does.
    """
    files: Counter[_Group] = Counter()
    examples: dict[_Group, str] = {}
    for info in data_files(store):
        group = _examine(store, registry, info)
        if group is not None and group.differences:
            files[group] += 1
            examples.setdefault(group, info.key)
    found = [
        Drift(g.type, g.fingerprint, g.differences, count, examples[g])
        for g, count in files.items()
    ]
    return sorted(found, key=lambda drift: (drift.type, drift.example))


def data_files(store: ObjectStore) -> Iterator[ObjectInfo]:
    """The lake's data files, without what readers ignore (names that start with ``_`` or ``.``)."""
    return (info for info in store.list("type=") if DATA_FILE.match(info.key))


def _examine(store: ObjectStore, registry: Registry, info: ObjectInfo) -> _Group | None:
    name, suffix = _type_and_suffix(info.key)
    if name not in registry:
        return _Group(name, None, (Difference("unknown_type"),))
    try:
        found = _current_schema(store, info, _READERS[suffix])
    except InputError as error:
        return _Group(name, None, (Difference("unreadable", found=error.message),))
    if found is None:
        return None
    expected = _EXPECTED[suffix](registry[name])
    return _Group(name, found.fingerprint, _differences(expected, found))


def _type_and_suffix(key: str) -> tuple[str, str]:
    return key.partition("/")[0].removeprefix("type="), key.rpartition(".")[2]


def _differences(expected: _FileSchema, found: _FileSchema) -> tuple[Difference, ...]:
    columns = [
        _column_difference(column, expected.columns.get(column), found.columns.get(column))
        for column in dict.fromkeys([*expected.columns, *found.columns])
        if expected.columns.get(column) != found.columns.get(column)
    ]
    if columns or expected.fingerprint == found.fingerprint:
        return tuple(columns)
    return (
        Difference(
            "fingerprint_differs",
            expected=str(expected.fingerprint),
            found=found.fingerprint or "none",
        ),
    )


def _column_difference(column: str, expected: str | None, found: str | None) -> Difference:
    if found is None:
        return Difference("column_missing", column, expected=str(expected))
    if expected is None:
        return Difference("column_extra", column, found=found)
    return Difference("type_differs", column, expected, found)


_Reader = Callable[[ObjectStore, ObjectInfo], _FileSchema]


def _current_schema(store: ObjectStore, info: ObjectInfo, read: _Reader) -> _FileSchema | None:
    """The file's schema, None if it is gone. Raises ``InputError`` if it cannot be read."""
    try:
        return read(store, info)
    except ObjectMissing:
        return None
    except (InputError, ObjectChanged):
        # An erasure may have replaced the file since it was listed, and its length with it.
        current = store.head(info.key)
        if current is None:
            return None
        if current.etag == info.etag:
            raise
        return read(store, current)


def _read_parquet(store: ObjectStore, info: ObjectInfo) -> _FileSchema:
    tail = _read(store, info.key, max(0, info.size - _FIRST_READ), _FIRST_READ)
    if len(tail) < 12 or not tail.endswith(_PARQUET_MAGIC):
        raise InputError("an end that is not a Parquet file's")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > min(info.size, _LONGEST_SCHEMA):
        raise InputError("a Parquet footer longer than it can be")
    if length > len(tail):
        tail = _read(store, info.key, info.size - length, length)
    return _arrow_schema(_parse_footer(tail[-length:]))


def _parse_footer(footer: bytes) -> pa.Schema:
    try:
        return pq.read_schema(pa.BufferReader(footer))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError("a broken Parquet footer") from error


def _read_avro(store: ObjectStore, info: ObjectInfo) -> _FileSchema:
    for limit in (_FIRST_READ, _LONGEST_SCHEMA):
        header = _read(store, info.key, 0, limit)
        found = _parse_header(header)
        if found is not None:
            return found
        if len(header) < limit:
            break
    raise InputError("a broken Avro header")


def _parse_header(header: bytes) -> _FileSchema | None:
    try:
        return _avro_schema(json.loads(fastavro.reader(io.BytesIO(header)).metadata["avro.schema"]))
    except Exception:  # fastavro raises a family of unrelated classes on foreign bytes
        return None


def _read(store: ObjectStore, key: str, offset: int, size: int) -> bytes:
    """``size`` bytes, or fewer if the object ends before."""
    with store.open(key, offset) as stream:
        parts = bytearray()
        while len(parts) < size and (part := stream.read(size - len(parts))):
            parts += part
    return bytes(parts)


def _arrow_schema(schema: pa.Schema) -> _FileSchema:
    fingerprint = (schema.metadata or {}).get(FINGERPRINT_KEY.encode())
    return _FileSchema(
        fingerprint=None if fingerprint is None else fingerprint.decode("ascii", "replace"),
        columns={field.name: _arrow_words(field) for field in schema},
    )


def _arrow_words(field: pa.Field) -> str:
    return _arrow_type_words(field.type) + ("" if field.nullable else " not null")


def _arrow_type_words(kind: pa.DataType) -> str:
    # What Arrow calls the members of a list or map is the writer's habit and no drift.
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_arrow_words(kind.value_field)}>"
    if pa.types.is_map(kind):
        return f"map<{kind.key_type}, {_arrow_words(kind.item_field)}>"
    if pa.types.is_struct(kind):
        return "struct<{}>".format(", ".join(f"{f.name}: {_arrow_words(f)}" for f in kind))
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind).removeprefix("large_")


def _avro_schema(schema: dict[str, Any]) -> _FileSchema:
    parse_schema(schema)
    return _FileSchema(
        fingerprint=fingerprint(schema),
        columns={field["name"]: _avro_words(field["type"]) for field in schema["fields"]},
    )


def _avro_words(schema: Any) -> str:
    if isinstance(schema, list):
        return "|".join(_avro_words(branch) for branch in schema)
    if isinstance(schema, str):
        return schema
    match schema["type"], schema.get("logicalType"):
        case _, "decimal":
            return f"decimal({schema['precision']}, {schema.get('scale', 0)})"
        case _, str(logical):
            return logical
        case "array", _:
            return f"array<{_avro_words(schema['items'])}>"
        case "map", _:
            return f"map<{_avro_words(schema['values'])}>"
        case "enum", _:
            return f"enum<{', '.join(schema['symbols'])}>"
        case "record", _:
            members = (f"{f['name']}: {_avro_words(f['type'])}" for f in schema["fields"])
            return f"record<{', '.join(members)}>"
    return str(schema["type"])


_READERS: dict[str, _Reader] = {"parquet": _read_parquet, "avro": _read_avro}

_EXPECTED: dict[str, Callable[[RecordType], _FileSchema]] = {
    "parquet": lambda record_type: _arrow_schema(arrow_schema(record_type)),
    "avro": lambda record_type: _avro_schema(record_type.avro),
}
