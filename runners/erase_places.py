"""The places that an erasure goes to: the lake, and files and folders beside it.

A place beside the lake - contacts that were enriched, what enrichment made of them, earlier exports
- is dealt with as the lake is: it gets a log of its own under ``_lethe/``, so that an erasure there
may be killed as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from schemas.erasure import FileKind
from schemas.errors import InputMissing, UsageError
from stores.enrichment.area import PLAN
from stores.lake_files import Known, LakeFile, lake_files
from stores.log import DeliveryLog
from stores.objects import S3Settings, open_store, split_uri
from stores.objects.port import ObjectStore

_HIDDEN = re.compile(r"(^|/)[_.]")

_WORK_AREA = re.compile(rf"(?:(?:^|/)\.[^/]+\.lethe|^_lethe/enrich/.+)/{re.escape(PLAN)}$")
"""The plan of an enrichment, beside a local output or under one on S3."""


@dataclass(frozen=True)
class Place:
    """A lake; or, if it is none, a folder: all files in it, or ``only`` this one."""

    store: ObjectStore
    is_lake: bool = True
    only: str | None = None
    _known: Known = field(default_factory=Known, repr=False, compare=False)

    @property
    def log(self) -> DeliveryLog:
        return DeliveryLog(self.store)

    def files(self) -> Iterator[LakeFile]:
        """All files to look at, each with what the place's log says of it."""
        if self.is_lake:
            return lake_files(self.store, self.log, self._known)
        return self._contact_files()

    def shown(self, path: str) -> str:
        """A file's name in reports: within the lake its path, elsewhere where it is."""
        return path if self.is_lake else f"{self.store.uri.rstrip('/')}/{path}"

    def unfinished(self) -> Iterator[str]:
        """Where enrichments keep rows that have not come to their end; nothing is changed there."""
        if self.is_lake:
            return
        of_one = (f".{self.only}.lethe/", f"_lethe/enrich/{self.only}/")
        for prefix in of_one if self.only else ("",):
            for info in self.store.list(prefix):
                if _WORK_AREA.search(info.key):
                    yield self.shown(info.key.rpartition("/")[0])

    def _contact_files(self) -> Iterator[LakeFile]:
        self._known.take(self.log.commits(after=self._known.number))
        for info in self.store.list(self.only or ""):
            if self.only in {None, info.key} and not _HIDDEN.search(info.key):
                file = LakeFile(info, FileKind.CONTACTS, None, None)
                logged = self._known.files.get(info.key)
                yield (
                    file
                    if logged is None
                    else replace(file, logged=logged.file, committed_at=logged.committed_at)
                )


def place_beside(uri: str, lake: ObjectStore, s3: S3Settings | None) -> Place:
    """The place that ``--also`` names: a file or a folder.

    Raises ``UsageError`` if it is the lake or a part of it that is looked at anyway, and
    ``InputMissing`` if there is nothing.
    """
    store, key = split_uri(uri, s3)
    if key and not key.endswith("/") and store.head(key) is not None:
        folder, _, name = uri.rpartition("/")
        folder = folder or ("/" if uri.startswith("/") else ".")
        place = Place(open_store(folder, s3), is_lake=False, only=PurePosixPath(name).name)
    else:
        place = Place(open_store(uri, s3), is_lake=False)
    if place.store.uri == lake.uri or place.store.uri.startswith(f"{lake.uri.rstrip('/')}/type="):
        raise UsageError(f"--also {uri}: is a part of the lake: leave it out")
    if next(place.files(), None) is None:
        raise InputMissing(f"--also {uri}: there is no such file, and no folder with files")
    return place
