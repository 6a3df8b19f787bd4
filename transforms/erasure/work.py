"""What is done with each file of an erasure, whoever carries it to the files.

A piece of work travels to workers, is opened there once, and is then done with one file after
another. What it finds holds paths and numbers, and no subject.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

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

_AT_ONCE = 4
_AT_ONCE_HERE = 2


@dataclass(frozen=True)
class Gone:
    """A file that others have replaced or removed before it was read."""

    path: str


Found = FileMatch | Erased | Unread | Gone | Seen
"""What may be found in a file, or made of it."""

Finder = Callable[[LakeFile], Found | None]
"""Does the work with a file; None if there is nothing to say of it."""


class Sought(Protocol):
    """Subjects as they travel to workers."""

    def search(self) -> Search:
        """What looks for them."""


class FileWork(Protocol):
    """What is to be done with each file. Travels to workers."""

    def open(self, store: ObjectStore) -> Finder:
        """What does it in one process. Raises ``UsageError`` if the lake's key is another here."""


@dataclass(frozen=True)
class CountMatches:
    """Files to how many of their rows are the subjects'."""

    sought: Sought = field(repr=False)

    def open(self, store: ObjectStore) -> Finder:
        search = self.sought.search()
        return lambda file: count_file(file, store, search)


@dataclass(frozen=True)
class RewriteFiles:
    """Files to what is staged to take their place; nothing is said of one that is clean."""

    run_id: str
    sought: Sought = field(repr=False)
    mode: ErasureMode

    def open(self, store: ObjectStore) -> Finder:
        search = self.sought.search()
        return lambda file: rewrite_file(file, store, self.run_id, search, self.mode)


@dataclass(frozen=True)
class LookAgain:
    """Files to what a second look sees in them."""

    sought: SecondLook = field(repr=False)

    def open(self, store: ObjectStore) -> Finder:
        reader = self.sought.open()
        return lambda file: look_again(reader, file, store)


@dataclass(frozen=True)
class Findings:
    """What was found in files, or made of them, by path."""

    matches: tuple[FileMatch, ...] = ()
    erased: tuple[Erased, ...] = ()
    unread: tuple[Unread, ...] = ()
    gone: tuple[Gone, ...] = ()
    seen: tuple[Seen, ...] = ()

    @staticmethod
    def of(found: Iterable[Any]) -> Findings:
        """One of all that was found."""
        everything = sorted(found, key=lambda one: one.path)

        def those(kind: type) -> tuple[Any, ...]:
            return tuple(one for one in everything if isinstance(one, kind))

        return Findings(those(FileMatch), those(Erased), those(Unread), those(Gone), those(Seen))


def found_in(file: LakeFile, finder: Finder) -> Found | None:
    """What is found in a file; that others have changed it, or that nobody can read it, is told."""
    try:
        return finder(file)
    except (ObjectMissing, ObjectChanged):
        return Gone(file.path)
    except Unreadable as error:
        return Unread(file.path, error.message.removeprefix(f"{file.path}: "))


def at_once(store: ObjectStore) -> int:
    """Files that one process deals with side by side, so that while one waits another goes on.

    Nearby it is for the disk to have written what was staged; where nobody waits for that, two side
    by side only take more of the processor. Each holds a few columns.
    """
    if not isinstance(store, LocalObjectStore):
        return _AT_ONCE
    return _AT_ONCE_HERE if store.syncs_staged else 1
