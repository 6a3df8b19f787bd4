"""The careful way to decode a document: slower, and able to say exactly what is wrong.

A document comes here when the fast way will not vouch for it. Whatever is right with it is still
delivered; what is wrong gets the code that names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.changes import ErrorCode, Fault
from schemas.fields import Field, Kind, ListKind, RecordKind, RecordType
from schemas.registry import TYPE_NAME, Registry
from transforms.attributes import (
    NotAnAttribute,
    Number,
    marshal_image,
    unmarshal,
)
from transforms.columns import ImageReader
from transforms.envelopes import (
    DocumentFault,
    Opened,
    kinesis_record,
    open_strict,
    split_records,
)
from transforms.nesting import nests_deeper

_TAGS = frozenset({"S", "N", "B", "BOOL", "L", "M", "SS", "NS"})
_MISSING = re.compile(r"missing required field `([^`]+)` - at `\$(?:.*\.)?(\w+)`")

DEEPEST = 128
"""Levels of nesting accepted in a document; DynamoDB itself stores at most 32."""


@dataclass(frozen=True)
class StrictChange:
    """A change that was found good: its decoded image and the fields the schema does not know."""

    index: int
    record_type: RecordType
    image: Any
    opened: Opened
    unknown: Mapping[str, Any]


@dataclass(frozen=True)
class StrictFault:
    """A change, or a whole document, that was found bad."""

    index: int
    fault: Fault
    record_type: RecordType | None = None
    original: bytes | None = None


@dataclass(frozen=True)
class NotWanted:
    """A change of a type that was not asked for."""

    index: int


Outcome = StrictChange | StrictFault | NotWanted


@dataclass(frozen=True)
class StrictDecoder:
    """Decodes documents with care, by the types of ``registry`` that are ``wanted``."""

    registry: Registry
    readers: Mapping[str, ImageReader]
    wanted: frozenset[str]

    def decode(self, document: bytes) -> Iterator[Outcome]:
        """What each record in ``document`` is; nothing at all for a blank one."""
        if not document.strip():
            return
        try:
            records = records_of(document)
        except DocumentFault as error:
            yield StrictFault(0, error.fault)
            return
        for index, record in enumerate(records):
            yield self._decode_one(index, record)

    def _decode_one(self, index: int, record: bytes) -> Outcome:
        found = _Found(record)
        try:
            return self._decode_record(index, found.carried(parse(record)), found)
        except DocumentFault as error:
            return StrictFault(index, error.fault, found.record_type, found.original)

    def _decode_record(self, index: int, record: Any, found: _Found) -> Outcome:
        opened, typed = open_strict(record)
        name = _type_name(opened.image, typed)
        if name in self.registry and name not in self.wanted:
            return NotWanted(index)
        found.record_type = _record_type(name, self.registry)
        reader = self.readers[name]
        image = opened.image if typed else _typed_image(opened.image, found.record_type)
        unknown = unknown_fields(image, reader.fields)
        return StrictChange(index, found.record_type, _convert(image, reader), opened, unknown)


@dataclass
class _Found:
    """How far decoding came before it failed."""

    original: bytes
    record_type: RecordType | None = None

    def carried(self, value: Any) -> Any:
        """A parsed record, or the one that it carries if it is a Kinesis record."""
        inner = kinesis_record(value)
        if inner is None:
            return value
        self.original = self.original if inner.encoded is None else inner.encoded
        if inner.fault is not None:
            raise DocumentFault(inner.fault.code, inner.fault.field)
        return parse(self.original)


def records_of(document: bytes) -> list[bytes]:
    """The records of a Lambda event, or the document itself if it is none.

    Raises ``DocumentFault`` for an event that is broken outside its records.
    """
    shell, records = split_records(document)
    if shell is document:
        return [document]
    value = parse(shell)
    if not isinstance(value, dict) or not isinstance(value.get("Records"), list):
        return [document]
    return records


def parse(document: bytes) -> Any:
    """Parsed JSON, numbers as written. Raises ``DocumentFault`` with the code of the first flaw."""
    if b"\0" in document:
        raise DocumentFault(ErrorCode.NUL_BYTE)
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        raise DocumentFault(ErrorCode.INVALID_UTF8) from None
    if nests_deeper(document, DEEPEST):
        raise DocumentFault(ErrorCode.TOO_DEEP)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_constant,
        )
    except ValueError:
        raise DocumentFault(ErrorCode.INVALID_JSON) from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DocumentFault(ErrorCode.DUPLICATE_KEY)
    return members


def _constant(_: str) -> Any:
    raise DocumentFault(ErrorCode.BAD_NUMBER)


def _refuse_lone_surrogates(value: Any) -> None:
    texts: list[Any] = [value]
    while texts:
        match texts.pop():
            case str() as text:
                if any("\ud800" <= character <= "\udfff" for character in text):
                    raise DocumentFault(ErrorCode.LONE_SURROGATE)
            case dict() as members:
                texts += [*members, *members.values()]
            case list() as items:
                texts += items


def _type_name(image: dict[str, Any], typed: bool) -> str:
    attribute = image.get("type")
    if attribute is None:
        raise DocumentFault(ErrorCode.MISSING_FIELD, "type")
    name = attribute.get("S") if typed and isinstance(attribute, dict) else attribute
    if not isinstance(name, str) or (typed and attribute != {"S": name}):
        raise DocumentFault(ErrorCode.WRONG_TYPE, "type")
    return name


def _record_type(name: str, registry: Registry) -> RecordType:
    if not TYPE_NAME.match(name):
        raise DocumentFault(ErrorCode.INVALID_TYPE_NAME, "type")
    if name not in registry:
        raise DocumentFault(ErrorCode.UNKNOWN_TYPE, "type")
    return registry[name]


def _typed_image(image: dict[str, Any], record_type: RecordType) -> dict[str, Any]:
    try:
        return marshal_image(image, record_type.image_fields)
    except NotAnAttribute:
        raise DocumentFault(ErrorCode.WRONG_TYPE) from None


def unknown_fields(image: Mapping[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """What the schema does not know of, as plain values, nested as it was found.

    Raises ``DocumentFault`` if a value is none of DynamoDB's ten types.
    """
    kinds = {field.source: field.kind for field in fields}
    unknown = {}
    for name in sorted(image):
        if name not in kinds:
            unknown[name] = _plain(image[name], name)
        elif inner := _unknown_within(image[name], kinds[name]):
            unknown[name] = inner
    return unknown


def _plain(attribute: Any, name: str) -> Any:
    try:
        return unmarshal(attribute)
    except NotAnAttribute:
        raise DocumentFault(ErrorCode.WRONG_TYPE, name) from None


def _unknown_within(attribute: Any, kind: Kind) -> Any:
    match kind, attribute:
        case RecordKind(_, fields), {"M": dict(members)}:
            return unknown_fields(members, fields)
        case ListKind(item), {"L": list(items)}:
            found = [_unknown_within(entry, item) for entry in items]
            return found if any(found) else None
    return None


def _convert(image: dict[str, Any], reader: ImageReader) -> Any:
    for field, value_reader in zip(reader.fields, reader.readers, strict=True):
        value = image.get(field.source)
        if value is None:
            if not field.nullable:
                raise DocumentFault(ErrorCode.MISSING_FIELD, field.name)
            continue
        if value == {"NULL": True} and not field.nullable:
            raise DocumentFault(ErrorCode.MISSING_FIELD, field.name)
        _check_attribute(value, value_reader.value_type, field.name)
    known = {name: value for name, value in image.items() if name in reader.known}
    return msgspec.convert(known, reader.image_type)


def _check_attribute(value: Any, value_type: Any, name: str) -> None:
    if not isinstance(value, dict) or len(value) != 1:
        raise DocumentFault(ErrorCode.WRONG_TYPE, name)
    try:
        unmarshal(value)
        msgspec.convert(value, value_type)
    except msgspec.ValidationError as error:
        raise DocumentFault(_conversion_code(error), _path(name, error)) from None
    except NotAnAttribute:
        raise DocumentFault(_number_code(value), name) from None


def _number_code(value: Mapping[str, Any]) -> ErrorCode:
    """An N whose text is no number is a bad number; every other mismatch is of type."""
    number = value.get("N")
    return ErrorCode.BAD_NUMBER if isinstance(number, str) else ErrorCode.WRONG_TYPE


def _conversion_code(error: msgspec.ValidationError) -> ErrorCode:
    """A record below the field lacks one of its own; every other mismatch is of type."""
    missing = _MISSING.search(str(error))
    return ErrorCode.MISSING_FIELD if missing and missing[2] == "M" else ErrorCode.WRONG_TYPE


def _path(name: str, error: msgspec.ValidationError) -> str:
    """The field's path, without the type tags and positions that msgspec's own path has."""
    inner = re.findall(r"\.([^.\[\]`]+)", str(error).partition("`$")[2])
    names = [part for part in inner if part not in _TAGS]
    missing = _MISSING.search(str(error))
    return ".".join([name, *names, *([missing[1]] if missing and missing[2] == "M" else [])])
