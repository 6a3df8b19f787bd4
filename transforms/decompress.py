"""Decompress: any supported compression as a stream of bounded pieces.

Memory stays bounded whatever the ratio, because a piece is never decompressed beyond its size.
Several members or frames one after another are one stream, as gzip and zstd have it.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol

from backports import zstd

from schemas.inputs import Compression

PIECE = 1 << 20
"""Bytes of decompressed output handed on at a time."""

_MAGIC = {
    b"\x1f\x8b": Compression.GZIP,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
    b"BZh": Compression.BZ2,
}


class TruncatedStream(Exception):
    """The compressed data ends, or turns to nonsense, before its end mark."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the shape that the standard library's others share."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._held_back = False

    @property
    def needs_input(self) -> bool:
        return not self._held_back

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))
        self._held_back = bool(self._inner.unconsumed_tail) or len(piece) >= max_length > 0
        return piece


_DECOMPRESSORS: dict[Compression, Callable[[], Any]] = {
    Compression.GZIP: _Gzip,
    Compression.ZSTD: zstd.ZstdDecompressor,
    Compression.BZ2: bz2.BZ2Decompressor,
}

_BROKEN = (zlib.error, zstd.ZstdError, OSError, EOFError, ValueError)


def detect_compression(first: bytes) -> Compression:
    """The compression that a file's first bytes tell of."""
    for magic, compression in _MAGIC.items():
        if first.startswith(magic):
            return compression
    return Compression.NONE


def pieces(stream: BinaryIO, compression: Compression) -> Iterator[bytes]:
    """The decompressed content in pieces of at most ``PIECE`` bytes.

    Raises ``TruncatedStream`` after the last good piece if the data is cut off or damaged.
    """
    if compression is Compression.NONE:
        while piece := stream.read(PIECE):
            yield piece
        return
    make: Callable[[], _Decompressor] = _DECOMPRESSORS[compression]
    rest = b""
    while data := rest or stream.read(PIECE):
        rest = data.lstrip(b"\0")  # gzip pads with zeros between and after its members
        if rest:
            decompressor = make()
            yield from _member(stream, decompressor, rest)
            rest = decompressor.unused_data


def _member(stream: BinaryIO, decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        try:
            piece = decompressor.decompress(data, PIECE)
        except _BROKEN as error:
            raise TruncatedStream from error
        if piece:
            yield piece
        if decompressor.eof:
            return
        data = stream.read(PIECE) if decompressor.needs_input else b""
        if decompressor.needs_input and not data:
            raise TruncatedStream
