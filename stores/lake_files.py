"""The files that are in a lake now, each with what the log says of it.

What is looked at is what a reader of the folders sees, so files that no entry of the log names are
among them: written by other tools, or by hand. Files that are committed and not yet visible are
not; ``DeliveryLog.recover`` makes visible what stood in the log before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from schemas.delivery import ERRORS
from schemas.erasure import FileKind
from stores.log import CLOCKS_DIFFER, DeliveryLog
from stores.log_entries import Commit, DataFile
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


def lake_files(store: ObjectStore, log: DeliveryLog) -> Iterator[LakeFile]:
    """All files of data and of dead letters, by path: data last. Reads the whole log at once.

    Names that start with ``_`` or ``.`` are passed over, as readers do. Raises ``LakeError`` on a
    bad log entry.
    """
    known = logged_files(log.commits())
    for folder in (f"{ERRORS}/", "type="):
        for info in store.list(folder):
            if not _HIDDEN.search(info.key):
                yield _lake_file(info, known.get(info.key))


def logged_files(commits: Iterator[Commit]) -> dict[str, tuple[DataFile, datetime]]:
    """The newest content of every path, and when it was committed, after these entries."""
    known: dict[str, tuple[DataFile, datetime]] = {}
    for commit in commits:
        for path in commit.removed:
            known.pop(path, None)
        known.update((file.path, (file, commit.committed_at)) for file in commit.files)
    return known


def _lake_file(info: ObjectInfo, known: tuple[DataFile, datetime] | None) -> LakeFile:
    kind, of_type = FileKind.DEAD_LETTERS, None
    if found := _TYPE.match(info.key):
        kind, of_type = FileKind.DATA, found[1]
    date = _DATE.search(info.key)
    return LakeFile(info, kind, of_type, date[1] if date else None, *(known or ()))
