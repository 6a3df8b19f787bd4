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
from transforms.erasure.files import (
    Erased,
    Unread,
    Unreadable,
    count_file,
    look_again,
    rewrite_file,
)
from transforms.erasure.search import Search
from transforms.erasure.second_look import SecondLook, Seen


class Sought(Protocol):
    """Subjects as they travel to workers."""

    def search(self) -> Search:
        """What looks for them."""


@dataclass(frozen=True)
class Gone:
    """A file that others have replaced or removed before it was read."""

    path: str


@dataclass(frozen=True)
class Findings:
    """What a pipeline found in its files, or made of them, by path."""

    matches: tuple[FileMatch, ...] = ()
    erased: tuple[Erased, ...] = ()
    unread: tuple[Unread, ...] = ()
    gone: tuple[Gone, ...] = ()
    seen: tuple[Seen, ...] = ()

    @staticmethod
    def of(found: Iterable[Any]) -> Findings:
        """One of all that stages gave."""
        everything = sorted(found, key=lambda one: one.path)

        def those(kind: type) -> tuple[Any, ...]:
            return tuple(one for one in everything if isinstance(one, kind))

        return Findings(those(FileMatch), those(Erased), those(Unread), those(Gone), those(Seen))


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
    """Files to how many of their rows are the subjects'."""

    def __init__(self, store: ObjectStore, sought: Sought) -> None:
        self._store = store
        self._sought = sought

    def setup(self) -> None:
        self._search = self._sought.search()

    def process(self, file: LakeFile) -> Iterator[FileMatch | Unread | Gone]:
        try:
            yield count_file(file, self._store, self._search)
        except (ObjectMissing, ObjectChanged):
            yield Gone(file.path)
        except Unreadable as error:
            yield _unread(file, error)


class RewriteFiles(beam.DoFn):
    """Files to what is staged to take their place; nothing is said of one that is clean."""

    def __init__(self, store: ObjectStore, run_id: str, sought: Sought, mode: ErasureMode) -> None:
        self._store = store
        self._run_id = run_id
        self._sought = sought
        self._mode = mode

    def setup(self) -> None:
        self._search = self._sought.search()

    def process(self, file: LakeFile) -> Iterator[Erased | Unread | Gone]:
        try:
            done = rewrite_file(file, self._store, self._run_id, self._search, self._mode)
        except (ObjectMissing, ObjectChanged):
            yield Gone(file.path)
        except Unreadable as error:
            yield _unread(file, error)
        else:
            if done is not None:
                yield done


class LookAgain(beam.DoFn):
    """Files to what a second look sees in them."""

    def __init__(self, store: ObjectStore, sought: SecondLook) -> None:
        self._store = store
        self._sought = sought

    def setup(self) -> None:
        self._reader = self._sought.open()

    def process(self, file: LakeFile) -> Iterator[Seen | Unread | Gone]:
        try:
            yield look_again(self._reader, file, self._store)
        except (ObjectMissing, ObjectChanged):
            yield Gone(file.path)
        except Unreadable as error:
            yield _unread(file, error)


class KeepFindings(beam.DoFn):
    """All that was found, in one element, to the object that keeps it."""

    def __init__(self, into: FindingsObject) -> None:
        self._into = into

    def process(self, keyed: tuple[None, Iterable[Any]]) -> None:
        self._into.write(Findings.of(keyed[1]))


def _unread(file: LakeFile, error: Unreadable) -> Unread:
    return Unread(file.path, error.message.removeprefix(f"{file.path}: "))
