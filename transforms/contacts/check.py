"""Check: whether what a row says is a contact that can be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import xxhash

from schemas.contacts import ID_FIELDS, MAX_EMAIL, MAX_FIELDS, MAX_ID, MAX_VALUE, Reason, Row

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="deterministic").encode
_digest = xxhash.xxh3_128_digest


def checked_row(line: int, contact: Mapping[str, Any], mapping: Mapping[str, str]) -> Row:
    """The row of a contact whose fields are renamed as ``mapping`` says, faulty if it has faults.

    A fault names the field by its name in the output; the first one found counts.
    """
    if mapping:
        contact = {mapping.get(name, name): value for name, value in contact.items()}
    found, content = _id_of(contact), _encode(contact)
    reason, field = _fault(contact, found, len(content))
    sent = None if found is None else _sent(contact, found, content)
    digest = _digest(_canonical((contact, reason)))
    return Row(line, found, msgspec.Raw(content), reason, field, sent, digest)


def faulty_row(line: int, reason: Reason, field: str | None = None) -> Row:
    """A row that cannot be read."""
    digest = _digest(_canonical((None, reason)))
    return Row(line, None, None, reason, field, None, digest)


def _id_of(contact: Mapping[str, Any]) -> str | None:
    """The contact's id as text; a whole number is taken for one, as exports have it."""
    for name in ID_FIELDS:
        value = contact.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return None


def _sent(contact: Mapping[str, Any], found: str, content: bytes) -> msgspec.Raw | None:
    """The contact with its id where the API looks for it; None if it is there already."""
    if "id" not in contact:
        return msgspec.Raw(b"".join((content[:-1], b',"id":', _encode(found), b"}")))
    if contact["id"] == found:
        return None
    return msgspec.Raw(_encode({**contact, "id": found}))


def _fault(
    contact: Mapping[str, Any], found: str | None, size: int
) -> tuple[Reason | None, str | None]:
    """What is wrong; ``size`` is that of all in bytes."""
    if len(contact) > MAX_FIELDS:
        return Reason.TOO_MANY_FIELDS, None
    if found is None:
        return Reason.MISSING_ID, ID_FIELDS[0]
    if len(found) > MAX_ID:
        return Reason.TOO_LONG, next(name for name in ID_FIELDS if contact.get(name))
    if size > MAX_VALUE and (name := _long_field(contact)) is not None:
        return Reason.TOO_LONG, name[:MAX_ID]
    if not _is_address(contact.get("email")):
        return Reason.INVALID_VALUE, "email"
    return None, None


def _long_field(contact: Mapping[str, Any]) -> str | None:
    texts = (name for name, value in contact.items() if isinstance(value, str))
    return next((name for name in texts if len(contact[name]) > MAX_VALUE), None)


def _is_address(value: Any) -> bool:
    """Whether an address is absent or could be one; only its owner knows more."""
    if value is None or value == "":
        return True
    is_short = isinstance(value, str) and len(value) <= MAX_EMAIL
    return is_short and _EMAIL.fullmatch(value) is not None
