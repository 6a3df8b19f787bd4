"""Check: whether what a row says is a contact that can be asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from schemas.contacts import ID_FIELDS, MAX_EMAIL, MAX_FIELDS, MAX_ID, MAX_VALUE, Reason, Row

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def checked_row(line: int, contact: Mapping[str, Any], mapping: Mapping[str, str]) -> Row:
    """The row of a contact whose fields are renamed as ``mapping`` says, faulty if it has faults.

    A fault names the field by its name in the output; the first one found counts.
    """
    named = {mapping.get(name, name): value for name, value in contact.items()}
    found = _id_of(named)
    reason, field = _fault(named, found)
    return Row(line, found, named, reason, field)


def _id_of(contact: Mapping[str, Any]) -> str | None:
    """The contact's id as text; a whole number is taken for one, as exports have it."""
    for name in ID_FIELDS:
        value = contact.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and value:
            return value
    return None


def _fault(contact: Mapping[str, Any], found: str | None) -> tuple[Reason | None, str | None]:
    if len(contact) > MAX_FIELDS:
        return Reason.TOO_MANY_FIELDS, None
    if found is None:
        return Reason.MISSING_ID, ID_FIELDS[0]
    if len(found) > MAX_ID:
        return Reason.TOO_LONG, next(name for name in ID_FIELDS if contact.get(name))
    for name, value in contact.items():
        if isinstance(value, str) and len(value) > MAX_VALUE:
            return Reason.TOO_LONG, name[:MAX_ID]
    if not _is_address(contact.get("email")):
        return Reason.INVALID_VALUE, "email"
    return None, None


def _is_address(value: Any) -> bool:
    """Whether an address is absent or could be one; only its owner knows more."""
    if value is None or value == "":
        return True
    is_short = isinstance(value, str) and len(value) <= MAX_EMAIL
    return is_short and _EMAIL.fullmatch(value) is not None
