"""Tails of contacts: where, in a block of lines, values end that may be suppressed ones.

Of the eight bytes that a value ends with, an email's local part, a hash is compared. Where these
bytes may not be those of the normalised value - it has escapes, or letters that are folded to
others - the value is read. What is found is too much rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from schemas.contacts import ContactFormat, LineFormat
from schemas.dsr import IdentityType
from schemas.erasure import Suppressed
from schemas.identities import KEEPS_CASE
from transforms.contacts.block import BEFORE, BEFORE_NUMBER, NOWHERE, Block, Places
from transforms.contacts.words import (
    HIGH,
    SIZE,
    Flags,
    Words,
    among,
    bits_of,
    blank_at_edges,
    each,
    equal,
    may_become_ascii,
    may_change,
    up_to_last,
)
from transforms.subject_hashes import SubjectHasher
from transforms.suppress import NearSet, SubjectSieve

_BLANK, _BEYOND_ASCII = 0x20, 0x80

_ESCAPE, _LONGEST_ESCAPE = each(ord("\\")), len("\\u0000")

_LONGEST_CHARACTER = 4
"""Bytes in UTF-8."""

_UNLIKE_ASCII = re.compile(
    rb"(?:[^\\]|\\u(?!00[0-9abAB]|00[dD][fF]|0149|017[fF]|03|[123fF])[0-9a-fA-F]{4})*"
)
"""Text whose escapes are of characters of which normalising leaves no ASCII at the end."""

Looked = tuple[Places, Places]
"""Where values end like sought ones, and in or behind which ones the end does not tell."""


@dataclass(frozen=True)
class ContactTails:
    """Finds what may be suppressed in files whose lines are read in one way."""

    subjects: SubjectSieve
    lines: LineFormat

    @cached_property
    def tell(self) -> bool:
        """Whether tails of all are known: older lists have none."""
        return all(one.tails for one in self.subjects.suppressed)

    def places(self, content: bytes | memoryview) -> Places:
        """Places in whole lines, one at least in each line that may hold a suppressed value."""
        block = Block.of(content, self.lines)
        looked = [*self._emails_in(block), *self._others_in(block), *self._stored_in(block)]
        alike = [ends for ends, _ in looked]
        unclear = np.concatenate([places for _, places in looked] + [block.needless_escapes()])
        return np.concatenate([*alike, self._near_among(block, unclear)]) - len(BEFORE)

    def _emails_in(self, block: Block) -> Iterator[Looked]:
        if self._emails is None:
            return
        ats = block.ats()
        yield self._emails.look_at(block, ats)
        if self._plus_addressing:
            yield NOWHERE, block.tags()

    def _others_in(self, block: Block) -> Iterator[Looked]:
        if self._others is None:
            return
        if self.lines.format is ContactFormat.CSV:
            yield self._others.look_at(block, block.ends_of_cells())
        else:
            yield from self._others.look_at_values(block)

    def _stored_in(self, block: Block) -> Iterator[Looked]:
        if len(ends := block.stored()):
            sought = (one for one in (self._emails, self._others) if one is not None)
            yield from (one.look(block, ends, block.before) for one in sought)

    def _near_among(self, block: Block, places: Places) -> Places:
        """The places in texts that are near suppressed values, or cannot be read."""
        if not len(places):
            return NOWHERE
        read, texts, unread = list[int](), list[str](), list[int]()
        end = 0
        for place in np.unique(places).tolist():
            if place < end:
                continue  # within the text that was read last
            if (found := block.text_at(place)) is None:
                unread.append(place)
            else:
                text, end = found
                texts.append(text)
                read.append(place)
        values = pa.array(texts, pa.string())
        near = [self.subjects.places_near(values, kind) for kind in self.subjects.kinds]
        return np.concatenate([np.array(unread, np.int64), *(np.array(read)[n] for n in near)])

    @cached_property
    def _plus_addressing(self) -> bool:
        return any(one.plus_addressing for one in self.subjects.suppressed)

    @cached_property
    def _emails(self) -> _Sought | None:
        return self._sought(lambda kind: kind is IdentityType.EMAIL)

    @cached_property
    def _others(self) -> _Sought | None:
        return self._sought(lambda kind: kind is not IdentityType.EMAIL)

    def _sought(self, is_one: Callable[[IdentityType], bool]) -> _Sought | None:
        some = tuple(one for one in self.subjects.suppressed if is_one(one.type))
        return _Sought.of(self.subjects.hasher, some) if some else None


@dataclass(frozen=True)
class _Sought:
    """Tails to be found, and by last byte whether it may be that of one.

    ``folds`` says that case makes no difference to some, ``ascii`` that all are of ASCII.
    """

    hasher: SubjectHasher
    tails: NearSet
    last: Flags
    folds: bool
    ascii: bool

    @staticmethod
    def of(hasher: SubjectHasher, some: tuple[Suppressed, ...]) -> _Sought:
        tails = NearSet.of({tail for one in some for tail in one.tails})
        ends = list({end for one in some for end in one.ends})
        last = np.isin(hasher.ends(np.arange(256, dtype=np.uint64)), ends)
        # Of what normalising takes away or changes, the last byte tells nothing.
        last[: _BLANK + 1] = last[_BEYOND_ASCII:] = True
        folds = any(one.type not in KEEPS_CASE for one in some)
        return _Sought(hasher, tails, last, folds, not any(one.beyond_ascii for one in some))

    def look_at(self, block: Block, ends: Places) -> Looked:
        """As ``look``, of all texts."""
        return self.look(block, ends[self._may_be_at(block, ends)], block.before)

    def _may_be_at(self, block: Block, ends: Places) -> Places:
        """Which of some values' ends may be those of sought ones."""
        if block.has_escapes:
            return np.arange(len(ends))
        return np.flatnonzero(self.last.take(block.data[ends - 1]))

    def look_at_values(self, block: Block) -> Iterator[Looked]:
        """Look at all values of JSON."""
        ends, is_text = block.ends_of_values()
        chosen = self._may_be_at(block, ends)
        ends, is_text = ends[chosen], is_text[chosen]
        yield self.look(block, ends[is_text], block.before)
        numbers, untold = block.numbers_among(ends[~is_text])
        alike, _ = self.look(block, numbers, BEFORE_NUMBER)
        # There is no text to be read where nobody can tell: the line is.
        yield np.concatenate((alike, untold)), NOWHERE

    def look(self, block: Block, ends: Places, before: bytes) -> Looked:
        """Look at the values that end there and begin behind one of these bytes."""
        if not len(ends):
            return NOWHERE, NOWHERE
        words = block.words_before(ends)
        begins = among(words, before)
        outside = up_to_last(begins)
        odd = blank_at_edges(words, begins)
        beyond = np.flatnonzero(words & HIGH)
        if len(beyond):
            odd[beyond] |= self._odd(block, words[beyond], begins[beyond], ends[beyond])
        unclear = ends[np.flatnonzero(odd & ~outside)]
        if block.has_escapes:
            unclear = np.concatenate((unclear, self._escaped(block, words, ends)))
        alike = self.tails.places_in(self.hasher.tails(words >> bits_of(outside)))
        return ends[alike], unclear

    def _odd(self, block: Block, words: Words, begins: Words, ends: Places) -> Words:
        """Which bytes of some that are not all ASCII may differ in the normalised value."""
        if not self.ascii:
            return may_change(words, begins, self.folds)
        # What begins before these bytes may end within them.
        before = block.words_before(ends - _LONGEST_CHARACTER + 1)
        here, there = np.split(may_become_ascii(np.concatenate((words, before)), self.folds), 2)
        return HIGH * (here | there)

    def _escaped(self, block: Block, words: Words, ends: Places) -> Places:
        """Where in these bytes there is an escape or the end of one, and it makes a difference."""
        before = block.words_before(ends - _LONGEST_ESCAPE + 1)
        found = ends[np.flatnonzero(equal(words, _ESCAPE) | equal(before, _ESCAPE))]
        if not self.ascii:
            return found
        size = SIZE + _LONGEST_ESCAPE - 1
        spans = (block.content[end - size : end] for end in found.tolist())
        unlike = [_UNLIKE_ASCII.fullmatch(span) is not None for span in spans]
        return found[~np.array(unlike, np.bool_)]
