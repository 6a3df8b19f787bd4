"""The delivery as SQL in DuckDB: one pass over the JSON into typed rows, then a COPY a type.

    python bench/peers/duckdb_deliver.py INPUT --lake DIR

Reads DynamoDB-to-Kinesis change records, one a line, and writes the same columns and values as
``lethe deliver``. A value that does not fit its type ends the whole run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb

THREADS = 2

_STRING = "STRUCT(S VARCHAR)"
_NUMBER = "STRUCT(N VARCHAR)"
_BOOLEAN = "STRUCT(BOOL BOOLEAN)"
_TIME = "STRUCT(S VARCHAR, N VARCHAR)"
_TEXTS = "STRUCT(L STRUCT(S VARCHAR)[], SS VARCHAR[])"
_PREFERENCES = f"STRUCT(M STRUCT(aisle {_BOOLEAN}, accessible {_BOOLEAN}, note STRUCT(S VARCHAR)))"
_ITEMS = (
    f'STRUCT(L STRUCT(M STRUCT("section" {_STRING}, "row" {_STRING}, '
    f"seat {_STRING}, price {_NUMBER}))[])"
)

# The attributes of all four types in one struct, since a line's type is known only once read.
_IMAGE = {
    **dict.fromkeys(
        "id type eventId userId email phone currency status demandId channel address template "
        "name venueId orderId".split(),
        _STRING,
    ),
    **dict.fromkeys("version quantity maxPrice capacity total".split(), _NUMBER),
    **dict.fromkeys("createdAt updatedAt sentAt startsAt soldAt".split(), _TIME),
    **dict.fromkeys("sections tags".split(), _TEXTS),
    "onSale": _BOOLEAN,
    "preferences": _PREFERENCES,
    "items": _ITEMS,
}


def _time(attribute: str) -> str:
    return (
        f"coalesce(i.{attribute}.S::TIMESTAMPTZ, make_timestamptz(i.{attribute}.N::BIGINT * 1000))"
    )


def _texts(attribute: str) -> str:
    return f"coalesce([x.S for x in i.{attribute}.L], i.{attribute}.SS)"


_COLUMNS = {
    "id": "i.id.S",
    "type": "i.type.S",
    "version": "i.version.N::BIGINT",
    "created_at": _time("createdAt"),
    "updated_at": _time("updatedAt"),
    "event_id": "i.eventId.S",
    "user_id": "i.userId.S",
    "email": "i.email.S",
    "phone": "repeat('*', length(i.phone.S) - 2) || right(i.phone.S, 2)",
    "quantity": "i.quantity.N::INTEGER",
    "max_price": "i.maxPrice.N::DECIMAL(12, 2)",
    "currency": "i.currency.S",
    "sections": _texts("sections"),
    "preferences": """CASE WHEN i.preferences.M IS NOT NULL THEN {
        'aisle': i.preferences.M.aisle.BOOL,
        'accessible': i.preferences.M.accessible.BOOL,
        'note': i.preferences.M.note.S} END""",
    "status": "i.status.S",
    "system_id": "coalesce(upper(nullif("
    "regexp_extract(i.eventId.S, '^([A-Za-z0-9]{2,10})-', 1), '')), 'UNKNOWN')",
    "demand_id": "i.demandId.S",
    "channel": "i.channel.S",
    "address": "i.address.S",
    "template": "i.template.S",
    "sent_at": _time("sentAt"),
    "name": "i.name.S",
    "venue_id": "i.venueId.S",
    "starts_at": _time("startsAt"),
    "on_sale": "i.onSale.BOOL",
    "capacity": "i.capacity.N::INTEGER",
    "tags": _texts("tags"),
    "order_id": "i.orderId.S",
    "total": "i.total.N::DECIMAL(12, 2)",
    "sold_at": _time("soldAt"),
    "items": """[{'section': x.M.section.S, 'row': x.M.row.S, 'seat': x.M.seat.S,
        'price': x.M.price.N::DECIMAL(12, 2)} for x in i.items.L]""",
    "reference": "'urn:lethe:' || i.type.S || ':' || i.id.S || ':' || i.version.N",
    "deleted": "deleted",
    "deleted_at": "CASE WHEN deleted THEN change_time END",
    "deleted_by": """CASE WHEN NOT deleted THEN NULL
        WHEN userIdentity.type = 'Service'
            AND userIdentity.principalId = 'dynamodb.amazonaws.com' THEN 'ttl'
        ELSE 'request' END""",
    "change_time": "change_time",
    "change_id": "eventID",
    "extra": "NULL::VARCHAR",
}

_FIRST = "id type version created_at updated_at".split()
_LAST = "reference deleted deleted_at deleted_by change_time change_id extra".split()
_OWN = {
    "demand": "event_id user_id email phone quantity max_price currency sections preferences "
    "status system_id",
    "event": "name venue_id starts_at on_sale capacity tags",
    "notification": "demand_id user_id channel address template sent_at status",
    "sale": "demand_id order_id user_id email quantity total currency sold_at items",
}


def deliver(source: Path, lake: Path) -> None:
    """Write every change record of ``source`` into ``lake``, by type and date."""
    # Keeping the input's order would cost DuckDB memory and time, and nobody asked for it.
    con = duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": False})
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE TEMP TABLE typed AS {_typed(source)}")
    lake.mkdir(parents=True, exist_ok=True)
    for name in _OWN:
        con.execute(_copy(name, lake))


def _typed(source: Path) -> str:
    columns = ", ".join(f"{expression} AS {name}" for name, expression in _COLUMNS.items())
    return f"SELECT {columns}, updated_at::DATE AS date FROM ({_records(source)})"


def _records(source: Path) -> str:
    return f"""
        SELECT eventID, userIdentity, eventName = 'REMOVE' AS deleted,
            make_timestamptz(dynamodb.ApproximateCreationDateTime * 1000) AS change_time,
            CASE WHEN deleted THEN dynamodb.OldImage ELSE dynamodb.NewImage END AS i
        FROM read_json({_quoted(source)}, format = 'newline_delimited', columns = {{
            eventID: 'VARCHAR', eventName: 'VARCHAR',
            userIdentity: 'STRUCT(type VARCHAR, principalId VARCHAR)',
            dynamodb: '{_dynamodb()}'}})"""


def _dynamodb() -> str:
    attributes = ", ".join(f'"{name}" {kind}' for name, kind in _IMAGE.items())
    image = f"STRUCT({attributes})"
    return f"STRUCT(ApproximateCreationDateTime BIGINT, NewImage {image}, OldImage {image})"


def _copy(name: str, lake: Path) -> str:
    columns = ", ".join([*_FIRST, *_OWN[name].split(), *_LAST])
    return f"""
        COPY (SELECT {columns}, date FROM typed WHERE type = '{name}')
        TO {_quoted(lake / f"type={name}")}
        (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date))"""


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def main() -> None:
    parser = argparse.ArgumentParser(description="Deliver change records with DuckDB.")
    parser.add_argument("input", type=Path)
    parser.add_argument("--lake", type=Path, required=True)
    options = parser.parse_args()
    deliver(options.input, options.lake)


if __name__ == "__main__":
    main()
