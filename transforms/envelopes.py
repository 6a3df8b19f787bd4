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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any, get_type_hints

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.changes import ErrorCode, Fault, InputFormat
from transforms.attributes import Number
from transforms.keys import count_keys, is_plain_name, repeats_a_key

TTL_PRINCIPAL = "dynamodb.amazonaws.com"
"""``userIdentity.principalId`` of a removal that the service made because a TTL ran out."""

_EVENTS = frozenset({"INSERT", "MODIFY", "REMOVE"})
_PART = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]|,', re.DOTALL)
_EPOCH_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_Members = Mapping[str, Raw]


class Opened(Struct, gc=False):
    """A change taken out of its envelope; ``image`` is raw JSON (fast) or parsed (strict).

    ``time`` is an epoch number; its unit is told by its size. ``by_ttl`` is true for a removal
    that the service made because a time-to-live ran out. ``envelope`` and
    ``other`` are for ``EnvelopeOpener.keys``: all that was decoded, and the image not delivered.
    """

    image: Any
    event_name: str
    by_ttl: bool
    time: float | None
    change_id: str | None
    envelope: Any = None
    other: Any = UNSET


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
_CHANGE_MEMBERS = frozenset({"eventName", "dynamodb"})
_STREAM_MEMBERS = frozenset({"NewImage", "OldImage"})
_ALWAYS_THERE = 3
"""Keys of every change: eventName, dynamodb, and the image that is delivered."""
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
        return Opened(members["Item"], "INSERT", False, None, None, members)

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
        self._identity_expected = "userIdentity" in members
        self._expected = _ALWAYS_THERE + len(members) + len(stream)
        self._type = _change_type(frozenset(members), frozenset(stream))
        self._decode = msgspec.json.Decoder(self._type).decode
        self._decode_any = msgspec.json.Decoder(_change_type(frozenset(), frozenset())).decode
        self._unread = [f"envelope.{place}" for place in _containers(_Change, members)]
        self._unread += [f"envelope.stream.{place}" for place in _containers(_Stream, stream)]

    def open(self, document: bytes) -> Opened:
        try:
            change = self._decode(document)
        except msgspec.ValidationError:
            change = self._decode_any(document)
        name, stream, by_ttl = change.event_name, change.stream, False
        image, other = stream.new_image, stream.old_image
        if name == "REMOVE":
            image, other, by_ttl = other, image, _is_ttl(change.identity)
        if image is UNSET or name not in _EVENTS:
            raise NeedsCare
        return Opened(image, name, by_ttl, stream.time, change.change_id, change, other)

    def keys(self, opened: Sequence[Opened]) -> tuple[int, list[Raw]]:
        as_expected = [change for change in opened if type(change.envelope) is self._type]
        unread = [change.other for change in opened if change.other is not UNSET]
        keys = len(opened) * _ALWAYS_THERE + len(unread)
        keys += len(as_expected) * (self._expected - _ALWAYS_THERE)
        identities = [found for change in opened if (found := change.envelope.identity)]
        keys += sum(map(_identity_keys, identities))
        if not self._identity_expected:
            keys += len(identities)
        for path in self._unread:
            unread += map(attrgetter(path), as_expected)
        return keys, unread


def identity_is_ttl(raw: bytes) -> bool | None:
    """Whether this is the identity of a time-to-live; None where that is not plain to see."""
    identity = msgspec.json.decode(raw, type=_Identity | None)
    plain = msgspec.json.encode(msgspec.json.decode(raw)) == raw
    return _is_ttl(identity) if plain else None


def _is_ttl(identity: Any) -> bool:
    return isinstance(identity, _Identity) and identity.principal == TTL_PRINCIPAL


def _identity_keys(identity: _Identity) -> int:
    return (identity.principal is not None) + (identity.kind is not None)


def _sample(contents: Sequence[bytes]) -> tuple[_Members, _Members]:
    """The members of the first change record that decodes, less those that are always known."""
    for content in contents[:_SAMPLES]:
        try:
            members = _decode_members(content)
            stream = _decode_members(members["dynamodb"])
        except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            continue
        if len(members) + len(stream) <= _MOST_MEMBERS:
            return _counted(members, _CHANGE_MEMBERS), _counted(stream, _STREAM_MEMBERS)
    return {}, {}


def _counted(members: _Members, otherwise: frozenset[str]) -> _Members:
    """The members that are told from a sample; ``otherwise`` are counted in each record."""
    return {
        name: raw
        for name, raw in sorted(members.items())
        if name not in otherwise and is_plain_name(name)
    }


def _containers(base: type[Struct], members: _Members) -> list[str]:
    """How ``_expecting`` calls those members, unknown to ``base``, that hold objects or arrays."""
    return [
        f"m{place}"
        for place, (name, raw) in enumerate(members.items())
        if name not in base.__struct_encode_fields__ and bytes(raw)[:1] in b"{["
    ]


@lru_cache(maxsize=64)
def _change_type(members: frozenset[str], stream: frozenset[str]) -> Any:
    inner = ("stream", _expecting(_Stream, stream), msgspec.field(name="dynamodb"))
    return _expecting(_Change, members, inner)


def _expecting(base: type[Struct], members: frozenset[str], *more: Any) -> Any:
    """``base`` with ``members``, which a document must have to be decoded, and ``more`` fields."""
    hints = get_type_hints(base)
    known = dict(zip(base.__struct_encode_fields__, base.__struct_fields__, strict=True))
    fields = [
        (known[name], hints[known[name]], msgspec.field(name=name))
        if name in known
        else (f"m{place}", Raw, msgspec.field(name=name))
        for place, name in enumerate(sorted(members))
    ]
    return msgspec.defstruct(base.__name__, [*fields, *more], bases=(base,), kw_only=True, gc=False)


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


class EventUnwrapper:
    """Takes the Lambda events of a block apart into the change records in them."""

    def __init__(self, fmt: InputFormat) -> None:
        self._unwrap = self._stream_records if fmt is InputFormat.LAMBDA_DYNAMODB else self._data
        self._decode: Callable[[bytes], Any] | None = None
        self._keys = 0

    def unwrap(self, document: bytes) -> list[bytes]:
        """The records inside an event; the document itself if it cannot be taken apart.

        A record stands for itself where nothing else can be had from it, as when its data is not
        base64. Each is to be judged alone.
        """
        try:
            return self._unwrap(document)
        except (NeedsCare, msgspec.MsgspecError, ValueError, KeyError, RecursionError):
            self._decode = None
            return _unwrap_carefully(document)

    def _stream_records(self, document: bytes) -> list[bytes]:
        records = list(map(bytes, _decode_event(document).Records))
        commas = max(len(records) - 1, 0)
        if _EVENT_SHELL + commas + sum(map(len, records)) != len(document):
            raise NeedsCare
        return records

    def _data(self, document: bytes) -> list[bytes]:
        if self._decode is None:
            self._expect(_decode_event(document).Records[:1])
        assert self._decode is not None
        records = self._decode(document).Records
        if count_keys(document) != 1 + len(records) * self._keys:
            raise NeedsCare
        return [base64.b64decode(record.kinesis.data, validate=True) for record in records]

    def _expect(self, sample: list[Raw]) -> None:
        """Expect records to have the members of a sample; see ``ChangeOpener``."""
        members = _decode_members(sample[0]) if sample else {}
        inner = _decode_members(members["kinesis"]) if sample else {}
        if not all(map(is_plain_name, [*members, *inner])):
            raise NeedsCare
        self._keys = len(members) + len(inner)
        self._decode = _event_decoder(frozenset(members), frozenset(inner))


@lru_cache(maxsize=64)
def _event_decoder(members: frozenset[str], inner: frozenset[str]) -> Callable[[bytes], Any]:
    data = _expecting(_KinesisData, inner - {"data"})
    record = _expecting(_KinesisRecord, members - {"kinesis"}, ("kinesis", data))
    event = msgspec.defstruct("Event", [("Records", list[record])])  # type: ignore[valid-type]
    return msgspec.json.Decoder(event).decode


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
    if b'"Records"' not in document:
        return document, []
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
