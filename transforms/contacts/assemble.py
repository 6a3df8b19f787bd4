"""Assemble: finished parts to the output, in their order, while others are still worked on."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from schemas.contacts import EnrichmentPlan, Part
from schemas.errors import LetheError, StoreError
from stores.enrichment.area import WorkArea
from stores.enrichment.records import FinishedBatch
from transforms.contacts.output import WRITERS, Columns, OutputFormat, OutputWriter


@dataclass(frozen=True)
class Assembled:
    """What all parts came to."""

    by_reason: Mapping[str, int]
    digest: str


class Assembly:
    """The output being put together, written to ``sink``; a part in memory at a time.

    A table's columns are known only when all parts are: it is written at the end.
    """

    def __init__(
        self, area: WorkArea, plan: EnrichmentPlan, fmt: OutputFormat, sink: BinaryIO
    ) -> None:
        self._area = area
        self._plan = plan
        self._format = fmt
        self._sink = sink
        self._next = 0
        self._columns = Columns()
        self._by_reason = Counter[str]()
        self._digest = hashlib.sha256()
        self._writer: OutputWriter | None = None
        if not fmt.is_table:
            self._writer = WRITERS[fmt](sink, self._columns)
        self._error: LetheError | None = None

    def follow(self, stop: threading.Event) -> None:
        """Take in finished parts until ``stop`` is set; an error is raised by ``finish``."""
        try:
            while not stop.is_set():
                if not self._take_next():
                    stop.wait(self._area.poll_seconds)
        except LetheError as error:
            self._error = error

    def finish(self) -> Assembled:
        """Complete the output. Raises ``StoreError`` if a part is not there."""
        if self._error is not None:
            raise self._error
        while self._take_next():
            pass
        if self._next < len(self._plan.parts):
            raise StoreError(f"{self._area.place}: a finished part is gone: go on with --resume")
        writer = self._writer or self._table()
        writer.finish()
        return Assembled(dict(sorted(self._by_reason.items())), self._digest.hexdigest())

    def _take_next(self) -> bool:
        """Take the next part in, if it is finished."""
        if self._next == len(self._plan.parts):
            return False
        batches = self._area.finished(self._plan.id, self._plan.parts[self._next])
        if batches is None:
            return False
        for batch in batches:
            self._take(batch)
        self._next += 1
        return True

    def _take(self, batch: FinishedBatch) -> None:
        self._by_reason.update(batch.summary.by_reason)
        self._digest.update(batch.digests)
        self._columns = self._columns.with_those_of(batch.summary)
        if self._writer is not None:
            self._writer.add(batch.lines)

    def _table(self) -> OutputWriter:
        writer = WRITERS[self._format](self._sink, self._columns)
        for part in self._plan.parts:
            for batch in self._expected(part):
                writer.add(batch.lines)
        return writer

    def _expected(self, part: Part) -> list[FinishedBatch]:
        batches = self._area.finished(self._plan.id, part)
        if batches is None:
            raise StoreError(f"{self._area.place}: a finished part is gone: go on with --resume")
        return batches
