"""The files that are in a lake now, each with what the log says of it.

What is looked at is what a reader of the folders sees, so files that no entry of the log names are
among them: written by other tools, or by hand. Files that are committed and not yet visible are
not; ``DeliveryLog.recover`` makes visible what stood in the log before.

A listing takes a while, and a compaction beside it takes rows from a file that is yet to be listed
to one whose place in the listing was passed. It has said so in the log before::

    listing   a  b  |                     c
    compaction      | log: c, d -> a2  publishes a2, deletes c, d

So the log is read again after the listing, for files whose rows may have been missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from datetime import datetime

from schemas.delivery import ERRORS
from schemas.erasure import FileKind, IndexedFile
from stores.log import CLOCKS_DIFFER, DeliveryLog
from stores.log_entries import COMPACT, Commit, DataFile
from stores.objects.port import ObjectInfo, ObjectStore

_TYPE, _DATE = re.compile(r"^type=([^/]+)/"), re.compile(r"/date=([^/]+)/")
_HIDDEN = re.compile(r"(^|/)[_.]")


@dataclass(frozen=True)
class LakeFile:
    """A file that a reader of the lake sees.

    ``type`` and ``date`` are those of its folder. ``logged`` is the newest content that the log
    has for the path, ``committed_at`` when it was committed; both None if it has none.
    """

    info: ObjectInfo
    kind: FileKind
    type: str | None
    date: str | None
    logged: DataFile | None = None
    committed_at: datetime | None = None

    @property
    def path(self) -> str:
        return self.info.key

    @property
    def is_as_logged(self) -> bool:
        """Whether the file is what the log says, and not what others have put in its place.

        Size, time and, where the store can tell it beforehand, the entity tag have to agree.
        """
        if self.logged is None or self.committed_at is None:
            return False
        staged = self.logged.staged
        if self.info.size != staged.size or staged.etag not in {"", self.info.etag}:
            return False
        return self.info.modified <= self.committed_at + CLOCKS_DIFFER


def lake_files(
    store: ObjectStore, log: DeliveryLog, known: Known | None = None
) -> Iterator[LakeFile]:
    """All files of data and of dead letters, each once, by path for the most part.

    No row that was in the lake before is missed, whatever compactions do meanwhile; but a file may
    be gone, or another, by the time it is read. Names that start with ``_`` or ``.`` are passed
    over, as readers do. Holds what the log says of every file. Who lists a lake again and again
    gives what is ``known`` of its log, which is brought up to date, and not read from its beginning
    each time. Raises ``LakeError`` on a bad log entry.
    """
    known = Known() if known is None else known
    known.take(log.commits(after=known.number))
    number, left = known.number, dict(known.files)
    # After the log was read: of runs that have ended, all files are where the log says.
    open_runs = log.open_runs()
    strangers = set[str]()
    for folder in (f"{ERRORS}/", "type="):
        for info in store.list(folder):
            if not _HIDDEN.search(info.key):
                if info.key not in left:
                    strangers.add(info.key)
                yield _lake_file(info, left.pop(info.key, None))
    late = (one for one in left.values() if _run_of(one.file) in open_runs)
    yield from _visible(store, late)
    yield from _compacted(store, log, number, strangers)


def _compacted(
    store: ObjectStore, log: DeliveryLog, number: int, listed: Set[str]
) -> Iterator[LakeFile]:
    """What compactions have made since an entry, and a listing has not shown.

    One that takes the place of another is in the log before the other goes.
    """
    for commit in log.following(number):
        if commit.kind == COMPACT:
            made = [Logged(file, commit.committed_at) for file in commit.files]
            yield from _visible(store, [one for one in made if one.file.path not in listed])


def _visible(store: ObjectStore, files: Iterable[Logged]) -> Iterator[LakeFile]:
    for one in files:
        info = store.head(one.file.path)
        if info is not None:
            yield _lake_file(info, one)


@dataclass(frozen=True)
class Logged:
    """The newest content that the log has for a path, and when it was committed."""

    file: DataFile
    committed_at: datetime


class Known:
    """The files of a lake by their paths, as the log has them after some of its entries."""

    def __init__(self) -> None:
        self.files: dict[str, Logged] = {}
        self.number = 0

    def take(self, commits: Iterable[Commit]) -> None:
        """Take in entries that follow."""
        for commit in commits:
            self.number = commit.number
            for path in commit.removed:
                self.files.pop(path, None)
            for file in commit.files:
                self.files[file.path] = Logged(file, commit.committed_at)
            for one in commit.indexed:
                self._take_index(one)

    def _take_index(self, indexed: IndexedFile) -> None:
        """Of a file that has another content by now the old index stays, or none."""
        known = self.files.get(indexed.path)
        if known is not None and known.file.staged.sha256 == indexed.sha256:
            file = replace(known.file, index=indexed.index)
            self.files[indexed.path] = Logged(file, known.committed_at)


def _lake_file(info: ObjectInfo, known: Logged | None) -> LakeFile:
    kind, of_type = FileKind.DEAD_LETTERS, None
    if found := _TYPE.match(info.key):
        kind, of_type = FileKind.DATA, found[1]
    date = _DATE.search(info.key)
    file = LakeFile(info, kind, of_type, date[1] if date else None)
    if known is None:
        return file
    return replace(file, logged=known.file, committed_at=known.committed_at)


def _run_of(file: DataFile) -> str:
    """The run that wrote a file; one without end has an area an hour, named after it."""
    return file.staged.run_id.partition("~")[0]
