"""Output: all results, batch by batch in their order, as one file. Memory holds a few batches."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.contacts import BatchSummary, Result
from schemas.errors import UsageError
from transforms.contacts.columns import (
    Kinds,
    arrow_schema,
    arrow_values,
    csv_header,
    csv_row,
    merged,
)

_ROW_GROUP = 20_000
_results = msgspec.json.Decoder(Result)
_encode_lines = msgspec.json.Encoder().encode_lines


class OutputFormat(StrEnum):
    """What an output can be."""

    NDJSON = "ndjson"
    ARRAY = "json"
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def is_table(self) -> bool:
        """Whether all columns have to be known before the first row is written."""
        return self in {OutputFormat.CSV, OutputFormat.PARQUET}


_ENDINGS = {
    ".ndjson": OutputFormat.NDJSON,
    ".jsonl": OutputFormat.NDJSON,
    ".json": OutputFormat.ARRAY,
    ".csv": OutputFormat.CSV,
    ".parquet": OutputFormat.PARQUET,
}


@dataclass(frozen=True)
class Columns:
    """The columns of a table of results, beside its own."""

    contact: Kinds = field(default_factory=dict)
    enrichment: Kinds = field(default_factory=dict)

    def with_those_of(self, batch: BatchSummary) -> Columns:
        """These columns and those of a batch that follows."""
        return Columns(
            merged(self.contact, batch.contact_columns),
            merged(self.enrichment, batch.enrichment_columns),
        )


def output_format(name: str) -> OutputFormat:
    """The format that the ending of a name asks for. Raises ``UsageError``."""
    found = _ENDINGS.get(PurePath(name.lower()).suffix)
    if found is None:
        raise UsageError(f"--out {name!r}: let it end in {', '.join(_ENDINGS)}")
    return found


def encode_results(results: list[Result]) -> bytes:
    """Results as NDJSON."""
    return _encode_lines(results)


def decode_results(lines: bytes) -> list[Result]:
    """The results that ``encode_results`` wrote."""
    return _results.decode_lines(lines)


class OutputWriter(ABC):
    """Writes one output to ``sink``; call ``add`` for each batch in order, then ``finish``."""

    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        self._sink = sink
        self._columns = columns

    @abstractmethod
    def add(self, lines: bytes) -> None:
        """Append a batch, as ``encode_results`` gave it."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the file."""


class NdjsonWriter(OutputWriter):
    def add(self, lines: bytes) -> None:
        self._sink.write(lines)

    def finish(self) -> None:
        """Every line is complete already."""


class ArrayWriter(OutputWriter):
    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        super().__init__(sink, columns)
        self._before = b"[\n"

    def add(self, lines: bytes) -> None:
        for line in lines.splitlines():
            self._sink.write(self._before + line)
            self._before = b",\n"

    def finish(self) -> None:
        self._sink.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


class CsvWriter(OutputWriter):
    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        super().__init__(sink, columns)
        self._write([csv_header(columns.contact, columns.enrichment)])

    def add(self, lines: bytes) -> None:
        columns = self._columns
        results = decode_results(lines)
        self._write([csv_row(each, columns.contact, columns.enrichment) for each in results])

    def finish(self) -> None:
        """Every row is complete already."""

    def _write(self, rows: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        self._sink.write(text.getvalue().encode())


class ParquetWriter(OutputWriter):
    def __init__(self, sink: BinaryIO, columns: Columns) -> None:
        super().__init__(sink, columns)
        self._schema = arrow_schema(columns.contact, columns.enrichment)
        self._writer = pq.ParquetWriter(sink, self._schema, compression="zstd")
        self._waiting: list[Result] = []

    def add(self, lines: bytes) -> None:
        self._waiting += decode_results(lines)
        if len(self._waiting) >= _ROW_GROUP:
            self._write_group()

    def finish(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        columns = arrow_values(self._waiting, self._columns.contact, self._columns.enrichment)
        arrays = [
            pa.array(values, kind.type) for values, kind in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._waiting = []


WRITERS: dict[OutputFormat, Callable[[BinaryIO, Columns], OutputWriter]] = {
    OutputFormat.NDJSON: NdjsonWriter,
    OutputFormat.ARRAY: ArrayWriter,
    OutputFormat.CSV: CsvWriter,
    OutputFormat.PARQUET: ParquetWriter,
}
