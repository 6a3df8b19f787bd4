"""Read: the bytes of a split as blocks of documents, and an account of what was covered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import xxhash

from schemas.changes import Block, BrokenBytes, ErrorCode, Fault
from schemas.inputs import Covered, CoveredRange, Framing, Split
from transforms.decompress import TruncatedStream, pieces
from transforms.detect import BOM
from transforms.framing import SAMPLE, Frames, frame_lines, frame_stream

BLOCK_BYTES = 8 * 1024 * 1024
"""Bytes of a block: enough to make vectors worth while, and not far beyond a processor's cache."""

_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16 and UTF-32."""


def read_split(stream: BinaryIO, split: Split) -> Iterator[Block | Covered]:
    """The split's blocks, and at last what they covered.

    ``stream`` begins at offset 0 for a compressed file; for a plain one at ``split.start``, or
    one byte before it where the split is not exact.
    """
    account = _Account(split)
    try:
        for frames in _frames(account, stream, split):
            yield _block(account.add(frames), split)
    except _OtherEncoding as error:
        first = error.first[: split.end]
        account.digest.update(first)
        account.end += len(first)
        yield account.broken_end(ErrorCode.UNSUPPORTED_ENCODING, error.first[:SAMPLE])
    if account.is_cut_off:
        yield account.broken_end(ErrorCode.TRUNCATED_COMPRESSION, account.half[:SAMPLE])
    elif account.is_empty_file:
        yield account.broken_end(ErrorCode.EMPTY_FILE)
    yield account.covered()


class _OtherEncoding(Exception):
    """The file is in an encoding other than UTF-8."""

    def __init__(self, first: bytes) -> None:
        super().__init__()
        self.first = first


class _Account:
    """How far a split has been read, and a digest of it."""

    def __init__(self, split: Split) -> None:
        self.digest = xxhash.xxh3_128()
        self.start = self.end = self.resume = split.start
        self.is_cut_off, self.half = False, b""
        self._split = split

    def begin_at(self, offset: int) -> None:
        self.start = self.end = self.resume = offset

    def until_cut_off(self, content: Iterator[bytes]) -> Iterator[bytes]:
        """The content up to where its compression breaks, if it does."""
        try:
            yield from content
        except TruncatedStream:
            self.is_cut_off = True

    def add(self, frames: Frames) -> Frames:
        """The frames, accounted for, without the half of a document before a cut."""
        if frames.unterminated and self.is_cut_off:
            frames, self.half = _without_half(frames)
        self.digest.update(frames.data)
        self.end = frames.end
        half = frames.unterminated and len(frames.documents) > 0
        self.resume = int(frames.starts[-1]) if half else frames.end
        return frames

    @property
    def is_empty_file(self) -> bool:
        return self._split.start == 0 and self._split.end is None and self.end == 0

    def broken_end(self, code: ErrorCode, sample: bytes = b"") -> Block:
        broken = BrokenBytes(self.end, Fault(code), sample)
        nothing = Frames([], np.zeros(0, np.int64), self.end, b"", (broken,))
        return _block(nothing, self._split)

    def covered(self) -> Covered:
        reached = CoveredRange(self.start, self.end, self.digest.hexdigest())
        return Covered(self._split.file.uri, reached, self.resume)


def _frames(account: _Account, stream: BinaryIO, split: Split) -> Iterator[Frames]:
    content = account.until_cut_off(pieces(stream, split.file.compression))
    offset, content = _align(content, split)
    account.begin_at(offset)
    if offset == 0:
        content = _check_encoding(content)
    if split.file.framing is Framing.LINES:
        frames = frame_lines(content, offset, split.end, BLOCK_BYTES)
    else:
        frames = frame_stream(content, offset, BLOCK_BYTES)
    for number, found in enumerate(frames):
        yield _without_bom(found) if offset == 0 and number == 0 else found


def _align(content: Iterator[bytes], split: Split) -> tuple[int, Iterator[bytes]]:
    """The offset of the split's first document, and the content from there on."""
    if split.exact:
        skipped = split.start if not split.file.splittable else 0
        return split.start, _skip(content, skipped)
    offset = split.start - 1
    for piece in content:
        newline = piece.find(b"\n")
        if newline >= 0:
            return offset + newline + 1, _chain(piece[newline + 1 :], content)
        offset += len(piece)
    return offset, iter(())


def _skip(content: Iterator[bytes], count: int) -> Iterator[bytes]:
    for piece in content:
        if count < len(piece):
            yield piece[count:] if count else piece
        count = max(count - len(piece), 0)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _check_encoding(content: Iterator[bytes]) -> Iterator[bytes]:
    first = next(content, b"")
    if first.startswith(_OTHER_ENCODINGS):
        raise _OtherEncoding(first)
    yield from _chain(first, content)


def _without_half(frames: Frames) -> tuple[Frames, bytes]:
    """The frames without their last document, and that."""
    if not frames.documents:
        return frames, b""
    length = int(frames.starts[-1]) - frames.start
    whole = Frames(
        frames.documents[:-1],
        frames.starts[:-1],
        frames.start,
        frames.data[:length],
        frames.broken,
    )
    return whole, frames.documents[-1]


def _without_bom(frames: Frames) -> Frames:
    if not frames.documents or not frames.documents[0].startswith(BOM):
        return frames
    first = frames.documents[0].removeprefix(BOM)
    return replace(frames, documents=[first, *frames.documents[1:]])


def _block(frames: Frames, split: Split) -> Block:
    return Block(
        source=split.file.uri,
        format=split.file.format,
        documents=frames.documents,
        start=frames.start,
        end=frames.end,
        starts=frames.starts,
        broken=frames.broken,
        unterminated=frames.unterminated,
    )
