"""Anywhere: subjects in tables of which no schema says where they stand.

Enrichment writes tables with whatever columns the contacts had, and a lake may hold types that no
schema names any more. There every text in every column is looked at, and every number under a name
that ends in ``id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import IdentityType
from schemas.fields import Field, Kind, ListKind, MapKind, RecordKind, RecordType, StringKind
from transforms.erasure.text import TextSearch
from transforms.normalise import words_in
from transforms.subject_columns import subject_columns

_ANY = IdentityType.EMAIL.value


def type_of_any(schema: pa.Schema) -> RecordType:
    """A record type in which every value that may identify somebody does."""
    fields = tuple(_fields(schema))
    return RecordType("any", fields, {}, "")


def type_of_any_avro(schema: Any) -> RecordType:
    """The same of an Avro schema, as fastavro gives it. References to named types are left out."""
    fields = tuple(_avro_fields(schema.get("fields", ()) if isinstance(schema, dict) else ()))
    return RecordType("any", fields, {}, "")


@dataclass(frozen=True)
class AnyColumnMatcher:
    """Finds rows with a subject's identity in any column of such a type."""

    search: TextSearch

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for each row in which some value is an identity of a subject."""
        rows = np.zeros(batch.num_rows, bool)
        for field in record_type.fields:
            alone = RecordType(record_type.name, (field,), {}, "")
            for column in subject_columns(alone, batch):
                found = self._matched(column.values, field.name)
                rows[np.flatnonzero(found) if column.rows is None else column.rows[found]] = True
        return pa.array(rows)

    def _matched(self, values: Any, name: str) -> Any:
        encoded = pc.dictionary_encode(values)
        words = words_in(encoded.dictionary)
        hits = pa.array([self.search.is_subject(word or "", name) for word in words], pa.bool_())
        found = hits.take(encoded.indices).fill_null(False)
        return np.asarray(found.to_numpy(zero_copy_only=False), bool)


def _fields(members: Any) -> Iterator[Field]:
    for member in members:
        kind = _kind(member.type, member.name)
        if kind is not None:
            yield Field(member.name, member.name, kind, nullable=True, subject=_subject(kind))


def _subject(kind: Kind) -> str | None:
    match kind:
        case ListKind(item, _):
            return _subject(item)
        case MapKind(value, _):
            return _subject(value)
    return _ANY if isinstance(kind, StringKind) else None


def _kind(found: pa.DataType, name: str) -> Kind | None:
    """The kind of a column as far as it matters here; None if no subject can be in it."""
    types = pa.types
    if types.is_dictionary(found):
        return _kind(found.value_type, name)
    if types.is_struct(found):
        return RecordKind(name, tuple(_fields(found)))
    if types.is_map(found):
        value = _kind(found.item_type, name)
        return None if value is None else MapKind(value)
    if types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found):
        item = _kind(found.value_type, name)
        return None if item is None else ListKind(item)
    is_text = types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
    is_id = types.is_integer(found) and name.lower().endswith("id")
    return StringKind() if is_text or is_id else None


def _avro_fields(members: Any) -> Iterator[Field]:
    for member in members:
        name = member["name"]
        kind = _avro_kind(member["type"], name)
        if kind is not None:
            yield Field(name, name, kind, nullable=True, subject=_subject(kind))


def _avro_kind(found: Any, name: str) -> Kind | None:
    match found:
        case list():
            kinds = [_avro_kind(branch, name) for branch in found]
            return next((kind for kind in kinds if kind is not None), None)
        case {"type": "record", "fields": fields}:
            return RecordKind(name, tuple(_avro_fields(fields)))
        case {"type": "array", "items": items}:
            item = _avro_kind(items, name)
            return None if item is None else ListKind(item)
        case {"type": "map", "values": values}:
            value = _avro_kind(values, name)
            return None if value is None else MapKind(value)
        case {"type": inner} if "logicalType" not in found:
            return _avro_kind(inner, name)
    is_id = found in {"int", "long"} and name.lower().endswith("id")
    return StringKind() if found == "string" or is_id else None
