"""Read: the bytes of a contact file as rows, one at a time.

What a file is, is told by the ending of its name, less that of its compression; another ending
leaves it to the first character: ``[`` begins a JSON array, ``{`` NDJSON, anything else CSV. A
``.json`` file may be an array or NDJSON.

A broken row costs itself. What would leave the rest of the file in doubt - the data is cut off, the
brackets of an array do not match - is an ``InputError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import PurePosixPath

from schemas.contacts import MAX_ROW, ContactFormat, LineFormat, Row
from schemas.errors import InputError
from transforms.contacts.read_csv import csv_lines, read_csv, read_csv_lines
from transforms.contacts.read_json import read_array, read_lines
from transforms.decompress import TruncatedStream

BOM = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = (b"\xff\xfe", b"\xfe\xff")
_COMPRESSED = {".gz", ".zst", ".bz2"}


def read_contacts(name: str, pieces: Iterable[bytes], mapping: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a file of this name, whose decompressed bytes come in ``pieces``.

    ``mapping`` renames fields or columns. Raises ``InputError`` and ``UsageError``, also in the
    middle of the rows.
    """
    content = whole(name, pieces)
    first = beginning(name, content).removeprefix(BOM)
    rest = chain((first,), content)
    match format_of(name, first):
        case ContactFormat.ARRAY:
            return read_array(name, rest, mapping)
        case ContactFormat.NDJSON:
            return read_lines(rest, mapping)
        case ContactFormat.CSV:
            return read_csv(name, rest, mapping)


def lines_begin(
    name: str, first: bytes, mapping: Mapping[str, str]
) -> tuple[LineFormat, int, int] | None:
    """How a plain file is read line by line, and at which byte and line its rows begin.

    ``first`` is what it begins with. None of a file that is not read so, or not without a closer
    look: then ``read_contacts`` says what it is.
    """
    start = len(BOM) if first.startswith(BOM) else 0
    content = first[start:]
    if content.startswith(_OTHER_ENCODINGS):
        return None
    match format_of(name, content):
        case ContactFormat.NDJSON:
            return LineFormat(ContactFormat.NDJSON), start, 1
        case ContactFormat.CSV if b"\n" in content:
            header = content[: content.index(b"\n")]
            lines = csv_lines(name, header, mapping)
            return None if lines is None else (lines, start + len(header) + 1, 2)
    return None


def read_part(
    lines: LineFormat, pieces: Iterable[bytes], first: int, mapping: Mapping[str, str]
) -> Iterator[Row]:
    """The rows of some lines of a file, which begin at line ``first``."""
    if lines.format is ContactFormat.CSV:
        return read_csv_lines(pieces, lines, first, mapping)
    return read_lines(pieces, mapping, first)


def format_of(name: str, first: bytes) -> ContactFormat:
    """What a file of this name is that begins like this."""
    suffixes = PurePosixPath(name.lower()).suffixes
    ending = next((each for each in reversed(suffixes) if each not in _COMPRESSED), "")
    begin = first.lstrip()[:1]
    if ending == ".csv":
        return ContactFormat.CSV
    if begin == b"[":
        return ContactFormat.ARRAY
    if begin in {b"{", b""} or ending in {".ndjson", ".jsonl", ".json"}:
        return ContactFormat.NDJSON
    return ContactFormat.CSV


def whole(name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a file of this name. Raises ``InputError`` if its packed data is cut off."""
    try:
        yield from pieces
    except TruncatedStream:
        raise InputError(f"{name}: its compressed data is cut off or damaged") from None


def beginning(name: str, content: Iterator[bytes]) -> bytes:
    """What a file of this name begins with: enough to see a character that is no white space, or
    ``MAX_ROW`` bytes and a piece. Raises ``InputError`` if it is not in UTF-8.
    """
    first = b""
    for piece in content:
        first += piece
        if is_telling(first) or len(first) > MAX_ROW:
            break
    if first.startswith(_OTHER_ENCODINGS):
        raise InputError(f"{name}: is not in UTF-8: convert it")
    return first


def is_telling(first: bytes) -> bool:
    """Whether in what a file begins with there is more than white space."""
    return len(first) >= len(BOM) and bool(first.removeprefix(BOM).strip())
