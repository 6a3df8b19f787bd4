"""Publishing an entry of the log: by whoever finds it, as often as they like, and late.

Every process that comes by a run publishes what it has committed, and may do so long after others
went on from there. What a **later** entry has replaced or removed is left as it is::

    entry 8  delivers a, b      published, then again by a process that was paused:
    entry 9  erases in a        a is entry 9's now: passed over
    entry 10 compacts b to c    b is gone since: passed over

A file that takes the place of another one does so only while that is still what was read, so what
another tool has put there meanwhile stays. It is no error: the entry's *conflicts* name such files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from schemas.errors import ObjectChanged, ObjectMissing
from stores.log_entries import Commit
from stores.objects.port import ObjectStore, StagedObject

T = TypeVar("T")

_SIDE_BY_SIDE = 16
"""Files that are replaced or removed at a time: it is the store that is waited for."""


class Publisher:
    """Publishes entries of one log. ``following`` reads those after a number."""

    def __init__(self, store: ObjectStore, following: Callable[[int], Iterator[Commit]]) -> None:
        self._store = store
        self._following = following

    def publish(self, commit: Commit) -> None:
        """Make visible what an entry brings, and remove what it takes away. Idempotent.

        New files come before others go, so that no row is missing in between; and subject indexes
        come before the files that they tell of.
        """
        read = {file.path: file.etag for file in commit.erased}
        gone = self._superseded(commit)
        staged = [file.staged for file in commit.files]
        self._publish_indexes(commit.indexes)
        self._publish_new(commit, [one for one in staged if one.key not in read], gone)
        self._replace_all([one for one in staged if one.key in read and one.key not in gone], read)
        self._remove_all([path for path in commit.removed if path not in gone], read)

    def publish_staged(self, commit: Commit, tokens: Set[str]) -> None:
        """Make visible what an entry brings of what is staged still, by its tokens."""
        self._publish_indexes([one for one in commit.indexes if one.token in tokens])
        if left := [file.staged for file in commit.files if file.staged.token in tokens]:
            self._publish_new(commit, left, self._superseded(commit))

    def conflicts(self, commit: Commit) -> tuple[str, ...]:
        """Paths that an erasure could not replace or remove, as others had changed the file.

        Told from what is there now, so at any time after the entry was published. What a later
        entry has replaced or removed is none.
        """
        staged = {file.path: file.staged for file in commit.files}
        gone = self._superseded(commit) if commit.erased else set()
        paths = [file.path for file in commit.erased if file.path not in gone]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            done = pool.map(lambda path: self._is_done(path, staged.get(path), commit), paths)
            return tuple(path for path, is_done in zip(paths, done, strict=True) if not is_done)

    def _publish_indexes(self, containers: Iterable[StagedObject]) -> None:
        """Publish containers of subject indexes; of one that is gone the files are read.

        A sweep removes what no file has its index in any more, also where it was published before.
        """
        left = {one.key: one for one in containers}
        while left:
            try:
                self._store.publish(left.values())
            except ObjectMissing as missing:
                if left.pop(missing.details.get("key", ""), None) is None:
                    raise
            else:
                return

    def _publish_new(self, commit: Commit, staged: Sequence[StagedObject], gone: Set[str]) -> None:
        """Publish files of new names, less those that turn out to be another entry's meanwhile."""
        while True:
            try:
                self._store.publish([one for one in staged if one.key not in gone])
            except ObjectMissing as missing:
                gone = self._superseded(commit)
                if missing.details.get("key") not in gone:
                    raise
            else:
                return

    def _replace_all(self, staged: Sequence[StagedObject], read: Mapping[str, str]) -> None:
        def replace(one: StagedObject) -> None:
            # What is refused is a later entry's, or a conflict: what is there tells of it.
            with suppress(ObjectChanged, ObjectMissing):
                self._store.publish_if_match(one, read[one.key])

        _for_each(replace, staged)

    def _remove_all(self, paths: Sequence[str], read: Mapping[str, str]) -> None:
        def remove(path: str) -> None:
            if path not in read:
                self._store.delete(path)
                return
            with suppress(ObjectChanged):
                self._store.delete_if_match(path, read[path])

        _for_each(remove, paths)

    def _superseded(self, commit: Commit) -> set[str]:
        """Paths that entries after this one have put another content under, or removed."""
        gone: set[str] = set()
        for later in self._following(commit.number):
            gone.update(later.taken, (file.path for file in later.files))
        return gone

    def _is_done(self, path: str, staged: StagedObject | None, commit: Commit) -> bool:
        found = self._store.head(path)
        if staged is not None:
            return self._store.holds(staged, found)
        return found is None or path not in commit.removed


def _for_each(do: Callable[[T], None], what: Sequence[T]) -> None:
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for _ in pool.map(do, what):
            pass  # raises what it raised
