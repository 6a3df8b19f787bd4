"""The subject index: of each file a set of hashes of the subjects in it, to tell where one is not.

A set takes about two bytes a value. It may hold more than the file does, never less: so it stays
good when an erasure takes rows out. Of a value that is in no row it says "perhaps" once in 30,000
times. The sets of several files lie one after another in one object, a *container*::

    _lethe/index/<run>/<name>.idx     [set of file a][set of file b]...     IndexRef: key, offset,
                                                                            length of one of them
A set::

    "LSI1"  key (8)  columns (8)  path (8)  number of parts (4)     what it is of, and made with
    for each part: values n (4), then n + 2^k bits, then n * 2      k is the bit length of n, less 1
    checksum (8)                                                    XXH3 of all before

Numbers are little-endian. The values of a part are the first k + 16 bits of the hashes, sorted:
their first k bits are kept in unary (Elias and Fano: bit i + h is set if h begins the i-th value),
the other 16 as they are.

What is damaged, or made with another key, of other columns, or of another file, is not trusted: the
file has to be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import xxhash

from schemas.erasure import IndexRef
from schemas.errors import ObjectMissing
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore, StagedObject, StagedWriter

INDEXES = "_lethe/index/"

CONTAINER_BYTES = 8 * 1024 * 1024
"""About how large a container gets; a larger set has one for itself."""

PART_VALUES = 1 << 20
"""Hashes that are held at once; of a file with more the set has several parts."""

Hashes = npt.NDArray[np.uint64]

_MAGIC = b"LSI1"
_HEAD = struct.Struct("<4s8s8sQI")
_COUNT, _CHECKSUM = struct.Struct("<I"), struct.Struct("<Q")
_LOW_BITS = 16
_READ_AT_ONCE = 8 * 1024 * 1024
_GAP = 64 * 1024
"""Bytes between two sets that are sooner read than a new reading is begun."""


@dataclass(frozen=True)
class IndexStamp:
    """What sets are made with, 16 hexadecimal digits each: the key, and which columns were hashed.

    A set says nothing about columns that it was not made of, or that were hashed in another way.
    """

    key: str
    columns: str

    def packed(self) -> tuple[bytes, bytes]:
        return bytes.fromhex(self.key), bytes.fromhex(self.columns)


@dataclass(frozen=True)
class Probes:
    """Hashes to look for, and by a file's type the stamp that its set must have.

    Of a type that has none, and of one that has another, every file may hold them.
    """

    hashes: Hashes
    stamps: Mapping[str | None, IndexStamp]


class IndexBuilder:
    """Makes the set of one file, in bounded memory."""

    def __init__(self, path: str, stamp: IndexStamp) -> None:
        self._path = path
        self._stamp = stamp
        self._pending: list[Hashes] = []
        self._count = 0
        self._parts: list[bytes] = []

    def add(self, hashes: Hashes) -> None:
        """Take the hashes of some values in."""
        self._pending.append(hashes)
        self._count += len(hashes)
        if self._count >= PART_VALUES:
            self._settle()

    def finish(self) -> bytes:
        """The set. Nothing can be added after."""
        if self._count:
            self._parts.append(_encoded(self._distinct()))
        key, columns = self._stamp.packed()
        head = _HEAD.pack(_MAGIC, key, columns, _hash_of(self._path), len(self._parts))
        content = b"".join((head, *self._parts))
        return content + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(content))

    def _settle(self) -> None:
        """Drop what is there twice; close a part if that does not make room."""
        hashes = self._distinct()
        if 2 * len(hashes) >= PART_VALUES:
            self._parts.append(_encoded(hashes))
            hashes = hashes[:0]
        self._pending, self._count = [hashes], len(hashes)

    def _distinct(self) -> Hashes:
        hashes = np.sort(np.concatenate(self._pending))
        return hashes[np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]))]


class IndexWriter:
    """Stages the sets of a run's files, several in a container."""

    def __init__(self, store: ObjectStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._open: tuple[str, StagedWriter] | None = None
        self._size = 0
        self._closed: list[StagedObject] = []

    def add(self, content: bytes) -> IndexRef:
        """Take a set in, and say where it will lie once its container is published."""
        if self._size and self._size + len(content) > CONTAINER_BYTES:
            self._close()
        key, staged = self._opened()
        staged.write(content)
        ref = IndexRef(key, self._size, len(content))
        self._size += len(content)
        return ref

    def finish(self) -> tuple[StagedObject, ...]:
        """The containers, staged. Nothing can be added after."""
        self._close()
        return tuple(self._closed)

    def abort(self) -> None:
        """Drop what is not closed yet; what is, is cleared with the run."""
        if self._open is not None:
            self._open[1].abort()
            self._open = None

    def _opened(self) -> tuple[str, StagedWriter]:
        if self._open is None:
            # A new name for each attempt: no other content ever comes to lie under it.
            key = f"{INDEXES}{self._run_id}/{uuid4().hex}.idx"
            self._open = key, self._store.stage(key, self._run_id)
        return self._open

    def _close(self) -> None:
        if self._open is not None:
            self._closed.append(self._open[1].close())
            self._open, self._size = None, 0


def may_hold(
    store: ObjectStore, files: Iterable[LakeFile], probes: Probes
) -> Iterator[tuple[LakeFile, bool]]:
    """Each file, and whether it has to be read: False if it holds none of the values for certain.

    In any order. Holds a few MiB. Raises what the store does if it cannot be asked; an index that
    is missing or damaged is no error.
    """
    trusted: list[_Sought] = []
    for file in files:
        sought = _sought(file, probes)
        if sought is None:
            yield file, True
        else:
            trusted.append(sought)
    trusted.sort(key=lambda one: (one.ref.key, one.ref.offset))
    for key, group in groupby(trusted, lambda one: one.ref.key):
        for together in _read_together(list(group)):
            yield from _answers(store, key, together, probes)


@dataclass(frozen=True)
class _Sought:
    """A file whose set is to be read, and what its stamp has to be."""

    file: LakeFile
    ref: IndexRef
    stamp: IndexStamp

    @property
    def end(self) -> int:
        return self.ref.offset + self.ref.length


def _sought(file: LakeFile, probes: Probes) -> _Sought | None:
    """None if the file has to be read whatever its index says."""
    stamp = probes.stamps.get(file.type)
    if stamp is None or file.logged is None or file.logged.index is None or not file.is_as_logged:
        return None
    return _Sought(file, file.logged.index, stamp)


def _read_together(sought: Sequence[_Sought]) -> Iterator[list[_Sought]]:
    """Sets of one container that lie so close together that they are read at once."""
    group: list[_Sought] = []
    for one in sought:
        if group and (
            one.ref.offset - group[-1].end > _GAP or one.end - group[0].ref.offset > _READ_AT_ONCE
        ):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _answers(
    store: ObjectStore, key: str, group: Sequence[_Sought], probes: Probes
) -> Iterator[tuple[LakeFile, bool]]:
    begin = group[0].ref.offset
    content = memoryview(_read(store, key, begin, max(one.end for one in group) - begin))
    for one in group:
        own = content[one.ref.offset - begin : one.end - begin]
        yield one.file, holds_any(own, one.file.path, one.stamp, probes.hashes)


def _read(store: ObjectStore, key: str, offset: int, length: int) -> bytes:
    try:
        with store.open(key, offset) as stream:
            return stream.read(length)
    except ObjectMissing:
        return b""


def holds_any(content: bytes | memoryview, path: str, stamp: IndexStamp, hashes: Hashes) -> bool:
    """Whether a file may hold one of the values, by its set; True too if that cannot be trusted."""
    parts = _decoded(content, path, stamp)
    return parts is None or any(_meets(part, hashes) for part in parts)


def _meets(part: _Part, hashes: Hashes) -> bool:
    if not len(hashes):
        return False
    wanted = hashes >> np.uint64(64 - part.bits)
    places = np.searchsorted(part.values, wanted)
    found = part.values[np.minimum(places, len(part.values) - 1)]
    return bool((found == wanted).any())


@dataclass(frozen=True)
class _Part:
    """The sorted values of a part, each the first ``bits`` bits of a hash."""

    bits: int
    values: Hashes = field(repr=False)


def _hash_of(path: str) -> int:
    return xxhash.xxh3_64_intdigest(path.encode("utf-8", "surrogateescape"))


def _encoded(hashes: Hashes) -> bytes:
    """A part; at least one hash, sorted."""
    count = len(hashes)
    high_bits = count.bit_length() - 1
    values = hashes >> np.uint64(64 - high_bits - _LOW_BITS)
    bits = np.zeros(count + (1 << high_bits), np.bool_)
    bits[(values >> np.uint64(_LOW_BITS)).astype(np.int64) + np.arange(count)] = True
    low = values.astype("<u2")
    return b"".join((_COUNT.pack(count), np.packbits(bits).tobytes(), low.tobytes()))


def _decoded(content: bytes | memoryview, path: str, stamp: IndexStamp) -> list[_Part] | None:
    """The parts of a set; None if it is damaged, or not what it should be."""
    body = content[: -_CHECKSUM.size]
    if len(body) < _HEAD.size or content[-_CHECKSUM.size :] != _CHECKSUM.pack(
        xxhash.xxh3_64_intdigest(body)
    ):
        return None
    *found, count = _HEAD.unpack_from(body)
    if tuple(found) != (_MAGIC, *stamp.packed(), _hash_of(path)):
        return None
    parts, place = [], _HEAD.size
    for _ in range(count):
        part, place = _decoded_part(body, place)
        parts.append(part)
    return parts


def _decoded_part(body: bytes | memoryview, place: int) -> tuple[_Part, int]:
    """The part that begins at ``place``, and where it ends. The checksum has to be right."""
    (count,) = _COUNT.unpack_from(body, place)
    high_bits = count.bit_length() - 1
    length = count + (1 << high_bits)
    begin = place + _COUNT.size
    end = begin + (length + 7) // 8
    bits = np.unpackbits(np.frombuffer(body[begin:end], np.uint8), count=length)
    high = np.flatnonzero(bits) - np.arange(count)
    low = np.frombuffer(body[end : end + 2 * count], "<u2")
    values = (high.astype(np.uint64) << np.uint64(_LOW_BITS)) | low
    return _Part(high_bits + _LOW_BITS, values), end + 2 * count
