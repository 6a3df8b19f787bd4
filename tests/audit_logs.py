"""Audit logs for tests: entries in memory, keys, and a file of them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from schemas.audit import AuditCheckpoint, AuditDraft, AuditEntry, AuditHead, chained
from schemas.audit_check import Flaw, Whole
from schemas.audit_lines import checkpoint_line, entry_line
from stores.audit_keys import AuditKeys, audit_keys
from stores.checkpoints import check_file
from stores.parameters import ParameterStore

AT = datetime(2026, 11, 21, 9, 0, 0, 7, tzinfo=UTC)


class OneParameter(ParameterStore):
    """Every parameter has this value."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def _fetch(self, name: str) -> str:
        return self._value


def keys_of(*digits: str) -> AuditKeys:
    """Keys whose secrets repeat a digit."""
    return audit_keys(OneParameter(" ".join(digit * 64 for digit in digits)))


KEYS = keys_of("1")
STRANGER = keys_of("2")
"""Somebody else's."""


def draft(number: int, **detail: Any) -> AuditDraft:
    return AuditDraft("user-1", "org-1", "dsr.changed", f"dsr:{number}", detail)


def a_log(length: int, start: AuditHead | None = None) -> list[AuditEntry]:
    """Entries in a chain."""
    entries: list[AuditEntry] = []
    for number in range(length):
        head = entries[-1].head if entries else start or AuditHead()
        entries.append(chained(draft(number), AT, head))
    return entries


def signed(entries: list[AuditEntry], keys: AuditKeys = KEYS) -> AuditCheckpoint:
    """The checkpoint of the last of these entries."""
    return keys.sign(entries[-1].head if entries else AuditHead(), AT)


def a_file(entries: list[AuditEntry]) -> list[bytes]:
    """The lines of an export of these."""
    return [checkpoint_line(signed(entries)), *map(entry_line, entries)]


def checked(lines: Iterable[bytes], *kept: AuditCheckpoint) -> Whole | Flaw:
    """What is found of a file of these lines."""
    return check_file(io.BytesIO(b"".join(lines)), KEYS.public.is_signed, kept)
