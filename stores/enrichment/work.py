"""The work folder of an enrichment: what is done already, so that a killed run can go on.

    .<output's name>.lethe/lock              held while a run is under way
                          /parts/000003      rows that were set aside, some batches a file
                          /plan.json         written when all parts are there
                          /batches/000/000000017    results of a batch: a line about it, then lines
                          /receipt.json      written when the output is there; the rest goes

A file gets its name when it is whole, and a batch's says how long it is and its digest, so that one
that a power cut spoiled is seen and asked for again. Its names come from numbers alone. The folder
is its owner's only: it holds what the input holds. It lies beside the output, so that publishing is
a rename.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import xxhash

from schemas.contacts import BatchSummary, EnrichmentPlan, Part, Receipt, Row
from schemas.errors import AccessDenied, StoreError, StoreFull, UsageError

_A_FOLDER = 1000
"""Batches of one folder."""

_rows = msgspec.json.Decoder(Row)


@dataclass(frozen=True)
class _BatchHead:
    size: int
    digest: str
    summary: BatchSummary


_head = msgspec.json.Decoder(_BatchHead)


class WorkFolder:
    """The work folder of the output at ``out``; picklable, for workers that see the same disk.

    All methods may raise ``AccessDenied``, ``StoreFull`` or another ``StoreError``.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.parent / f".{out.name}.lethe"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other runs out of it. Raises ``UsageError`` if one is in."""
        with _reporting(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UsageError(f"{self.out}: another run is making it: wait for its end") from None
        try:
            yield
        finally:
            os.close(lock)

    def clear(self) -> None:
        """Forget everything, the receipt last."""
        with _reporting(self.path):
            for name in ("plan.json", "parts", "batches", "output", "receipt.json"):
                _remove(self.path / name)

    def plan(self) -> EnrichmentPlan | None:
        """The plan of an unfinished run, None if there is none."""
        content = self._content("plan.json")
        if content is None or self.receipt() is not None:
            return None
        return msgspec.json.decode(content, type=EnrichmentPlan)

    def write_plan(self, plan: EnrichmentPlan) -> None:
        """From here on the run can be gone on with."""
        with _reporting(self.path):
            _sync(self.path / "parts")
        self._put(self.path / "plan.json", [msgspec.json.encode(plan)])

    def receipt(self) -> Receipt | None:
        """What the run said that made the output, None if it is not made yet."""
        content = self._content("receipt.json")
        return None if content is None else msgspec.json.decode(content, type=Receipt)

    def write_receipt(self, receipt: Receipt) -> None:
        """The output is there: keep the receipt, and nothing else. May be done again."""
        self._put(self.path / "receipt.json", [msgspec.json.encode(receipt)])
        with _reporting(self.path):
            for name in ("plan.json", "parts", "batches"):
                _remove(self.path / name)

    def write_part(self, number: int, rows: Iterable[bytes]) -> None:
        """Set rows aside, each as ``encode_row`` gave it; they are taken one at a time."""
        self._put(self._part(number), rows)

    def read_part(self, part: Part) -> Iterator[Row]:
        """The rows of a part, in their order."""
        with _reporting(self._part(part.number)), self._part(part.number).open("rb") as stream:
            for line in stream:
                yield _rows.decode(line)

    def write_batch(self, number: int, summary: BatchSummary, lines: bytes) -> None:
        """Keep the results of a batch: the same ones under the same name, however often."""
        head = _BatchHead(len(lines), xxhash.xxh3_128_hexdigest(lines), summary)
        # Waiting for the disk would cost more than asking again after a power cut.
        self._put(self._batch(number), (msgspec.json.encode(head), b"\n", lines), durable=False)

    def summary(self, number: int) -> BatchSummary | None:
        """What is known of a finished batch, None if it is not whole."""
        found = self._found(number)
        return None if found is None else found[0].summary

    def finished(self, number: int) -> BatchSummary:
        """What is known of a batch that was finished. Raises ``StoreError`` if it is not there."""
        return self._expected(number)[0].summary

    def lines(self, number: int) -> bytes:
        """The results of a batch that was finished, as they were written."""
        return self._expected(number)[1]

    @contextmanager
    def publishing(self) -> Iterator[BinaryIO]:
        """A sink whose content takes the place of the output at once, if nothing is raised."""
        aside = self.path / "output"
        with _reporting(self.out):
            with aside.open("wb") as sink:
                yield sink
                sink.flush()
                os.fsync(sink.fileno())
            aside.replace(self.out)
            _sync(self.out.parent)

    def _found(self, number: int) -> tuple[_BatchHead, bytes] | None:
        path = self._batch(number)
        with _reporting(path), suppress(FileNotFoundError):
            first, _, lines = path.read_bytes().partition(b"\n")
            with suppress(msgspec.DecodeError):
                head = _head.decode(first)
                is_whole = head.digest == xxhash.xxh3_128_hexdigest(lines)
                return (head, lines) if is_whole else None
        return None

    def _expected(self, number: int) -> tuple[_BatchHead, bytes]:
        found = self._found(number)
        if found is None:
            raise StoreError(f"{self.path}: a finished batch is gone: go on with --resume")
        return found

    def _content(self, name: str) -> bytes | None:
        with _reporting(self.path), suppress(FileNotFoundError):
            return (self.path / name).read_bytes()
        return None

    def _part(self, number: int) -> Path:
        return self.path / "parts" / f"{number:06d}"

    def _batch(self, number: int) -> Path:
        return self.path / "batches" / f"{number // _A_FOLDER:06d}" / f"{number:09d}"

    def _put(self, path: Path, content: Iterable[bytes], durable: bool = True) -> None:
        aside = path.with_name(f".{path.name}.part")
        with _reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as sink:
                sink.writelines(content)
                if durable:
                    sink.flush()
                    os.fsync(sink.fileno())
            aside.replace(path)


def encode_row(row: Row) -> bytes:
    """A row as a part holds it."""
    return msgspec.json.encode(row) + b"\n"


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
