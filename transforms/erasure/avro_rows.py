"""A subject's rows redacted within an Avro block: personal values are cut out of their bytes.

Only the rows that matched come here, and of these all that is not personal is copied as it stands.
The encoding: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from schemas.fields import Field
from transforms.avro_container import encoded_number
from transforms.erasure.avro_schema import Schema, definitions, is_decimal, is_uuid
from transforms.erasure.redaction import Redaction, is_personal
from transforms.subject_columns import members_of

Members = Mapping[str, Field]
"""What is known of the fields of a record, by their names in small letters."""

_WIDTHS = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_NUMBERS = frozenset({"int", "long", "enum"})
_ZERO = b"\x00"
_NOBODY = str(UUID(int=0)).encode()


class RowRedaction:
    """Redacts rows of one file, whose bare schema is given."""

    def __init__(
        self, schema: dict[str, Any], fields: tuple[Field, ...], redaction: Redaction
    ) -> None:
        self._schema = schema
        self._known = definitions(schema)
        self._members = _by_name(fields)
        self._text = redaction.text

    def row(self, encoded: bytes) -> bytes:
        """The row with what is personal in it hidden."""
        return _Walk(encoded, self._known, self._text).copy(self._schema, self._members)


def _by_name(fields: tuple[Field, ...]) -> Members:
    return {field.name.lower(): field for field in fields}


class _Walk:
    """Goes through a row's bytes; each step gives the bytes that stand for what it passed."""

    def __init__(
        self, data: bytes, known: Mapping[str, Schema], text: Callable[[bytes], bytes]
    ) -> None:
        self._data = data
        self._known = known
        self._text = text
        self._place = 0

    def copy(self, schema: Schema, members: Members) -> bytes:
        """What stands here, with the personal ones of its members hidden."""
        schema = self._resolved(schema)
        if isinstance(schema, list):
            head, branch = self._branch(schema)
            return head + self.copy(branch, members)
        match schema["type"]:
            case "record" | "error":
                return b"".join(self._member(field, members) for field in schema["fields"])
            case "array":
                return self._blocks(lambda: self.copy(schema["items"], members))
            case "map":
                return self._blocks(lambda: self._key() + self.copy(schema["values"], members))
        return self._scalar(schema)

    def hide(self, schema: Schema) -> bytes:
        """What is to stand here instead of what does."""
        schema = self._resolved(schema)
        if isinstance(schema, list):
            return self._hide_union(schema)
        match schema["type"]:
            case "record" | "error":
                return b"".join(self.hide(field["type"]) for field in schema["fields"])
            case "array":
                return self._blocks(lambda: self.hide(schema["items"]))
            case "map":
                return self._blocks(lambda: self._key() + self.hide(schema["values"]))
            case "string" | "bytes":
                hidden = self._hidden(schema, self._take(self._number()))
                return encoded_number(len(hidden)) + hidden
            case kind if kind in _NUMBERS:
                self._number()
                return _ZERO
        return bytes(len(self._scalar(schema)))

    def _hidden(self, schema: Mapping[str, Any], value: bytes) -> bytes:
        """What stands for a text or bytes: what readers take for a value of the same type."""
        if is_decimal(schema):
            return _ZERO
        return _NOBODY if is_uuid(schema) else self._text(value)

    def _resolved(self, schema: Schema) -> Schema:
        if isinstance(schema, str):
            return self._known.get(schema) or {"type": schema}
        return schema

    def _member(self, field: Mapping[str, Any], members: Members) -> bytes:
        known = members.get(field["name"].lower())
        if known is not None and is_personal(known):
            return self.hide(field["type"])
        within = () if known is None else members_of(known.kind)
        return self.copy(field["type"], _by_name(within))

    def _hide_union(self, union: list[Schema]) -> bytes:
        head, branch = self._branch(union)
        if "null" not in union:
            return head + self.hide(branch)
        self.copy(branch, {})
        return encoded_number(union.index("null"))

    def _branch(self, union: list[Schema]) -> tuple[bytes, Schema]:
        number = self._number()
        return encoded_number(number), union[number]

    def _blocks(self, item: Callable[[], bytes]) -> bytes:
        """A list or map, which comes in blocks of items; sizes of blocks are left out."""
        out = []
        while count := self._number():
            if count < 0:  # the block's size follows
                count, _ = -count, self._number()
            out.append(encoded_number(count))
            out += [item() for _ in range(count)]
        return b"".join([*out, _ZERO])

    def _key(self) -> bytes:
        start = self._place
        self._take(self._number())
        return self._data[start : self._place]

    def _scalar(self, schema: Mapping[str, Any]) -> bytes:
        start, kind = self._place, schema["type"]
        if kind in _NUMBERS:
            self._number()
        elif kind in {"string", "bytes"}:
            self._take(self._number())
        else:
            self._take(schema["size"] if kind == "fixed" else _WIDTHS[kind])
        return self._data[start : self._place]

    def _take(self, size: int) -> bytes:
        self._place += size
        return self._data[self._place - size : self._place]

    def _number(self) -> int:
        whole = shift = 0
        while True:
            byte = self._data[self._place]
            self._place += 1
            whole |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (whole >> 1) ^ -(whole & 1)
            shift += 7
