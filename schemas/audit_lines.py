"""The audit log as NDJSON, so that whoever has the file can check it by bytes alone.

The first line is a checkpoint, which says how far the log goes; an entry a line follows. A line
ends with what was made of the text before it, so that nobody has to write JSON to check it:

    {"action":...,"sequence":7,"hash":"..."}        SHA-256 of {"action":...,"sequence":7}
    {"at":...,"statement":"...","signature":"..."}  Ed25519 over {"at":...,"statement":"..."}
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas.audit import AuditCheckpoint, AuditEntry, AuditHead, canonical

_ENTRY = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}\n')
_CHECKPOINT = re.compile(rb'(\{.*),"signature":"([0-9a-f]{128})"\}\n')
_STATEMENT = "lethe audit checkpoint"
"""Keeps a signature from standing for anything else that the key may ever sign."""


@dataclass(frozen=True)
class AuditLink:
    """What the chain knows of an entry; ``content`` is the hash of what the entry says now."""

    sequence: int
    previous: str
    hash: str
    content: str

    @property
    def head(self) -> AuditHead:
        """The head of the log that ends with it."""
        return AuditHead(self.sequence, self.hash)


def link_of(entry: AuditEntry) -> AuditLink:
    """The link that an entry is."""
    content = _digest(_text_of(entry))
    return AuditLink(entry.sequence, entry.previous, entry.hash, content)


def entry_line(entry: AuditEntry) -> bytes:
    """An entry as a line."""
    return _text_of(entry)[:-1] + f',"hash":"{entry.hash}"}}\n'.encode()


def read_entry_line(line: bytes) -> AuditLink | None:
    """The link that a line holds; None if it is no entry's."""
    found = _ENTRY.fullmatch(line)
    document = None if found is None else _object(found[1] + b"}")
    if found is None or document is None:
        return None
    sequence, previous = document.get("sequence"), document.get("previous")
    if not isinstance(sequence, int) or not isinstance(previous, str):
        return None
    return AuditLink(sequence, previous, found[2].decode(), _digest(found[1] + b"}"))


def checkpoint_text(head: AuditHead, at: datetime, key_id: str) -> bytes:
    """What is signed of a checkpoint."""
    document = {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "hash": head.hash,
        "key_id": key_id,
        "sequence": head.sequence,
        "statement": _STATEMENT,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def signed_text(checkpoint: AuditCheckpoint) -> bytes:
    """What a checkpoint's signature is of."""
    head = AuditHead(checkpoint.sequence, checkpoint.hash)
    return checkpoint_text(head, checkpoint.at, checkpoint.key_id)


def checkpoint_line(checkpoint: AuditCheckpoint) -> bytes:
    """A checkpoint as a line."""
    return signed_text(checkpoint)[:-1] + f',"signature":"{checkpoint.signature}"}}\n'.encode()


def read_checkpoint_line(line: bytes) -> AuditCheckpoint | None:
    """The checkpoint that a line holds; None if it is not exactly one's."""
    found = _CHECKPOINT.fullmatch(line)
    document = None if found is None else _object(found[1] + b"}")
    if found is None or document is None:
        return None
    try:
        checkpoint = _checkpoint(document, found[2].decode())
    except (KeyError, TypeError, ValueError):
        return None
    return checkpoint if checkpoint_line(checkpoint) == line else None


def _checkpoint(document: dict[str, Any], signature: str) -> AuditCheckpoint:
    at = datetime.fromisoformat(document["at"])
    sequence = int(document["sequence"])
    return AuditCheckpoint(sequence, document["hash"], at, document["key_id"], signature)


def _text_of(entry: AuditEntry) -> bytes:
    return canonical(entry.sequence, entry.at, entry.draft, entry.previous)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
