"""Envelopes: what surrounds an item's image in each input format.

Every format has a fast opener, which msgspec decodes in C and which raises ``NeedsCare`` (or a
msgspec error) at the least doubt, and shares one strict opener that looks at parsed JSON and can
say what is wrong. Both end in an ``Opened`` change.

Formats: Amazon DynamoDB Developer Guide ("Using Kinesis Data Streams to capture changes",
"DynamoDB Streams record", "DynamoDB table export output format"), AWS Lambda Developer Guide
(event examples of Kinesis and DynamoDB), Debezium documentation ("change event").
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.changes import ErrorCode, Fault, InputFormat
from transforms.attributes import Number

TTL_PRINCIPAL = "dynamodb.amazonaws.com"
"""``userIdentity.principalId`` of a removal that the service made because a TTL ran out."""

_WRITES = frozenset({"INSERT", "MODIFY"})


class Opened(NamedTuple):
    """A change taken out of its envelope; ``image`` is raw bytes (fast) or parsed JSON (strict).

    ``time`` is an epoch number; its unit is told by its size. ``by_ttl`` is true for a removal
    that the service made because a time-to-live ran out.
    """

    image: Any
    event_name: str
    by_ttl: bool
    time: float | None
    change_id: str | None


class NeedsCare(Exception):
    """The fast way cannot vouch for this document."""


class DocumentFault(Exception):
    """A document, or a record in it, that cannot be delivered."""

    def __init__(self, code: ErrorCode, field: str | None = None) -> None:
        super().__init__(code)
        self.fault = Fault(code, field)


class _Identity(Struct, gc=False):
    principal: str | None = msgspec.field(name="principalId", default=None)


class _Stream(Struct, gc=False):
    time: int | float | None = msgspec.field(name="ApproximateCreationDateTime", default=None)
    new_image: Raw | UnsetType = msgspec.field(name="NewImage", default=UNSET)
    old_image: Raw | UnsetType = msgspec.field(name="OldImage", default=UNSET)


class _Change(Struct, gc=False):
    stream: _Stream = msgspec.field(name="dynamodb")
    event_name: str = msgspec.field(name="eventName")
    change_id: str | None = msgspec.field(name="eventID", default=None)
    identity: _Identity | None = msgspec.field(name="userIdentity", default=None)


class _Item(Struct, gc=False):
    Item: Raw


class _KinesisData(Struct, gc=False):
    data: str


class _KinesisRecord(Struct, gc=False):
    kinesis: _KinesisData


class _KinesisEvent(Struct):
    Records: list[_KinesisRecord]


class _DynamoEvent(Struct):
    Records: list[Raw]


_decode_change = msgspec.json.Decoder(_Change).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_kinesis_event = msgspec.json.Decoder(_KinesisEvent).decode
_decode_dynamo_event = msgspec.json.Decoder(_DynamoEvent).decode


def _open_change(document: bytes) -> Opened:
    change = _decode_change(document)
    stream = change.stream
    if change.event_name == "REMOVE":
        return _open_removal(change, stream)
    if change.event_name not in _WRITES or stream.new_image is UNSET:
        raise NeedsCare
    image = bytes(stream.new_image)
    return Opened(image, change.event_name, False, stream.time, change.change_id)


def _open_removal(change: _Change, stream: _Stream) -> Opened:
    if stream.old_image is UNSET:
        raise NeedsCare
    identity = change.identity
    by_ttl = identity is not None and identity.principal == TTL_PRINCIPAL
    return Opened(bytes(stream.old_image), "REMOVE", by_ttl, stream.time, change.change_id)


def _open_item(document: bytes) -> Opened:
    return Opened(bytes(_decode_item(document).Item), "INSERT", False, None, None)


def _needs_care(_: bytes) -> Opened:
    raise NeedsCare


FAST_OPENERS: dict[InputFormat, Callable[[bytes], Opened]] = {
    InputFormat.CHANGE: _open_change,
    InputFormat.LAMBDA_KINESIS: _open_change,
    InputFormat.LAMBDA_DYNAMODB: _open_change,
    InputFormat.EXPORT: _open_item,
    InputFormat.INCREMENTAL_EXPORT: _needs_care,
    InputFormat.DEBEZIUM: _needs_care,
}


def unwrap_event(document: bytes, fmt: InputFormat) -> list[bytes]:
    """The change records inside a Lambda event. Raises ``NeedsCare`` if one cannot be had."""
    try:
        if fmt is InputFormat.LAMBDA_DYNAMODB:
            return [bytes(record) for record in _decode_dynamo_event(document).Records]
        records = _decode_kinesis_event(document).Records
        return [base64.b64decode(record.kinesis.data, validate=True) for record in records]
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        raise NeedsCare from None


@dataclass(frozen=True)
class InnerRecord:
    """A record in a parsed document: its value, or its bytes, or the fault that hides it."""

    value: Any = None
    encoded: bytes | None = None
    fault: Fault | None = None


def inner_records(value: Any) -> Iterator[InnerRecord]:
    """The change records in a parsed document: itself, or those of a Lambda event."""
    records = value.get("Records") if isinstance(value, dict) else None
    if not isinstance(records, list):
        yield InnerRecord(value)
        return
    for record in records:
        yield _inner_record(record)


def _inner_record(record: Any) -> InnerRecord:
    kinesis = record.get("kinesis") if isinstance(record, dict) else None
    if kinesis is None:
        return InnerRecord(record)
    data = kinesis.get("data") if isinstance(kinesis, dict) else None
    if not isinstance(data, str):
        return InnerRecord(fault=Fault(ErrorCode.UNKNOWN_ENVELOPE, "kinesis.data"), encoded=b"")
    try:
        return InnerRecord(encoded=base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        fault = Fault(ErrorCode.BAD_BASE64, "kinesis.data")
        return InnerRecord(fault=fault, encoded=_legible(data))


def _legible(data: str) -> bytes:
    """As much of broken base64 as can be read, so that personal data in it can be scrubbed."""
    letters = re.sub(r"[^A-Za-z0-9+/]", "", data)
    return base64.b64decode(letters[: len(letters) // 4 * 4])


def open_strict(value: Any) -> tuple[Opened, bool]:
    """The change in a parsed record, and whether its image is typed JSON (False: plain).

    Raises ``DocumentFault`` that says what the envelope lacks.
    """
    if not isinstance(value, dict):
        raise DocumentFault(ErrorCode.UNKNOWN_ENVELOPE)
    value = value["payload"] if isinstance(value.get("payload"), dict) else value
    if isinstance(value.get("dynamodb"), dict):
        return _strict_change(value), True
    if "Item" in value:
        return Opened(_image(value["Item"], "Item"), "INSERT", False, None, None), True
    if "Metadata" in value or ("Keys" in value and "dynamodb" not in value):
        return _strict_incremental(value), True
    if "op" in value and ("before" in value or "after" in value):
        return _strict_debezium(value), False
    raise DocumentFault(ErrorCode.UNKNOWN_ENVELOPE)


def _strict_change(value: dict[str, Any]) -> Opened:
    stream, name = value["dynamodb"], value.get("eventName")
    if name not in {"INSERT", "MODIFY", "REMOVE"}:
        raise DocumentFault(ErrorCode.BAD_EVENT_NAME, "eventName")
    image = _choose_image(name, stream.get("NewImage"), stream.get("OldImage"))
    change_id = value.get("eventID")
    if change_id is not None and not isinstance(change_id, str):
        raise DocumentFault(ErrorCode.WRONG_TYPE, "eventID")
    time = stream.get("ApproximateCreationDateTime")
    identity = value.get("userIdentity")
    by_ttl = isinstance(identity, dict) and identity.get("principalId") == TTL_PRINCIPAL
    return Opened(image, name, by_ttl and name == "REMOVE", _time(time), change_id)


def _strict_incremental(value: dict[str, Any]) -> Opened:
    new, old = value.get("NewImage"), value.get("OldImage")
    name = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    metadata = value.get("Metadata")
    written = metadata.get("WriteTimestampMicros") if isinstance(metadata, dict) else None
    time = written.get("N") if isinstance(written, dict) else written
    return Opened(_choose_image(name, new, old), name, False, _time(time), None)


_DEBEZIUM_NAMES = {"c": "INSERT", "r": "INSERT", "u": "MODIFY", "d": "REMOVE"}
"""create, read (snapshot), update, delete; truncate and message events carry no row."""


def _strict_debezium(value: dict[str, Any]) -> Opened:
    name = _DEBEZIUM_NAMES.get(str(value["op"]))
    if name is None:
        raise DocumentFault(ErrorCode.BAD_EVENT_NAME, "op")
    image = _choose_image(name, value.get("after"), value.get("before"))
    return Opened(image, name, False, _time(value.get("ts_ms")), None)


def _choose_image(name: str, new: Any, old: Any) -> dict[str, Any]:
    if new is None and old is None and name != "REMOVE":
        raise DocumentFault(ErrorCode.MISSING_IMAGE)
    if name == "REMOVE":
        if old is None:
            raise DocumentFault(ErrorCode.MISSING_OLD_IMAGE, "OldImage")
        return _image(old, "OldImage")
    if new is None:
        raise DocumentFault(ErrorCode.MISSING_IMAGE, "NewImage")
    return _image(new, "NewImage")


def _image(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DocumentFault(ErrorCode.WRONG_TYPE, name)
    return value


def _time(value: Any) -> float | None:
    if value is None:
        return None
    text = value.text if isinstance(value, Number) else str(value)
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise DocumentFault(ErrorCode.BAD_TIMESTAMP, "change time") from None
