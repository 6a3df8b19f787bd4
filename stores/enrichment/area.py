"""The work area of an enrichment: what is done already, so that a killed run can go on.

    plan.json                  how the input is divided
    <plan's id>/parts/000003   rows that were set aside, if they are not read from the input
               /some/000003    what is finished of a part, batch by batch
               /done/000003    the same of a part that is finished
    receipt.json               written when the output is there; the rest goes

Names come from numbers alone. A part is worked off by one worker, but after a failure another one
may begin it while the first has not noticed: then batches are there twice, and count once. What
belongs to one plan is never seen under another.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO

import msgspec

from schemas.contacts import BatchSummary, EnrichmentPlan, Part, Receipt
from schemas.errors import StoreError
from stores.enrichment.records import FinishedBatch, decode_records, encode_record

PLAN = "plan.json"
RECEIPT = "receipt.json"


class PartResults(ABC):
    """What is finished of one part. ``add`` may be called by any number of threads."""

    def __init__(self, part: Part, finished: Mapping[int, BatchSummary]) -> None:
        self.finished = finished
        """The batches that an earlier worker finished."""
        self._left = set(part.numbers) - set(finished)
        self._lock = threading.Lock()
        self._is_open = True

    @property
    def is_complete(self) -> bool:
        return not self._left

    def add(self, batch: FinishedBatch) -> None:
        """Keep a finished batch. Nothing happens after ``close``."""
        record = encode_record(batch)
        with self._lock:
            if not self._is_open or batch.number not in self._left:
                return
            self._append(record)
            self._left.discard(batch.number)
            if not self._left:
                self._is_open = False
                self._complete()

    def close(self) -> None:
        """Let go of a part that is not complete, with what is finished of it kept."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                self._leave()

    @abstractmethod
    def _append(self, record: bytes) -> None:
        """Keep a record."""

    @abstractmethod
    def _complete(self) -> None:
        """Show that the part is finished."""

    @abstractmethod
    def _leave(self) -> None:
        """Keep what there is for whoever goes on."""


class WorkArea(ABC):
    """The work area of one output; picklable, for workers that see the same place.

    All methods may raise a ``StoreError``.
    """

    poll_seconds: float
    """How often it makes sense to look for finished parts."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The output as a user would write it."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The area itself, as a user would write it."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Make the area, and keep other runs out of it. Raises ``UsageError`` if one is in."""

    def plan(self) -> EnrichmentPlan | None:
        """The plan of an unfinished run, None if there is none."""
        content = self._read(PLAN)
        if content is None or self.receipt() is not None:
            return None
        try:
            return msgspec.json.decode(content, type=EnrichmentPlan)
        except msgspec.ValidationError:
            raise StoreError(
                f"{self.place}: holds a run of another version of Lethe: remove it to begin anew"
            ) from None

    def write_plan(self, plan: EnrichmentPlan) -> None:
        """From here on the run can be gone on with."""
        self._write(PLAN, msgspec.json.encode(plan))

    def receipt(self) -> Receipt | None:
        """What the run said that made the output, None if it is not made yet."""
        content = self._read(RECEIPT)
        return None if content is None else msgspec.json.decode(content, type=Receipt)

    def write_receipt(self, receipt: Receipt) -> None:
        """The output is there: keep the receipt, and nothing else. May be done again."""
        self._write(RECEIPT, msgspec.json.encode(receipt))
        self._clear_but_receipt()

    def clear(self) -> None:
        """Forget everything, the receipt last."""
        self._clear_but_receipt()
        self._remove(RECEIPT)

    def write_part(self, plan: str, number: int, rows: bytes) -> None:
        """Set the rows of a part aside."""
        self._write(_parts(plan, number), rows)

    def read_part(self, plan: str, number: int) -> bytes:
        """The rows of a part that was set aside."""
        content = self._read(_parts(plan, number))
        if content is None:
            raise StoreError(f"{self.place}: rows that were set aside are gone: remove it")
        return content

    def results(self, plan: str, part: Part) -> PartResults:
        """What is finished of a part, to be added to.

        Raises ``StoreError`` if the output is there: a worker that was given up does not know.
        """
        if self._read(RECEIPT) is not None:
            raise StoreError(f"{self.name}: is there already, by the work of others")
        return self._results(plan, part)

    @abstractmethod
    def _results(self, plan: str, part: Part) -> PartResults:
        """What is finished of a part, to be added to."""

    def finished(self, plan: str, part: Part) -> list[FinishedBatch] | None:
        """All batches of a part in their order, None if it is not finished yet.

        Raises ``StoreError`` if it was, and is spoiled now.
        """
        content = self._read(done(plan, part.number))
        if content is None:
            return None
        found = decode_records(content)
        if any(number not in found for number in part.numbers):
            raise StoreError(f"{self.place}: a finished batch is gone: go on with --resume")
        return [found[number] for number in part.numbers]

    @abstractmethod
    def publishing(self) -> AbstractContextManager[BinaryIO]:
        """A sink whose content takes the place of the output at once, if nothing is raised."""

    @abstractmethod
    def has_output(self) -> bool:
        """Whether there is an output now."""

    @abstractmethod
    def _read(self, name: str) -> bytes | None:
        """The content under a name, None if there is none."""

    @abstractmethod
    def _write(self, name: str, content: bytes) -> None:
        """Keep this under a name, whole or not at all, whatever happens."""

    @abstractmethod
    def _remove(self, name: str) -> None:
        """Forget what is under a name, if there is anything."""

    @abstractmethod
    def _clear_but_receipt(self) -> None:
        """Forget the plan first, and then what belongs to it."""


def known(content: bytes, part: Part) -> dict[int, BatchSummary]:
    """The summaries of the part's batches that are whole in this."""
    found = decode_records(content)
    return {number: found[number].summary for number in part.numbers if number in found}


def some(plan: str, number: int) -> str:
    """The name of what is finished of a part."""
    return f"{plan}/some/{number:06d}"


def done(plan: str, number: int) -> str:
    """The name of a finished part."""
    return f"{plan}/done/{number:06d}"


def _parts(plan: str, number: int) -> str:
    return f"{plan}/parts/{number:06d}"
