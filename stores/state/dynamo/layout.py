"""How the table has to be: its keys and indexes, looked at when it is opened."""

from __future__ import annotations

import time
from typing import Any

from schemas.errors import StoreUnavailable, UsageError
from stores.state.dynamo.table import DynamoTable

EVERYWHERE = "listed-everywhere"
ORGANIZATION = "listed-organization"
OWNER = "listed-owner"
DUE = "due"

EXPIRES = "expires"
"""The attribute that DynamoDB's time to live goes by, in seconds since 1970."""

_INDEXES = {
    EVERYWHERE: ("list_all", "list_time"),
    ORGANIZATION: ("list_organization", "list_time"),
    OWNER: ("list_owner", "list_time"),
    DUE: ("due", "due_time"),
}
_FILTERED_BY = ["status", "kind", "job_id"]
_USABLE = {"ACTIVE", "UPDATING"}
_READY_SECONDS = 60.0
_LOOK_EVERY = 0.2


def partition_of(index: str) -> str:
    """The attribute that an index is divided by."""
    return _INDEXES[index][0]


def create_table_request(table: str) -> dict[str, Any]:
    """What ``CreateTable`` is asked for; ``docs/dynamodb.md`` shows it. Pure."""
    attributes = {"pk", "sk", *(name for names in _INDEXES.values() for name in names)}
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in sorted(attributes)
        ],
        "KeySchema": _keys("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {"IndexName": name, "KeySchema": _keys(*keys), "Projection": _projection()}
            for name, keys in _INDEXES.items()
        ],
    }


def ensure_table(table: DynamoTable) -> None:
    """Look whether the table is as it has to be; at an endpoint of its own, make it if it is not.

    Raises ``UsageError`` that says what is wrong with it, ``StoreUnavailable`` and ``StoreError``.
    """
    if table.description() is None:
        _create(table)
    _check(table, _awaited(table))


def _create(table: DynamoTable) -> None:
    if table.address.endpoint is None:
        raise UsageError(f"{table.address} does not exist: create it as docs/dynamodb.md says")
    table.create(create_table_request(table.address.table))


def _awaited(table: DynamoTable) -> dict[str, Any]:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        found = table.description()
        if found is not None and found["TableStatus"] in _USABLE:
            return found
        time.sleep(_LOOK_EVERY)
    raise StoreUnavailable(f"{table.address} is not ready yet: try again")


def _check(table: DynamoTable, found: dict[str, Any]) -> None:
    wanted = create_table_request(table.address.table)
    has_indexes = _index_keys(wanted).items() <= _index_keys(found).items()
    if not has_indexes or _names(found["KeySchema"]) != _names(wanted["KeySchema"]):
        raise UsageError(
            f"{table.address} has not the keys and indexes that Lethe needs: create another one "
            "as docs/dynamodb.md says"
        )


def _index_keys(table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    indexes = table.get("GlobalSecondaryIndexes", ())
    return {index["IndexName"]: _names(index["KeySchema"]) for index in indexes}


def _names(keys: list[dict[str, str]]) -> tuple[str, ...]:
    order = {"HASH": 0, "RANGE": 1}
    return tuple(key["AttributeName"] for key in sorted(keys, key=lambda k: order[k["KeyType"]]))


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def _projection() -> dict[str, Any]:
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": _FILTERED_BY}
