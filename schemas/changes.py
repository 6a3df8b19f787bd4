"""What flows through a delivery: blocks of documents in, batches of typed changes out.

A **document** is one change record's JSON. A **block** is a run of documents read together, and
the element of the hot path. A **reject** is a document, or a change in it, that cannot be
delivered; it becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import RecordType

if TYPE_CHECKING:
    from schemas.inputs import Covered
    from schemas.streams import ShardRange


class InputFormat(StrEnum):
    """The shapes in which a change record may arrive."""

    CHANGE = "change"
    """A DynamoDB change record, as Kinesis carries it and as DynamoDB Streams does."""
    LAMBDA_KINESIS = "lambda-kinesis"
    """A Lambda event of Kinesis records, change records in base64."""
    LAMBDA_DYNAMODB = "lambda-dynamodb"
    """A Lambda event of DynamoDB stream records."""
    EXPORT = "export"
    """A line of a DynamoDB full export to S3."""
    INCREMENTAL_EXPORT = "incremental-export"
    """A line of a DynamoDB incremental export to S3."""
    DEBEZIUM = "debezium"
    """A Debezium envelope, with or without its schema."""


class ErrorCode(StrEnum):
    """Why a record was not delivered. The value is what users see and filter by."""

    EMPTY_FILE = "empty_file"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    TRUNCATED_COMPRESSION = "truncated_compression"
    RECORD_TOO_LARGE = "record_too_large"
    TRUNCATED_RECORD = "truncated_record"
    NUL_BYTE = "nul_byte"
    INVALID_UTF8 = "invalid_utf8"
    TOO_DEEP = "too_deep"
    INVALID_JSON = "invalid_json"
    DUPLICATE_KEY = "duplicate_key"
    BAD_NUMBER = "bad_number"
    LONE_SURROGATE = "lone_surrogate"
    BAD_BASE64 = "bad_base64"
    UNKNOWN_ENVELOPE = "unknown_envelope"
    BAD_EVENT_NAME = "bad_event_name"
    MISSING_IMAGE = "missing_image"
    MISSING_OLD_IMAGE = "missing_old_image"
    INVALID_TYPE_NAME = "invalid_type_name"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    BAD_TIMESTAMP = "bad_timestamp"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    OUT_OF_RANGE = "out_of_range"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    NOT_ALLOWED = "not_allowed"
    BAD_PATTERN = "bad_pattern"


class Stage(StrEnum):
    """Where in the delivery a record was rejected."""

    READ = "read"
    DECODE = "decode"
    VALIDATE = "validate"


@dataclass(frozen=True, order=True)
class Position:
    """Where a record stood: source, offset, and place within the document.

    The offset is that of the document's first byte in its decompressed source; in a shard of a
    stream it is the sequence number.
    """

    source: str
    offset: int
    index: int


@dataclass(frozen=True)
class Fault:
    """What is wrong with a record: a code, and the field it was found in, if any."""

    code: ErrorCode
    field: str | None = None


@dataclass(frozen=True)
class Reject:
    """A record that cannot be delivered, with where it stood and its original bytes.

    ``record_type`` is None where it was not known. ``attempt`` counts how often the record has
    been tried, this time included.
    """

    fault: Fault
    stage: Stage
    origin: Position
    original: bytes
    record_type: RecordType | None = None
    attempt: int = 1


@dataclass(frozen=True)
class BrokenBytes:
    """A stretch of input that holds no document: the reader's own kind of failure."""

    offset: int
    fault: Fault
    sample: bytes


@dataclass(frozen=True)
class Replayed:
    """Where a replayed record stood when it was first read, and which attempt this is."""

    origin: Position
    attempt: int


@dataclass(frozen=True)
class Block:
    """Consecutive documents of one source.

    ``starts[i]`` is the byte offset of ``documents[i]`` in the decompressed source; ``end`` is
    the offset after the last byte that this block accounts for. ``unterminated`` says that the
    source ended before the last document's line did.

    ``covered`` is set in the block that ends a split: an account of all that was read for it.

    A block of a stream's shard is one answer of the service: ``sequences`` has the sequence number
    of each document, ``stretch`` says what part of the shard the block accounts for, even if it
    holds no documents, ``arrived`` is when the last of its records reached the stream, and
    ``starts`` are offsets in the answer.

    When dead letters are replayed, ``replayed`` says where each document came from at first and
    how often it has been tried, and ``carried`` are the lines that are to stay dead letters.
    """

    source: str
    format: InputFormat
    documents: Sequence[bytes]
    start: int
    end: int
    starts: npt.NDArray[np.int64]
    broken: tuple[BrokenBytes, ...] = ()
    unterminated: bool = False
    covered: Covered | None = None
    replayed: tuple[Replayed, ...] | None = None
    carried: tuple[bytes, ...] = ()
    sequences: tuple[str, ...] | None = None
    stretch: ShardRange | None = None
    arrived: datetime | None = None

    def position(self, document: int, index: int) -> Position:
        """Where a record of this block stands in this block's source."""
        if self.sequences is not None:
            return Position(self.source, int(self.sequences[document]), index)
        return Position(self.source, int(self.starts[document]), index)


@dataclass(frozen=True)
class TypedChanges:
    """Changes of one record type: the rows' columns, and what the envelopes said of them.

    All arrays have one entry a change. ``columns`` grows as the stages fill it, until it holds
    every field of the type. ``document`` and ``index`` lead back to the change's original.
    """

    record_type: RecordType
    columns: Mapping[str, Any]
    event_name: Any
    by_ttl: Any
    change_time: Any
    change_id: Any
    document: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.document)

    def with_columns(self, columns: Mapping[str, Any]) -> TypedChanges:
        return replace(self, columns={**self.columns, **columns})

    def keep(self, mask: npt.NDArray[np.bool_]) -> TypedChanges:
        """The changes where ``mask`` is true, in their order."""
        chosen = pa.array(mask)
        return replace(
            self,
            columns={name: pc.filter(array, chosen) for name, array in self.columns.items()},
            event_name=pc.filter(self.event_name, chosen),
            by_ttl=pc.filter(self.by_ttl, chosen),
            change_time=pc.filter(self.change_time, chosen),
            change_id=pc.filter(self.change_id, chosen),
            document=self.document[mask],
            index=self.index[mask],
        )


@dataclass(frozen=True)
class ChangeBatch:
    """A block after decoding: its changes by type, its rejects, and what was left out on purpose.

    ``read`` counts every record the block held; at the end of the data path
    ``read == delivered + rejects + filtered + suppressed``. ``discarded_fields`` counts unknown
    fields that were dropped by policy. ``repeats`` are among those filtered, ``unidentified`` among
    those in ``typed``; see ``schemas.delivery.Counts``.
    """

    block: Block
    typed: tuple[TypedChanges, ...]
    rejects: tuple[Reject, ...]
    read: int
    filtered: int = 0
    discarded_fields: int = 0
    repeats: int = 0
    unidentified: int = 0
    suppressed: int = 0

    def replace_typed(self, typed: tuple[TypedChanges, ...]) -> ChangeBatch:
        return replace(self, typed=typed)
