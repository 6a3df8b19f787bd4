"""The stages of an erasure as Beam carries them.

What they found is left in an object of the lake, which holds paths and numbers and no subject: so
much is too much for counters, and whoever started the pipeline may be on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
import msgspec
from apache_beam.utils.windowed_value import WindowedValue

from schemas.erasure import ErasureMode, FileMatch
from schemas.errors import ObjectChanged, ObjectMissing
from stores.lake_files import LakeFile
from stores.objects.local import LocalObjectStore
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
from transforms.stages import in_global_window

_AT_ONCE = 4
"""Files of one worker that are dealt with side by side: each holds a column of a row group."""


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


class _EachFile(beam.DoFn):
    """Does something with each file of a bundle; several side by side where the store is far."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def start_bundle(self) -> None:
        self._files: list[LakeFile] = []

    def process(self, file: LakeFile) -> None:
        self._files.append(file)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        at_once = 1 if isinstance(self._store, LocalObjectStore) else _AT_ONCE
        with ThreadPoolExecutor(at_once) as pool:
            for found in pool.map(self._found, self._files):
                if found is not None:
                    yield in_global_window(found)

    def _found(self, file: LakeFile) -> Any:
        try:
            return self._work(file)
        except (ObjectMissing, ObjectChanged):
            return Gone(file.path)
        except Unreadable as error:
            return Unread(file.path, error.message.removeprefix(f"{file.path}: "))

    def _work(self, file: LakeFile) -> Any:
        """What is found in a file, or made of it; None if there is nothing to say."""
        raise NotImplementedError


class CountMatches(_EachFile):
    """Files to how many of their rows are the subjects'."""

    def __init__(self, store: ObjectStore, sought: Sought) -> None:
        super().__init__(store)
        self._sought = sought

    def setup(self) -> None:
        self._search = self._sought.search()

    def _work(self, file: LakeFile) -> FileMatch:
        return count_file(file, self._store, self._search)


class RewriteFiles(_EachFile):
    """Files to what is staged to take their place; nothing is said of one that is clean."""

    def __init__(self, store: ObjectStore, run_id: str, sought: Sought, mode: ErasureMode) -> None:
        super().__init__(store)
        self._run_id = run_id
        self._sought = sought
        self._mode = mode

    def setup(self) -> None:
        self._search = self._sought.search()

    def _work(self, file: LakeFile) -> Erased | None:
        return rewrite_file(file, self._store, self._run_id, self._search, self._mode)


class LookAgain(_EachFile):
    """Files to what a second look sees in them."""

    def __init__(self, store: ObjectStore, sought: SecondLook) -> None:
        super().__init__(store)
        self._sought = sought

    def setup(self) -> None:
        self._reader = self._sought.open()

    def _work(self, file: LakeFile) -> Seen:
        return look_again(self._reader, file, self._store)


class KeepFindings(beam.DoFn):
    """All that was found, in one element, to the object that keeps it."""

    def __init__(self, into: FindingsObject) -> None:
        self._into = into

    def process(self, keyed: tuple[None, Iterable[Any]]) -> None:
        self._into.write(Findings.of(keyed[1]))
