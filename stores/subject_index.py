"""The subject index: of each file a set of hashes of the subjects in it, to tell where one is not.

A set takes a little more than two bytes a value. It may hold more than the file does, never less:
so it stays good when an erasure takes rows out. Of a value that is in no row it says "perhaps" once
in 33,000 times or less. The sets of the files that one bundle writes lie together in one object, a
*container*, in **sections** (``stores.subject_sections``) of about a million values, sorted::

    _lethe/index/<run>/<name>.idx     [section: files a, b, c][section: files c, d]...

    IndexRef: the container, and from where to where the sections lie that hold a file's set

So whoever looks for a few subjects reads a few hundred bytes of a section for each, not all of it.

What is damaged, or made with another key, of other columns, or of another file, is not trusted: the
file has to be read. So it is with the form of earlier versions.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from uuid import uuid4

import numpy as np
import xxhash

from schemas.erasure import IndexRef
from schemas.errors import AccessDenied, ObjectMissing
from stores.lake_files import LakeFile
from stores.log_entries import DataFile
from stores.objects.port import ObjectStore, StagedObject, StagedWriter
from stores.subject_sections import (
    MOST_FILES,
    Hashes,
    Member,
    Places,
    Section,
    distinct,
    encode_section,
    read_section,
    tagged,
)

__all__ = ["Hashes", "IndexStamp", "IndexWriter", "Indexed", "Probes", "may_hold", "untrusted"]

INDEXES = "_lethe/index/"

SECTION_VALUES = 1 << 20
"""Hashes that are held at once, and the most that a section has."""

_GAP = 1024 * 1024
"""Bytes of a distant object that are sooner read than another request is made."""


@dataclass(frozen=True)
class IndexStamp:
    """What sets are made with, 16 hexadecimal digits each: the key, and which columns were hashed.

    A set says nothing about columns that it was not made of, or that were hashed in another way.
    """

    key: str
    columns: str

    def packed(self) -> bytes:
        return bytes.fromhex(self.key) + bytes.fromhex(self.columns)


@dataclass(frozen=True)
class Probes:
    """Hashes to look for, and by a file's type the stamp that its set must have.

    Of a type that has none, and of one that has another, every file may hold them.
    """

    hashes: Hashes
    stamps: Mapping[str | None, IndexStamp]


# --- Written ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Indexed:
    """Where the sets of files lie, by path, and the containers that hold them, staged."""

    refs: Mapping[str, IndexRef]
    containers: tuple[StagedObject, ...]

    def described(self, files: Iterable[DataFile]) -> tuple[DataFile, ...]:
        """Files as the log has them, with their index if they have got one."""
        return tuple(replace(file, index=self.refs.get(file.path)) for file in files)


class IndexWriter:
    """Stages the sets of files that are written one after another, in bounded memory."""

    def __init__(self, store: ObjectStore, run_id: str) -> None:
        # A new name for each attempt: no other content ever comes to lie under it.
        self._key = f"{INDEXES}{run_id}/{uuid4().hex}.idx"
        self._store = store
        self._run_id = run_id
        self._staged: StagedWriter | None = None
        self._size = 0
        self._section = _Gathered()
        self._current: _Begun | None = None
        self._ended: list[_Begun] = []
        self._refs: dict[str, IndexRef] = {}

    def begin(self, path: str, stamp: IndexStamp) -> None:
        """What is added from now on is of this file. One that was not ended gets no set."""
        self._current = None
        if self._section.is_full_of_files:
            self._close_section()
        self._current = _Begun(path, stamp, self._size)
        self._section.enter(self._current.member)

    def add(self, hashes: Hashes) -> None:
        """Take in the hashes of some values of the file that was begun."""
        if not self._section.add(hashes):
            self._close_section()

    def end(self) -> None:
        """All values of the file that was begun were added."""
        assert self._current is not None
        self._ended.append(self._current)
        self._current = None

    def finish(self) -> Indexed:
        """All sets, staged. Nothing can be added after."""
        self._current = None
        if self._ended:
            self._close_section()
        staged, self._staged = self._staged, None
        return Indexed(self._refs, () if staged is None else (staged.close(),))

    def abort(self) -> None:
        """Drop what was not finished."""
        if self._staged is not None:
            self._staged.abort()

    def _close_section(self) -> None:
        content = self._section.encoded()
        if self._staged is None:
            self._staged = self._store.stage(self._key, self._run_id)
        self._staged.write(content)
        self._size += len(content)
        for one in self._ended:
            self._refs[one.path] = IndexRef(self._key, one.offset, self._size - one.offset)
        self._ended.clear()
        self._section = _Gathered()
        if self._current is not None:
            self._section.enter(self._current.member)


@dataclass(frozen=True)
class _Begun:
    """A file, and where the first section begins that holds its set."""

    path: str
    stamp: IndexStamp
    offset: int

    @property
    def member(self) -> Member:
        return _member_of(self.path, self.stamp)


class _Gathered:
    """What a section is going to hold."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._without: list[Member] = []
        self._is_without = False
        self._pending: list[Hashes] = []
        self._count = 0

    @property
    def is_full_of_files(self) -> bool:
        return len(self._members) + len(self._without) == MOST_FILES

    def enter(self, member: Member) -> None:
        """What is added from now on is of this file."""
        self._without.append(member)
        self._is_without = True

    def add(self, hashes: Hashes) -> bool:
        """Whether there is room for more, if need be by dropping what is there twice."""
        if not len(hashes):
            return True
        if self._is_without:
            self._members.append(self._without.pop())
            self._is_without = False
        self._pending.append(tagged(hashes, len(self._members) - 1))
        self._count += len(hashes)
        if self._count < SECTION_VALUES:
            return True
        self._pending = [distinct(self._pending)]
        self._count = len(self._pending[0])
        return 2 * self._count < SECTION_VALUES

    def encoded(self) -> bytes:
        return encode_section(distinct(self._pending), self._members, self._without)


def _member_of(path: str, stamp: IndexStamp) -> Member:
    return Member(xxhash.xxh3_64_intdigest(path.encode("utf-8", "surrogateescape")), stamp.packed())


# --- Read -------------------------------------------------------------------------------------


def may_hold(
    store: ObjectStore, files: Iterable[LakeFile], probes: Probes
) -> Iterator[tuple[LakeFile, bool]]:
    """Each file, and whether it has to be read: False if it holds none of the values for certain.

    In any order. Holds some tens of MiB. Raises what the store does if it cannot be asked; an index
    that is missing or damaged, or that we may not read, is no error.
    """
    return _asked(store, files, probes.stamps, np.unique(probes.hashes))


def untrusted(
    store: ObjectStore, files: Iterable[LakeFile], stamps: Mapping[str | None, IndexStamp]
) -> Iterator[LakeFile]:
    """The files that have no index, or one that is damaged or not made with their type's stamp.

    Reads the indexes wholly. Raises as ``may_hold`` does.
    """
    return (file for file, is_one in _asked(store, files, stamps, None) if is_one)


def _asked(
    store: ObjectStore,
    files: Iterable[LakeFile],
    stamps: Mapping[str | None, IndexStamp],
    hashes: Hashes | None,
) -> Iterator[tuple[LakeFile, bool]]:
    trusted: list[_Sought] = []
    for file in files:
        sought = _sought(file, stamps)
        if sought is None:
            yield file, True
        else:
            trusted.append(sought)
    trusted.sort(key=lambda one: (one.ref.key, one.ref.offset))
    for key, group in groupby(trusted, lambda one: one.ref.key):
        with _Slices(store, key) as slices:
            container = _Container(slices, hashes)
            for one in group:
                yield one.file, container.may_hold(one)


@dataclass(frozen=True)
class _Sought:
    """A file whose set is to be read, and what its stamp has to be."""

    file: LakeFile
    ref: IndexRef
    stamp: IndexStamp


def _sought(file: LakeFile, stamps: Mapping[str | None, IndexStamp]) -> _Sought | None:
    """None if the file has to be read whatever its index says."""
    stamp = stamps.get(file.type)
    if stamp is None or file.logged is None or file.logged.index is None or not file.is_as_logged:
        return None
    return _Sought(file, file.logged.index, stamp)


@dataclass(frozen=True)
class _Answer:
    """What a section says: which files are in it and may hold a value, and where it ends."""

    members: Set[Member]
    holders: Set[Member]
    end: int

    def clears(self, member: Member) -> bool:
        """Whether a file holds none of the values for certain, as far as this section goes."""
        return member in self.members and member not in self.holders


class _Container:
    """Asks the sections of one container for some hashes, each once; with None, looks them over."""

    def __init__(self, slices: _Slices, hashes: Hashes | None) -> None:
        self._slices = slices
        self._hashes = hashes
        self._answers: dict[int, _Answer | None] = {}

    def may_hold(self, one: _Sought) -> bool:
        """Whether a file may hold a value; True too if its set cannot be trusted."""
        member = _member_of(one.file.path, one.stamp)
        place, end = one.ref.offset, one.ref.offset + one.ref.length
        while place < end:
            answer = self._answer(place, end - place)
            if answer is None or not answer.clears(member):
                return True
            place = answer.end
        return place > end

    def _answer(self, place: int, limit: int) -> _Answer | None:
        if place not in self._answers:
            self._answers[place] = self._read(place, limit)
        return self._answers[place]

    def _read(self, place: int, limit: int) -> _Answer | None:
        """None if the section is damaged, or none."""
        section = read_section(lambda at, size: self._slices.read(place + at, size), limit)
        if section is None:
            return None
        buckets = section.buckets(self._hashes)
        content = b"".join(self._contents(section, place, buckets))
        holders = section.holders(self._hashes, buckets, content)
        if holders is None:
            return None
        return _Answer(frozenset(section.members), holders, place + section.length)

    def _contents(self, section: Section, place: int, buckets: Places) -> Iterator[bytes]:
        """The buckets' bytes; those side by side are read at once."""
        for run in np.split(buckets, np.flatnonzero(np.diff(buckets) != 1) + 1):
            if len(run):
                begin, end = section.extent(int(run[0]), int(run[-1]))
                yield self._slices.read(place + begin, end - begin)


class _Slices:
    """Reads pieces of one object, each further on than the one before; none if it is out of reach.

    What lies between is passed over in a file, and read where that is sooner done.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._stream: Any = None
        self._place = 0

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes from there, fewer at the object's end."""
        try:
            self._go_to(offset)
        except (ObjectMissing, AccessDenied):
            return b""
        data: bytes = self._stream.read(length)
        self._place += len(data)
        return data

    def __enter__(self) -> _Slices:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _go_to(self, offset: int) -> None:
        if self._stream is None:
            self._open(offset)
        elif self._stream.seekable():
            self._stream.seek(offset)
        elif 0 <= offset - self._place <= _GAP:
            self._stream.read(offset - self._place)
        else:
            self._close()
            self._open(offset)
        self._place = offset

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self, offset: int) -> None:
        stream = self._store.open(self._key, offset)
        if isinstance(stream, io.BufferedReader) and stream.seekable():
            self._stream = stream.detach()  # the buffer reads 8 KiB for each slice
        else:
            self._stream = stream
