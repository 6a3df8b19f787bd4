"""The index of a file that has none, or none that is trusted: made from its rows."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.fields import RecordType
from stores.subject_index import IndexBuilder
from transforms.erasure.avro import count_avro
from transforms.erasure.parquet import count_parquet
from transforms.index import hashed_columns, hashes_of, stamp_of
from transforms.subject_hashes import SubjectHasher

_AVRO = b"Obj\x01"


def index_of(path: str, source: BinaryIO, record_type: RecordType, hasher: SubjectHasher) -> bytes:
    """The set of the file at ``path``, whose content ``source`` is, at its beginning.

    ``source`` can be sought in. Raises ``NotAvro``, Arrow's errors or ``SchemaError`` as counting
    does: what cannot be read gets no set.
    """
    is_avro = source.read(len(_AVRO)) == _AVRO
    source.seek(0)
    builder = IndexBuilder(path, stamp_of(record_type, hasher))
    count = count_avro if is_avro else count_parquet
    count(source, record_type, _Indexing(builder, hasher))
    return builder.finish()


class _Indexing:
    """Takes in the subjects of every batch that is looked through for matches, and matches none."""

    def __init__(self, builder: IndexBuilder, hasher: SubjectHasher) -> None:
        self._builder = builder
        self._hasher = hasher

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        rows = pa.Table.from_batches([batch])
        for hashes in hashes_of(hashed_columns(record_type, rows, self._hasher)):
            self._builder.add(hashes)
        return pa.array(np.zeros(batch.num_rows, np.bool_))
