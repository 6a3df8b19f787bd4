"""Progress of an enrichment: how far each part of the work is, told while it goes on.

Figures are absolute, so that a part that is begun again tells the same ones, and telling them
twice is telling them once.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schemas.jobs import PartProgress

_RECORD = struct.Struct("<QQ")


class Reporter(Protocol):
    """Tells of parts, from any number of threads of one worker."""

    def report(self, progress: PartProgress) -> None:
        """Tell how far a part is now. Cheap; it need not be known elsewhere at once."""

    def close(self) -> None:
        """Make known what is not yet, before the worker says that it is done."""


class Progress(Protocol):
    """Where workers tell how far they are; picklable, as workers carry it."""

    def reporter(self) -> Reporter:
        """A reporter for one worker."""


@dataclass(frozen=True)
class FileProgress:
    """Progress in a file, a record a part, for workers and onlookers of one machine."""

    path: Path

    def reporter(self) -> Reporter:
        return _FileReporter(self.path)

    def total(self) -> tuple[int, int]:
        """The batches processed and the contacts failed so far."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0, 0
        whole = content[: len(content) - len(content) % _RECORD.size]
        records = list(_RECORD.iter_unpack(whole))
        return sum(batches for batches, _ in records), sum(failed for _, failed in records)


class _FileReporter:
    """Whoever is told nothing, because the file is another machine's, misses a display only."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self._file = None

    def report(self, progress: PartProgress) -> None:
        if self._file is not None:
            record = _RECORD.pack(progress.processed_batches, progress.failed_contacts)
            os.pwrite(self._file, record, progress.part * _RECORD.size)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class PartCounts:
    """Counts what becomes of each part, and reports it. For any number of threads."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._parts: dict[int, PartProgress] = {}

    def add(self, part: int, failed: Iterable[int]) -> None:
        """Count batches of a part, each with so many failed contacts."""
        counts = list(failed)
        with self._lock:
            before = self._parts.get(part, PartProgress(part, 0, 0))
            now = PartProgress(
                part,
                before.processed_batches + len(counts),
                before.failed_contacts + sum(counts),
            )
            self._parts[part] = now
            self._reporter.report(now)

    def close(self) -> None:
        self._reporter.close()
