"""Sections: subject hashes of many files as one sorted sequence, in buckets that are read alone.

Who looks for a value has to read one bucket of it, whatever the number of files. Laid out, numbers
are little-endian::

    "LSI2"  values n (4)  files that have any (4)  files f (4)  stamps s (4)
    s stamps (16)                                    what sets are made with: key and columns
    f paths (8), f numbers of a stamp (2)            the files, last of all those without a value
    2^b sizes (4)                                    how many values each bucket has
    checksum (8)                                     XXH3 of all before: of the head
    2^b times: bits, low halves, checksum (4)        XXH3 of a bucket, seeded by head and number

A value is the beginning of a hash and, in its last bits, the number of the file that holds it. Of
its k + 16 bits the first k - 7 name the bucket, the last 16 are kept as they are, and the seven
between in unary (Elias and Fano: bit i + h is set if h begins the i-th value of the bucket). With
k as it is chosen a file is named wrongly once in 33,000 to 65,000 values that it does not have, a
bucket has about 60 to 250 values, and each takes 18 to 20 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

MOST_FILES = 1 << 15
"""Files of one section."""

_MAGIC = b"LSI2"
_BEGIN = struct.Struct("<4sIIII")
_STAMP, _PATH, _STAMP_NUMBER, _SIZE = 16, 8, 2, 4
_CHECKSUM, _BUCKET_CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_LOW_BITS = 16
_BUCKET_BITS = 7
_NUMBER = np.uint64((1 << _LOW_BITS) - 1)


@dataclass(frozen=True)
class Member:
    """A file of a section: the hash of its path, and what its set is made with, 16 bytes."""

    path: int
    stamp: bytes


def tagged(hashes: Hashes, number: int) -> Hashes:
    """Hashes of one file, its number in their last bits, as ``encode_section`` takes them."""
    return hashes & ~_NUMBER | np.uint64(number)


def distinct(hashes: Sequence[Hashes]) -> Hashes:
    """All of them, sorted, each once."""
    everything = np.sort(np.concatenate([*hashes, np.zeros(0, np.uint64)]))
    is_first = np.ones(len(everything), np.bool_)
    np.not_equal(everything[1:], everything[:-1], out=is_first[1:])
    return everything[is_first]


@dataclass(frozen=True)
class _Shape:
    """What follows from how many values there are, and how many files have any."""

    values: int
    files: int

    @property
    def high_bits(self) -> int:
        """The bits of a value before the last 16: more if numbers of files have some to spare."""
        spread = (self.values << self.file_bits) // max(self.files, 1)
        return max(spread.bit_length() - 1, 0)

    @property
    def bucket_bits(self) -> int:
        return max(self.high_bits - _BUCKET_BITS, 0)

    @property
    def unary_bits(self) -> int:
        return self.high_bits - self.bucket_bits

    @property
    def file_bits(self) -> int:
        return max(self.files - 1, 0).bit_length()

    @property
    def hash_bits(self) -> int:
        return self.high_bits + _LOW_BITS - self.file_bits

    def unary_bytes(self, sizes: Places) -> Places:
        """Of buckets with so many values, the bytes before the low halves."""
        return (sizes + (1 << self.unary_bits) + 7) // 8

    def begun(self, hashes: Hashes) -> Hashes:
        """The beginnings of hashes, as far as values have them; they stay in order."""
        return hashes >> np.uint64(64 - self.hash_bits)

    def buckets(self, begun: Hashes) -> Places:
        """Where hashes that begin so are."""
        return (begun >> np.uint64(self.hash_bits - self.bucket_bits)).astype(np.int64)


# --- Written ----------------------------------------------------------------------------------


def encode_section(
    hashes: Hashes, members: Sequence[Member], without: Sequence[Member] = ()
) -> bytes:
    """A section of hashes that are ``tagged`` with places in ``members``, and ``distinct``.

    ``without`` are files that have none.
    """
    shape = _Shape(len(hashes), len(members))
    begun = shape.begun(hashes)
    sizes = _sizes(shape, begun)
    values = begun << np.uint64(shape.file_bits) | hashes & _NUMBER
    head = _encoded_head(shape, [*members, *without], sizes)
    return b"".join((head, *_encoded_buckets(shape, values, sizes, _seed_of(head))))


def _sizes(shape: _Shape, begun: Hashes) -> Places:
    """How many of the values are in each bucket; they are in order."""
    buckets = np.arange(1 << shape.bucket_bits, dtype=np.uint64)
    firsts = buckets << np.uint64(shape.hash_bits - shape.bucket_bits)
    return np.diff(np.searchsorted(begun, firsts), append=len(begun))


def _encoded_head(shape: _Shape, members: Sequence[Member], sizes: Places) -> bytes:
    stamps = {one: number for number, one in enumerate(dict.fromkeys(m.stamp for m in members))}
    content = b"".join(
        (
            _BEGIN.pack(_MAGIC, shape.values, shape.files, len(members), len(stamps)),
            *stamps,
            np.array([one.path for one in members], "<u8").tobytes(),
            np.array([stamps[one.stamp] for one in members], "<u2").tobytes(),
            sizes.astype("<u4").tobytes(),
        )
    )
    return content + _checksum(content)


def _encoded_buckets(shape: _Shape, values: Hashes, sizes: Places, seed: int) -> list[bytes]:
    unary_ends = np.cumsum(shape.unary_bytes(sizes))
    value_ends = np.cumsum(sizes)
    unary = _encoded_unary(shape, values, sizes, unary_ends)
    low = values.astype("<u2").tobytes()
    pieces, bit, value = [], 0, 0
    for bucket, (bit_end, end) in enumerate(
        zip(unary_ends.tolist(), value_ends.tolist(), strict=True)
    ):
        content = unary[bit:bit_end] + low[2 * value : 2 * end]
        pieces += [content, _bucket_checksum(content, seed + bucket)]
        bit, value = bit_end, end
    return pieces


def _encoded_unary(shape: _Shape, values: Hashes, sizes: Places, ends: Places) -> bytes:
    """The bits of all buckets, those of each from the beginning of a byte."""
    high = (values >> np.uint64(_LOW_BITS)).astype(np.int64) & ((1 << shape.unary_bits) - 1)
    bits = np.zeros(8 * int(ends[-1]), np.bool_)
    bits[high + _bit_places(shape, sizes)] = True
    return np.packbits(bits).tobytes()


def _bit_places(shape: _Shape, sizes: Places) -> Places:
    """Of each value of some buckets, the place of the bit that would say that 0 begins it."""
    unary, first = shape.unary_bytes(sizes), np.cumsum(sizes) - sizes
    begin = 8 * (np.cumsum(unary) - unary)
    return np.arange(int(sizes.sum())) + np.repeat(begin - first, sizes)


def _checksum(content: bytes) -> bytes:
    return _CHECKSUM.pack(xxhash.xxh3_64_intdigest(content))


def _seed_of(head: bytes) -> int:
    """By which the buckets' checksums belong to a head."""
    (seed,) = _CHECKSUM.unpack(head[-_CHECKSUM.size :])
    return int(seed) >> 32


def _bucket_checksum(content: bytes, seed: int) -> bytes:
    return _BUCKET_CHECKSUM.pack(xxhash.xxh3_64_intdigest(content, seed) & 0xFFFFFFFF)


# --- Read -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """The head of a section: which files are in it, and where buckets are; of so many bytes."""

    members: Sequence[Member] = field(repr=False)
    size: int
    _shape: _Shape
    _sizes: Places = field(repr=False)
    _seed: int

    @property
    def length(self) -> int:
        """Bytes of the whole section."""
        return int(self._ends[-1])

    def buckets(self, hashes: Hashes | None) -> Places:
        """The buckets that may hold some hashes, in order; with None all."""
        if hashes is None:
            return np.arange(len(self._sizes))
        return np.unique(self._shape.buckets(self._shape.begun(hashes)))

    def extent(self, first: int, last: int) -> tuple[int, int]:
        """Where buckets that follow one another begin and end, from the section's beginning."""
        begin = self._ends[first - 1] if first else self.size
        return int(begin), int(self._ends[last])

    def holders(
        self, hashes: Hashes | None, buckets: Places, content: bytes
    ) -> frozenset[Member] | None:
        """The files that may hold one of the hashes, which are sorted; None if damage is seen.

        ``content`` are the bytes of ``buckets``, in order. With None nothing is looked for.
        """
        lengths = np.diff(self._ends, prepend=self.size)[buckets]
        pieces = [*_cut(content, lengths.tolist())]
        if not all(map(self._is_whole, buckets.tolist(), pieces)):
            return None
        if hashes is None:
            return frozenset()
        values = self._values(buckets, pieces)
        found = _are_among(values >> np.uint64(self._shape.file_bits), self._shape.begun(hashes))
        numbers = values[found] & np.uint64((1 << self._shape.file_bits) - 1)
        return frozenset(self.members[number] for number in np.unique(numbers).tolist())

    @cached_property
    def _ends(self) -> Places:
        lengths = self._shape.unary_bytes(self._sizes) + 2 * self._sizes + _BUCKET_CHECKSUM.size
        ends: Places = self.size + np.cumsum(lengths)
        return ends

    def _is_whole(self, bucket: int, piece: bytes) -> bool:
        size = _BUCKET_CHECKSUM.size
        return piece[-size:] == _bucket_checksum(piece[:-size], self._seed + bucket)

    def _values(self, buckets: Places, pieces: Sequence[bytes]) -> Hashes:
        """The values of buckets that are whole."""
        sizes = self._sizes[buckets]
        unary = self._shape.unary_bytes(sizes).tolist()
        cut = [
            (one[:n], one[n : -_BUCKET_CHECKSUM.size]) for n, one in zip(unary, pieces, strict=True)
        ]
        bits = np.unpackbits(np.frombuffer(b"".join(one for one, _ in cut), np.uint8))
        low = np.frombuffer(b"".join(one for _, one in cut), "<u2")
        high = np.flatnonzero(bits) - _bit_places(self._shape, sizes)
        high += np.repeat(buckets << self._shape.unary_bits, sizes)
        return high.astype(np.uint64) << np.uint64(_LOW_BITS) | low


def _are_among(some: Hashes, wanted: Hashes) -> npt.NDArray[np.bool_]:
    """Which are among others that are sorted."""
    nearest = np.minimum(np.searchsorted(wanted, some), len(wanted) - 1)
    return wanted[nearest] == some


def read_section(read: Callable[[int, int], bytes], limit: int) -> Section | None:
    """The head of a section of at most ``limit`` bytes; None if it is damaged, or none.

    ``read`` gives so many bytes from a place in the section, and fewer if there are fewer.
    """
    begin = read(0, min(_BEGIN.size, limit))
    if len(begin) < _BEGIN.size or not begin.startswith(_MAGIC):
        return None
    _, values, holders, files, stamps = _BEGIN.unpack(begin)
    shape = _Shape(values, holders)
    parts = (stamps * _STAMP, files * _PATH, files * _STAMP_NUMBER, _SIZE << shape.bucket_bits)
    size = _BEGIN.size + sum(parts) + _CHECKSUM.size
    if size > limit:
        return None
    head = begin + read(_BEGIN.size, size - _BEGIN.size)
    if head[-_CHECKSUM.size :] != _checksum(head[: -_CHECKSUM.size]):
        return None
    own, paths, numbers, sizes = _cut(head[_BEGIN.size :], parts)
    members = _members(own, paths, numbers)
    return Section(
        members, size, shape, np.frombuffer(sizes, "<u4").astype(np.int64), _seed_of(head)
    )


def _cut(content: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    """Pieces of these lengths, one after another."""
    begin = 0
    for length in lengths:
        yield content[begin : begin + length]
        begin += length


def _members(stamps: bytes, paths: bytes, numbers: bytes) -> list[Member]:
    own = [stamps[begin : begin + _STAMP] for begin in range(0, len(stamps), _STAMP)]
    return [
        Member(path, own[number])
        for path, number in zip(
            np.frombuffer(paths, "<u8").tolist(),
            np.frombuffer(numbers, "<u2").tolist(),
            strict=True,
        )
    ]
