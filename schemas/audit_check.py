"""Checking the audit log: whether its chain is whole, and what first shows that it is not.

Entries and checkpoints are looked at once, in their order, so that a log of any length can be
checked. What comes after the newest checkpoint hangs together, but could have been made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from schemas.audit import AuditCheckpoint, AuditHead
from schemas.audit_lines import AuditLink

IsSigned = Callable[[AuditCheckpoint], bool]
"""Whether a checkpoint's signature is good, by a key that is known."""

Links = Iterable[AuditLink | None]
"""Entries in the order in which they are found; None is one that cannot be read."""


class Fault(StrEnum):
    """What is wrong with a log."""

    CHANGED = "changed"
    MISSING = "missing"
    REORDERED = "reordered"
    REPEATED = "repeated"
    REWRITTEN = "rewritten"
    CUT_OFF = "cut_off"
    BAD_SIGNATURE = "bad_signature"
    NO_CHECKPOINT = "no_checkpoint"
    NOT_COVERED = "not_covered"


_SAID = {
    Fault.CHANGED: "entry {n} was changed, or the one before it was",
    Fault.MISSING: "entry {n} is missing",
    Fault.REORDERED: "entry {n} is not in its place: it comes later",
    Fault.REPEATED: "after entry {last} comes one with a number that came before",
    Fault.REWRITTEN: "of the entries {n} to {last} some were written anew: a checkpoint of entry "
    "{last} was signed over another one",
    Fault.CUT_OFF: "entries from {n} on are missing: the log went to entry {last}",
    Fault.BAD_SIGNATURE: "the checkpoint of entry {n} is not signed by a key that is known",
    Fault.NO_CHECKPOINT: "it does not begin with a checkpoint",
    Fault.NOT_COVERED: "entries from {n} on are more than its checkpoint says there are",
}


@dataclass(frozen=True)
class Flaw:
    """What is wrong first: ``sequence`` is the entry it begins at, ``last`` one it reaches to."""

    fault: Fault
    sequence: int
    last: int = 0

    def __str__(self) -> str:
        return _SAID[self.fault].format(n=self.sequence, last=self.last)


@dataclass(frozen=True)
class Whole:
    """A log without a flaw: where it ends, and up to which entry it is signed."""

    head: AuditHead
    signed: AuditHead


def check_log(
    links: Links,
    checkpoints: Iterable[AuditCheckpoint],
    is_signed: IsSigned,
    start: AuditHead | None = None,
) -> Whole | Flaw:
    """Check what follows ``start``, by default all of it; checkpoints come in their order too."""
    check = _Check(iter(links), iter(checkpoints), is_signed, start or AuditHead())
    return check.run()


class _Check:
    """One walk along a log."""

    def __init__(
        self,
        links: Iterator[AuditLink | None],
        checkpoints: Iterator[AuditCheckpoint],
        is_signed: IsSigned,
        start: AuditHead,
    ) -> None:
        self._links = links
        self._checkpoints = checkpoints
        self._is_signed = is_signed
        self._head = self._signed = start
        self._next = next(checkpoints, None)

    def run(self) -> Whole | Flaw:
        flaw = self._flaw_of_checkpoints()
        for link in self._links:
            if flaw is not None:
                return flaw
            flaw = self._flaw_of(link)
            if flaw is None and link is not None:
                self._head = link.head
                flaw = self._flaw_of_checkpoints()
        return flaw or self._flaw_at_end() or Whole(self._head, self._signed)

    def _flaw_of(self, link: AuditLink | None) -> Flaw | None:
        expected = self._head.sequence + 1
        if link is None or link.content != link.hash:
            return Flaw(Fault.CHANGED, expected)
        if link.sequence > expected:
            return Flaw(self._missing_or_later(expected), expected)
        if link.sequence < expected:
            return Flaw(Fault.REPEATED, expected, self._head.sequence)
        return None if link.previous == self._head.hash else Flaw(Fault.CHANGED, expected)

    def _missing_or_later(self, sequence: int) -> Fault:
        is_later = any(link is not None and link.sequence == sequence for link in self._links)
        return Fault.REORDERED if is_later else Fault.MISSING

    def _flaw_of_checkpoints(self) -> Flaw | None:
        """Look at the checkpoints of the entry that was read last."""
        while self._next is not None and self._next.sequence <= self._head.sequence:
            if not self._is_signed(self._next):
                return Flaw(Fault.BAD_SIGNATURE, self._next.sequence)
            if (self._next.sequence, self._next.hash) != (self._head.sequence, self._head.hash):
                return Flaw(Fault.REWRITTEN, self._signed.sequence + 1, self._next.sequence)
            self._signed, self._next = self._head, next(self._checkpoints, None)
        return None

    def _flaw_at_end(self) -> Flaw | None:
        if self._next is None:
            return None
        for checkpoint in chain([self._next], self._checkpoints):
            if not self._is_signed(checkpoint):
                return Flaw(Fault.BAD_SIGNATURE, checkpoint.sequence)
            last = checkpoint.sequence
        return Flaw(Fault.CUT_OFF, self._head.sequence + 1, last)
