"""Writers: rows, which come as lines of JSON, as files of an archive."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from schemas.export import ExportFormat
from transforms.contacts.columns import neutralised

_AT_ONCE = 1000

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def encoded_rows(
    form: ExportFormat, columns: Sequence[str], parts: Iterable[bytes]
) -> Iterator[bytes]:
    """A file of rows, piece by piece. ``parts`` are whole lines, ``columns`` those of all rows."""
    return _WRITERS[form](columns, parts)


def _ndjson(_: Sequence[str], parts: Iterable[bytes]) -> Iterator[bytes]:
    yield from parts


def _array(_: Sequence[str], parts: Iterable[bytes]) -> Iterator[bytes]:
    before = b"[\n"
    for part in parts:
        lines = part.splitlines()
        yield before + b",\n".join(lines)
        before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


def _csv(columns: Sequence[str], parts: Iterable[bytes]) -> Iterator[bytes]:
    yield _as_csv([[neutralised(name) for name in columns]])
    for part in parts:
        lines = part.splitlines()
        for start in range(0, len(lines), _AT_ONCE):
            rows = map(_decode, lines[start : start + _AT_ONCE])
            yield _as_csv([[_cell(row.get(name)) for name in columns] for row in rows])


def _as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """What no spreadsheet takes for a formula; a null is empty, what is nested is JSON."""
    if value is None:
        return ""
    return neutralised(value if isinstance(value, str) else msgspec.json.encode(value).decode())


_WRITERS: dict[ExportFormat, Callable[[Sequence[str], Iterable[bytes]], Iterator[bytes]]] = {
    ExportFormat.JSON: _array,
    ExportFormat.NDJSON: _ndjson,
    ExportFormat.CSV: _csv,
}
