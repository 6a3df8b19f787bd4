"""Late rows: what a delivery brought of subjects that were erased while it was under way.

A delivery that began before a suppression does not know of it, so its commit may hold rows of
suppressed subjects. The log tells which commits **owe** a look at their files
(``stores.positions``). Whoever made such a commit has ``LateRows`` look right after it, and so
has whoever begins to work in the lake, in case that one was killed.

What is looked for are the subjects of the suppressions that the commit's writers did not heed, also
those that have expired since: its rows were under way when the subject was erased.

It is done in this process, for it is a few files, and most of them are passed over by their index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import structlog

from runners.alive import alive_run
from runners.erase_passes import commit_erased
from schemas.erasure import ErasureMode, FileKind, Suppressed
from schemas.errors import ObjectChanged, ObjectMissing
from schemas.registry import Registry
from stores.lake_files import Known, LakeFile, Logged
from stores.log import COMPACT, ERASE, Commit, DataFile, DeliveryLog, Positions, new_run_id
from stores.objects.port import ObjectInfo, ObjectStore
from stores.positions import Cleanliness
from stores.subject_index import Probes, may_hold
from stores.suppression import load_suppressions
from transforms.erasure.files import Erased, Unreadable, rewrite_file
from transforms.erasure.search import Search, WantedByHash
from transforms.index import stamp_of
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher

_ATTEMPTS = 3
"""How often it is tried before it is left to whoever comes next."""

_EVER = datetime.min.replace(tzinfo=UTC)
"""Before any suppression has expired."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Clean:
    """A file without late rows."""


@dataclass(frozen=True)
class LateRows:
    """Takes late rows out of the files of one lake."""

    store: ObjectStore
    key: ScrubKey
    registry: Registry

    def cleanse(self, known: Cleanliness | Positions) -> int:
        """Take the late rows out of what the log owes a look at; how many rows that were.

        ``known`` is how the log stands. What others changed meanwhile is left to them. Raises
        ``LetheError``.
        """
        rows = 0
        for _ in range(_ATTEMPTS):
            if not known.owed:
                break
            rows += self._attempt(known)
            known = DeliveryLog(self.store).positions()
        if known.owed:
            _log.warning("late rows are left to the next run", commits=len(known.owed))
        return rows

    def _attempt(self, known: Cleanliness | Positions) -> int:
        """Look once; only if every file could be looked into, nothing is owed any more."""
        log = DeliveryLog(self.store)
        number = log.published_up_to()
        files = _files_of(self.store, log, known.owed)
        run = log.begin(new_run_id(datetime.now(UTC)), number, ERASE)
        with alive_run(log, run):
            made = [
                one
                for heeded, some in files.items()
                for one in self._rewritten(some, self._unheeded(known, heeded), run.run_id)
            ]
            erased = [one for one in made if isinstance(one, Erased)]
            is_complete = None not in made
            commit = commit_erased(log, run, erased, "", known.owed if is_complete else ())
        rows = 0 if commit is None else sum(file.matched for file in commit.erased)
        _log.info(
            "looked for late rows of suppressed subjects",
            rows=rows,
            files=sum(map(len, files.values())),
        )
        return rows

    def _unheeded(self, known: Cleanliness | Positions, heeded: int) -> tuple[Suppressed, ...]:
        """Who was suppressed by entries after one, and be it only until now."""
        unheeded = [ref for ref in known.suppressions if ref.number > heeded]
        return load_suppressions(self.store, unheeded, _EVER)

    def _rewritten(
        self, files: Sequence[LakeFile], suppressed: tuple[Suppressed, ...], run_id: str
    ) -> list[Erased | Clean | None]:
        if not suppressed:
            return []
        search = WantedByHash(self.key, self.registry, suppressed).search()
        return [self._file(file, search, run_id) for file in self._suspects(files, suppressed)]

    def _file(self, file: LakeFile, search: Search, run_id: str) -> Erased | Clean | None:
        """What takes a file's place; None if nobody can tell what is in it now."""
        try:
            made = rewrite_file(file, self.store, run_id, search, ErasureMode.DELETE)
        except (ObjectMissing, ObjectChanged):
            return None
        except Unreadable:
            _log.error("late rows may be in a file that cannot be read", file=file.path)
            return None
        return made or Clean()

    def _suspects(
        self, files: Iterable[LakeFile], suppressed: Iterable[Suppressed]
    ) -> Iterator[LakeFile]:
        hasher = SubjectHasher.of(self.key)
        near = sorted({hash_ for one in suppressed for hash_ in one.near})
        probes = Probes(
            np.array(near, np.uint64), {kind.name: stamp_of(kind, hasher) for kind in self.registry}
        )
        asked = may_hold(self.store, files, probes)
        return (file for file, is_suspect in asked if is_suspect)


def _publish(log: DeliveryLog, commit: Commit) -> None:
    try:
        log.publish(commit)
    except ObjectMissing:
        _log.warning("others have put something in the place of a committed file")


def _files_of(
    store: ObjectStore, log: DeliveryLog, owed: tuple[int, ...]
) -> dict[int, list[LakeFile]]:
    """The files that some commits brought and that are still there, as the log has them now.

    By the number of the newest suppression that was heeded where they were written.
    """
    known, owing = Known(), list[Commit]()
    for commit in log.commits(after=owed[0] - 1):
        known.take([commit])
        if commit.number in owed:
            # Whoever made it may not have got to that, and what is not visible is not searched.
            _publish(log, commit)
            owing.append(commit)
    found = defaultdict[int, list[LakeFile]](list)
    for commit in owing:
        heeded = _heeded(commit, owing)
        for file in commit.files:
            info = store.head(file.path)
            if info is not None:
                found[heeded].append(_lake_file(file, info, known.files.get(file.path)))
    return found


def _heeded(commit: Commit, owing: Iterable[Commit]) -> int:
    """A compaction has sifted nothing: its rows may be those of others that owe."""
    if commit.kind != COMPACT:
        return commit.knows
    return min((one.knows for one in owing if one.kind != COMPACT), default=commit.knows)


def _lake_file(file: DataFile, info: ObjectInfo, newest: Logged | None) -> LakeFile:
    partition = file.partition
    kind = FileKind.DEAD_LETTERS if partition.is_errors else FileKind.DATA
    of_type = None if partition.is_errors else partition.name
    found = LakeFile(info, kind, of_type, partition.date)
    if newest is None:
        return found
    return replace(found, logged=newest.file, committed_at=newest.committed_at)
