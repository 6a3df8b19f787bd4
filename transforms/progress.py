"""Progress: how far each worker process has come, seen from outside it.

A worker keeps its own small file; whoever shows progress adds the files up. That works while a
runner tells nothing before its end.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import StoreFull

_RECORD = struct.Struct("<QQQ")


@dataclass
class Progress:
    """Bytes and records read so far, and dead letters among them."""

    bytes: int = 0
    records: int = 0
    dead_letters: int = 0


class ProgressFile:
    """One process's progress, in a file of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._progress = Progress()
        self._file: int | None = None

    def add(self, size: int, records: int, dead_letters: int) -> None:
        """Count some more. Raises ``StoreFull`` if the folder takes no file."""
        progress = self._progress
        progress.bytes += size
        progress.records += records
        progress.dead_letters += dead_letters
        try:
            self._write(_RECORD.pack(progress.bytes, progress.records, progress.dead_letters))
        except OSError as error:
            raise StoreFull(
                f"{self._folder}: cannot write here: {error.strerror}: free some room or set "
                "another work folder"
            ) from error

    def _write(self, state: bytes) -> None:
        if self._file is None:
            path = self._folder / f"{os.getpid()}-{id(self):x}.progress"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(self._file, state, 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_progress(folder: Path) -> Progress:
    """The sum over all processes that report into ``folder``."""
    total = Progress()
    for path in folder.glob("*.progress"):
        try:
            size, records, dead_letters = _RECORD.unpack(path.read_bytes())
        except (OSError, struct.error):
            continue
        total.bytes += size
        total.records += records
        total.dead_letters += dead_letters
    return total
