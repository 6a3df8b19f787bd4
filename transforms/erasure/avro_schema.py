"""An Avro file's own schema: without what is of no matter here, and with columns picked out of it.

Files of any writer are read, so all of Avro's types are known here: unions of any branches, types
that are referred to by their names, fixed ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import fastavro
import pyarrow as pa

from schemas.errors import SchemaError
from transforms.avro_container import NotAvro

_NAMED = frozenset({"record", "error", "enum", "fixed"})
_KEPT = ("type", "name", "namespace", "fields", "symbols", "items", "values", "size")
_OF_LOGICAL = ("logicalType", "precision", "scale")
UUID_AS_TEXT = {"type": "string", "logicalType": "uuid"}

_WRITTEN = {"uuid": "lethe-uuid", "decimal": "lethe-decimal"}
"""Logical types of our own, whose values fastavro gives as they are written."""


def _written_decimal(value: bytes, schema: Mapping[str, Any], *_: Any) -> str:
    number = Decimal(int.from_bytes(value, signed=True)).scaleb(-schema.get("scale", 0), _EXACTLY)
    whole = number.to_integral_value(context=_EXACTLY)
    return f"{whole if whole == number else number:f}"


def _written_uuid(value: bytes, *_: Any) -> str:
    return str(UUID(bytes=value))


_EXACTLY = Context(prec=10_000)
fastavro.read.LOGICAL_READERS |= {
    f"bytes-{_WRITTEN['decimal']}": _written_decimal,
    f"fixed-{_WRITTEN['decimal']}": _written_decimal,
    f"fixed-{_WRITTEN['uuid']}": _written_uuid,
}

_SCALARS: dict[str, Any] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}

Schema = Any
"""A name, a union (a list), or a type with parts (a dict)."""


def bare_schema(encoded: bytes) -> dict[str, Any]:
    """A file's schema with every name in full, and no defaults and documentation.

    Of logical types there are left decimals and UUIDs, whose bytes are no text; all else is read as
    it is stored. Raises ``NotAvro`` if it is no schema of rows.
    """
    try:
        schema = _bare(json.loads(encoded), "")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotAvro("this Avro file's schema cannot be read: it is damaged") from error
    if not isinstance(schema, dict) or schema["type"] != "record":
        raise NotAvro("this Avro file does not hold records")
    return schema


def _bare(schema: Schema, space: str) -> Schema:
    if isinstance(schema, list):
        return [_bare(branch, space) for branch in schema]
    if isinstance(schema, str):
        return schema if schema in _SCALARS else _full_name(schema, space)
    if isinstance(schema["type"], dict | list):
        return _bare(schema["type"], space)
    if schema["type"] not in _NAMED | {"array", "map"}:
        logical = _logical(schema)
        kind = _bare(schema["type"], space)
        return {"type": kind, **logical} if logical else kind
    kept = {key: schema[key] for key in _KEPT if key in schema} | _logical(schema)
    if schema["type"] in _NAMED:
        kept["name"] = _full_name(schema["name"], kept.pop("namespace", space))
        space = kept["name"].rpartition(".")[0]
    return {key: _bare_part(key, part, space) for key, part in kept.items()}


def _logical(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What says that a type is of decimals or UUIDs; nothing if it is of others."""
    if is_decimal(schema):
        return {key: schema[key] for key in _OF_LOGICAL if key in schema}
    return {"logicalType": "uuid"} if is_uuid(schema) else {}


def is_decimal(schema: Mapping[str, Any]) -> bool:
    """Whether values are decimals; a type that only claims so is what it is without the claim."""
    if schema.get("logicalType") != "decimal" or schema["type"] not in {"bytes", "fixed"}:
        return False
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return False
    return 0 <= scale <= precision and precision > 0


def is_uuid(schema: Mapping[str, Any]) -> bool:
    """Whether values are UUIDs, as text or as 16 bytes."""
    if schema.get("logicalType") != "uuid":
        return False
    return schema["type"] == "string" or (schema["type"] == "fixed" and schema["size"] == 16)


def _bare_part(key: str, part: Any, space: str) -> Any:
    if key in {"items", "values"}:
        return _bare(part, space)
    if key == "fields":
        return [{"name": field["name"], "type": _bare(field["type"], space)} for field in part]
    return part


def _full_name(name: str, space: str | None) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def definitions(schema: Schema) -> dict[str, Schema]:
    """The types of a bare schema that have a name."""
    found: dict[str, Schema] = {}
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if "name" in one:
                found[one["name"]] = one
            waiting += _parts(one)
    return found


def _parts(schema: Mapping[str, Any]) -> list[Schema]:
    fields = [field["type"] for field in schema.get("fields", ())]
    return [*fields, *(schema[key] for key in ("items", "values") if key in schema)]


def picked(schema: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The schema with these columns alone, each type defined where it is first spoken of."""
    known, seen = definitions(schema), {schema["name"]}
    wanted = set(names)
    fields = [
        {"name": field["name"], "type": _defined(field["type"], known, seen)}
        for field in schema["fields"]
        if field["name"] in wanted
    ]
    return {**schema, "fields": fields}


def _defined(schema: Schema, known: Mapping[str, Schema], seen: set[str]) -> Schema:
    if isinstance(schema, list):
        return [_defined(branch, known, seen) for branch in schema]
    name = schema if isinstance(schema, str) else schema.get("name")
    if name in _SCALARS or name in seen:
        return schema if isinstance(schema, str) else name
    if name is not None:
        seen.add(name)
        schema = known[name]
    if schema == UUID_AS_TEXT:
        return "string"
    if "logicalType" in schema:
        return {**schema, "logicalType": _WRITTEN[schema["logicalType"]]}
    return _with_parts(schema, lambda part: _defined(part, known, seen))


def _with_parts(schema: dict[str, Any], change: Callable[[Schema], Schema]) -> dict[str, Any]:
    changed = dict(schema)
    for key in ("items", "values"):
        if key in changed:
            changed[key] = change(changed[key])
    if "fields" in changed:
        changed["fields"] = [{**f, "type": change(f["type"])} for f in changed["fields"]]
    return changed


def arrow_struct(schema: dict[str, Any]) -> Any:
    """The Arrow type of the rows that fastavro makes of a bare schema.

    Raises ``SchemaError`` for a union of several types besides null, or a type within itself.
    """
    return _arrow(schema, definitions(schema), ())


def _arrow(schema: Schema, known: Mapping[str, Schema], within: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return _arrow_of_union(schema, known, within)
    if isinstance(schema, str):
        return _SCALARS[schema] if schema in _SCALARS else _arrow(known[schema], known, within)
    if schema.get("logicalType") in _WRITTEN.values():
        return pa.string()
    match schema["type"]:
        case "enum":
            return pa.string()
        case "fixed":
            return pa.binary(schema["size"])
        case "array":
            return pa.list_(_arrow(schema["items"], known, within))
        case "map":
            return pa.map_(pa.string(), _arrow(schema["values"], known, within))
    name = schema["name"]
    if name in within:
        raise SchemaError(f"a subject column holds {name!r}, a type within itself: {_ADVICE}")
    inner = (*within, name)
    return pa.struct([(f["name"], _arrow(f["type"], known, inner)) for f in schema["fields"]])


def _arrow_of_union(union: list[Schema], known: Mapping[str, Schema], within: Any) -> Any:
    others = [branch for branch in union if branch != "null"]
    if not others:
        return pa.null()
    if len(others) > 1:
        raise SchemaError(f"a subject column is of several types at once: {_ADVICE}")
    return _arrow(others[0], known, within)


_ADVICE = "its subjects cannot be found: rewrite the file to the type's schema, or move it away"
