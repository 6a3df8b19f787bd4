"""Record types, read from Avro schemas: one ``<type>.avsc`` file a type.

A type's file holds its own fields; the fields that every type has in the lake (``LAKE_FIELDS``)
are appended here, so that they are written down once. The custom attributes a field may carry
are listed in ``ATTRIBUTES``; an attribute that is none of these and not Avro's own is an error,
because a misspelt ``"subjekt"`` would leave a person out of an erasure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fastavro.schema import parse_schema

from schemas.errors import SchemaError, UsageError
from schemas.fields import (
    BooleanKind,
    BytesKind,
    DateKind,
    DecimalKind,
    EnumKind,
    Field,
    FloatKind,
    IntegerKind,
    Kind,
    Limits,
    ListKind,
    MapKind,
    RecordKind,
    RecordType,
    Scrub,
    StringKind,
    TimestampKind,
)

SHIPPED = Path(__file__).parent / "records"

TYPE_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")

_TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}

LAKE_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "reference", "type": "string", "computed": "reference",
     "doc": "urn:lethe:<type>:<id>:<version>"},
    {"name": "deleted", "type": "boolean", "doc": "The change removed the item"},
    {"name": "deleted_at", "type": ["null", _TIMESTAMP], "default": None,
     "doc": "When it was removed; null unless deleted"},
    {"name": "deleted_by", "type": ["null", "string"], "default": None,
     "doc": "'ttl' if the service expired the item, else 'request'; null unless deleted"},
    {"name": "change_time", "type": ["null", _TIMESTAMP], "default": None,
     "doc": "The change record's own time; null where the input has none"},
    {"name": "change_id", "type": ["null", "string"], "default": None,
     "doc": "The change record's eventID; null where the input has none"},
    {"name": "extra", "type": ["null", "string"], "default": None,
     "doc": "Fields the schema does not know, as a JSON object"},
)  # fmt: skip

ATTRIBUTES = frozenset(
    "source partition subject subjectWhen pii scrub computed "
    "minimum maximum minLength maxLength pattern".split()
)
_AVRO_ATTRIBUTES = frozenset("name type doc default order aliases".split())
_TOP_LEVEL_ONLY = frozenset("partition scrub computed".split())

_ATTRIBUTE_TYPES: dict[str, type] = {
    **dict.fromkeys("name doc source subject pii scrub computed pattern".split(), str),
    **dict.fromkeys("minimum maximum minLength maxLength".split(), int),
    "partition": bool,
    "subjectWhen": dict,
}

PARTITION_COLUMN = "date"
"""The lake's partition column (``date=YYYY-MM-DD``); no field may have its name."""

IDENTITY_TYPES = frozenset(
    "controller_customer_id android_advertising_id android_id email fire_advertising_id "
    "ios_advertising_id ios_vendor_id microsoft_advertising_id microsoft_publisher_id "
    "roku_publisher_id roku_advertising_id mpid other other2 other3 other4 other5 other6 other7 "
    "other8 other9 other10 mobile_number phone_number_2 phone_number_3".split()
)
"""OpenDSR identity types, with mParticle's own (OpenDSR 2.0; mParticle DSR API v3)."""

COMPUTED = frozenset({"reference", "system_id"})
"""Names a ``computed`` attribute may give; ``transforms.compute`` has a function for each."""

_CANONICAL_ATTRIBUTES = (
    "name", "type", "fields", "symbols", "items", "values",
    "logicalType", "precision", "scale",
)  # fmt: skip

_SCALARS: dict[str, Kind] = {
    "string": StringKind(),
    "bytes": BytesKind(),
    "boolean": BooleanKind(),
    "int": IntegerKind(32),
    "long": IntegerKind(64),
    "float": FloatKind(32),
    "double": FloatKind(64),
}


@dataclass(frozen=True)
class Registry:
    """The record types that a run knows, by name."""

    types: Mapping[str, RecordType]

    def __getitem__(self, name: str) -> RecordType:
        """The type of this name. Raises ``UsageError`` that lists what there is."""
        try:
            return self.types[name]
        except KeyError:
            known = ", ".join(sorted(self.types))
            raise UsageError(f"unknown record type {name!r}: known types are {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def __iter__(self) -> Iterator[RecordType]:
        return iter(self.types[name] for name in sorted(self.types))


def load_registry(extra: Path | None = None) -> Registry:
    """The shipped types and those of the folder ``extra``, which win over shipped ones.

    Raises ``SchemaError`` naming the file and the field at fault.
    """
    folders = [SHIPPED] if extra is None else [SHIPPED, _existing(extra)]
    types = {}
    for folder in folders:
        for path in sorted(folder.glob("*.avsc")):
            record_type = load_record_type(path)
            types[record_type.name] = record_type
    return Registry(types)


def load_record_type(path: Path) -> RecordType:
    """The record type in one ``.avsc`` file. Raises ``SchemaError`` naming file and field."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SchemaError(f"{path}: is not JSON: {error}") from error
    try:
        record_type = build_record_type(document)
    except SchemaError as error:
        raise SchemaError(f"{path}: {error.message}", **error.details) from error
    if record_type.name != path.stem:
        raise SchemaError(f"{path}: holds type {record_type.name!r}: name the file after it")
    return record_type


def build_record_type(document: Any) -> RecordType:
    """A record type from an Avro schema. Raises ``SchemaError`` naming the field at fault."""
    if not isinstance(document, dict) or document.get("type") != "record":
        raise SchemaError("a record type is an Avro schema of type 'record'")
    name = str(document.get("name", ""))
    if not TYPE_NAME.match(name):
        raise SchemaError(f"type name {name!r} must match {TYPE_NAME.pattern}")
    avro = _with_lake_fields(document)
    try:
        parse_schema(json.loads(json.dumps(avro)))
    except Exception as error:  # fastavro raises a family of unrelated classes
        raise SchemaError(f"not a valid Avro schema: {error}") from error
    record_type = RecordType(
        name=name,
        fields=_fields(avro["fields"], frozenset(f["name"] for f in LAKE_FIELDS)),
        avro=avro,
        fingerprint=fingerprint(avro),
    )
    _check_record_type(record_type)
    return record_type


def fingerprint(avro: Any) -> str:
    """The SHA-256, in hex, of the schema's Parsing Canonical Form with its logical types kept.

    The form as specified (Avro 1.12, "Transforming into Parsing Canonical Form") drops logical
    types, and would give a decimal of another scale, or a time made of a number, the same print.
    """
    canonical = json.dumps(_canonical(avro), separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(avro: Any) -> Any:
    if isinstance(avro, list):
        return [_canonical(branch) for branch in avro]
    if not isinstance(avro, dict):
        return avro
    kept = {name: _canonical(avro[name]) for name in _CANONICAL_ATTRIBUTES if name in avro}
    return kept["type"] if set(kept) == {"type"} else kept


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of schemas")
    return folder


def _with_lake_fields(document: dict[str, Any]) -> dict[str, Any]:
    own = document.get("fields")
    if not isinstance(own, list) or not all(_is_named(field) for field in own):
        raise SchemaError("'fields' must be a list of named fields")
    taken = {f["name"] for f in own} & {f["name"] for f in LAKE_FIELDS}
    if taken:
        raise SchemaError(f"fields {sorted(taken)} are added to every type: leave them out")
    return {**document, "fields": [*own, *LAKE_FIELDS]}


def _is_named(field: Any) -> bool:
    return isinstance(field, dict) and isinstance(field.get("name"), str)


def _fields(documents: list[dict[str, Any]], system: frozenset[str]) -> tuple[Field, ...]:
    return tuple(_field(document, document["name"] in system) for document in documents)


def _field(document: dict[str, Any], system: bool) -> Field:
    name = document["name"]
    _check_attributes(document)
    kind, nullable = _kind(document["type"], name)
    try:
        field = Field(
            name=name,
            source=document.get("source", name),
            kind=kind,
            nullable=nullable,
            limits=_limits(document),
            partition=document.get("partition", False),
            subject=document.get("subject"),
            subject_when=tuple(sorted(document.get("subjectWhen", {}).items())),
            pii=document.get("pii"),
            scrub=Scrub(document.get("scrub", "keep")),
            computed=document.get("computed"),
            system=system,
            doc=document.get("doc", ""),
        )
    except ValueError as error:
        raise SchemaError(f"field {name!r}: {error}") from error
    _check_limits(field)
    return field


def _check_attributes(document: Mapping[str, Any]) -> None:
    name = document["name"]
    unknown = set(document) - ATTRIBUTES - _AVRO_ATTRIBUTES
    if unknown:
        raise SchemaError(f"field {name!r}: unknown attribute {sorted(unknown)}")
    for attribute, needed in _ATTRIBUTE_TYPES.items():
        # ``type() is``, because a bool passes for an int
        if attribute in document and type(document[attribute]) is not needed:
            raise SchemaError(f"field {name!r}: {attribute!r} must be of type {needed.__name__}")


def _limits(document: Mapping[str, Any]) -> Limits:
    return Limits(
        minimum=document.get("minimum"),
        maximum=document.get("maximum"),
        min_length=document.get("minLength"),
        max_length=document.get("maxLength"),
        pattern=document.get("pattern"),
    )


def _kind(avro: Any, field: str) -> tuple[Kind, bool]:
    """The kind an Avro type stands for, and whether it may be null."""
    if isinstance(avro, list):
        return _optional_kind(avro, field)
    if isinstance(avro, str):
        if avro not in _SCALARS:
            raise SchemaError(f"field {field!r}: type {avro!r} is not supported")
        return _SCALARS[avro], False
    return _complex_kind(avro, field), False


def _optional_kind(union: list[Any], field: str) -> tuple[Kind, bool]:
    others = [branch for branch in union if branch != "null"]
    if len(others) != 1 or len(union) != 2:
        raise SchemaError(f"field {field!r}: the only union supported is null with one type")
    return _kind(others[0], field)[0], True


def _complex_kind(avro: dict[str, Any], field: str) -> Kind:
    misplaced = set(avro) & ATTRIBUTES
    if misplaced:
        raise SchemaError(f"field {field!r}: {sorted(misplaced)} belong beside 'type', not in it")
    logical = avro.get("logicalType")
    match avro.get("type"), logical:
        case "long", "timestamp-micros":
            return TimestampKind()
        case "int", "date":
            return DateKind()
        case "bytes", "decimal":
            return _decimal(avro, field)
        case "enum", _:
            return EnumKind(avro["name"], tuple(avro["symbols"]))
        case "array", _:
            return ListKind(*_kind(avro["items"], field))
        case "map", _:
            return MapKind(*_kind(avro["values"], field))
        case "record", _:
            return RecordKind(avro["name"], _nested_fields(avro["fields"]))
        case str() as plain, None if plain in _SCALARS:
            return _SCALARS[plain]
    raise SchemaError(f"field {field!r}: Avro type {avro.get('type')!r}/{logical!r} not supported")


def _nested_fields(documents: list[dict[str, Any]]) -> tuple[Field, ...]:
    for document in documents:
        ignored = set(document) & _TOP_LEVEL_ONLY
        if ignored:
            raise SchemaError(
                f"nested field {document['name']!r}: only a column of its own can carry "
                f"{sorted(ignored)}"
            )
    fields = _fields(documents, frozenset())
    for field in fields:
        _check_subject(field, {sibling.name for sibling in fields})
    return fields


def _decimal(avro: dict[str, Any], field: str) -> DecimalKind:
    precision, scale = int(avro.get("precision", 0)), int(avro.get("scale", 0))
    if not 1 <= precision <= 38 or not 0 <= scale <= precision:
        raise SchemaError(f"field {field!r}: a decimal has 1 to 38 digits, 0 to precision of scale")
    return DecimalKind(precision, scale)


def _check_record_type(record_type: RecordType) -> None:
    partitions = [f for f in record_type.fields if f.partition]
    if len(partitions) != 1 or not isinstance(partitions[0].kind, TimestampKind | DateKind):
        raise SchemaError('exactly one field, a timestamp or date, carries "partition": true')
    if partitions[0].nullable:
        raise SchemaError(f"field {partitions[0].name!r}: the partition field cannot be null")
    for needed in ("id", "type", "version"):
        if needed not in {f.name for f in record_type.fields}:
            raise SchemaError(f"every type has a field {needed!r}")
    _check_column_names(record_type)
    for field in record_type.fields:
        _check_field(field)
        _check_subject(field, {f.name for f in record_type.fields})


def _check_column_names(record_type: RecordType) -> None:
    folded = [f.name.lower() for f in record_type.fields]
    twice = {name for name in folded if folded.count(name) > 1}
    if twice:
        raise SchemaError(f"columns {sorted(twice)} differ only in case, which Athena folds")
    if PARTITION_COLUMN in folded:
        raise SchemaError(
            f"no field may be called {PARTITION_COLUMN!r}: it is the lake's partition"
        )


def _check_field(field: Field) -> None:
    if field.computed is not None and field.computed not in COMPUTED:
        raise SchemaError(f"field {field.name!r}: no computed field is named {field.computed!r}")
    if field.scrub is not Scrub.KEEP and not isinstance(field.kind, StringKind):
        raise SchemaError(f"field {field.name!r}: only strings can be scrubbed by {field.scrub}")
    if field.scrub is Scrub.DROP and not field.nullable:
        raise SchemaError(f"field {field.name!r}: scrub 'drop' needs a field that may be null")
    if field.subject is not None and field.scrub in {Scrub.MASK, Scrub.DROP}:
        raise SchemaError(
            f"field {field.name!r}: a subject that is scrubbed by {field.scrub} could not be found "
            "again to be erased: use 'keep' or 'hash'"
        )


_LIMITED_BY = {
    "minimum": IntegerKind | FloatKind | DecimalKind,
    "maximum": IntegerKind | FloatKind | DecimalKind,
    "min_length": StringKind | BytesKind,
    "max_length": StringKind | BytesKind,
    "pattern": StringKind,
}


def _check_limits(field: Field) -> None:
    """A limit that says nothing of its field's kind is a mistake, and not to be passed over."""
    for limit, kinds in _LIMITED_BY.items():
        if getattr(field.limits, limit) is not None and not isinstance(field.kind, kinds):
            raise SchemaError(
                f"field {field.name!r}: {limit!r} is no limit for a field of its type"
            )
    if field.limits.pattern is not None:
        _check_pattern(field.name, field.limits.pattern)


def _check_pattern(name: str, pattern: str) -> None:
    """Patterns are matched by RE2, which takes no look-around and no back-reference."""
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"field {name!r}: pattern: {error}") from error


def _check_subject(field: Field, columns: set[str]) -> None:
    """A subject is a text or a whole number, or many, under conditions on ``columns`` beside it."""
    if field.subject_when and field.subject is None:
        raise SchemaError(f"field {field.name!r}: 'subjectWhen' without 'subject'")
    if field.subject is not None and field.subject not in IDENTITY_TYPES:
        raise SchemaError(f"field {field.name!r}: {field.subject!r} is no OpenDSR identity type")
    if field.subject is not None and not isinstance(_innermost(field.kind), _IDENTIFYING):
        raise SchemaError(
            f"field {field.name!r}: a subject is a string or a whole number, or a list or map of "
            "these: give 'subject' to the field that holds the value"
        )
    missing = sorted({column for column, _ in field.subject_when} - columns)
    if missing:
        raise SchemaError(f"field {field.name!r}: 'subjectWhen' names no column {missing}")


_IDENTIFYING = StringKind | EnumKind | IntegerKind


def _innermost(kind: Kind) -> Kind:
    """What a list or map holds in the end; any other kind is that itself."""
    match kind:
        case ListKind(item, _):
            return _innermost(item)
        case MapKind(value, _):
            return _innermost(value)
    return kind
