"""Finished batches as bytes: one record after another, each of which says whether it is whole.

    \\n{"batch": 17, "digests": 1600, "lines": 43210, "check": "...", "summary": {...}}\\n
    16 bytes a row, then a line a row

A writer that is killed may leave half a record, and another one goes on behind it; so the next
record is looked for by how it begins.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import msgspec
import xxhash

from schemas.contacts import BatchSummary

_BEGIN = b'\n{"batch":'


@dataclass(frozen=True)
class FinishedBatch:
    """What a batch came to: ``lines`` of output, and the ``digests`` of its rows."""

    number: int
    summary: BatchSummary
    digests: bytes
    lines: bytes


@dataclass(frozen=True)
class _Head:
    batch: int
    digests: int
    lines: int
    check: str
    summary: BatchSummary


_head = msgspec.json.Decoder(_Head).decode


def encode_record(batch: FinishedBatch) -> bytes:
    """A batch as a record."""
    body = batch.digests + batch.lines
    check = xxhash.xxh3_128_hexdigest(body)
    head = _Head(batch.number, len(batch.digests), len(batch.lines), check, batch.summary)
    return b"\n" + msgspec.json.encode(head) + b"\n" + body


def decode_records(content: bytes) -> dict[int, FinishedBatch]:
    """The batches whose records are whole, by number."""
    found = dict[int, FinishedBatch]()
    at = content.find(_BEGIN)
    while at >= 0:
        record = _record_at(content, at + 1)
        if record is not None:
            found[record[0].number] = record[0]
        # The line end that a record may lack is the first byte of the next one.
        at = content.find(_BEGIN, at + 1 if record is None else record[1] - 1)
    return found


def _record_at(content: bytes, at: int) -> tuple[FinishedBatch, int] | None:
    """The record whose head begins here, and where it ends; None if it is not whole."""
    end = content.find(b"\n", at)
    if end < 0:
        return None
    with suppress(msgspec.MsgspecError):
        head = _head(content[at:end])
        middle = end + 1 + head.digests
        after = middle + head.lines
        if xxhash.xxh3_128_hexdigest(memoryview(content)[end + 1 : after]) == head.check:
            digests, lines = content[end + 1 : middle], content[middle:after]
            return FinishedBatch(head.batch, head.summary, digests, lines), after
    return None
