"""The audit log of a store, or of an exported file: signed, checked, exported.

A checkpoint is made by the service when a thousand entries came since the last one, or any and
five minutes have passed; and by command. Before it is signed, what came since the last one is
checked, so that none is ever put on what was changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from typing import BinaryIO, TypeVar

from schemas.audit import AuditCheckpoint, AuditEntry, AuditHead
from schemas.audit_check import Fault, Flaw, IsSigned, Whole, check_log
from schemas.audit_lines import (
    checkpoint_line,
    entry_line,
    link_of,
    read_checkpoint_line,
    read_entry_line,
)
from schemas.errors import StoreError
from stores.audit_keys import AuditKeys
from stores.state.dsr_port import AuditLog

T = TypeVar("T", AuditEntry, AuditCheckpoint)

SIGNED_EVERY = 1_000
"""Entries after which a checkpoint is due."""

SIGNED_AFTER = timedelta(minutes=5)
"""How long an entry may be without one."""

_PAGE = 500
_LONGEST_LINE = 1 << 20


class AuditBroken(StoreError):
    """The audit log is not whole; the message names the first entry that shows it."""

    code = "audit_broken"


def checkpoint_if_due(
    log: AuditLog, keys: Callable[[], AuditKeys], now: datetime
) -> AuditCheckpoint | None:
    """Sign the log if that is due, by keys that are asked for then. Raises as ``checkpoint``."""
    last, head = log.newest_checkpoint(), log.head()
    return checkpoint(log, keys(), now) if _is_due(last, head, now) else None


def checkpoint(log: AuditLog, keys: AuditKeys, now: datetime) -> AuditCheckpoint:
    """Sign how far the log is now, and keep that. Raises ``AuditBroken`` if it is not whole."""
    last = log.newest_checkpoint()
    if last is not None and not keys.public.is_signed(last):
        raise AuditBroken(f"audit log: {Flaw(Fault.BAD_SIGNATURE, last.sequence)}")
    start = AuditHead() if last is None else AuditHead(last.sequence, last.hash)
    links = map(link_of, _entries(log, start.sequence))
    found = _whole(check_log(links, [], keys.public.is_signed, start))
    signed = keys.sign(found.head, now)
    log.keep_checkpoint(signed)
    return signed


def check_store(
    log: AuditLog, is_signed: IsSigned, kept: Sequence[AuditCheckpoint] = ()
) -> Whole | Flaw:
    """Check a store's log against its checkpoints, and those that somebody has kept elsewhere."""
    # First of all: what is added while the log is read is no flaw of it.
    newest, head = log.newest_checkpoint(), log.head()
    until = 0 if newest is None else newest.sequence
    checkpoints = _merged(kept, _checkpoints(log, until))
    found = check_log(map(link_of, _entries(log, 0)), checkpoints, is_signed)
    if isinstance(found, Whole) and found.head.sequence < head.sequence:
        return Flaw(Fault.CUT_OFF, found.head.sequence + 1, head.sequence)
    return found


def check_file(
    file: BinaryIO, is_signed: IsSigned, kept: Sequence[AuditCheckpoint] = ()
) -> Whole | Flaw:
    """Check an exported file, by itself and by checkpoints that somebody has kept."""
    covers = read_checkpoint_line(file.readline(_LONGEST_LINE))
    if covers is None:
        return Flaw(Fault.NO_CHECKPOINT, 1)
    links = map(read_entry_line, iter(lambda: file.readline(_LONGEST_LINE), b""))
    found = check_log(links, _merged(kept, [covers]), is_signed)
    if isinstance(found, Whole) and found.head.sequence > covers.sequence:
        return Flaw(Fault.NOT_COVERED, covers.sequence + 1)
    return found


def exported(log: AuditLog, signed: AuditCheckpoint) -> Iterator[bytes]:
    """The lines of the log up to a checkpoint of it, which comes first."""
    yield checkpoint_line(signed)
    for entry in _entries(log, 0):
        if entry.sequence > signed.sequence:
            break
        yield entry_line(entry)


def _is_due(last: AuditCheckpoint | None, head: AuditHead, now: datetime) -> bool:
    if last is None:
        return head.sequence > 0
    behind = head.sequence - last.sequence
    return behind >= SIGNED_EVERY or (behind > 0 and now - last.at >= SIGNED_AFTER)


def _whole(found: Whole | Flaw) -> Whole:
    if isinstance(found, Flaw):
        raise AuditBroken(f"audit log: {found}")
    return found


def _merged(
    kept: Sequence[AuditCheckpoint], others: Iterable[AuditCheckpoint]
) -> Iterator[AuditCheckpoint]:
    in_order = sorted(kept, key=_sequence)
    return merge(in_order, others, key=_sequence)


def _sequence(record: AuditCheckpoint | AuditEntry) -> int:
    return record.sequence


def _entries(log: AuditLog, after: int) -> Iterator[AuditEntry]:
    return _paged(log.entries, after)


def _checkpoints(log: AuditLog, until: int) -> Iterator[AuditCheckpoint]:
    for found in _paged(log.checkpoints, -1):
        if found.sequence > until:
            break
        yield found


def _paged(page: Callable[[int, int], list[T]], after: int) -> Iterator[T]:
    """All records that follow a number, a page at a time."""
    while some := page(after, _PAGE):
        yield from some
        after = some[-1].sequence
