"""The stages of an erasure as Beam carries them.

What they found is left in an object of the lake, which holds paths and numbers and no subject: so
much is too much for counters, and whoever started the pipeline may be on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
import msgspec

from schemas.erasure import ErasureMode, FileMatch
from schemas.errors import ObjectChanged, ObjectMissing
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from transforms.erasure.files import Erased, Unread, Unreadable, count_file, rewrite_file
from transforms.erasure.search import Search


class Sought(Protocol):
    """Subjects as they travel to workers."""

    def search(self) -> Search:
        """What looks for them."""


@dataclass(frozen=True)
class Findings:
    """What a pipeline found in its files, or made of them, by path."""

    matches: tuple[FileMatch, ...] = ()
    erased: tuple[Erased, ...] = ()
    unread: tuple[Unread, ...] = ()

    @staticmethod
    def of(found: Iterable[Any]) -> Findings:
        """One of all that stages gave."""
        everything = list(found)
        return Findings(
            _by_path(one for one in everything if isinstance(one, FileMatch)),
            tuple(
                sorted(
                    (one for one in everything if isinstance(one, Erased)),
                    key=lambda one: one.erased.path,
                )
            ),
            _by_path(one for one in everything if isinstance(one, Unread)),
        )


@dataclass(frozen=True)
class FindingsObject:
    """Where findings are left."""

    store: ObjectStore
    key: str

    def write(self, found: Findings) -> None:
        self.store.put(self.key, msgspec.json.encode(found))

    def take(self) -> Findings:
        """What was left, if anything was; it is gone afterwards."""
        try:
            content = self.store.read(self.key)
        except ObjectMissing:
            return Findings()
        self.store.delete(self.key)
        return msgspec.json.decode(content, type=Findings)


class CountMatches(beam.DoFn):
    """Files to how many of their rows are the subjects'. One that is gone says nothing."""

    def __init__(self, store: ObjectStore, sought: Sought) -> None:
        self._store = store
        self._sought = sought

    def setup(self) -> None:
        self._search = self._sought.search()

    def process(self, file: LakeFile) -> Iterator[FileMatch | Unread]:
        try:
            yield count_file(file, self._store, self._search)
        except (ObjectMissing, ObjectChanged):
            return
        except Unreadable as error:
            yield _unread(file, error)


class RewriteFiles(beam.DoFn):
    """Files to what is staged to take their place. One that is gone, or clean, says nothing."""

    def __init__(self, store: ObjectStore, run_id: str, sought: Sought, mode: ErasureMode) -> None:
        self._store = store
        self._run_id = run_id
        self._sought = sought
        self._mode = mode

    def setup(self) -> None:
        self._search = self._sought.search()

    def process(self, file: LakeFile) -> Iterator[Erased | Unread]:
        try:
            done = rewrite_file(file, self._store, self._run_id, self._search, self._mode)
        except (ObjectMissing, ObjectChanged):
            return
        except Unreadable as error:
            yield _unread(file, error)
        else:
            if done is not None:
                yield done


class KeepFindings(beam.DoFn):
    """All that was found, in one element, to the object that keeps it."""

    def __init__(self, into: FindingsObject) -> None:
        self._into = into

    def process(self, keyed: tuple[None, Iterable[Any]]) -> None:
        self._into.write(Findings.of(keyed[1]))


def _unread(file: LakeFile, error: Unreadable) -> Unread:
    return Unread(file.path, error.message.removeprefix(f"{file.path}: "))


def _by_path(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(found, key=lambda one: one.path))
