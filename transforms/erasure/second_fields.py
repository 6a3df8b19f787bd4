"""Where in a record a second look expects subjects: as the type's Avro schema itself says."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from typing import Any

from schemas.dsr import IdentityType
from transforms.erasure.second_words import written

_REQUESTABLE = frozenset(IdentityType)
_EXTRA = "extra"
"""The column of what a type did not know."""


class SubjectFields:
    """The fields of a type that identify subjects, as its Avro schema says."""

    def __init__(self, avro: Mapping[str, Any]) -> None:
        self._found = found = [one for one in avro["fields"] if _leads_to_subject(one)]
        self.flat = [member for member in found if not _is_nested(member["type"])]
        self.nested = [member for member in found if _is_nested(member["type"])]
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

    def _missing(self, there: Collection[str]) -> list[Mapping[str, Any]]:
        return [member for member in self._found if member["name"].lower() not in there]

    def nested_values_in(self, record: Mapping[str, Any]) -> Iterator[tuple[IdentityType, Any]]:
        """As ``values_in``, of the fields that are no plain values."""
        return _values(self.nested, record)


def _needs(members: list[Mapping[str, Any]]) -> set[str]:
    """The columns that members are in, and those that decide whether they identify."""
    conditions = chain.from_iterable(one.get("subjectWhen", {}) for one in members)
    return {name.lower() for name in (*(one["name"] for one in members), *conditions)}


def _values(
    members: Iterable[Mapping[str, Any]], record: Mapping[str, Any]
) -> Iterator[tuple[IdentityType, Any]]:
    by_name = _lowered(record)
    for member in members:
        value = by_name.get(member["name"].lower())
        if value is None:
            continue
        if isinstance(value, dict) and _is_map(member["type"]):
            value = list(value.values())
        if _is_subject(member) and is_met(member, by_name):
            yield from ((IdentityType(member["subject"]), one) for one in innermost(value))
        below = _members_below(member["type"])
        if below:
            for one in innermost(value):
                if isinstance(one, dict):
                    yield from _values(below, one)


def _values_in_extra(
    members: Iterable[Mapping[str, Any]], record: Mapping[str, Any]
) -> Iterator[tuple[IdentityType, Any]]:
    """What members are in ``extra``, where they were put before the type knew them."""
    try:
        document = json.loads(record[_EXTRA])
    except (ValueError, TypeError, RecursionError):
        return
    for member in members if isinstance(document, dict) else ():
        value = document.get(_source(member))
        if _is_subject(member) and is_met(member, record):
            yield from ((IdentityType(member["subject"]), one) for one in _leaves(value))
        yield from _within_json(_members_below(member["type"]), value)


def _within_json(members: list[Any], value: Any) -> Iterator[tuple[IdentityType, Any]]:
    """What identifies in records at any depth of a document, named as in the change record."""
    if isinstance(value, list):
        for one in value:
            yield from _within_json(members, one)
    if not members or not isinstance(value, dict):
        return
    beside = {one["name"].lower(): value[_source(one)] for one in members if _source(one) in value}
    for member in members:
        inner = value.get(_source(member))
        if _is_subject(member) and is_met(member, beside):
            yield from ((IdentityType(member["subject"]), one) for one in _leaves(inner))
        yield from _within_json(_members_below(member["type"]), inner)
    for one in value.values():  # of a map
        yield from _within_json(members, one)


def _source(member: Mapping[str, Any]) -> str:
    return str(member.get("source", member["name"]))


def _leaves(value: Any) -> Iterator[Any]:
    """The values of a document that hold no others."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one)
    elif value is not None:
        yield value


def _is_subject(member: Mapping[str, Any]) -> bool:
    return member.get("subject") in _REQUESTABLE


def is_met(member: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    """Whether a member identifies somebody in a row that holds this beside it, by small names."""
    return all(
        name.lower() not in beside or str(beside[name.lower()]) == wanted
        for name, wanted in member.get("subjectWhen", {}).items()
    )


def _leads_to_subject(member: Mapping[str, Any]) -> bool:
    return _is_subject(member) or any(map(_leads_to_subject, _members_below(member["type"])))


def _members_below(kind: Any) -> list[Any]:
    """The members of the record that a type is, or is made of."""
    if isinstance(kind, list):
        return [member for branch in kind for member in _members_below(branch)]
    if not isinstance(kind, dict):
        return []
    inner = kind.get("fields") or kind.get("items") or kind.get("values") or kind.get("type")
    if kind.get("type") == "record":
        return list(kind["fields"])
    return _members_below(inner) if isinstance(inner, dict | list) else []


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
