"""The end of a run's log, and of nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from config.settings import Settings
from runners.runs import state_folder
from schemas.errors import NotFound
from schemas.runs import RunRecord

MOST_BYTES = 1024 * 1024


def tail(run: RunRecord, settings: Settings, size: int) -> bytes:
    """The last whole lines of a run's log, of at most ``size`` bytes together.

    Raises ``NotFound`` if the run has no log, or none that is a file of the state's folder here: a
    run of another machine has its log there.
    """
    if run.log_path is None:
        raise NotFound("the run has no log: it spoke to the terminal it was started from")
    path = Path(run.log_path)
    if not _is_ours(path, settings):
        raise NotFound("the run's log is not kept by this service")
    try:
        return _whole_lines(*_end_of(path, size))
    except OSError:
        raise NotFound("the run's log is not here: it has been removed, or is elsewhere") from None


def _is_ours(path: Path, settings: Settings) -> bool:
    folder = state_folder(settings).resolve()
    return path.resolve().is_relative_to(folder) and path.suffix == ".log"


def _end_of(path: Path, size: int) -> tuple[bytes, bool]:
    """The last bytes, and whether there are others before them."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise FileNotFoundError
        file.seek(max(facts.st_size - size, 0))
        return file.read(size), facts.st_size > size


def _whole_lines(content: bytes, cut: bool) -> bytes:
    if not cut:
        return content
    _, newline, rest = content.partition(b"\n")
    return rest if newline else content
