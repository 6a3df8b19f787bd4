"""Split: a plain file of lines into parts that workers read from the file itself.

Only where lines begin is looked for, a block at a time, which costs a fraction of reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from schemas.contacts import MAX_ROW, ContactFormat, LineFormat, Part

PART_ROWS = 5_000
"""Rows of a part, or as many as one batch has if that is more."""

PART_BYTES = 16 << 20
"""Bytes after which a part gets no further batch."""

_SPACE = 0x20

Look = Callable[[bytes, npt.NDArray[np.int64], int], None]
"""Is shown whole lines, where each of them ends, and the number of the first."""


class NotByLines(Exception):
    """A row of the file may span lines: it has to be read from its beginning."""


class Split:
    """Finds the parts of a file whose rows begin at byte ``start``, in line ``line``.

    ``look`` is shown all lines but the first bytes of such as are too long.
    """

    def __init__(
        self, lines: LineFormat, batch_size: int, start: int, line: int, look: Look | None = None
    ) -> None:
        is_csv = lines.format is ContactFormat.CSV
        self._blank = b"\r\n" if is_csv else None
        self._quote = b'"' if is_csv else None
        self._look = look
        self._batch_size = batch_size
        self._most_batches = max(1, PART_ROWS // batch_size)
        # Of the line under way: where it begins, its number, what is held of it.
        self._start, self._line, self._held = start, line, b""
        self._is_long = False
        self._at = start
        self._parts = 0
        self._first_batch = self._batches = 0
        self._part_start, self._part_line = start, line
        self.contacts = 0

    def parts(self, pieces: Iterable[bytes]) -> Iterator[Part]:
        """The parts, one after another. Raises ``NotByLines``."""
        for piece in pieces:
            yield from self._feed(piece)
        yield from self._end()

    @property
    def batches(self) -> int:
        return self._first_batch + self._batches

    def _feed(self, piece: bytes) -> Iterator[Part]:
        if self._quote is not None and self._quote in piece:
            raise NotByLines
        self._at += len(piece)
        data = self._held + piece
        whole = data.rfind(b"\n") + 1
        block, self._held = data[:whole], data[whole:]
        if block:
            yield from self._count(block)
        if len(self._held) > MAX_ROW:
            self._held, self._is_long = b"", True

    def _count(self, block: bytes) -> Iterator[Part]:
        """Count the rows of a block of whole lines, of the first perhaps only its rest."""
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
        rows = np.flatnonzero(self._are_rows(block, ends))
        base = self._at - len(self._held) - len(block)
        left = self._batch_size - self.contacts % self._batch_size
        for last in rows[left - 1 :: self._batch_size]:
            yield from self._end_batch(base + int(ends[last]), self._line + int(last) + 1)
        if self._look is not None:
            self._look(block, ends, self._line)
        self.contacts += len(rows)
        self._line += len(ends)

    def _are_rows(self, block: bytes, ends: np.ndarray) -> np.ndarray:
        begins = np.concatenate(([0], ends[:-1]))
        found = np.frombuffer(block, np.uint8)[begins] > _SPACE
        for place in np.flatnonzero(~found):
            found[place] = self._is_row(block[begins[place] : ends[place]])
        found[0] |= self._is_long
        self._is_long = False
        return found

    def _is_row(self, line: bytes) -> bool:
        return len(line) > MAX_ROW or bool(line.strip(self._blank))

    def _end_batch(self, end: int, next_line: int) -> Iterator[Part]:
        self._batches += 1
        if self._batches == self._most_batches or end - self._part_start >= PART_BYTES:
            yield self._part(end)
            self._part_start, self._part_line = end, next_line

    def _end(self) -> Iterator[Part]:
        """The rest, whose last line may have no end."""
        if self._is_long or self._held.strip(self._blank):
            self.contacts += 1
            self._batches += self.contacts % self._batch_size == 0
            if self._look is not None:
                last = self._held + b"\n"
                self._look(last, np.array([len(last)]), self._line)
        self._batches += self.contacts % self._batch_size != 0
        if self._batches:
            yield self._part(self._at)

    def _part(self, end: int) -> Part:
        part = Part(
            self._parts, self._first_batch, self._batches,
            self._part_start, end - self._part_start, self._part_line,
        )  # fmt: skip
        self._parts += 1
        self._first_batch += self._batches
        self._batches = 0
        return part
