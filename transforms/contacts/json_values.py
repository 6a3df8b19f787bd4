"""JSON values: where in many documents of JSON, laid end to end, texts and numbers stand.

Nothing is decoded: quotes are where texts begin and end by turns, and a text is a name if a colon
follows. What stands between two texts is marks, blanks, numbers, and words of JSON's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Places = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

MARGIN = 8
"""Blanks before the first document and behind all."""

_BLANKS = b" " * MARGIN
_END = b'""' + _BLANKS
_QUOTE, _COLON = np.uint8(ord('"')), np.uint8(ord(":"))
_SHORTEST_GAP = 3
"""Between two texts, at least, where a number is among it."""

_IS_MARK = np.zeros(256, np.bool_)
_IS_MARK[list(b':,{}[] \t\r\n"')] = True

_decode_texts = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True)
class Spans:
    """Pieces of content in order: where each begins, and where it ends."""

    begins: Places
    ends: Places

    def at(self, places: Any) -> Spans:
        return Spans(self.begins[places], self.ends[places])

    @property
    def lengths(self) -> Places:
        return self.ends - self.begins

    def __len__(self) -> int:
        return len(self.begins)


@dataclass(frozen=True)
class JsonValues:
    """Documents of JSON, with ``MARGIN`` blanks around them and an empty text behind, and the
    places of the quotes that are not within texts."""

    content: bytes
    data: Octets
    quotes: Places

    @staticmethod
    def of(documents: Sequence[Any]) -> JsonValues:
        """Those of documents, each a buffer of sound JSON or empty."""
        content = b"".join((_BLANKS, *documents, _END))
        return JsonValues(
            content, np.frombuffer(content, np.uint8), np.flatnonzero(_unescaped(content) == _QUOTE)
        )

    @property
    def has_escapes(self) -> bool:
        return b"\\" in self.content

    def texts(self) -> Spans:
        """All texts but names, without their quotes."""
        ends = self.quotes[1::2]
        values = np.flatnonzero(self.data[ends + 1] != _COLON)
        return Spans(self.quotes[0::2][values] + 1, ends[values])

    def texts_of_length(self, length: int) -> Spans:
        """All texts of so many bytes, names as well."""
        found = np.flatnonzero(self.quotes[1::2] - self.quotes[0::2] == length + 1) * 2
        return Spans(self.quotes[found] + 1, self.quotes[found + 1])

    def texts_around(self, places: Places) -> tuple[Spans, Places]:
        """The texts in which there are places, names as well, and the last place in each."""
        behind = np.searchsorted(self.quotes, places)
        is_last = np.append(behind[1:] != behind[:-1], True)[: len(behind)]
        chosen = np.flatnonzero(is_last & (behind % 2 == 1))
        found = behind[chosen]
        return Spans(self.quotes[found - 1] + 1, self.quotes[found]), places[chosen]

    def numbers(self) -> Spans:
        """All numbers that stand behind a text, as they do in objects; and the words of JSON's."""
        begins, ends = self.quotes[1:-1:2], self.quotes[2::2]
        gaps = np.flatnonzero(ends - begins > _SHORTEST_GAP)
        return self._numbers_in(begins[gaps] + 1, ends[gaps])

    def _numbers_in(self, begins: Places, ends: Places) -> Spans:
        lengths = ends - begins
        shifts = begins - np.cumsum(lengths) + lengths
        places = np.arange(lengths.sum()) + np.repeat(shifts, lengths)
        is_mark = _IS_MARK[self.data[places]]
        # Gaps begin and end with a mark: a colon or a comma, or a bracket.
        bounds = np.flatnonzero(is_mark[1:] != is_mark[:-1]) + 1
        return Spans(places[bounds[0::2]], places[bounds[1::2]])

    def arrow(self, spans: Spans) -> Any:
        """Spans as an array of Arrow's, as they are written."""
        bounds = np.empty(2 * len(spans), np.int32)
        bounds[0::2], bounds[1::2] = spans.begins, spans.ends
        every = pa.StringArray.from_buffers(
            max(len(bounds) - 1, 0), pa.py_buffer(bounds), pa.py_buffer(self.content)
        )
        return every.take(pa.array(np.arange(0, len(every), 2)))

    def decoded(self, spans: Spans) -> Any:
        """Texts as an array of Arrow's, with their escapes undone."""
        bounds = zip(spans.begins.tolist(), spans.ends.tolist(), strict=True)
        texts = [self.content[begin:end] for begin, end in bounds]
        if not texts:
            return pa.array([], pa.string())
        return pa.array(_decode_texts(b'["' + b'","'.join(texts) + b'"]'), pa.string())


def _unescaped(content: bytes) -> Octets:
    """The content with something else in place of each escaped quote."""
    if b"\\" in content:
        content = content.replace(rb"\\", b"..").replace(rb"\"", b"..")
    return np.frombuffer(content, np.uint8)
