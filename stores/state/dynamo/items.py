"""Items: records as attributes, attributes as DynamoDB writes them, and keys.

An attribute is a text, a whole number, bytes or a set of texts; what is None has no attribute. Of a
record, times are microseconds since 1970, and what is not flat is JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import quote

Value = str | int | bytes | frozenset[str]
Item = dict[str, Any]
R = TypeVar("R")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Key(NamedTuple):
    """An item's key."""

    pk: str
    sk: str


def joined(*parts: str) -> str:
    """The parts as one key; different parts never give the same key."""
    return "#".join(quote(part, safe=":;,=@ ()|/") for part in parts)


def micros(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def time_of(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND


def digits(number: int) -> str:
    """A number that is not negative, as a text that sorts as numbers do."""
    return f"{number:016d}"


def moment(time: datetime, *further: str) -> str:
    """A time, and what tells apart those of one time, as a sort key."""
    return joined(digits(micros(time)), *further)


def key_of(item: Mapping[str, Any]) -> Key:
    return Key(item["pk"], item["sk"])


def encoded(record: Any) -> Item:
    """A record's attributes."""
    given = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: _attribute(value) for name, value in given.items() if value is not None}


def decoded(kind: Callable[..., R], item: Mapping[str, Any]) -> R:
    """The record that these attributes are of; other attributes are passed over."""
    return kind(**{name: _field(of, item.get(name)) for name, of in _types(kind).items()})


def written(value: Value) -> dict[str, Any]:
    """A value as DynamoDB's protocol has it."""
    if isinstance(value, str):
        return {"S": str(value)}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    return {"SS": sorted(value)}


def read_item(attributes: Mapping[str, Mapping[str, Any]]) -> Item:
    """An item of DynamoDB's protocol."""
    return {name: _read(value) for name, value in attributes.items()}


def _read(value: Mapping[str, Any]) -> Value:
    kind, content = next(iter(value.items()))
    if kind == "N":
        return int(content)
    if kind == "SS":
        return frozenset(content)
    return bytes(content) if kind == "B" else str(content)


def _attribute(value: Any) -> Value:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (str, int, bytes)):
        return value
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(dict(plain) if isinstance(plain, Mapping) else list(plain))


def _field(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if kind is datetime:
        return time_of(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**json.loads(value))
    if get_origin(kind) is tuple:
        return tuple(json.loads(value))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    return json.loads(value) if isinstance(get_origin(kind), type) else value


@lru_cache(maxsize=32)
def _types(kind: Any) -> dict[str, Any]:
    """The type of each field, without its ``| None``."""
    return {name: _present(of) for name, of in get_type_hints(kind).items()}


def _present(kind: Any) -> Any:
    choices = [choice for choice in get_args(kind) if choice is not NoneType]
    return choices[0] if NoneType in get_args(kind) else kind
