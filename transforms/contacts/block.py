"""Blocks: whole lines of contacts as bytes, and where values end in them. Nothing is decoded.

Of JSON, texts end at quotes with a comma or a bracket behind, and numbers at these; of CSV without
quotes, cells end at delimiters and line ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.contacts import ContactFormat, LineFormat
from schemas.identities import LONGEST
from transforms.contacts.words import SIZE, Flags, Words
from transforms.scrub import HASH_PREFIX

Places = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

NOWHERE: Places = np.zeros(0, np.int64)

BEFORE_TEXT, BEFORE_NUMBER = b'"', b":,[ \t\r"
"""What values of JSON begin behind."""

BEFORE = b"\0" * 15 + b"\n"
_BEHIND = b"\n" + b"\0" * 15
"""The edges of a block: so there are some bytes before each place, and whole words behind."""

_AT, _PLUS, _COMMA, _QUOTE, _NEWLINE, _RETURN = (np.uint8(ord(c)) for c in '@+,"\n\r')
_BRACKET, _CASE = np.uint8(ord("}")), np.uint8(0x20)
"""``]`` and ``}`` differ as letters of two cases do."""
_ZERO, _MINUS, _DIGITS, _BLANK = (
    np.uint8(ord("0")),
    np.uint8(ord("-")),
    np.uint8(10),
    np.uint8(0x20),
)

_NEEDLESS = re.compile(rb"\\u00[2-7]")
"""An escape of what needs none, perhaps of an ``@``."""

_STORED = HASH_PREFIX.encode()
_STORED_LENGTH = len(_STORED) + 64
_STORED_WORDS = [np.frombuffer(_STORED[at : at + 4], "<u4")[0] for at in range(4)]
"""Wherever the prefix stands, one of them does at a multiple of four bytes."""

_AT_ONCE = 1 << 17
"""Bytes of which flags are made at once."""

_LOWEST = np.array([0] + [(n & -n).bit_length() - 1 for n in range(1, 256)], np.int64)
"""The place of the lowest bit of each byte."""

_LONGEST = 8 * LONGEST
"""Bytes before or behind a place beyond which a text is not read: its line is."""

_MOST_QUOTES, _MOST_BACKSLASHES, _MOST_BLANKS = 8, 64, 8
"""Within a text that is read, and white space behind a value."""

_1, _3, _63 = map(np.uint64, (1, 3, 63))

_decode_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True)
class Block:
    """Whole lines, with an edge around them; ``before`` is what values may begin behind."""

    data: Octets
    words: Words
    content: bytes
    before: bytes
    is_json: bool
    has_escapes: bool

    @staticmethod
    def of(content: bytes | memoryview, lines: LineFormat) -> Block:
        """A place in the content is ``len(BEFORE)`` less than the same one in the block."""
        whole = b"".join((BEFORE, content, _BEHIND))
        is_json = lines.format is not ContactFormat.CSV
        return Block(
            np.frombuffer(whole, np.uint8),
            np.frombuffer(whole, "<u8", len(whole) // SIZE),
            whole,
            BEFORE_TEXT if is_json else lines.delimiter.encode() + b"\n",
            is_json,
            is_json and b"\\" in whole,
        )

    def ats(self) -> Places:
        """Where an ``@`` is."""
        return self._where(lambda data: data == _AT)

    def tags(self) -> Places:
        """Where there is a ``+`` within a value."""
        pluses = self._where(lambda data: data == _PLUS)
        return pluses[~np.isin(self.data[pluses - 1], np.frombuffer(self.before, np.uint8))]

    def stored(self) -> Places:
        """Where what may be stored in place of a value ends."""
        words = np.frombuffer(self.content, "<u4", len(self.content) // 4)
        if not any((words == part).any() for part in _STORED_WORDS):
            return NOWHERE
        begins = [4 * np.flatnonzero(words == part) - n for n, part in enumerate(_STORED_WORDS)]
        ends = np.concatenate(begins) + _STORED_LENGTH
        return ends[ends < len(self.content) - len(_BEHIND)]

    def needless_escapes(self) -> Places:
        """Where escapes are of what needs none."""
        if not self.has_escapes:
            return NOWHERE
        return np.array([found.start() for found in _NEEDLESS.finditer(self.content)], np.int64)

    def ends_of_cells(self) -> Places:
        """Where the cells of CSV end."""
        delimiter = np.uint8(self.before[0])
        behind = self._where(lambda data: (data == delimiter) | (data == _NEWLINE))
        return behind - (self.data[behind - 1] == _RETURN)

    def ends_of_values(self) -> tuple[Places, Flags]:
        """Where values of JSON end, and which of them are texts."""
        behind = self._where(lambda data: (data == _COMMA) | ((data | _CASE) == _BRACKET))
        behind = self._without_blanks(behind)
        is_text = self.data[behind - 1] == _QUOTE
        return behind - is_text, is_text

    def numbers_among(self, ends: Places) -> tuple[Places, Places]:
        """Where numbers end among ends that are not those of texts, and where nobody can tell."""
        last = self.data[ends - 1]
        is_minus_zero = (last == _ZERO) & (self.data[ends - 2] == _MINUS)
        return ends[last - _ZERO < _DIGITS], ends[(last <= _BLANK) | is_minus_zero]

    def words_before(self, ends: Places) -> Words:
        """The eight bytes before each place."""
        # Out of two whole words: to take them as they lie is slower in numpy.
        begins = ends - SIZE
        places, shifts = begins >> 3, (begins & 7).astype(np.uint64) << _3
        found = self.words[places] >> shifts
        return found | (self.words[places + 1] << (_63 - shifts) << _1)

    def text_at(self, place: int) -> tuple[str, int] | None:
        """The text that this place is in or behind, and where it ends.

        None if it is long, or none that is sound.
        """
        span = self._quoted_at(place) if self.is_json else self._cell_at(place)
        if span is None:
            return None
        written = self.content[slice(*span)]
        try:
            return _decode_text(written) if self.is_json else written.decode(), span[1]
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None

    def _where(self, is_one: Callable[[Octets], Flags]) -> Places:
        """The places of some bytes, in any order."""
        # Eight flags become a byte, since to look for those that are set is what takes the time;
        # and as many are made at once as stay in the processor's caches.
        parts = (self.data[at : at + _AT_ONCE] for at in range(0, len(self.data), _AT_ONCE))
        packed = np.concatenate([np.packbits(is_one(part), bitorder="little") for part in parts])
        octets = np.flatnonzero(packed != 0)
        bits, found = packed.take(octets), list[Places]()
        while len(octets):
            found.append((octets << 3) + _LOWEST.take(bits))
            bits &= bits - np.uint8(1)
            left = np.flatnonzero(bits)
            octets, bits = octets[left], bits[left]
        return np.concatenate(found) if found else octets

    def _without_blanks(self, ends: Places) -> Places:
        """The ends, before white space if there is some, but not more of it than usual."""
        for _ in range(_MOST_BLANKS):
            blank = self.data[ends - 1] <= _BLANK
            if not blank.any():
                break
            ends = ends - blank
        return ends

    def _cell_at(self, place: int) -> tuple[int, int] | None:
        content, delimiter = self.content, self.before[:1]
        first, last = max(0, place - _LONGEST), place + _LONGEST
        begin = max(content.rfind(end, first, place) for end in (b"\n", delimiter))
        ends = [content.find(end, place, last) for end in (b"\n", delimiter)]
        found = [end for end in ends if end >= 0]
        return (begin + 1, min(found)) if begin >= 0 and found else None

    def _quoted_at(self, place: int) -> tuple[int, int] | None:
        """The text with its quotes."""
        begin, end = _quote_before(self.content, place), _quote_behind(self.content, place - 1)
        return None if begin is None or end is None else (begin, end + 1)


def _quote_before(content: bytes, place: int) -> int | None:
    """The quote at which a text begins; None if that is far, or behind many others."""
    for _ in range(_MOST_QUOTES):
        place = content.rfind(b'"', max(0, place - _LONGEST), place)
        if place < 0:
            return None
        if not _is_escaped(content, place):
            return place
    return None


def _quote_behind(content: bytes, place: int) -> int | None:
    """The quote at which a text ends; None if that is far, or behind many others."""
    for _ in range(_MOST_QUOTES):
        place = content.find(b'"', place + 1, place + _LONGEST)
        if place < 0:
            return None
        if not _is_escaped(content, place):
            return place
    return None


def _is_escaped(content: bytes, place: int) -> bool:
    """Whether there is an odd number of backslashes before it, or a great many."""
    run = content[max(0, place - _MOST_BACKSLASHES) : place]
    count = len(run) - len(run.rstrip(b"\\"))
    return count % 2 == 1 or count == _MOST_BACKSLASHES
