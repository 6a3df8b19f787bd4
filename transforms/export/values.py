"""Values as JSON can say them, exactly.

Times are in ISO 8601 with all of their digits, in UTC where they are instants; decimals are text
with all of their digits, and so are numbers that are none (``NaN``, ``Infinity``); bytes are
base64; a map is an object; a length of time is a number and its unit.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def rows_of(table: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch, each with its columns' values by name."""
    columns = [values_of(column) for column in table.columns]
    names = table.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def values_of(array: Any) -> list[Any]:
    """The values of an array of any of Arrow's types."""
    kind, types = array.type, pa.types
    if isinstance(array, pa.ExtensionArray) and not isinstance(kind, pa.UuidType):
        return values_of(array.storage)
    if types.is_dictionary(kind):
        return values_of(array.dictionary_decode())
    if types.is_timestamp(kind) or types.is_time(kind):
        return _times(array)
    if types.is_struct(kind):
        return _records(array)
    if types.is_map(kind):
        return [None if items is None else _as_object(items) for items in _lists(_entries(array))]
    if types.is_duration(kind):
        return [
            None if n is None else f"{n} {kind.unit}" for n in array.cast(pa.int64()).to_pylist()
        ]
    if _is_list(kind):
        return _lists(array)
    return [plain(value) for value in array.to_pylist()]


def plain(value: Any) -> Any:
    """A value as Python has it, nested or not."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else _no_number(value)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return _instant(value)
        case date() | time():
            return value.isoformat()
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
    return str(value)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _no_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _times(array: Any) -> list[str | None]:
    """By Arrow: Python's own times have no nanoseconds."""
    kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, "UTC"))
    text = pc.replace_substring(array.cast(pa.string()), " ", "T")
    return [None if one is None else str(one) for one in text.to_pylist()]


def _records(array: Any) -> list[dict[str, Any] | None]:
    names = [array.type.field(place).name for place in range(array.type.num_fields)]
    parts = [values_of(part) for part in array.flatten()]
    rows = zip(*parts, strict=True) if parts else iter([()] * len(array))
    present = array.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None
        for row, there in zip(rows, present, strict=True)
    ]


def _lists(array: Any) -> list[list[Any] | None]:
    items = values_of(array.flatten())
    found: list[list[Any] | None] = []
    start = 0
    for length in pc.list_value_length(array).to_pylist():
        found.append(None if length is None else items[start : start + length])
        start += length or 0
    return found


def _entries(array: Any) -> Any:
    """A map as a list of pairs."""
    return array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))


def _as_object(entries: list[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in (entry.values() for entry in entries)}


def _is_list(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )
