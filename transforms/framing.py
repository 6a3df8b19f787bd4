"""Framing: where one document ends and the next begins.

Two framings: lines (NDJSON), and a stream of JSON texts that follow each other with or without
white space, as Firehose writes them or a pretty-printer does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from schemas.changes import BrokenBytes, ErrorCode, Fault

LARGEST = 10 * 1024 * 1024
"""Bytes of the largest document accepted; Kinesis itself takes records of at most 10 MiB."""

_LONGEST_GAP = 1024
"""White space looked for between two texts, where the first of them is too large to hold."""

SAMPLE = 16 * 1024
"""Bytes that are kept of something too large to keep."""

_NEWLINE = ord("\n")
# A string that does not end here reaches to the end: its braces are no braces.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_BOUNDARY = re.compile(rb"\}\s*(?=\{)")


ROOM = bytes(1024) + b'"' + bytes(3 * 1024)
"""Stands after the last line of ``Lines``: nowhere. No literal is found there; the quote ends what
a last value would be, and after it there is room for looking at what cannot be."""


class Lines(Sequence[bytes]):
    """Lines of a text, which are not cut out of it before somebody asks for them.

    A line lies between its begin and its end, where its line feed is. ``text`` has ``ROOM`` after
    the last of them.
    """

    def __init__(
        self, text: bytes, begins: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
    ) -> None:
        self.text = text
        self.begins = begins
        self.ends = ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self.text[self.begins[place] : self.ends[place]]


@dataclass(frozen=True)
class Frames:
    """Consecutive documents and the stretch of bytes they account for."""

    documents: Sequence[bytes]
    starts: npt.NDArray[np.int64]
    start: int
    data: bytes | memoryview
    broken: tuple[BrokenBytes, ...] = ()
    unterminated: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.data)


def frame_lines(
    pieces: Iterable[bytes], start: int, end: int | None, size: int
) -> Iterator[Frames]:
    """Lines that start before ``end``, about ``size`` bytes at a time.

    The first piece begins at offset ``start``, which is a line's beginning. A line above
    ``LARGEST`` is passed over without being held, and reported as broken.
    """
    if end is not None and start >= end:
        return
    framer = _LineFramer(start, end, size)
    for piece in pieces:
        yield from framer.feed(piece)
        if framer.done:
            return
    yield from framer.finish()


def frame_stream(pieces: Iterable[bytes], start: int, size: int) -> Iterator[Frames]:
    """JSON texts that follow each other, about ``size`` bytes at a time.

    Where a text does not end, the next place that looks like a text's beginning ends it, so that
    a broken record costs itself and not the rest of the file. A text above ``LARGEST`` is passed
    over without being held, and reported as broken.
    """
    framer = _StreamFramer(start, size)
    for piece in pieces:
        yield from framer.feed(piece)
    yield from framer.finish()


class _StreamFramer:
    """Cuts pieces into runs of whole JSON texts."""

    def __init__(self, start: int, size: int) -> None:
        self._offset = start
        self._size = size
        self._held = b""
        self._large: BrokenBytes | None = None

    def feed(self, piece: bytes) -> Iterator[Frames]:
        self._held += piece
        if self._large is not None:
            yield self._pass_over(final=False)
        if self._large is None and len(self._held) >= self._size:
            frames = _texts(self._held, self._offset, final=False)
            yield self._taken(frames)
            if len(self._held) > LARGEST:
                self._large = _too_large(self._offset, self._held)
                yield self._pass_over(final=False)

    def finish(self) -> Iterator[Frames]:
        """What is left at the end of the file: perhaps a text that nothing ends."""
        if self._large is not None:
            yield self._pass_over(final=True)
        if self._held:
            yield self._taken(_texts(self._held, self._offset, final=True))

    def _pass_over(self, final: bool) -> Frames:
        """Frames of what belongs to the text that is too large; it ends where another begins."""
        boundary = _BOUNDARY.search(self._held)
        stop = len(self._held) - _LONGEST_GAP if boundary is None else boundary.start() + 1
        if boundary is None and final:
            stop = len(self._held)
        broken: tuple[BrokenBytes, ...] = ()
        if (boundary is not None or final) and self._large is not None:
            broken, self._large = (self._large,), None
        data = self._held[: max(stop, 0)]
        return self._taken(Frames([], np.zeros(0, np.int64), self._offset, data, broken))

    def _taken(self, frames: Frames) -> Frames:
        self._held = self._held[len(frames.data) :]
        self._offset = frames.end
        return frames


class _LineFramer:
    """Cuts pieces into runs of whole lines."""

    def __init__(self, start: int, end: int | None, size: int) -> None:
        self.done = False
        self._offset = start
        self._end = end
        self._size = size
        self._held = b""
        self._waiting: list[bytes] = []
        self._large: BrokenBytes | None = None

    def feed(self, piece: bytes) -> Iterator[Frames]:
        self._waiting.append(piece)
        size = len(self._held) + sum(map(len, self._waiting))
        if self._large is None and size < self._size:
            return
        newline = piece.rfind(b"\n")
        if self._large is None and newline >= 0 and not self._reaches_end(size):
            yield self._cut_within(piece, newline + 1)
            return
        self._hold()
        if self._large is not None:
            yield from self._pass_over()
        if self._large is None and len(self._held) >= self._size:
            yield from self._cut()
            if len(self._held) > LARGEST and not self.done:
                self._large = _too_large(self._offset, self._held)
                yield from self._pass_over()

    def finish(self) -> Iterator[Frames]:
        """What is left at the end of the file: perhaps a line that nothing terminates."""
        self._hold()
        if self._large is not None:
            yield self._take(len(self._held), (self._large,))
            return
        yield from self._cut()
        if self._held and not self.done:
            data = self._held
            yield Frames([data], np.array([self._offset]), self._offset, data, unterminated=True)

    def _reaches_end(self, size: int) -> bool:
        return self._end is not None and self._offset + size >= self._end

    def _cut_within(self, last: bytes, stop: int) -> Frames:
        """All that is here up to ``stop`` in the last piece, copied once."""
        frames = _lines([self._held, *self._waiting[:-1], last[:stop]], self._offset)
        self._held = last[stop:]
        self._waiting.clear()
        self._offset = frames.end
        return frames

    def _hold(self) -> None:
        self._held = b"".join([self._held, *self._waiting])
        self._waiting.clear()

    def _cut(self) -> Iterator[Frames]:
        stop = self._stop()
        if stop:
            yield _lines([self._held[:stop]], self._offset)
            self._let_go(stop)
        self.done = self.done or self._past_end()

    def _pass_over(self) -> Iterator[Frames]:
        stop = self._held.find(b"\n") + 1
        if stop:
            large, self._large = self._large, None
            assert large is not None
            yield self._take(stop, (large,))
            self.done = self._past_end()
        else:
            yield self._take(len(self._held))

    def _stop(self) -> int:
        """Where the last whole line ends that starts before the end of the split."""
        if self._end is not None:
            found = self._held.find(b"\n", max(self._end - 1 - self._offset, 0))
            if found >= 0:
                return found + 1
        return self._held.rfind(b"\n") + 1

    def _past_end(self) -> bool:
        return self._end is not None and self._offset >= self._end

    def _take(self, stop: int, broken: tuple[BrokenBytes, ...] = ()) -> Frames:
        """The first ``stop`` held bytes, let go of, as frames without documents."""
        frames = Frames([], np.zeros(0, np.int64), self._offset, self._held[:stop], broken)
        self._let_go(stop)
        return frames

    def _let_go(self, stop: int) -> None:
        self._held = self._held[stop:]
        self._offset += stop


def _lines(pieces: Iterable[bytes], start: int) -> Frames:
    """The lines of some pieces, the last of which ends with one."""
    text = b"".join([*pieces, ROOM])
    data = memoryview(text)[: -len(ROOM)]
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
    begins = np.concatenate([[0], ends[:-1] + 1])
    lines = Lines(text, begins, ends)
    kept = ends - begins <= LARGEST
    if kept.all():
        return Frames(lines, start + begins, start, data)
    broken = tuple(
        _too_large(start + int(begins[place]), lines[place])
        for place in np.flatnonzero(~kept).tolist()
    )
    sound = Lines(text, begins[kept], ends[kept])
    return Frames(sound, start + begins[kept], start, data, broken)


def _too_large(offset: int, data: bytes) -> BrokenBytes:
    return BrokenBytes(offset, Fault(ErrorCode.RECORD_TOO_LARGE), data[:SAMPLE])


def _texts(held: bytes, offset: int, final: bool) -> Frames:
    """The texts that end in ``held``; with ``final``, also the one that does not."""
    documents, starts, broken = [], [], []
    position, unterminated = _next_text(held, 0), False
    while position < len(held):
        stop = end_of_text(held, position)
        if stop < 0 and not final and len(held) - position <= LARGEST:
            break
        if stop < 0:
            boundary = _BOUNDARY.search(held, position)
            if boundary is None and not final:
                break
            unterminated = boundary is None
            stop = len(held) if boundary is None else boundary.start() + 1
        if stop - position > LARGEST:
            broken.append(_too_large(offset + position, held[position : position + SAMPLE]))
        else:
            documents.append(held[position:stop])
            starts.append(offset + position)
        position = _next_text(held, stop)
    taken = held[: min(position, len(held))]
    return Frames(documents, np.array(starts, np.int64), offset, taken, tuple(broken), unterminated)


def end_of_text(held: bytes, start: int) -> int:
    """The offset after the JSON text that begins at ``start``, or -1 if it does not end here.

    What begins with neither a brace nor a bracket ends before the next brace.
    """
    if held[start : start + 1] not in {b"{", b"["}:
        return held.find(b"{", start)
    boundary = _BOUNDARY.search(held, start)
    if boundary is not None and _balanced(held[start : boundary.start() + 1]):
        return boundary.start() + 1
    return _scan(held, start)


def _balanced(text: bytes) -> bool:
    """Whether ``text`` is surely one whole JSON object, as far as counting can tell."""
    quotes = text.count(b'"') - text.count(b'\\"')
    return b"\\\\" not in text and quotes % 2 == 0 and text.count(b"{") == text.count(b"}")


def _scan(held: bytes, start: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(held, start):
        first = held[token.start()]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
            if depth <= 0:
                return token.end()
    return -1


def _next_text(held: bytes, start: int) -> int:
    while start < len(held) and held[start] in b" \t\r\n":
        start += 1
    return start
