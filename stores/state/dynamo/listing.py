"""Lists: which records there are, newest first, by the indexes; and what is due to be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import TypeVar

from schemas.access import Reach
from stores.state.dynamo.items import Item, Key, Value, digits, joined, key_of, micros, moment
from stores.state.dynamo.layout import DUE, EVERYWHERE, ORGANIZATION, OWNER, partition_of
from stores.state.dynamo.table import DynamoTable

R = TypeVar("R")

_PAGE = 50
_DUE_BEFORE = "#due = :due AND #due_time < :before"
_DUE_BETWEEN = "#due = :due AND #due_time BETWEEN :first AND :before"


def listed(what: tuple[str, ...], time: datetime, id: str) -> Item:
    """The attributes that put a record onto the list of everybody's, such as ("jobs", KIND)."""
    return {"list_all": joined(*what), "list_time": moment(time, id)}


def listed_of(what: tuple[str, ...], organization: str | None, owner: str | None) -> Item:
    """The attributes that put a record onto its organization's and its owner's lists."""
    if organization is None:
        return {}
    of_organization: Item = {"list_organization": joined(*what, organization)}
    if owner is None:
        return of_organization
    return {**of_organization, "list_owner": joined(*what, organization, owner)}


def due(what: str, time: datetime, id: str) -> Item:
    """The attributes by which a record is found when it is time to forget it."""
    return {"due": what, "due_time": moment(time, id)}


class Listing:
    """One list within one reach: ``what`` as records were put onto it."""

    def __init__(self, table: DynamoTable, what: tuple[str, ...], reach: Reach) -> None:
        self._table = table
        self._index, further = _index_of(reach)
        self._partition = joined(*what, *further)

    def keys(
        self, equal: Mapping[str, str], after: tuple[datetime, str] | None = None
    ) -> Iterator[Key]:
        """The keys of the records with these values, newest first, from a cursor on."""
        condition, values = f"#{partition_of(self._index)} = :list", self._values(equal)
        if after is not None:
            condition += " AND #list_time < :after"
            values["after"] = moment(*after)
        items = self._table.query(
            condition, self._index, values=values, filtered=_filter(equal),
            newest_first=True, page=_PAGE,
        )  # fmt: skip
        return map(key_of, items)

    def count(self, equal: Mapping[str, str]) -> int:
        """How many records have these values."""
        condition = f"#{partition_of(self._index)} = :list"
        filtered = _filter(equal)
        return self._table.count(
            condition, self._index, values=self._values(equal), filtered=filtered
        )

    def _values(self, equal: Mapping[str, str]) -> dict[str, Value]:
        return {"list": self._partition, **equal}


def records_of(
    table: DynamoTable, keys: Iterator[Key], read: Callable[[Item], R | None], limit: int
) -> list[R]:
    """The records of these keys as they are now, but for those that ``read`` gives None for."""
    found: list[R] = []
    while len(found) < limit and (some := list(islice(keys, min(limit, _PAGE)))):
        records = map(read, table.get_all(some))
        found += [record for record in records if record is not None]
    return found[:limit]


def due_before(table: DynamoTable, what: str, before: datetime) -> Iterator[Key]:
    """The keys of what is due before a time."""
    items = table.query(_DUE_BEFORE, DUE, values=_due_values(what, before))
    return map(key_of, items)


def due_after(
    table: DynamoTable, what: str, after: tuple[datetime, str] | None, before: datetime
) -> Iterator[Item]:
    """What is due before a time and follows a cursor, as the index has it: key and ``due_time``."""
    values, page = _due_values(what, before), {"page": _PAGE}
    if after is None:
        return table.query(_DUE_BEFORE, DUE, values=values, **page)
    first = moment(*after)
    items = table.query(_DUE_BETWEEN, DUE, values={**values, "first": first}, **page)
    return (item for item in items if item["due_time"] != first)


def count_due(table: DynamoTable, what: str, before: datetime) -> int:
    """How many are due before a time."""
    return table.count(_DUE_BEFORE, DUE, values=_due_values(what, before))


def _due_values(what: str, before: datetime) -> dict[str, Value]:
    return {"due": what, "before": digits(micros(before))}


def _index_of(reach: Reach) -> tuple[str, list[str]]:
    if reach.organization is None:
        return EVERYWHERE, []
    if reach.owner is None:
        return ORGANIZATION, [reach.organization]
    return OWNER, [reach.organization, reach.owner]


def _filter(equal: Mapping[str, str]) -> str:
    return " AND ".join(f"#{name} = :{name}" for name in equal)
