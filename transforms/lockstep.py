"""Reading many documents in lockstep: all of them take the same step at once, in C.

Documents of one producer are alike: the same members in the same order, and only the values
differ. So a document is not parsed but held against what is expected of it, a literal or a value
at a time, and every step is a few numpy operations over all documents. A ``Walk`` has one place
a document. Where a document does not have what is expected, its place does not move (what was
expected may be left out) or becomes nowhere (it may not).

What is proved by a walk that comes to a document's very end: the document is the literals that
were passed, with strings between them that hold neither a quote nor a backslash nor a control
character, and with plain whole numbers. Nothing else can be in it, nothing twice and nothing
unknown. Of a document that did not come to its end nothing is proved; it is to be read otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.framing import ROOM, Lines

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Key = Hashable

LONGEST_LITERAL = ROOM.index(b'"')
"""Bytes of the longest literal that is ever found."""

_QUOTE, _BACKSLASH, _NEWLINE, _SPACE = b'"\\\n '
_NONE = np.zeros(0, np.int64)
_ZERO = ord("0")
_STEP = 1 << 17
_FEW = 128
"""Documents that are decoded at once, to see whether they are UTF-8."""
_DIGITS = 16
"""Bytes looked at for a number, which has fewer digits: so a floating point number holds it."""


@dataclass(frozen=True)
class Literal:
    """Bytes that must stand in a document as they are, or others of equal size and quotes."""

    text: bytes
    other: bytes | None = None

    def after(self, prefix: bytes) -> Literal:
        """The literal with ``prefix`` before it."""
        return Literal(prefix + self.text, None if self.other is None else prefix + self.other)

    @cached_property
    def size(self) -> int:
        return len(self.text)

    @cached_property
    def quotes(self) -> int:
        return self.text.count(b'"')

    @cached_property
    def values(self) -> list[Any]:
        """The bytes as numpy compares them."""
        texts = [self.text] if self.other is None else [self.text, self.other]
        return [np.frombuffer(text, f"V{self.size}")[0] for text in texts]


def is_all(mask: Mask) -> bool:
    """Whether a mask is true everywhere; many times faster than its own method."""
    return bool(np.count_nonzero(mask) == len(mask))


@dataclass(frozen=True)
class Spans:
    """Where values begin and end in a text."""

    begins: Places
    ends: Places

    def __len__(self) -> int:
        return len(self.begins)

    def chosen(self, mask: Mask) -> Spans:
        return self if is_all(mask) else Spans(self.begins[mask], self.ends[mask])


class Text:
    """Documents side by side, where each begins and ends, and where all the quotes are."""

    def __init__(self, documents: Sequence[bytes]) -> None:
        self._data, self.starts, self.ends = _side_by_side(documents)
        self._bytes = np.frombuffer(self._data, np.uint8)
        self.nowhere = len(self._data) - len(ROOM)
        self.quotes = np.flatnonzero(self._bytes == _QUOTE)
        self._buffer = pa.py_buffer(self._data)
        self._windows: dict[int, Any] = {}

    def stands(self, literal: Literal, at: Places) -> Mask:
        """Where ``literal`` stands at the places ``at``."""
        if not 0 < literal.size <= LONGEST_LITERAL:
            return np.full(len(at), literal.size == 0)
        stretches = self._stretches(literal.size, at)
        found: Mask = stretches == literal.values[0]
        for other in literal.values[1:]:
            found |= stretches == other
        return found

    def _stretches(self, size: int, at: Places) -> Any:
        """The ``size`` bytes at each place."""
        if size not in self._windows:
            count = len(self._data) - size + 1
            self._windows[size] = np.ndarray(count, f"V{size}", self._data, strides=(1,))
        return self._windows[size][at]

    def byte(self, at: Places) -> npt.NDArray[np.uint8]:
        """The bytes at these places."""
        return self._bytes[at]

    def document(self, at: Places) -> Places:
        """The documents that places are in."""
        return np.searchsorted(self.ends, at)

    def number_ends(self, at: Places) -> Places:
        """Where the plain whole numbers at these places end; nowhere if there is none."""
        digits = self._stretches(_DIGITS, at).view(np.uint8)
        is_digit = digits.reshape(-1, _DIGITS) - np.uint8(_ZERO) < 10
        size = is_digit.argmin(axis=1)
        sound = is_digit[:, 0] & ~is_digit.all(axis=1)
        sound &= (size == 1) | (digits[::_DIGITS] != _ZERO)
        return np.where(sound, at + size, self.nowhere)

    def is_plain(self) -> Mask:
        """Which documents are UTF-8 without backslashes, control characters or broken bytes."""
        wrong = [self._controls(), self._backslashes(), self._broken()]
        places = np.concatenate(wrong)
        plain = np.ones(len(self.starts), np.bool_)
        plain[self.document(places)] = False
        return plain

    def _controls(self) -> Places:
        if self._control_count() == len(self.ends):
            return _NONE  # only the newlines between documents
        found = np.flatnonzero(self._bytes[: self.nowhere] < _SPACE)
        return np.setdiff1d(found, self.ends, assume_unique=True)

    def _control_count(self) -> int:
        # In steps, because what numpy makes in between then stays in the cache.
        steps = range(0, self.nowhere, _STEP)
        text = self._bytes[: self.nowhere]
        return sum(int(np.count_nonzero(text[at : at + _STEP] < _SPACE)) for at in steps)

    def _backslashes(self) -> Places:
        if b"\\" not in self._data:
            return _NONE
        return np.flatnonzero(self._bytes == _BACKSLASH)

    def _broken(self) -> Places:
        count = len(self.starts)
        parts = (range(first, min(first + _FEW, count)) for first in range(0, count, _FEW))
        broken = [self.starts[number] for part in parts for number in self._broken_among(part)]
        return np.array(broken, np.int64)

    def _broken_among(self, numbers: range) -> list[int]:
        """Which of some consecutive documents are not UTF-8."""
        if _is_utf8(self._data[self.starts[numbers[0]] : self.ends[numbers[-1]]]):
            return []
        bounds = ((number, self.starts[number], self.ends[number]) for number in numbers)
        return [number for number, start, end in bounds if not _is_utf8(self._data[start:end])]

    def cut(self, spans: Spans) -> Any:
        """Values as Arrow strings; the spans must be in order."""
        if not len(spans):
            return pa.array([], pa.string())
        # Values and the gaps between them are a string array over the text, without a copy.
        bounds = np.empty(2 * len(spans), np.int32)
        bounds[0::2], bounds[1::2] = spans.begins, spans.ends
        count = len(bounds) - 1
        stretches = pa.StringArray.from_buffers(count, pa.py_buffer(bounds), self._buffer)
        return stretches.take(pa.array(np.arange(0, len(bounds), 2)))


class Finds:
    """The values in a text that were passed over, by the keys of their templates."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self._found: dict[Key, list[Spans]] = defaultdict(list)

    def add(self, key: Key, spans: Spans) -> None:
        if len(spans):
            self._found[key].append(spans)

    def spans(self, *keys: Key) -> Spans:
        """All that was found under some keys, in the order of the text."""
        found = [spans for key in dict.fromkeys(keys) for spans in self._found.get(key, ())]
        if len(found) == 1:
            return found[0]
        begins = np.concatenate([_NONE, *(spans.begins for spans in found)])
        ends = np.concatenate([_NONE, *(spans.ends for spans in found)])
        order = np.argsort(begins, kind="stable")
        return Spans(begins[order], ends[order])

    def within(self, documents: Mask) -> Finds:
        """What was found in some of the text's documents."""
        if is_all(documents):
            return self
        chosen = Finds(self.text)
        for key, found in self._found.items():
            for spans in found:
                chosen.add(key, spans.chosen(documents[self.text.document(spans.begins)]))
        return chosen


def _side_by_side(documents: Sequence[bytes]) -> tuple[bytes, Places, Places]:
    """The documents with a line feed after each, where they begin and end; and padding."""
    if isinstance(documents, Lines):
        return documents.text, documents.begins, documents.ends
    lengths = np.fromiter(map(len, documents), np.int64, len(documents))
    ends = np.cumsum(lengths + 1) - 1
    return b"\n".join([*documents, ROOM]), ends - lengths, ends


def _is_utf8(document: bytes) -> bool:
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return True


class Hole(Enum):
    """A value that differs from document to document."""

    STRING = auto()
    """The inside of a string: up to the next quote."""
    NUMBER = auto()
    """A plain whole number of at most 15 digits."""


@dataclass(frozen=True)
class Template:
    """Literals, with a hole between each and the next.

    What is in a hole is kept under its key in a walk's ``Finds``, unless that is None. Under
    ``key`` the place is kept where the template begins.
    """

    literals: tuple[Literal, ...]
    holes: tuple[tuple[Hole, Key | None], ...] = ()
    key: Key | None = None

    @property
    def place(self) -> Key | None:
        """The key under which it is told where the template was found."""
        return self.holes[0][1] if self.key is None and self.holes else self.key

    def after(self, prefix: bytes) -> Template:
        """The template with ``prefix`` before it."""
        first, *rest = self.literals
        return replace(self, literals=(first.after(prefix), *rest))

    def then(self, other: Template) -> Template:
        """The template with another, which has no key of its own, after it."""
        *begin, last = self.literals
        joined = other.after(last.text)
        return Template((*begin, *joined.literals), self.holes + joined.holes, self.key)

    @cached_property
    def is_of_strings(self) -> bool:
        return all(hole is Hole.STRING for hole, _ in self.holes)

    @cached_property
    def quotes(self) -> npt.NDArray[np.int64]:
        """How many quotes stand before the end of each hole, and of the template, as a column."""
        return np.cumsum([literal.quotes for literal in self.literals])[:, None]

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The bytes of each literal, as a column."""
        return np.array([[literal.size] for literal in self.literals])


def template(*literals: bytes, key: Key | None = None) -> Template:
    """Literals with strings between them, all of which are kept under the key."""
    holes = ((Hole.STRING, key),) * (len(literals) - 1)
    return Template(tuple(map(Literal, literals)), holes, None if holes else key)


class Walk:
    """A place in each of some documents, and what was found on the way.

    ``at`` is the place in the text, and ``quote`` the number of the first quote from there on.
    """

    def __init__(self, text: Text, at: Places, quote: Places, finds: Finds) -> None:
        self.text = text
        self.at = at
        self.quote = quote
        self.finds = finds

    @classmethod
    def begin(cls, text: Text) -> Walk:
        """At the beginning of all documents that are plain; nowhere in the others."""
        at = np.where(text.is_plain(), text.starts, text.nowhere)
        return cls(text, at, np.searchsorted(text.quotes, at), Finds(text))

    def skipped(self, literal: Literal) -> Walk:
        """A walk past a literal that was seen to stand in all documents."""
        quote = self.quote + literal.quotes
        return Walk(self.text, self.at + literal.size, quote, self.finds)

    def part(self, rows: Places | Mask, finds: Finds | None = None) -> Walk:
        """A walk of its own through some of the documents, perhaps with finds of its own."""
        finds = self.finds if finds is None else finds
        return Walk(self.text, self.at[rows], self.quote[rows], finds)

    def rejoin(self, rows: Places, part: Walk) -> None:
        """Go where a part of the documents has gone."""
        self.at, self.quote = self.at.copy(), self.quote.copy()
        self.at[rows] = part.at
        self.quote[rows] = part.quote

    def stands(self, literal: Literal) -> Mask:
        return self.text.stands(literal, self.at)

    def expect(self, literal: Literal) -> None:
        """Pass over a literal that must be there."""
        found = self.stands(literal)
        self._go(found, self.at + literal.size, self.quote + literal.quotes)
        self.need(found)

    def give_up(self) -> None:
        """Give up all documents."""
        self.at = np.full(len(self.at), self.text.nowhere)

    def need(self, found: Mask) -> None:
        """Give up those documents in which something was not found."""
        if not is_all(found):
            self.at = np.where(found, self.at, self.text.nowhere)

    def fill(self, form: Template, among: Mask) -> Mask:
        """Pass over a template where it stands, among some documents; says in which."""
        at, mask = self.at, among & self.text.stands(form.literals[0], self.at)
        if not np.count_nonzero(mask):
            return mask
        ends = self._ends(form)
        for (hole, _), literal, end in zip(form.holes, form.literals[1:], ends, strict=True):
            if literal.text != b'"' or hole is not Hole.STRING:  # a string ends at a quote
                mask = mask & self.text.stands(literal, end)
        begins = np.array([at, *ends]) + form.sizes
        self._keep(form, begins, ends, mask)
        self._go(mask, begins[-1], self.quote + form.quotes[-1])
        return mask

    def _ends(self, form: Template) -> Any:
        """Where the holes of a template end, if it stands here, one row a hole."""
        if form.is_of_strings:
            return self.text.quotes.take(self.quote + form.quotes[:-1], mode="clip")
        ends, at, quote = [], self.at, self.quote
        for literal, (hole, _) in zip(form.literals, form.holes, strict=False):
            begin, quote = at + literal.size, quote + literal.quotes
            if hole is Hole.STRING:
                at = self.text.quotes.take(quote, mode="clip")
            else:
                at = self.text.number_ends(begin)
            ends.append(at)
        return ends

    def _keep(self, form: Template, begins: Any, ends: Any, mask: Mask) -> None:
        if form.key is not None:
            self.finds.add(form.key, Spans(self.at, self.at).chosen(mask))
        everywhere = is_all(mask)
        for (_, key), begin, end in zip(form.holes, begins, ends, strict=False):
            if key is not None:
                spans = Spans(begin, end)
                self.finds.add(key, spans if everywhere else spans.chosen(mask))

    def expect_form(self, form: Template) -> None:
        """Pass over a template that must be there."""
        self.need(self.fill(form, np.ones(len(self.at), np.bool_)))

    def _go(self, found: Mask, at: Places, quote: Places) -> None:
        if is_all(found):
            self.at, self.quote = at, quote
        else:
            self.at = np.where(found, at, self.at)
            self.quote = np.where(found, quote, self.quote)
