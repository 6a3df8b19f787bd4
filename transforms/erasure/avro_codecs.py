"""The codecs of Avro's object container files, in both directions.

The specification: https://avro.apache.org/docs/1.12.0/specification/#required-codecs. ``lz4`` is
fastavro's own: a block of LZ4 behind its size in four bytes, the least significant first.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable

import pyarrow as pa
from backports import zstd

from transforms.avro import CODECS, compressor
from transforms.avro_container import NotAvro

_CHECKSUM = struct.Struct(">I")
_SIZE = struct.Struct("<I")


def unpacked(data: bytes, codec: str) -> bytes:
    """The content of a block. Raises ``NotAvro`` for an unknown codec, or damaged data."""
    if codec not in _UNPACK:
        raise NotAvro(f"this Avro file is packed by {codec!r}, a codec that is not known here")
    try:
        return _UNPACK[codec](data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, struct.error) as error:
        raise NotAvro("an Avro block cannot be unpacked: the file is damaged") from error


def packed(data: bytes, codec: str) -> bytes:
    """The content of a block, packed by a codec that ``unpacked`` takes."""
    return compressor(codec)(data) if codec in CODECS else _PACK[codec](data)


def _inflate(data: bytes) -> bytes:
    return zlib.decompress(data, wbits=-15)


def _unsnap(data: bytes) -> bytes:
    content = pa.Codec("snappy").decompress(data[:-4], _snappy_size(data), asbytes=True)
    if zlib.crc32(content) != _CHECKSUM.unpack(data[-4:])[0]:
        raise NotAvro("an Avro block differs from its checksum: the file is damaged")
    return bytes(content)


def _snappy_size(data: bytes) -> int:
    """What snappy's data begin with: the size of the content, in groups of seven bits."""
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return size
    raise NotAvro("an Avro block cannot be unpacked: the file is damaged")


def _unpack_lz4(data: bytes) -> bytes:
    (size,) = _SIZE.unpack(data[: _SIZE.size])
    return bytes(pa.Codec("lz4_raw").decompress(data[_SIZE.size :], size, asbytes=True))


def _pack_lz4(data: bytes) -> bytes:
    return _SIZE.pack(len(data)) + bytes(pa.Codec("lz4_raw").compress(data, asbytes=True))


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflate,
    "snappy": _unsnap,
    "zstandard": zstd.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "lz4": _unpack_lz4,
}
_PACK: dict[str, Callable[[bytes], bytes]] = {
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lz4": _pack_lz4,
}
