"""Rows as they are set aside: a line of JSON each."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from schemas.contacts import Reason, Row

_NONE = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


class _Aside(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A row whose contacts stay as they are: ``Raw | None`` is nothing that can be decoded."""

    line: int
    id: str | None
    contact: msgspec.Raw
    reason: Reason | None
    field: str | None
    sent: msgspec.Raw
    digest: bytes


_decode = msgspec.json.Decoder(_Aside).decode


def encode_row(row: Row) -> bytes:
    """A row as a part holds it."""
    contact = _NONE if row.contact is None else row.contact
    sent = _NONE if row.sent is None else row.sent
    aside = _Aside(row.line, row.id, contact, row.reason, row.field, sent, row.digest)
    return _encode(aside) + b"\n"


def rows_of(part: bytes) -> Iterator[Row]:
    """The rows of a part, in their order."""
    return (_row(_decode(line)) for line in part.split(b"\n") if line)


def _row(aside: _Aside) -> Row:
    contact, sent = (None if raw == _NONE else raw for raw in (aside.contact, aside.sent))
    return Row(aside.line, aside.id, contact, aside.reason, aside.field, sent, aside.digest)
