"""Validate: hold decoded columns against the limits of their schema.

Kinds were checked while decoding; here it is lengths, ranges, patterns and symbols. Each check
is one vectorised question about a whole column, and only a column that fails it is searched for
its wrong rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.changes import ChangeBatch, ErrorCode, Fault, Reject, Stage, TypedChanges
from schemas.fields import EnumKind, Field, Kind, ListKind, MapKind, RecordKind
from transforms.decode import original_of, reject


def validate(batch: ChangeBatch) -> ChangeBatch:
    """The batch less the changes that break a limit, which become rejects."""
    kept, rejects = [], list(batch.rejects)
    for changes in batch.typed:
        faults = find_faults(changes)
        rejects += _rejects(batch, changes, faults)
        kept.append(_without(changes, faults))
    return replace(
        batch, typed=tuple(changes for changes in kept if len(changes)), rejects=tuple(rejects)
    )


def find_faults(changes: TypedChanges) -> dict[int, Fault]:
    """The first fault of every row that breaks a limit, by row, in the schema's field order."""
    faults: dict[int, Fault] = {}
    for field in changes.record_type.image_fields:
        for code, path, wrong in _field_faults(field, changes.columns[field.name], field.name):
            for row in np.flatnonzero(wrong):
                faults.setdefault(int(row), Fault(code, path))
    return faults


_Finding = tuple[ErrorCode, str, Any]


def _field_faults(field: Field, array: Any, path: str) -> Iterator[_Finding]:
    """Each broken limit of a field, with a mask of the rows that break it."""
    limits = field.limits
    if limits.max_length is not None and _longest(array) > limits.max_length:
        yield _finding(ErrorCode.TOO_LONG, path, _length(array), pc.greater, limits.max_length)
    if limits.min_length is not None:
        yield _finding(ErrorCode.TOO_SHORT, path, _length(array), pc.less, limits.min_length)
    if limits.minimum is not None:
        yield _finding(ErrorCode.OUT_OF_RANGE, path, array, pc.less, limits.minimum)
    if limits.maximum is not None:
        yield _finding(ErrorCode.OUT_OF_RANGE, path, array, pc.greater, limits.maximum)
    if limits.pattern is not None:
        matches = pc.match_substring_regex(array, limits.pattern)
        yield ErrorCode.BAD_PATTERN, path, _mask(pc.invert(matches))
    yield from _kind_faults(field.kind, array, path)


def _kind_faults(kind: Kind, array: Any, path: str) -> Iterator[_Finding]:
    match kind:
        case EnumKind(_, symbols):
            yield ErrorCode.NOT_ALLOWED, path, _mask(_is_strange(array, symbols))
        case RecordKind(_, fields):
            for field in fields:
                member = pc.struct_field(array, field.name)
                yield from _field_faults(field, member, f"{path}.{field.name}")
        case ListKind(item) if _may_fail(item):
            yield from _nested_faults(item, pc.list_flatten(array), array, path)
        case MapKind(value) if _may_fail(value):
            entries = array.cast(_entries(array.type))
            values = pc.struct_field(pc.list_flatten(entries), "value")
            yield from _nested_faults(value, values, entries, path)


def _nested_faults(kind: Kind, items: Any, lists: Any, path: str) -> Iterator[_Finding]:
    """Faults of the items of lists, told of the rows that hold them."""
    owners = pc.list_parent_indices(lists).to_numpy()
    for code, inner, wrong in _kind_faults(kind, items, path):
        rows = np.zeros(len(lists), np.bool_)
        rows[owners[wrong]] = True
        yield code, inner, rows


def _may_fail(kind: Kind) -> bool:
    return isinstance(kind, EnumKind | RecordKind | ListKind | MapKind)


def _entries(map_type: Any) -> Any:
    entry = pa.struct([("key", map_type.key_type), ("value", map_type.item_type)])
    return pa.list_(pa.field("entries", entry, nullable=False))


def _finding(code: ErrorCode, path: str, values: Any, compare: Any, limit: int) -> _Finding:
    bound = Decimal(limit) if pa.types.is_decimal(values.type) else limit
    return code, path, _mask(compare(values, pa.scalar(bound)))


def _longest(array: Any) -> int:
    """An upper bound of the longest value in characters, had without counting characters."""
    return pc.max(pc.binary_length(array)).as_py() or 0


def _length(array: Any) -> Any:
    return pc.utf8_length(array) if pa.types.is_string(array.type) else pc.binary_length(array)


def _is_strange(array: Any, symbols: tuple[str, ...]) -> Any:
    known = pc.is_in(array, pa.array(symbols))
    return pc.and_(pc.invert(known), pc.is_valid(array))


def _mask(wrong: Any) -> Any:
    if not pc.any(wrong, min_count=0).as_py():
        return np.zeros(0, np.bool_)
    return wrong.fill_null(False).to_numpy(zero_copy_only=False)


def _rejects(
    batch: ChangeBatch, changes: TypedChanges, faults: dict[int, Fault]
) -> Iterator[Reject]:
    for row, fault in sorted(faults.items()):
        yield reject(
            batch.block,
            int(changes.document[row]),
            int(changes.index[row]),
            fault,
            Stage.VALIDATE,
            original_of(batch.block, int(changes.document[row]), int(changes.index[row])),
            changes.record_type,
        )


def _without(changes: TypedChanges, faults: dict[int, Fault]) -> TypedChanges:
    if not faults:
        return changes
    mask = np.ones(len(changes), np.bool_)
    mask[list(faults)] = False
    return changes.keep(mask)
