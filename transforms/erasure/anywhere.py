"""Anywhere: subjects in tables of which no schema says where they stand.

Enrichment writes tables with whatever columns the contacts had, and a lake may hold types that no
schema names any more. There every text in every column is looked at, also as bytes, and every
number under a name that ends in ``id``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import IdentityType
from schemas.fields import Field, Kind, ListKind, MapKind, RecordKind, RecordType, StringKind
from transforms.erasure.avro_schema import bare_schema, definitions, is_decimal, is_uuid
from transforms.erasure.text import TextSearch
from transforms.normalise import words_in
from transforms.subject_columns import subject_columns

_ANY = IdentityType.EMAIL.value


def type_of_any(schema: pa.Schema) -> RecordType:
    """A record type in which every value that may identify somebody does."""
    fields = tuple(_fields(schema))
    return RecordType("any", fields, {}, "")


def type_of_any_avro(schema: bytes) -> RecordType:
    """The same of an Avro file's own schema. Raises ``NotAvro`` if it is no schema of rows."""
    bare = bare_schema(schema)
    kinds = _AvroKinds(definitions(bare))
    return RecordType("any", tuple(kinds.fields(bare["fields"])), {}, "")


@dataclass(frozen=True)
class AnyColumnMatcher:
    """Finds rows with a subject's identity in any column of such a type."""

    search: TextSearch

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for each row in which some value is an identity of a subject."""
        rows = np.zeros(batch.num_rows, bool)
        for column in subject_columns(record_type, batch):
            found = self._matched(column.values, column.name)
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
    is_text = any(is_one(found) for is_one in _TEXTS)
    is_number = types.is_integer(found) or types.is_floating(found) or types.is_decimal(found)
    is_id = is_number and name.lower().endswith("id")
    return StringKind() if is_text or is_id else None


_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,  # some write text without saying so
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
_AVRO_NUMBERS = frozenset({"int", "long", "float", "double"})


class _AvroKinds:
    """The kinds of an Avro file's columns; ``known`` are the types that have a name."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def fields(self, members: Any, within: tuple[str, ...] = ()) -> Iterator[Field]:
        for member in members:
            name = member["name"]
            kind = self._kind(member["type"], name, within)
            if kind is not None:
                yield Field(name, name, kind, nullable=True, subject=_subject(kind))

    def _kind(self, found: Any, name: str, within: tuple[str, ...]) -> Kind | None:
        match found:
            case list():
                kinds = [self._kind(branch, name, within) for branch in found]
                return next((kind for kind in kinds if kind is not None), None)
            case {"type": "record" | "error", "fields": fields, "name": own}:
                if own in within:  # which reading it says
                    return None
                return RecordKind(name, tuple(self.fields(fields, (*within, own))))
            case {"type": "array", "items": items}:
                item = self._kind(items, name, within)
                return None if item is None else ListKind(item)
            case {"type": "map", "values": values}:
                value = self._kind(values, name, within)
                return None if value is None else MapKind(value)
            case str() if found in self._known:
                return self._kind(self._known[found], name, within)
        return StringKind() if _may_identify(found, name) else None


def _may_identify(found: Any, name: str) -> bool:
    """Whether a type of Avro's that holds no others is of texts, or of numbers that are ids."""
    if isinstance(found, dict):
        if is_decimal(found):
            return name.lower().endswith("id")
        return found["type"] in {"string", "bytes"} or is_uuid(found)
    return found in {"string", "bytes"} or (found in _AVRO_NUMBERS and name.lower().endswith("id"))
