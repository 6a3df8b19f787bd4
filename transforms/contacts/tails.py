"""Tails of contacts: where, in a block of lines, values end that may be suppressed ones.

Nothing is decoded. A value ends where a comma, a bracket or a line's end says so, an email's local
part at its ``@``; of the eight bytes before it a hash is compared. Where these bytes may not be
those of the normalised value - it has escapes, or letters that are folded to others - that alone
makes the value worth a closer look. What is found is too much rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt

from schemas.contacts import ContactFormat, LineFormat
from schemas.dsr import IdentityType
from schemas.erasure import Suppressed
from schemas.identities import KEEPS_CASE
from transforms.scrub import HASH_PREFIX
from transforms.subject_hashes import SubjectHasher
from transforms.suppress import NearSet

Places = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


def _each(octet: int) -> np.uint64:
    """A word of eight such bytes."""
    return np.uint64(octet * 0x0101010101010101)


_TAIL = 8
_BEFORE, _BEHIND = b"\0" * 15 + b"\n", b"\n" + b"\0" * 15
"""The edges of a block: so there are eight bytes before each place, and whole words behind."""

_AT, _PLUS, _COMMA, _QUOTE, _NEWLINE, _RETURN = (np.uint8(ord(c)) for c in '@+,"\n\r')
_BRACKET, _CASE = np.uint8(ord("}")), np.uint8(0x20)
"""``]`` and ``}`` differ as letters of two cases do."""
_ZERO, _DIGITS, _BLANK, _BEYOND_ASCII = np.uint8(ord("0")), np.uint8(10), np.uint8(0x20), 0x80

_BEFORE_TEXT, _BEFORE_NUMBER = b'"', b'":,[ \t'
"""What values of JSON begin behind."""

_ESCAPE, _LONGEST_ESCAPE = _each(ord("\\")), len("\\u0000")

_NEEDLESS = re.compile(rb"\\u00[2-7]")
"""An escape of what needs none, perhaps of an ``@``."""

_STORED = HASH_PREFIX.encode()
_STORED_LENGTH = len(_STORED) + 64
_STORED_WORDS = [np.frombuffer(_STORED[at : at + 4], "<u4")[0] for at in range(4)]
"""Wherever the prefix stands, one of them does at a multiple of four bytes."""

_LOWEST = np.array([0] + [(n & -n).bit_length() - 1 for n in range(1, 256)], np.int64)
"""The place of the lowest bit of each byte."""


_HIGH, _LOW, _ONES = _each(0x80), _each(0x7F), _each(0x01)
_FIRST, _LAST = np.uint64(0x80), np.uint64(0x80 << 56)
"""The highest bits of a word's first byte, and of its last."""

_FROM_GRAPH, _FROM_C4, _FROM_CC = _each(0x80 - 0x21), _each(0x80 - 0x44), _each(0x80 - 0x4C)
"""Added to seven bits of a byte, they give one from ``!``, C4 or CC on its highest bit."""

_C2, _9F = _each(0xC2), _each(0x9F)
"""Of U+0080 to U+00BF, and of ``ß``, of which some are folded to other letters."""

_BLANK_ENDS = [np.uint64(0x85C2), np.uint64(0xA0C2)]
"""U+0085 and U+00A0: white space, and in UTF-8 below CC."""

_1, _3, _7, _8, _16, _32, _48, _56, _63 = map(np.uint64, (1, 3, 7, 8, 16, 32, 48, 56, 63))


@dataclass(frozen=True)
class ContactTails:
    """Finds what may be suppressed in files whose lines are read in one way."""

    hasher: SubjectHasher
    suppressed: tuple[Suppressed, ...]
    lines: LineFormat

    @cached_property
    def tell(self) -> bool:
        """Whether tails of all are known: older lists have none."""
        return all(one.tails for one in self.suppressed)

    def places(self, content: bytes) -> Places:
        """Places in whole lines, one at least in each line that may hold a suppressed value."""
        block = _Block.of(content, self.lines)
        found = [
            *self._emails_in(block),
            *self._others_in(block),
            *self._stored_in(block),
            *block.needless_escapes(),
        ]
        return np.concatenate([np.zeros(0, np.int64), *found]) - len(_BEFORE)

    def _emails_in(self, block: _Block) -> Iterator[Places]:
        if self._emails is None:
            return
        ats = block.where(block.data == _AT)
        yield block.like(ats[block.may_end(ats, self._emails)], block.before, self._emails)
        if self._plus_addressing:
            yield block.tags()

    def _others_in(self, block: _Block) -> Iterator[Places]:
        if self._others is None:
            return
        if self.lines.format is ContactFormat.CSV:
            ends = block.ends_of_cells()
            yield block.like(ends[block.may_end(ends, self._others)], block.before, self._others)
        else:
            yield from block.values_like(self._others)

    def _stored_in(self, block: _Block) -> Iterator[Places]:
        if len(ends := block.stored()):
            sought = (one for one in (self._emails, self._others) if one is not None)
            yield from (block.like(ends, block.before, one) for one in sought)

    @cached_property
    def _plus_addressing(self) -> bool:
        return any(one.plus_addressing for one in self.suppressed)

    @cached_property
    def _emails(self) -> _Sought | None:
        return self._sought(one for one in self.suppressed if one.type is IdentityType.EMAIL)

    @cached_property
    def _others(self) -> _Sought | None:
        return self._sought(one for one in self.suppressed if one.type is not IdentityType.EMAIL)

    def _sought(self, suppressed: Iterable[Suppressed]) -> _Sought | None:
        some = tuple(suppressed)
        return _Sought.of(self.hasher, some) if some else None


@dataclass(frozen=True)
class _Sought:
    """Tails to be found, and by last byte whether it may be that of one.

    ``folds`` says that case makes no difference to some.
    """

    hasher: SubjectHasher
    tails: NearSet
    may_end: Flags
    folds: bool

    @staticmethod
    def of(hasher: SubjectHasher, some: tuple[Suppressed, ...]) -> _Sought:
        tails = NearSet.of({tail for one in some for tail in one.tails})
        ends = list({end for one in some for end in one.ends})
        may_end = np.isin(hasher.ends(np.arange(256, dtype=np.uint64)), ends)
        # Of what normalising takes away or changes, the last byte tells nothing.
        may_end[: int(_BLANK) + 1] = may_end[_BEYOND_ASCII:] = True
        return _Sought(hasher, tails, may_end, any(one.type not in KEEPS_CASE for one in some))

    def among(self, words: Words) -> Places:
        return self.tails.places_in(self.hasher.tails(words))


@dataclass(frozen=True)
class _Block:
    """Whole lines, with an edge around them; ``before`` is what values may begin behind."""

    data: Octets
    words: Words
    content: bytes
    before: bytes
    has_escapes: bool

    @staticmethod
    def of(content: bytes, lines: LineFormat) -> _Block:
        whole = b"".join((_BEFORE, content, _BEHIND))
        is_json = lines.format is not ContactFormat.CSV
        return _Block(
            np.frombuffer(whole, np.uint8),
            np.frombuffer(whole, "<u8", len(whole) // 8),
            whole,
            _BEFORE_TEXT if is_json else lines.delimiter.encode() + b"\n",
            is_json and b"\\" in content,
        )

    def where(self, mask: Flags) -> Places:
        """The places in a mask of the block, in any order."""
        # Eight of them become a byte, since to look for bytes that are set is what takes the time.
        packed = np.packbits(mask, bitorder="little")
        octets = np.flatnonzero(packed != 0)
        bits, found = packed[octets], list[Places]()
        while len(octets):
            found.append((octets << 3) + _LOWEST.take(bits))
            bits &= bits - np.uint8(1)
            left = np.flatnonzero(bits)
            octets, bits = octets[left], bits[left]
        return np.concatenate(found) if found else octets

    def may_end(self, ends: Places, sought: _Sought) -> Places:
        """Which of some values' ends may be those of sought ones."""
        if self.has_escapes:
            return np.arange(len(ends))
        return np.flatnonzero(sought.may_end.take(self.data[ends - 1]))

    def like(self, ends: Places, before: bytes, sought: _Sought) -> Places:
        """Those of the ends where a value ends as a sought one does, or may do when normalised."""
        if not len(ends):
            return ends
        words = self._words_before(ends)
        begins = _any_of(words, before)
        outside = _downwards(begins)
        odd = _odd(words, begins, sought.folds) & ~outside
        if self.has_escapes:
            odd |= self._escaped(words, ends)
        alike = sought.among(words >> _bits(outside))
        return ends[np.concatenate((alike, np.flatnonzero(odd)))]

    def values_like(self, sought: _Sought) -> Iterator[Places]:
        """As ``like``, of all values of JSON."""
        behind = self.where(((self.data | _CASE) == _BRACKET) | (self.data == _COMMA))
        is_text = self.data[behind - 1] == _QUOTE
        ends = behind - is_text
        chosen = self.may_end(ends, sought)
        ends, is_text = ends[chosen], is_text[chosen]
        yield self.like(ends[is_text], self.before, sought)
        rest = ends[~is_text]
        last = self.data[rest - 1]
        yield self.like(rest[last - _ZERO < _DIGITS], _BEFORE_NUMBER, sought)
        yield rest[last <= _BLANK]

    def ends_of_cells(self) -> Places:
        """Where the cells of CSV without quotes end."""
        behind = self.where((self.data == np.uint8(self.before[0])) | (self.data == _NEWLINE))
        return behind - (self.data[behind - 1] == _RETURN)

    def stored(self) -> Places:
        """Where what may be stored in place of a value ends."""
        words = np.frombuffer(self.content, "<u4", len(self.content) // 4)
        is_part = [words == part for part in _STORED_WORDS]
        if not reduce(np.bitwise_or, is_part).any():
            return np.zeros(0, np.int64)
        begins = [4 * np.flatnonzero(part) - at for at, part in enumerate(is_part)]
        ends = np.concatenate(begins) + _STORED_LENGTH
        return ends[ends < len(self.content) - len(_BEHIND)]

    def tags(self) -> Places:
        """Where there is a ``+`` within a value."""
        pluses = self.where(self.data == _PLUS)
        return pluses[~np.isin(self.data[pluses - 1], np.frombuffer(self.before, np.uint8))]

    def needless_escapes(self) -> Iterator[Places]:
        if self.has_escapes:
            yield np.array([m.start() for m in _NEEDLESS.finditer(self.content)], np.int64)

    def _words_before(self, ends: Places) -> Words:
        """The eight bytes before each place."""
        # Out of two whole words: to take them as they lie is slower in numpy.
        begins = ends - _TAIL
        places, shifts = begins >> 3, (begins & 7).astype(np.uint64) << _3
        found = self.words[places] >> shifts
        return found | (self.words[places + 1] << (_63 - shifts) << _1)

    def _escaped(self, words: Words, ends: Places) -> Flags:
        """Whether there is an escape in these bytes, or the end of one."""
        before = self._words_before(ends - _LONGEST_ESCAPE + 1)
        return (_is(words, _ESCAPE) | _is(before, _ESCAPE)) != 0


def _is(words: Words, octets: np.uint64) -> Words:
    """The highest bits of the bytes that are those of a word of equal ones."""
    other = words ^ octets
    found = other & _LOW
    found += _LOW
    found |= other
    return np.bitwise_and(~found, _HIGH, out=found)


def _any_of(words: Words, octets: bytes) -> Words:
    return reduce(np.bitwise_or, [_is(words, _each(octet)) for octet in octets])


def _downwards(bits: Words) -> Words:
    """The highest bits of all bytes up to the last one of which it is set."""
    found = bits >> _8
    found |= bits
    found |= found >> _16
    found |= found >> _32
    return found


def _bits(highest: Words) -> Words:
    """How many bits the bytes have of which the highest is set."""
    found = highest >> _7
    found *= _ONES
    found >>= _56
    found <<= _3
    return found


def _odd(words: Words, begins: Words, folds: bool) -> Words:
    """The highest bits of bytes that may not be those of the normalised value.

    Those are white space at its edges, and what is composed, folded, or cut off before the first.
    """
    first = (begins << _8) | _FIRST
    found = words & _LOW
    found += _FROM_GRAPH
    found |= words
    np.invert(found, out=found)
    found &= first | _LAST
    beyond = np.flatnonzero(words & _HIGH)
    if len(beyond):
        found[beyond] |= _odd_beyond_ascii(words[beyond], first[beyond], folds)
    return found


def _odd_beyond_ascii(words: Words, first: Words, folds: bool) -> Words:
    found = (words & _LOW) + (_FROM_C4 if folds else _FROM_CC) & words
    found |= words & ~(words << _1) & _FIRST
    upper = _is(words, _C2)
    if folds:
        return (found | upper | _is(words, _9F)) & _HIGH
    last = words >> _48
    ends_blank = (last == _BLANK_ENDS[0]) | (last == _BLANK_ENDS[1])
    return (found | (upper & first) | (ends_blank * _LAST)) & _HIGH
