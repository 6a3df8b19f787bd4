"""Merge: files that are alike as one, staged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stores.log import DataFile
from stores.objects.port import ObjectStore
from transforms.avro_container import AvroHeader, encoded_block, read_blocks, read_header
from transforms.compact import Merge
from transforms.erasure.files import guarded, open_file
from transforms.sink import Sink
from transforms.write import ROW_GROUP_BYTES, ROW_GROUP_ROWS, FileFormat


def merge_files(merge: Merge, store: ObjectStore, run_id: str) -> DataFile:
    """Stage the one file, and describe it.

    Holds the rows of a row group, or a block. Raises ``ObjectMissing`` or ``ObjectChanged`` if an
    input is not what it was when the merge was planned, and ``Unreadable`` if one is damaged.
    """
    staged = store.stage(merge.key, run_id)
    try:
        rows = _MERGERS[FileFormat(merge.model.format)](merge, store, Sink(staged))
        done = staged.close()
    except BaseException:
        staged.abort()
        raise
    logged = [file.logged for file in merge.inputs if file.logged is not None]
    return replace(
        merge.model,
        rows=rows,
        earliest=min((f.earliest for f in logged if f.earliest is not None), default=None),
        latest=max((f.latest for f in logged if f.latest is not None), default=None),
        staged=done,
        index=None,
    )


def _merge_parquet(merge: Merge, store: ObjectStore, sink: Sink) -> int:
    rows = 0
    with _writer(merge, store, sink) as writer:
        for group in _full_groups(_row_groups(merge, store)):
            writer.write_table(group, row_group_size=len(group))
            rows += len(group)
    return rows


def _writer(merge: Merge, store: ObjectStore, sink: Sink) -> pq.ParquetWriter:
    """A writer of files like the first input."""
    first = merge.inputs[0]
    with open_file(first, store) as stream:
        file = guarded(first, lambda: pq.ParquetFile(stream))
        return pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            file.schema_arrow,
            compression=merge.model.codec,
            use_dictionary=_dictionary_columns(file.metadata),
            write_statistics=True,
            store_schema=True,
        )


def _dictionary_columns(metadata: Any) -> list[str]:
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    columns = (group.column(place) for place in range(group.num_columns))
    return [column.path_in_schema for column in columns if column.has_dictionary_page]


def _row_groups(merge: Merge, store: ObjectStore) -> Iterator[Any]:
    for one in merge.inputs:
        with open_file(one, store) as stream:
            file = guarded(one, partial(pq.ParquetFile, stream))
            for place in range(file.num_row_groups):
                yield guarded(one, partial(file.read_row_group, place))


def _full_groups(tables: Iterator[Any]) -> Iterator[Any]:
    """Tables joined until they make a full row group; a larger one is left whole."""
    held: list[Any] = []
    rows = size = 0
    for table in tables:
        if held and (rows + len(table) > ROW_GROUP_ROWS or size + table.nbytes > ROW_GROUP_BYTES):
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
        held.append(table)
        rows, size = rows + len(table), size + table.nbytes
    if held:
        yield pa.concat_tables(held)


def _merge_avro(merge: Merge, store: ObjectStore, sink: Sink) -> int:
    rows = 0
    first: AvroHeader | None = None
    for one in merge.inputs:
        with open_file(one, store) as stream:
            header = guarded(one, partial(read_header, stream))
            if first is None:
                first = header
                sink.write(first.encoded)
            blocks = read_blocks(stream, header)
            while (block := guarded(one, partial(next, blocks, None))) is not None:
                sink.write(encoded_block(block, first))
                rows += block.rows
    return rows


_MERGERS = {FileFormat.PARQUET: _merge_parquet, FileFormat.AVRO: _merge_avro}
