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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.changes import ErrorCode, Fault, InputFormat
from transforms.attributes import Number
from transforms.keys import count_keys, repeats_a_key

TTL_PRINCIPAL = "dynamodb.amazonaws.com"
"""``userIdentity.principalId`` of a removal that the service made because a TTL ran out."""

_EVENTS = frozenset({"INSERT", "MODIFY", "REMOVE"})
_PART = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]|,', re.DOTALL)
_EPOCH_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_Members = Mapping[str, Raw]


class Opened(Struct, gc=False):
    """A change taken out of its envelope; ``image`` is raw bytes (fast) or parsed JSON (strict).

    ``time`` is an epoch number; its unit is told by its size. ``by_ttl`` is true for a removal
    that the service made because a time-to-live ran out. ``envelope`` is what the fast way
    decoded, for ``EnvelopeOpener.keys``.
    """

    image: Any
    event_name: str
    by_ttl: bool
    time: float | None
    change_id: str | None
    envelope: Any = None


class NeedsCare(Exception):
    """The fast way cannot vouch for this document."""


class DocumentFault(Exception):
    """A document, or a record in it, that cannot be delivered."""

    def __init__(self, code: ErrorCode, field: str | None = None) -> None:
        super().__init__(code)
        self.fault = Fault(code, field)


class _Identity(Struct, gc=False):
    principal: str | None = msgspec.field(name="principalId", default=None)
    kind: str | None = msgspec.field(name="type", default=None)


class _Stream(Struct, gc=False, kw_only=True):
    time: int | float | None = msgspec.field(name="ApproximateCreationDateTime", default=None)
    new_image: Raw | UnsetType = msgspec.field(name="NewImage", default=UNSET)
    old_image: Raw | UnsetType = msgspec.field(name="OldImage", default=UNSET)


class _Change(Struct, gc=False, kw_only=True):
    event_name: str = msgspec.field(name="eventName")
    change_id: str | None = msgspec.field(name="eventID", default=None)
    identity: _Identity | UnsetType | None = msgspec.field(name="userIdentity", default=UNSET)


class _KinesisData(Struct, gc=False, kw_only=True):
    data: str


class _KinesisRecord(Struct, gc=False, kw_only=True):
    """A record of a Lambda event; ``kinesis`` is added with the members that are expected."""


class _Event(Struct):
    Records: list[Raw]


_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_event = msgspec.json.Decoder(_Event).decode

_EVENT_SHELL = len(b'{"Records":[]}')
_SAMPLES = 5
_MOST_MEMBERS = 64
"""Members of a sample envelope above which it is no use as a sample."""


class EnvelopeOpener:
    """Opens the documents of one block, fast."""

    def open(self, document: bytes) -> Opened:
        """The change in a document. Raises ``NeedsCare`` or a msgspec error at the least doubt."""
        raise NotImplementedError

    def keys(self, opened: Sequence[Opened]) -> tuple[int, list[Raw]]:
        """How many keys these envelopes were read from, each key of an object counted once.

        And what was passed over unread, in which more keys may stand: ``Keys``, the image that
        is not delivered, members that Lethe does not know. Nothing in there is judged.
        """
        raise NotImplementedError


class StrictOnly(EnvelopeOpener):
    """Formats that have no fast way."""

    def open(self, document: bytes) -> Opened:
        raise NeedsCare(document[:0])


class ItemOpener(EnvelopeOpener):
    """Lines of a full export."""

    def open(self, document: bytes) -> Opened:
        members = _decode_members(document)
        if "Item" not in members:
            raise NeedsCare
        return Opened(bytes(members["Item"]), "INSERT", False, None, None, members)

    def keys(self, opened: Sequence[Opened]) -> tuple[int, list[Raw]]:
        keys = sum(len(change.envelope) for change in opened)
        if keys == len(opened):
            return keys, []
        members = (change.envelope.items() for change in opened)
        return keys, [raw for found in members for name, raw in found if name != "Item"]


class ChangeOpener(EnvelopeOpener):
    """Change records, expected to have the same members as a sample of them.

    A producer may add members to its envelopes as it likes: decoders are made for those of the
    sample, which msgspec then counts in C. Records with others are opened all the same, but
    their keys are counted short.
    """

    def __init__(self, contents: Sequence[bytes]) -> None:
        members, stream = _sample(contents)
        self._expected = len(members) + len(stream)
        self._type = _change_type(frozenset(members), frozenset(stream))
        self._decode = msgspec.json.Decoder(self._type).decode
        self._decode_any = msgspec.json.Decoder(_change_type(frozenset(), frozenset())).decode
        self._unread = _containers(members) + [f"stream.{name}" for name in _containers(stream)]

    def open(self, document: bytes) -> Opened:
        try:
            change = self._decode(document)
        except msgspec.ValidationError:
            change = self._decode_any(document)
        name, stream, by_ttl = change.event_name, change.stream, False
        if name == "REMOVE":
            image, by_ttl = stream.old_image, _is_ttl(change.identity)
        else:
            image = stream.new_image
        if image is UNSET or name not in _EVENTS:
            raise NeedsCare
        return Opened(bytes(image), name, by_ttl, stream.time, change.change_id, change)

    def keys(self, opened: Sequence[Opened]) -> tuple[int, list[Raw]]:
        envelopes = [change.envelope for change in opened]
        streams = [envelope.stream for envelope in envelopes]
        unused = [
            s.new_image if e.event_name == "REMOVE" else s.old_image
            for e, s in zip(envelopes, streams, strict=True)
        ]
        as_expected = [envelope for envelope in envelopes if type(envelope) is self._type]
        # For each: eventName, dynamodb, an image; then what may be there.
        keys = 3 * len(opened) + len(unused) - unused.count(UNSET)
        keys += self._expected * len(as_expected)
        keys += _present([change.time for change in opened])
        keys += _present([change.change_id for change in opened])
        keys += _identity_keys([envelope.identity for envelope in envelopes])
        unread = [image for image in unused if image is not UNSET]
        for path in self._unread:
            unread += map(attrgetter(path), as_expected)
        return keys, unread


def _is_ttl(identity: Any) -> bool:
    return isinstance(identity, _Identity) and identity.principal == TTL_PRINCIPAL


def _present(values: list[Any]) -> int:
    return len(values) - values.count(None)


def _identity_keys(identities: list[Any]) -> int:
    given = len(identities) - identities.count(UNSET)
    if identities.count(None) == given:
        return given
    found = [identity for identity in identities if isinstance(identity, _Identity)]
    return given + _present([i.principal for i in found]) + _present([i.kind for i in found])


def _sample(contents: Sequence[bytes]) -> tuple[_Members, _Members]:
    """The members of the first change record that decodes, less those that are always known."""
    for content in contents[:_SAMPLES]:
        try:
            members = _decode_members(content)
            stream = _decode_members(members["dynamodb"])
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            continue
        if len(members) + len(stream) <= _MOST_MEMBERS:
            return _without(members, _Change, "dynamodb"), _without(stream, _Stream)
    return {}, {}


def _without(members: _Members, known: type[Struct], *others: str) -> _Members:
    names = {*known.__struct_encode_fields__, *others}
    return {name: raw for name, raw in sorted(members.items()) if name not in names}


def _containers(members: _Members) -> list[str]:
    """The struct's names of those members that hold objects or arrays."""
    return [f"m{place}" for place, raw in enumerate(members.values()) if bytes(raw)[:1] in b"{["]


@lru_cache(maxsize=64)
def _change_type(members: frozenset[str], stream: frozenset[str]) -> Any:
    return _expecting(_Change, members, "stream", "dynamodb", _expecting(_Stream, stream))


def _expecting(base: type[Struct], members: frozenset[str], *inner: Any) -> Any:
    """``base`` with raw ``members``, which a document must have to be decoded."""
    fields: list[Any] = [
        (f"m{place}", Raw, msgspec.field(name=name)) for place, name in enumerate(sorted(members))
    ]
    if inner:
        name, encoded, kind = inner
        fields.append((name, kind, msgspec.field(name=encoded)))
    return msgspec.defstruct(base.__name__, fields, bases=(base,), kw_only=True, gc=False)


def opener_for(fmt: InputFormat, contents: Sequence[bytes]) -> EnvelopeOpener:
    """The opener of a block's records. Formats without a fast way get one that needs care."""
    match fmt:
        case InputFormat.CHANGE | InputFormat.LAMBDA_KINESIS | InputFormat.LAMBDA_DYNAMODB:
            return ChangeOpener(contents)
        case InputFormat.EXPORT:
            return ItemOpener()
    return StrictOnly()


INNER_MEMBERS = ("dynamodb", "userIdentity")
"""Members of an envelope that are read themselves; see ``transforms.keys.repeats_a_key``."""


def unwrap_event(document: bytes, fmt: InputFormat) -> list[bytes]:
    """The records inside a Lambda event; the document itself if it cannot be taken apart.

    A record stands for itself where nothing else can be had from it, as when its data is not
    base64. Each is to be judged alone.
    """
    try:
        if fmt is InputFormat.LAMBDA_DYNAMODB:
            return list(map(bytes, _event_records(document)))
        return _kinesis_data(document)
    except (NeedsCare, msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        return _unwrap_carefully(document)


def _event_records(document: bytes) -> list[Raw]:
    """The records of an event that has nothing else. Raises ``NeedsCare`` if it may have."""
    records = _decode_event(document).Records
    commas = max(len(records) - 1, 0)
    if _EVENT_SHELL + commas + sum(len(bytes(record)) for record in records) != len(document):
        raise NeedsCare
    return records


def _kinesis_data(document: bytes) -> list[bytes]:
    records = _event_records(document)
    if not records:
        return []
    members = _decode_members(records[0])
    inner = _decode_members(members["kinesis"])
    record_type = _kinesis_type(frozenset(members), frozenset(inner))
    decode = msgspec.json.Decoder(record_type).decode
    data = [base64.b64decode(decode(raw).kinesis.data, validate=True) for raw in records]
    if count_keys(document) != 1 + len(records) * (len(members) + len(inner)):
        raise NeedsCare
    return data


@lru_cache(maxsize=64)
def _kinesis_type(members: frozenset[str], inner: frozenset[str]) -> Any:
    data = _expecting(_KinesisData, inner - {"data"})
    return _expecting(_KinesisRecord, members - {"kinesis"}, "kinesis", "kinesis", data)


def _unwrap_carefully(document: bytes) -> list[bytes]:
    shell, records = split_records(document)
    try:
        if not records or repeats_a_key(shell):
            return [document]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [document]
    return [_content(record) for record in records]


def _content(record: bytes) -> bytes:
    """A record's data, or the record itself if it has none or there is any doubt about it."""
    try:
        kinesis = _decode_members(record).get("kinesis")
        if kinesis is None or repeats_a_key(record, ("kinesis",)):
            return record
        return base64.b64decode(msgspec.json.decode(kinesis, type=_KinesisData).data, validate=True)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return record


def split_records(document: bytes) -> tuple[bytes, list[bytes]]:
    """A Lambda event's text with ``0`` in place of each of its records, and the records' texts.

    Goes by brackets and commas alone, so that one broken record does not hide the others. For
    any other document: itself, and no records.
    """
    depth, begin, name = 0, -1, b""
    cuts: list[int] = []
    for part in _PART.finditer(document):
        match part.group()[:1]:
            case b'"':
                name = part.group() if depth == 1 else name
            case b"[" | b"{" as bracket:
                if depth == 1 and bracket == b"[" and name == b'"Records"':
                    begin = part.end()
                depth += 1
            case b",":
                if depth == 2 and begin >= 0:
                    cuts.append(part.start())
            case _:
                depth -= 1
                if depth == 1 and begin >= 0:
                    return _shell(document, [begin - 1, *cuts, part.start()])
    return document, []


def _shell(document: bytes, cuts: list[int]) -> tuple[bytes, list[bytes]]:
    """The document without what stands between the cuts, and that."""
    records = [document[cut + 1 : end].strip() for cut, end in pairwise(cuts)]
    places = b",".join(b"0" if record else b"" for record in records)
    shell = document[: cuts[0] + 1] + places + document[cuts[-1] :]
    return shell, [record for record in records if record]


@dataclass(frozen=True)
class InnerRecord:
    """What a Kinesis record carries: its bytes, or as many as can be had, and what is wrong."""

    encoded: bytes | None = None
    fault: Fault | None = None


def kinesis_record(value: Any) -> InnerRecord | None:
    """What a parsed record of a Lambda event of Kinesis records carries; None if it is none."""
    kinesis = value.get("kinesis") if isinstance(value, dict) else None
    if kinesis is None:
        return None
    data = kinesis.get("data") if isinstance(kinesis, dict) else None
    if not isinstance(data, str):
        return InnerRecord(fault=Fault(ErrorCode.UNKNOWN_ENVELOPE, "kinesis.data"))
    try:
        return InnerRecord(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return InnerRecord(_legible(data), Fault(ErrorCode.BAD_BASE64, "kinesis.data"))


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
    if name not in _EVENTS:
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
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str) or not _EPOCH_NUMBER.fullmatch(text):
        raise DocumentFault(ErrorCode.BAD_TIMESTAMP, "change time")
    return float(text)
