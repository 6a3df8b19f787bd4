"""What a delivery makes: partitions, files, dead letters and counts."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from schemas.changes import Position, Reject
from schemas.streams import is_shard

ERRORS = "errors"
PARKED = "errors/parked"

MAX_ATTEMPTS = 5
"""How often a dead letter is tried in all before it is parked."""


@dataclass(frozen=True)
class Partition:
    """Where rows belong: a record type (or ``errors``), a date, and a window within it.

    ``window`` is the start of an event-time window in epoch seconds, or None.
    """

    name: str
    date: str
    window: int | None = None

    @property
    def is_errors(self) -> bool:
        return self.name in {ERRORS, PARKED}

    @property
    def folder(self) -> str:
        """The partition's folder in the lake, in Hive's notation."""
        root = self.name if self.is_errors else f"type={self.name}"
        return f"{root}/date={self.date}"


@dataclass
class Counts:
    """What became of the records of a delivery.

    ``read == delivered + dead_letters + filtered + suppressed``, where those suppressed are of
    subjects that were erased before. ``repeats`` are among those filtered: changes that a stream
    brought twice. ``unidentified`` are among those delivered or suppressed: changes of a stream
    without an identifier, which may be repeats.
    """

    read: int = 0
    delivered: int = 0
    dead_letters: int = 0
    filtered: int = 0
    suppressed: int = 0
    parked: int = 0
    discarded_fields: int = 0
    repeats: int = 0
    unidentified: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    by_date: Counter[str] = field(default_factory=Counter)
    by_error: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        self.read += other.read
        self.delivered += other.delivered
        self.dead_letters += other.dead_letters
        self.filtered += other.filtered
        self.suppressed += other.suppressed
        self.parked += other.parked
        self.discarded_fields += other.discarded_fields
        self.repeats += other.repeats
        self.unidentified += other.unidentified
        self.by_type.update(other.by_type)
        self.by_date.update(other.by_date)
        self.by_error.update(other.by_error)


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=False):
    """A rejected record as it lies in ``errors/``: one JSON object a line.

    ``offset`` is where it stood in a file, ``sequence`` where in a shard; the other is None.
    ``original`` holds the record's bytes, scrubbed; ``encoding`` says whether as text (``utf-8``)
    or as ``base64``. ``id`` depends on where the record stood alone, so a retry makes it again.
    """

    id: str
    code: str
    stage: str
    message: str
    field: str | None
    source: str
    offset: int | None
    index: int
    time: datetime
    attempt: int
    type: str | None
    schema_fingerprint: str | None
    encoding: str
    original: str
    sequence: str | None = None

    @property
    def origin(self) -> Position:
        """Where the record stood when it was first read."""
        place = self.offset if self.sequence is None else int(self.sequence)
        return Position(self.source, place or 0, self.index)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeadLetter).decode


def dead_letter(reject: Reject, time: datetime) -> DeadLetter:
    """The dead letter of a reject; its message holds no value of the record."""
    record_type = reject.record_type
    encoding, original = _as_text(reject.original)
    origin = reject.origin
    is_in_stream = is_shard(origin.source)
    place = f"{origin.source}\0{origin.offset}\0{origin.index}".encode()
    return DeadLetter(
        id=hashlib.sha256(place).hexdigest()[:32],
        code=reject.fault.code,
        stage=reject.stage,
        message=_message(reject),
        field=reject.fault.field,
        source=origin.source,
        offset=None if is_in_stream else origin.offset,
        index=origin.index,
        time=time,
        attempt=reject.attempt,
        type=None if record_type is None else record_type.name,
        schema_fingerprint=None if record_type is None else record_type.fingerprint,
        encoding=encoding,
        original=original,
        sequence=str(origin.offset) if is_in_stream else None,
    )


def encode_dead_letter(letter: DeadLetter) -> bytes:
    return _encode(letter) + b"\n"


def decode_dead_letter(line: bytes) -> DeadLetter:
    """Raises ``msgspec.ValidationError`` if the line is no dead letter."""
    return _decode(line)


def original_bytes(letter: DeadLetter) -> bytes:
    if letter.encoding == "base64":
        return base64.b64decode(letter.original)
    return letter.original.encode()


def _as_text(original: bytes) -> tuple[str, str]:
    try:
        return "utf-8", original.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(original).decode()


_REASONS: dict[str, str] = {
    "empty_file": "the file holds nothing",
    "unsupported_encoding": "the file is UTF-16 or UTF-32: convert it to UTF-8",
    "truncated_compression": "the compressed data ends early or is damaged: fetch the file again",
    "record_too_large": "the record is larger than 10 MiB",
    "truncated_record": "the file ends in the middle of this record",
    "nul_byte": "the record holds a NUL byte",
    "invalid_utf8": "the record is not valid UTF-8",
    "too_deep": "the record is nested deeper than 128 levels",
    "invalid_json": "the record is not valid JSON",
    "duplicate_key": "an object holds the same key twice",
    "bad_number": "a number is not a number",
    "lone_surrogate": "a string holds half of a surrogate pair",
    "bad_base64": "the data is not valid base64",
    "unknown_envelope": "this is no change record of a known format",
    "bad_event_name": "the event is none of INSERT, MODIFY and REMOVE",
    "missing_image": "the change carries no image: set the stream to NEW_AND_OLD_IMAGES",
    "missing_old_image": "a removal carries no OldImage: set the stream to NEW_AND_OLD_IMAGES",
    "invalid_type_name": "the type's name has characters that no type name has",
    "unknown_type": "no schema has this type: add one, or filter the type out",
    "missing_field": "a required field is missing or null",
    "unknown_field": "the schema does not know this field",
    "wrong_type": "the value is of another type than the schema says",
    "number_out_of_range": "the number does not fit the schema's type",
    "bad_timestamp": "the time is not ISO 8601 with a zone",
    "date_out_of_range": "the time lies outside the years 1900 to 9999",
    "out_of_range": "the value is below the minimum or above the maximum",
    "too_long": "the text is longer than the schema allows",
    "too_short": "the text is shorter than the schema allows",
    "not_allowed": "the value is none of those the schema lists",
    "bad_pattern": "the text does not match the schema's pattern",
}


def _message(reject: Reject) -> str:
    reason = _REASONS[reject.fault.code]
    return reason if reject.fault.field is None else f"{reject.fault.field}: {reason}"


def summary(counts: Counts) -> dict[str, Any]:
    """The counts as plain data, keys sorted, for a report or the log."""
    return {
        "read": counts.read,
        "delivered": counts.delivered,
        "dead_letters": counts.dead_letters,
        "filtered": counts.filtered,
        "suppressed": counts.suppressed,
        "parked": counts.parked,
        "discarded_fields": counts.discarded_fields,
        "repeats": counts.repeats,
        "unidentified": counts.unidentified,
        "by_type": _present(counts.by_type),
        "by_date": _present(counts.by_date),
        "by_error": _present(counts.by_error),
    }


def _present(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}
