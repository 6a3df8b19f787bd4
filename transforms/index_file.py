"""The set of a file that has none, or none that is trusted: made from its rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.fields import RecordType
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from stores.subject_index import IndexWriter
from transforms.avro_container import MAGIC
from transforms.erasure.avro import count_avro
from transforms.erasure.files import open_file, undamaged
from transforms.erasure.parquet import count_parquet
from transforms.index import hashed_columns, hashes_of, stamp_of
from transforms.subject_hashes import SubjectHasher


def index_file(
    path: str,
    files: Iterable[LakeFile],
    store: ObjectStore,
    record_type: RecordType,
    hasher: SubjectHasher,
    indexes: IndexWriter,
) -> None:
    """Add the set of the file at ``path``, which has the rows of ``files``, to ``indexes``.

    Raises ``Unreadable``, and ``SchemaError`` if subjects cannot be looked for in them: then it
    gets no set. ``ObjectMissing`` and ``ObjectChanged`` if one is another meanwhile.
    """
    indexes.begin(path, stamp_of(record_type, hasher))
    for file in files:
        with open_file(file, store) as source:
            undamaged(file, partial(_count, source, record_type, _Indexing(indexes, hasher)))
    indexes.end()


def _count(source: BinaryIO, record_type: RecordType, into: _Indexing) -> None:
    is_avro = source.read(len(MAGIC)) == MAGIC
    source.seek(0)
    (count_avro if is_avro else count_parquet)(source, record_type, into)


class _Indexing:
    """Takes in the subjects of every batch that is looked through for matches, and matches none."""

    def __init__(self, indexes: IndexWriter, hasher: SubjectHasher) -> None:
        self._indexes = indexes
        self._hasher = hasher

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        rows = pa.Table.from_batches([batch])
        for hashes in hashes_of(hashed_columns(record_type, rows, self._hasher)):
            self._indexes.add(hashes)
        return pa.array(np.zeros(batch.num_rows, np.bool_))
