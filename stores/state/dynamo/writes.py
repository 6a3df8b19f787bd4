"""Writes: what a transaction is made of.

In expressions an attribute is written ``#name`` and a value ``:name``; nothing else is needed to
say what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stores.state.dynamo.items import Item, Key, Value, key_of, written

ABSENT = "attribute_not_exists(#pk)"
"""The condition that there is no such item."""


@dataclass(frozen=True)
class Write:
    """One write, or check, with the condition that it depends on."""

    verb: Literal["Put", "Update", "Delete", "ConditionCheck"]
    key: Key
    item: Item = field(default_factory=dict)
    change: str = ""
    condition: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)

    def action(self, table: str) -> dict[str, Any]:
        """The write as DynamoDB's protocol has it, within a transaction."""
        return {self.verb: {"TableName": table, **self.arguments(), **self._condition()}}

    def arguments(self) -> dict[str, Any]:
        """What it does, and to which item."""
        if self.verb == "Put":
            what = {"Item": {name: written(value) for name, value in self.item.items()}}
        else:
            what = {"Key": wire_key(self.key)}
        if self.change:
            what["UpdateExpression"] = self.change  # type: ignore[assignment]
        return {**what, **expression_terms(f"{self.change} {self.condition}", self.values)}

    def _condition(self) -> dict[str, Any]:
        if not self.condition:
            return {}
        return {
            "ConditionExpression": self.condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def put(item: Item, condition: str = "", **values: Value) -> Write:
    return Write("Put", key_of(item), item=item, condition=condition, values=values)


def update(key: Key, change: str, condition: str = "", **values: Value) -> Write:
    return Write("Update", key, change=change, condition=condition, values=values)


def delete(key: Key, condition: str = "", **values: Value) -> Write:
    return Write("Delete", key, condition=condition, values=values)


def check(key: Key, condition: str, **values: Value) -> Write:
    return Write("ConditionCheck", key, condition=condition, values=values)


def wire_key(key: Key) -> dict[str, Any]:
    return {name: written(value) for name, value in key._asdict().items()}


def expression_terms(expression: str, values: Mapping[str, Value]) -> dict[str, Any]:
    """What the names and values of an expression stand for."""
    names = {f"#{name}": name for name in re.findall(r"#(\w+)", expression)}
    terms = {f":{name}": written(value) for name, value in values.items()}
    return {
        **({"ExpressionAttributeNames": names} if names else {}),
        **({"ExpressionAttributeValues": terms} if terms else {}),
    }
