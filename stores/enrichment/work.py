"""The work area beside a local output, in the folder ``.<output's name>.lethe``.

A batch is kept as soon as it is finished: appended to its part's file, which gets another name when
the part is. What a power cut spoils is seen and asked for again. The folder is its owner's only: it
holds what the input holds. It lies beside the output, so that publishing is a rename.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.contacts import BatchSummary, Part
from schemas.errors import AccessDenied, StoreError, StoreFull
from stores.enrichment.area import RECEIPT, PartResults, WorkArea, done, known, some
from stores.enrichment.errors import OutputTaken

_KEPT = {RECEIPT, "lock"}
_BUFFER = 1 << 20


class WorkFolder(WorkArea):
    """The work area of the output at ``out``, for workers that see the same disk.

    All methods may raise ``AccessDenied``, ``StoreFull`` or another ``StoreError``.
    """

    poll_seconds = 0.05

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.parent / f".{out.name}.lethe"

    @property
    def name(self) -> str:
        return str(self.out)

    @property
    def place(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with _reporting(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise OutputTaken(f"{self.out}: another run is making it: wait for its end") from None
        try:
            yield
        finally:
            os.close(lock)

    def _results(self, plan: str, part: Part) -> PartResults:
        complete, open_ = (self.path / name(plan, part.number) for name in (done, some))
        with _reporting(open_):
            open_.parent.mkdir(parents=True, exist_ok=True)
            complete.parent.mkdir(parents=True, exist_ok=True)
            found = known(_content(complete) or b"", part)
            if len(found) == part.batches:
                return _LocalResults(part, found, open_, complete)
            with suppress(FileNotFoundError):
                complete.rename(open_)  # spoiled: what is whole of it is gone on with
            found = known(_content(open_) or b"", part)
            return _LocalResults(part, found, open_, complete)

    @contextmanager
    def publishing(self) -> Iterator[BinaryIO]:
        aside = self.path / "output"
        with _reporting(self.out):
            with aside.open("wb", buffering=_BUFFER) as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())
            aside.replace(self.out)
            _sync(self.out.parent)

    def has_output(self) -> bool:
        return self.out.exists()

    def _read(self, name: str) -> bytes | None:
        with _reporting(self.path):
            return _content(self.path / name)

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        aside = path.with_name(f".{path.name}.part")
        with _reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as sink:
                sink.write(content)
                sink.flush()
                os.fsync(sink.fileno())
            aside.replace(path)
            _sync(path.parent)

    def _remove(self, name: str) -> None:
        with _reporting(self.path):
            _remove(self.path / name)

    def _clear_but_receipt(self) -> None:
        with _reporting(self.path):
            _remove(self.path / "plan.json")
            for path in self.path.iterdir():
                if path.name not in _KEPT:
                    _remove(path)


class _LocalResults(PartResults):
    """A file that is appended to, record by record, each by one call of the system."""

    def __init__(
        self, part: Part, found: Mapping[int, BatchSummary], path: Path, complete: Path
    ) -> None:
        super().__init__(part, found)
        self._path = path
        self._complete_path = complete
        self._file: int | None = None
        if self.is_complete:
            self._is_open = False
            self._show_complete()

    def _append(self, record: bytes) -> None:
        with _reporting(self._path):
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
            # Waiting for the disk would cost more than asking again after a power cut.
            left = memoryview(record)
            while left:
                left = left[os.write(self._file, left) :]

    def _complete(self) -> None:
        self._leave()
        self._show_complete()

    def _show_complete(self) -> None:
        with _reporting(self._path), suppress(FileNotFoundError):
            self._path.rename(self._complete_path)  # gone: another worker has done it

    def _leave(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _content(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS: dict[int | None, type[StoreError]] = {
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EFBIG: StoreFull,
}


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """The operating system's errors as the store's."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno, StoreError)
        raise kind(f"{error.filename or path}: {error.strerror}") from error
