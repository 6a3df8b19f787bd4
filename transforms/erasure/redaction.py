"""Redaction: a subject's rows stay, and what is personal in them goes.

A personal value becomes null where the file allows it; else a text becomes a keyed hash, and a
number becomes 0. Fields that the type does not know (``extra``) go, too. The hash is not the one by
which the scrubber hides values: it would still lead whoever holds the key to the subject by their
identity, and a later look for the subject would find the row.
"""

from __future__ import annotations

import hmac
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import Field
from transforms.scrub import HASH_PREFIX
from transforms.subject_columns import EXTRA, members_of

Mask = npt.NDArray[np.bool_]

_PURPOSE = b"lethe redaction"


@dataclass(frozen=True)
class Redaction:
    """Hides personal values. ``key`` is the lake's scrub key."""

    key: bytes = field(repr=False)

    def text(self, value: bytes) -> bytes:
        """What stands for a text that cannot be null; values that differ in case are alike."""
        text = unicodedata.normalize("NFC", value.decode("utf-8", "replace").strip().casefold())
        secret = hmac.digest(self.key, _PURPOSE, "sha256")
        return (HASH_PREFIX + hmac.digest(secret, text.encode(), "sha256").hex()).encode()

    def column(self, field: Field, array: Any, rows: Mask, nullable: bool) -> Any:
        """A column with what is personal in ``rows`` hidden.

        Takes arrays of whatever Arrow types a column of this field is read as; ``nullable`` says
        whether the file allows nulls.
        """
        if is_personal(field):
            return self._hidden(array, rows, nullable)
        return self._within(members_of(field.kind), array, rows)

    def _hidden(self, array: Any, rows: Mask, nullable: bool) -> Any:
        kind = array.type
        if nullable:
            return pc.if_else(pa.array(~rows), array, pa.scalar(None, kind))
        if pa.types.is_nested(kind):
            return self._hidden_items(array, rows)
        if pa.types.is_binary(kind) or pa.types.is_string(kind):
            return pc.replace_with_mask(array, pa.array(rows), self._texts(array, rows))
        return pc.if_else(pa.array(rows), _zero(kind), array)

    def _texts(self, array: Any, rows: Mask) -> Any:
        values = array.filter(pa.array(rows)).cast(pa.binary()).to_pylist()
        hidden = [None if value is None else self.text(value) for value in values]
        return pa.array(hidden, pa.binary()).cast(array.type)

    def _hidden_items(self, array: Any, rows: Mask) -> Any:
        """All values within a list, map or record that cannot be null itself."""
        kind = array.type
        if pa.types.is_struct(kind):
            parts = [
                self._hidden(array.field(place), rows, kind.field(place).nullable)
                for place in range(kind.num_fields)
            ]
            return _record(array, parts)
        items, nullable = _items(array)
        return _with_items(array, self._hidden(items, _spread(array, rows), nullable))

    def _within(self, members: tuple[Field, ...], array: Any, rows: Mask) -> Any:
        kind = array.type
        if not pa.types.is_nested(kind):
            return array
        if pa.types.is_struct(kind):
            known = {member.name.lower(): member for member in members}
            parts = [
                self._member(known.get(kind.field(place).name.lower()), array, place, rows)
                for place in range(kind.num_fields)
            ]
            return _record(array, parts)
        items, _ = _items(array)
        return _with_items(array, self._within(members, items, _spread(array, rows)))

    def _member(self, known: Field | None, array: Any, place: int, rows: Mask) -> Any:
        part = array.field(place)
        if known is None:
            return part
        return self.column(known, part, rows, array.type.field(place).nullable)


def _zero(kind: Any) -> Any:
    """Zero, of any type whose values have one width."""
    content = pa.py_buffer(bytes(-(-kind.bit_width // 8)))
    return pa.Array.from_buffers(kind, 1, [None, content])[0]


def is_personal(field: Field) -> bool:
    """Whether a field's own value is personal; of what no schema describes, nobody can tell."""
    is_undescribed = field.system and field.name == EXTRA
    return field.pii is not None or field.subject is not None or is_undescribed


def holds_personal(field: Field) -> bool:
    """Whether a field's value is personal, or some value within it."""
    return is_personal(field) or any(map(holds_personal, members_of(field.kind)))


def _record(array: Any, parts: list[Any]) -> Any:
    fields = [array.type.field(place) for place in range(array.type.num_fields)]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())


def _items(array: Any) -> tuple[Any, bool]:
    """The values that a list or map holds, and whether they may be null."""
    if pa.types.is_map(array.type):
        return array.items, array.type.item_field.nullable
    return array.values, array.type.value_field.nullable


def _with_items(array: Any, items: Any) -> Any:
    child = items
    if pa.types.is_map(array.type):
        fields = [array.type.key_field, array.type.item_field]
        child = pa.StructArray.from_arrays([array.keys, items], fields=fields)
    own = array.buffers()[:2]
    return pa.Array.from_buffers(array.type, len(array), own, offset=array.offset, children=[child])


def _spread(array: Any, rows: Mask) -> Mask:
    """The rows of the values that lists hold, from the rows of the lists."""
    ends = array.offsets.to_numpy()
    items, _ = _items(array)
    spread = np.zeros(len(items), bool)
    spread[ends[0] : ends[-1]] = np.repeat(rows, np.diff(ends))
    return spread
