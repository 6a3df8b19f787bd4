"""Avro's object container files as a header and blocks, whose content is left as it is.

    header: magic "Obj\\x01", a map of metadata, 16 bytes of sync marker
    block:  number of rows, number of bytes, these bytes (packed), the sync marker

The format: https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from schemas.errors import InputError

MAGIC = b"Obj\x01"
SYNC_BYTES = 16

_LONGEST_NUMBER = 10
_MOST_METADATA = 64 * 1024 * 1024
_LARGEST_BLOCK = 1024 * 1024 * 1024


class NotAvro(InputError):
    """A file is no Avro container, or a damaged one; the message does not name the file."""

    code = "bad_avro"


@dataclass(frozen=True)
class AvroHeader:
    """What a container begins with; ``encoded`` are its bytes with the marker."""

    metadata: Mapping[str, bytes]
    sync: bytes
    encoded: bytes

    @property
    def schema(self) -> bytes:
        """The writer's schema, JSON."""
        return self.metadata.get("avro.schema", b"null")

    @property
    def codec(self) -> str:
        return self.metadata.get("avro.codec", b"null").decode("ascii", "replace")


@dataclass(frozen=True)
class AvroBlock:
    """So many rows in bytes packed by the container's codec."""

    rows: int
    data: bytes


def read_header(stream: BinaryIO) -> AvroHeader:
    """The header of a container, from its beginning. Raises ``NotAvro``."""
    tape = _Tape(stream)
    if tape.take(len(MAGIC)) != MAGIC:
        raise NotAvro("this is no Avro file: it does not begin with Obj\\x01")
    metadata: dict[str, bytes] = {}
    while count := tape.number():
        if count < 0:  # a negative count is followed by the size of the entries
            count, _ = -count, tape.number()
        for _ in range(count):
            name = tape.text().decode("utf-8", "replace")
            metadata[name] = tape.text()
    sync = tape.take(SYNC_BYTES)
    return AvroHeader(metadata, sync, bytes(tape.taken))


def read_blocks(stream: BinaryIO, header: AvroHeader) -> Iterator[AvroBlock]:
    """The blocks that follow the header, one in memory at a time. Raises ``NotAvro``."""
    while (rows := _number(stream, may_end=True)) is not None:
        size = _number(stream)
        if size is None or rows < 0 or not 0 <= size <= _LARGEST_BLOCK:
            raise NotAvro("an Avro block claims a size that it cannot have: the file is damaged")
        data, marker = stream.read(size), stream.read(SYNC_BYTES)
        if len(data) < size or marker != header.sync:
            raise NotAvro("an Avro block does not end at its marker: the file is damaged")
        yield AvroBlock(rows, data)


def encoded_block(block: AvroBlock, header: AvroHeader) -> bytes:
    """A block as it stands in the container that this header begins."""
    head = encoded_number(block.rows) + encoded_number(len(block.data))
    return b"".join((head, block.data, header.sync))


def encoded_number(number: int) -> bytes:
    """A number that is not negative as an Avro long."""
    rest, groups = number << 1, bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*groups, rest))


class _Tape:
    """Reads a header, and keeps what was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.taken = bytearray()

    def take(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_METADATA - len(self.taken):
            raise NotAvro("an Avro header claims a size that it cannot have: the file is damaged")
        data = self._stream.read(size)
        if len(data) < size:
            raise NotAvro("an Avro header ends early: the file is damaged")
        self.taken += data
        return data

    def number(self) -> int:
        groups = [self.take(1)[0]]
        while groups[-1] & 0x80 and len(groups) < _LONGEST_NUMBER:
            groups.append(self.take(1)[0])
        return _decoded(groups)

    def text(self) -> bytes:
        return self.take(self.number())


def _number(stream: BinaryIO, may_end: bool = False) -> int | None:
    groups: list[int] = []
    while not groups or (groups[-1] & 0x80 and len(groups) < _LONGEST_NUMBER):
        byte = stream.read(1)
        if not byte:
            if may_end and not groups:
                return None
            raise NotAvro("an Avro block ends early: the file is damaged")
        groups.append(byte[0])
    return _decoded(groups)


def _decoded(groups: list[int]) -> int:
    """Zigzag and variable length, undone."""
    whole = sum((group & 0x7F) << (7 * place) for place, group in enumerate(groups))
    return (whole >> 1) ^ -(whole & 1)
