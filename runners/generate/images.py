"""How an item is written: DynamoDB's typed JSON, or the plain JSON of a relational source.

An image is rendered from two ``%`` templates. The head holds what a modification changes; the
body is rendered once and shared by the new and the old image of one change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runners.generate.vocabulary import BLOCKS, NOTES, TAGS


class Dialect(StrEnum):
    TYPED = "typed"
    PLAIN = "plain"


# What stands in a template for a value: S string, N whole number, D decimal, BOOL, and RAW for a
# value that is rendered already. Decimals are strings in plain JSON, where a number is a double.
_HOLES = {
    Dialect.TYPED: {
        "S": '{"S":"%s"}',
        "N": '{"N":"%s"}',
        "D": '{"N":"%s"}',
        "BOOL": '{"BOOL":%s}',
        "RAW": "%s",
    },
    Dialect.PLAIN: {"S": '"%s"', "N": "%s", "D": '"%s"', "BOOL": "%s", "RAW": "%s"},
}


@dataclass(frozen=True)
class Layout:
    """The attributes of one record type, each a name and the kind of its hole.

    ``head`` is what a modification changes besides version and time. ``optional`` attributes
    end the item; the record draws a whole rendered attribute for each, or nothing.
    """

    head: tuple[str, str]
    body: tuple[tuple[str, str], ...]
    optional: int = 0


LAYOUTS = {
    "demand": Layout(
        head=("status", "S"),
        body=(
            ("eventId", "S"),
            ("userId", "S"),
            ("email", "S"),
            ("quantity", "N"),
            ("maxPrice", "D"),
            ("currency", "S"),
            ("sections", "RAW"),
        ),
        optional=2,
    ),
    "notification": Layout(
        head=("status", "S"),
        body=(
            ("demandId", "S"),
            ("userId", "S"),
            ("channel", "S"),
            ("address", "S"),
            ("template", "S"),
            ("sentAt", "RAW"),
        ),
    ),
    "event": Layout(
        head=("onSale", "BOOL"),
        body=(("name", "S"), ("venueId", "S"), ("startsAt", "RAW"), ("capacity", "N")),
        optional=1,
    ),
    "sale": Layout(
        head=("total", "D"),
        body=(
            ("orderId", "S"),
            ("userId", "S"),
            ("email", "S"),
            ("quantity", "N"),
            ("currency", "S"),
            ("soldAt", "RAW"),
        ),
        optional=2,
    ),
}

_COMMON = (("version", "N"), ("createdAt", "RAW"), ("updatedAt", "RAW"))


class Pen:
    """Everything of one dialect that is rendered before the first record is drawn.

    ``heads`` and ``bodies`` are the templates by type. A head's holes are id, version, createdAt,
    updatedAt and the layout's own; a body's holes are in the layout's order.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.heads = {name: self._head(name, layout) for name, layout in LAYOUTS.items()}
        self.bodies = {name: self._body(layout) for name, layout in LAYOUTS.items()}
        self.phone = "," + self._attribute("phone", "S")
        self.demand_id = "," + self._attribute("demandId", "S")
        self.sections = [self._value(value) for value in _sections()]
        self.preferences = self._optional("preferences", _preferences())
        self.tags = self._optional("tags", _tags())
        self.items = [
            self._optional("items", _items(quantity)) if quantity else []
            for quantity in range(MOST_ITEMS + 1)
        ]

    def _head(self, type_name: str, layout: Layout) -> str:
        first = self._attribute("id", "S")
        kind = self._attribute("type", "S") % type_name
        rest = [self._attribute(*attribute) for attribute in (*_COMMON, layout.head)]
        return "{" + ",".join([first, kind, *rest])

    def _body(self, layout: Layout) -> str:
        given = "".join("," + self._attribute(*attribute) for attribute in layout.body)
        return given + "%s" * layout.optional + "}"

    def _attribute(self, name: str, hole: str) -> str:
        return f'"{name}":{_HOLES[self.dialect][hole]}'

    def _optional(self, name: str, values: Sequence[dict[str, Any]]) -> list[str]:
        return [f',"{name}":{self._value(value)}' for value in values]

    def _value(self, typed: dict[str, Any]) -> str:
        value = typed if self.dialect is Dialect.TYPED else plain_value(typed)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain_value(typed: dict[str, Any]) -> Any:
    """What a DynamoDB attribute value says, as plain JSON (numbers as strings)."""
    ((tag, value),) = typed.items()
    if tag == "NULL":
        return None
    if tag == "L":
        return [plain_value(item) for item in value]
    if tag == "M":
        return {name: plain_value(item) for name, item in value.items()}
    return value


MOST_ITEMS = 6


def _sections() -> list[dict[str, Any]]:
    runs = [BLOCKS[start : start + length] for start in range(6) for length in (1, 2, 3)]
    lists = [{"L": [{"S": block} for block in run]} for run in runs]
    sets = [{"SS": list(run)} for run in runs]
    return [*lists, *sets]


def _preferences() -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = [{"NULL": True}, *({"S": note} for note in NOTES)]
    return [
        {"M": {"aisle": {"BOOL": aisle}, "accessible": {"BOOL": accessible}, "note": note}}
        for aisle in (True, False)
        for accessible in (True, False)
        for note in notes
    ]


def _tags() -> list[dict[str, Any]]:
    return [{"SS": sorted(TAGS[start : start + 3])} for start in range(6)]


def _items(quantity: int) -> list[dict[str, Any]]:
    return [
        {"L": [_seat(block, row, seat) for seat in range(1, quantity + 1)]}
        for block in BLOCKS
        for row in "CFK"
    ]


def _seat(block: str, row: str, seat: int) -> dict[str, Any]:
    price = f"{45 + 5 * len(block)}.{seat * 5:02d}"
    fields = {"section": {"S": block}, "row": {"S": row}, "seat": {"S": str(seat)}}
    return {"M": {**fields, "price": {"N": price}}}
