"""Subject columns: what in a batch of rows identifies a data subject, whichever file it is from.

Which fields those are is said by the record type, at any depth: of ``contacts[].email`` a row has
many values. The rows may be of another version of the type, or written by someone else: columns
are found by their names, and what a file has no column for is looked for in ``extra``, where it
was put before the type knew it. Text of any of Arrow's types, numbers and dictionaries are read as
text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import IdentityType
from schemas.errors import SchemaError
from schemas.fields import Field, Kind, ListKind, MapKind, RecordKind, RecordType, Scrub

EXTRA = "extra"
"""The column in which a file keeps what its type did not know."""

Rows = npt.NDArray[np.int64]
"""The row of each value; rows come in order."""


@dataclass(frozen=True)
class SubjectColumn:
    """Values that identify subjects, as text, and the row of each; a null identifies nobody.

    ``rows`` is None if there is one value a row. ``scrub`` says how the values may be held, and
    ``name`` what the field is called that holds them.
    """

    type: IdentityType
    scrub: Scrub
    values: Any
    rows: Rows | None
    name: str = ""


def subject_columns(record_type: RecordType, batch: pa.RecordBatch) -> Iterator[SubjectColumn]:
    """The values of a batch that identify subjects.

    Raises ``SchemaError`` naming the column if one is of a type that cannot be read as text: what
    it holds would be missed.
    """
    columns = _by_name(batch.schema, batch.column)
    yield from _of_record(record_type.fields, columns, None)
    for field in _unknown_to(batch.schema.names, record_type):
        yield from _in_extra(field, columns)


def subject_column_names(record_type: RecordType, schema: pa.Schema) -> list[str]:
    """The columns of a file's schema that ``subject_columns`` looks at, in the file's order."""
    wanted = {
        name.lower()
        for field in record_type.fields
        if holds_subject(field)
        for name in (field.name, *conditions_of(field))
    }
    if _unknown_to(schema.names, record_type):
        wanted.add(EXTRA)
    return [name for name in schema.names if name.lower() in wanted]


def holds_subject(field: Field) -> bool:
    """Whether a field identifies subjects, or a field within it does."""
    return field.subject is not None or any(map(holds_subject, members_of(field.kind)))


def conditions_of(field: Field) -> tuple[str, ...]:
    """The columns that decide whether a field identifies a subject."""
    return tuple(name for name, _ in field.subject_when)


def members_of(kind: Kind) -> tuple[Field, ...]:
    """The fields of the record that a kind is, or holds in lists and maps."""
    match kind:
        case ListKind(item, _):
            return members_of(item)
        case MapKind(value, _):
            return members_of(value)
        case RecordKind(_, fields):
            return fields
    return ()


Columns = Sequence[tuple[str, Callable[[], Any]]]
"""Columns with their names in small letters, for engines fold case; each read when asked for."""


def _by_name(fields: Any, read: Callable[[int], Any]) -> Columns:
    return [(field.name.lower(), partial(read, place)) for place, field in enumerate(fields)]


def _of_record(
    fields: tuple[Field, ...], columns: Columns, rows: Rows | None
) -> Iterator[SubjectColumn]:
    known = {field.name.lower(): field for field in fields if holds_subject(field)}
    for name, read in columns:
        if name in known:
            field, array = known[name], read()
            if field.subject is not None:
                yield from _of_field(field, array, columns, rows)
            yield from _within(field, array, rows)


def _unknown_to(names: list[str], record_type: RecordType) -> list[Field]:
    """The subject columns that a file has not: it may be older than these fields."""
    there = {name.lower() for name in names}
    return [f for f in record_type.fields if holds_subject(f) and f.name.lower() not in there]


def _in_extra(field: Field, columns: Columns) -> Iterator[SubjectColumn]:
    """What a field's attribute was before the type knew it: one of the fields in ``extra``."""
    for name, read in columns:
        if name == EXTRA:
            texts = read().cast(pa.string())
            holds = _may_name(texts, field.source)
            rows = np.flatnonzero(holds.to_numpy(zero_copy_only=False))
            members = [_member(text, field.source) for text in texts.filter(holds).to_pylist()]
            found = pa.array([_texts(one) for one in members], pa.list_(pa.string()))
            if field.subject is not None:
                yield from _of_field(field, _at(rows, found, len(texts)), columns, None)
            yield from _within_members(field.kind, members, rows)


def _may_name(texts: Any, name: str) -> Any:
    """Which texts of JSON may have a member of this name; what is beyond ASCII in it may be
    escaped or not."""
    spellings = {json.dumps(name), json.dumps(name, ensure_ascii=False)}
    found = [pc.match_substring(texts, spelling) for spelling in spellings]
    return reduce(pc.or_, found).fill_null(False)


def _member(text: str, name: str) -> Any:
    """A member of a JSON object; None of what is none."""
    try:
        return json.loads(text)[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _texts(value: Any) -> list[str]:
    """A value of JSON as text, or those it holds; none of what is no text and no number.

    Halves of surrogate pairs, which JSON may name, are replaced: they stand for no character.
    """
    match value:
        case list():
            return [text for one in value for text in _texts(one)]
        case dict():
            return _texts([*value.values()])
        case str() | int():
            return [str(value).encode(errors="replace").decode()]
    return []


def _within_members(kind: Kind, members: list[Any], rows: Rows) -> Iterator[SubjectColumn]:
    """What identifies within records of JSON, a column for each field of theirs."""
    found: dict[Field, list[tuple[int, str]]] = {}
    for row, member in zip(rows.tolist(), members, strict=True):
        for field, text in _in_records(kind, member):
            found.setdefault(field, []).append((row, text))
    for field, pairs in found.items():
        of_rows, texts = zip(*pairs, strict=True)
        values = pa.array(texts, pa.string())
        kind_of = IdentityType(field.subject or "")
        yield SubjectColumn(kind_of, field.scrub, values, np.array(of_rows), field.name)


def _in_records(kind: Kind, value: Any) -> Iterator[tuple[Field, str]]:
    match kind, value:
        case ListKind(item, _), list():
            for one in value:
                yield from _in_records(item, one)
        case MapKind(item, _), dict():
            for one in value.values():
                yield from _in_records(item, one)
        case RecordKind(_, fields), dict():
            for field in filter(holds_subject, fields):
                member = value.get(field.source)
                if field.subject in _REQUESTABLE and _is_met(field, fields, value):
                    yield from ((field, text) for text in _texts(member))
                yield from _in_records(field.kind, member)


def _is_met(field: Field, beside: tuple[Field, ...], record: dict[str, Any]) -> bool:
    """Whether a field's conditions are met in a record of JSON, as ``_where`` has it."""
    sources = {one.name: one.source for one in beside}
    held = ((record.get(sources[name], wanted), wanted) for name, wanted in field.subject_when)
    return all(str(value) == wanted for value, wanted in held)


def _at(rows: Rows, values: Any, length: int) -> Any:
    """An array with these values in these rows, and nulls in the others."""
    places = np.full(length, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return values.take(pa.array(places, mask=places < 0))


def _of_field(
    field: Field, array: Any, columns: Columns, rows: Rows | None
) -> Iterator[SubjectColumn]:
    if field.subject not in _REQUESTABLE:
        return
    met = _where(field, columns)
    array = _plain(array)
    kept = array if met is None else pc.if_else(met, array, pa.scalar(None, array.type))
    values, rows = _flat(kept, rows)
    texts = _text(field, values)
    yield SubjectColumn(IdentityType(field.subject), field.scrub, texts, rows, field.name)


_REQUESTABLE = frozenset(IdentityType)
"""mParticle has further types; no request can name those."""


def _where(field: Field, columns: Columns) -> Any | None:
    """Where a field's conditions are met; None if that is everywhere.

    A column that the file does not have is no reason to pass a subject over.
    """
    wanted = {name.lower(): value for name, value in field.subject_when}
    met = None
    for name, read in columns:
        if name not in wanted:
            continue
        found = pc.equal(_plain(read()).cast(pa.string()), wanted[name])
        met = found if met is None else pc.and_(met, found)
    return met if met is None else pc.fill_null(met, False)


def _within(field: Field, array: Any, rows: Rows | None) -> Iterator[SubjectColumn]:
    members = members_of(field.kind)
    if not any(map(holds_subject, members)):
        return
    records, rows = _flat(array, rows)
    if not pa.types.is_struct(records.type):
        raise SchemaError(f"column {field.name!r} is {records.type}, and no record: {_ADVICE}")
    parts = records.flatten()  # below a null record all are null
    yield from _of_record(members, _by_name(records.type, parts.__getitem__), rows)


_ADVICE = "its subjects cannot be found: rewrite the file to the type's schema, or move it away"


def _flat(array: Any, rows: Rows | None) -> tuple[Any, Rows | None]:
    """The innermost values of lists and maps, and the row of each."""
    array = _plain(array)
    while _is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        rows = np.repeat(np.arange(len(array)) if rows is None else rows, lengths)
        array = _plain(array.flatten())
    return array, rows


def _plain(array: Any) -> Any:
    """Without what only Arrow wraps around values; a map as a list of its values."""
    if isinstance(array.type, pa.UuidType):
        return pa.array([None if id_ is None else str(id_) for id_ in array.to_pylist()])
    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage)
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return array.cast(pa.string() if pa.types.is_string_view(kind) else pa.binary())
    if pa.types.is_dictionary(kind) and pa.types.is_nested(kind.value_type):
        return _plain(array.dictionary_decode())
    if pa.types.is_map(kind):
        entries = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        values = pc.struct_field(entries.values, 1)
        own = entries.buffers()[:2]
        shape = pa.list_(kind.item_type)
        return pa.Array.from_buffers(
            shape, len(entries), own, offset=entries.offset, children=[values]
        )
    return array


def _is_list(kind: Any) -> bool:
    return any(is_one(kind) for is_one in _LISTS)


_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)


def _text(field: Field, values: Any) -> Any:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _text(field, values.dictionary).take(values.indices)
    if _is_binary(kind):
        return _legible(values)
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind):
        raise SchemaError(f"column {field.name!r} is {kind}, and no text: {_ADVICE}")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _whole_as_such(values)
    return values if pa.types.is_large_string(kind) else values.cast(pa.string())


def _whole_as_such(values: Any) -> Any:
    """Numbers as text, whole ones without a fraction or an exponent, as ids are written."""
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        is_whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _LARGEST))
        whole = pc.if_else(is_whole, values, pa.scalar(None, pa.float64())).cast(pa.int64())
        return pc.coalesce(whole.cast(pa.string()), values.cast(pa.string()))
    return pc.replace_substring_regex(values.cast(pa.string()), r"\.0+$", "")


_LARGEST = 2.0**63


def _is_binary(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _legible(values: Any) -> Any:
    """Bytes as text: some write text without saying so. What is no UTF-8 is replaced."""
    try:
        return values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        found = (None if v is None else v.decode("utf-8", "replace") for v in values.to_pylist())
        return pa.array(found, pa.string())
