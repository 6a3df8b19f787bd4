"""The audit log: who did what to which resource, in a chain that cannot be changed unseen.

Each entry holds the hash of the one before it, so that a changed, missing or reordered entry breaks
the chain from there on. A checkpoint is a signature over the newest entry; by it an outsider who
keeps it finds that the tail was cut off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
"""The hash before the first entry."""


@dataclass(frozen=True)
class AuditDraft:
    """What is to be written down. ``detail`` holds no personal data; hashes at the most."""

    actor: str
    organization: str
    action: str
    resource: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditHead:
    """The newest entry's number and hash; 0 and ``GENESIS`` of an empty log."""

    sequence: int = 0
    hash: str = GENESIS


@dataclass(frozen=True)
class AuditEntry:
    """What was written down: the draft, its number from 1 without a gap, and the chain."""

    sequence: int
    at: datetime
    draft: AuditDraft
    previous: str
    hash: str

    @property
    def head(self) -> AuditHead:
        """The head of the log that ends with this entry."""
        return AuditHead(self.sequence, self.hash)


@dataclass(frozen=True)
class AuditCheckpoint:
    """A signed statement of how far the log was at ``at``; the signature is Ed25519, as hex."""

    sequence: int
    hash: str
    at: datetime
    key_id: str
    signature: str


def chained(draft: AuditDraft, at: datetime, head: AuditHead) -> AuditEntry:
    """The entry that follows ``head``."""
    sequence = head.sequence + 1
    text = canonical(sequence, at, draft, head.hash)
    return AuditEntry(sequence, at, draft, head.hash, hashlib.sha256(text).hexdigest())


def canonical(sequence: int, at: datetime, draft: AuditDraft, previous: str) -> bytes:
    """What an entry's hash is taken of: its members as JSON, sorted, without white space."""
    document = {
        "sequence": sequence,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": draft.actor,
        "organization": draft.organization,
        "action": draft.action,
        "resource": draft.resource,
        "detail": draft.detail,
        "previous": previous,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half a surrogate pair becomes the escape that JSON has for it.
    return text.encode(errors="backslashreplace")
