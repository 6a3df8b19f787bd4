"""Where in a record a second look expects subjects: as the type's Avro schema itself says."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from schemas.dsr import IdentityType
from transforms.erasure.second_words import written

_REQUESTABLE = frozenset(IdentityType)
_EXTRA = "extra"
"""The column of what a type did not know."""


@dataclass(frozen=True)
class Member:
    """A field that identifies subjects, or holds others that do; its name in small letters.

    ``kind`` is None if it does not identify itself. ``when`` are the fields beside it that decide
    whether it does, each with its name in a change record and the value that it has to have.
    """

    name: str
    source: str
    kind: IdentityType | None
    when: tuple[tuple[str, str, str], ...]
    is_nested: bool
    is_map: bool
    below: tuple[Member, ...]

    def is_met(self, beside: Mapping[str, Any]) -> bool:
        """Whether it identifies somebody in a row that holds this beside it, by small names."""
        return all(
            name not in beside or str(beside[name]) == wanted for name, _, wanted in self.when
        )


class SubjectFields:
    """The fields of a type that identify subjects, as its Avro schema says."""

    def __init__(self, avro: Mapping[str, Any]) -> None:
        self._found = found = _members(avro["fields"])
        flat = [(one.kind, one) for one in found if not one.is_nested]
        self.flat = [(kind, one) for kind, one in flat if kind is not None]
        self.nested = [member for member in found if member.is_nested]
        self.needs = _needs(found)
        self.nested_needs = _needs(self.nested)

    def columns_in(self, names: Iterable[str]) -> list[str]:
        """Those of a file's columns that have to be read."""
        there = list(names)
        needs = self.needs | {_EXTRA} if self.may_be_in_extra(there) else self.needs
        return [name for name in there if name.lower() in needs]

    def may_be_in_extra(self, names: Iterable[str]) -> bool:
        """Whether a file of these columns may hold fields in ``extra``, as it has none for them."""
        there = {name.lower() for name in names}
        return _EXTRA in there and bool(self._missing(there))

    def values_in(self, record: Mapping[str, Any]) -> Iterator[tuple[IdentityType, Any]]:
        """The values of a record that identify subjects."""
        yield from _values(self._found, record)
        by_name = _lowered(record)
        if by_name.get(_EXTRA) is not None:
            yield from _values_in_extra(self._missing(by_name), by_name)

    def nested_values_in(self, record: Mapping[str, Any]) -> Iterator[tuple[IdentityType, Any]]:
        """As ``values_in``, of the fields that are no plain values."""
        return _values(self.nested, record)

    def _missing(self, there: Collection[str]) -> list[Member]:
        return [member for member in self._found if member.name not in there]


def _members(fields: Iterable[Mapping[str, Any]]) -> tuple[Member, ...]:
    beside = list(fields)
    sources = {field["name"]: str(field.get("source", field["name"])) for field in beside}
    found = (_member(field, sources) for field in beside)
    return tuple(member for member in found if member.kind is not None or member.below)


def _member(field: Mapping[str, Any], sources: Mapping[str, str]) -> Member:
    subject, kind = field.get("subject"), field["type"]
    conditions = field.get("subjectWhen", {}).items()
    return Member(
        name=field["name"].lower(),
        source=sources[field["name"]],
        kind=IdentityType(subject) if subject in _REQUESTABLE else None,
        when=tuple((name.lower(), sources[name], wanted) for name, wanted in conditions),
        is_nested=_is_nested(kind),
        is_map=_is_map(kind),
        below=_members(_fields_below(kind)),
    )


def _needs(members: Iterable[Member]) -> set[str]:
    """The columns that members are in, and those that decide whether they identify."""
    return {name for one in members for name in (one.name, *(name for name, *_ in one.when))}


def _values(
    members: Iterable[Member], record: Mapping[str, Any]
) -> Iterator[tuple[IdentityType, Any]]:
    by_name = _lowered(record)
    for member in members:
        value = by_name.get(member.name)
        if value is None:
            continue
        if member.is_map and isinstance(value, dict):
            value = list(value.values())
        if member.kind is not None and member.is_met(by_name):
            plain = (one for one in innermost(value) if not isinstance(one, dict))
            yield from ((member.kind, one) for one in plain)
        if member.below:
            for one in innermost(value):
                if isinstance(one, dict):
                    yield from _values(member.below, one)


def _values_in_extra(
    members: Iterable[Member], record: Mapping[str, Any]
) -> Iterator[tuple[IdentityType, Any]]:
    """What members are in ``extra``, where they were put before the type knew them."""
    try:
        document = json.loads(record[_EXTRA])
    except (ValueError, TypeError, RecursionError):
        return
    for member in members if isinstance(document, dict) else ():
        value = document.get(member.source)
        if member.kind is not None and member.is_met(record):
            yield from ((member.kind, one) for one in _leaves(value))
        yield from _within_json(member.below, value)


def _within_json(members: tuple[Member, ...], value: Any) -> Iterator[tuple[IdentityType, Any]]:
    """What identifies in records at any depth of a document, named as in the change record."""
    if isinstance(value, list):
        for one in value:
            yield from _within_json(members, one)
    if not members or not isinstance(value, dict):
        return
    for member in members:
        inner = value.get(member.source)
        beside = {name: value[source] for name, source, _ in member.when if source in value}
        if member.kind is not None and member.is_met(beside):
            yield from ((member.kind, one) for one in _leaves(inner))
        yield from _within_json(member.below, inner)
    for one in value.values():  # of a map
        yield from _within_json(members, one)


def _leaves(value: Any) -> Iterator[Any]:
    """The values of a document that hold no others."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    elif value is not None:
        yield value


def _fields_below(kind: Any) -> list[Any]:
    """The fields of the record that a type is, or is made of."""
    if isinstance(kind, list):
        return [field for branch in kind for field in _fields_below(branch)]
    if not isinstance(kind, dict):
        return []
    inner = kind.get("items") or kind.get("values") or kind.get("type")
    if kind.get("type") == "record":
        return list(kind["fields"])
    return _fields_below(inner) if isinstance(inner, dict | list) else []


def _is_nested(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(map(_is_nested, kind))
    return isinstance(kind, dict) and kind.get("type") in {"record", "array", "map"}


def _is_map(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(map(_is_map, kind))
    return isinstance(kind, dict) and kind.get("type") == "map"


def _lowered(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in record.items()}


def innermost(value: Any) -> Iterator[Any]:
    """The values of lists, and of Arrow's maps, which are lists of pairs."""
    if isinstance(value, list):
        for one in value:
            yield from innermost(one[1] if isinstance(one, tuple) else one)
    elif value is not None:
        yield value


def any_values(document: Any, name: str = "") -> Iterator[tuple[None, Any]]:
    """All texts of a document, at any depth; numbers only under a name that ends in ``id``."""
    match document:
        case dict():
            for key, value in document.items():
                yield from any_values(key)
                yield from any_values(value, name if key in _TAGS else key)
        case list():
            for value in document:
                # Of Arrow's maps a list of pairs is left.
                yield from any_values(value[1] if isinstance(value, tuple) else value, name)
        case None | bool():
            return
        case _ if name.lower().endswith("id") or not _is_number(document):
            yield None, document


_TAGS = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L"})
"""DynamoDB's types, which stand where a member's name would."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) or written(value).strip().isdecimal()
