"""The delivery as a plain Beam pipeline, one element a record, on the in-process runner.

    python bench/peers/per_record_beam.py INPUT --lake DIR

Writes the same columns and values as ``lethe deliver``. A record that is not valid goes, as its
line, to ``errors/invalid.ndjson``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

Row = dict[str, Any]
Check = Callable[[Any], Any]

_INVALID = "invalid"
_SYSTEM = re.compile(r"^([A-Za-z0-9]{2,10})-")
_CURRENCY = re.compile(r"^[A-Z]{3}$")
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_MONEY = pa.decimal128(12, 2)


class Column(NamedTuple):
    """A lake column: the attribute it comes from, its type, and what its value must pass."""

    source: str
    arrow: Any
    check: Check
    required: bool = True


def _text(most: int, least: int = 0) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise ValueError("not a text of the right length")
        return value

    return check


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError("not one of the allowed values")
        return str(value)

    return check


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        number = int(value)
        if number != value or not least <= number <= most:
            raise ValueError("not a whole number in range")
        return number

    return check


def _money(value: Any) -> Decimal:
    if not isinstance(value, Decimal):
        raise ValueError("not a number")
    return value.quantize(Decimal("0.01"))


def _time(value: Any) -> datetime:
    if isinstance(value, Decimal):
        return datetime.fromtimestamp(int(value) / 1000, UTC)
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not a list of texts")
    return value


def _currency(value: Any) -> str:
    if not _CURRENCY.match(value):
        raise ValueError("not a currency")
    return str(value)


def _phone(value: Any) -> str:
    phone = str(_text(40)(value))
    return "*" * (len(phone) - 2) + phone[-2:]


def _preferences(value: Any) -> Row:
    return {name: value.get(name) for name in ("aisle", "accessible", "note")}


def _items(value: Any) -> list[Row]:
    return [{**item, "price": _money(item["price"])} for item in value]


_ANY = _text(200)
_COUNT = 2**31 - 1
_FIRST = {
    "id": Column("id", pa.string(), _text(200, least=1)),
    "type": Column("type", pa.string(), _ANY),
    "version": Column("version", pa.int64(), _whole(1, 2**63 - 1)),
    "created_at": Column("createdAt", _TIMESTAMP, _time),
    "updated_at": Column("updatedAt", _TIMESTAMP, _time),
}
_OWN = {
    "demand": {
        "event_id": Column("eventId", pa.string(), _ANY),
        "user_id": Column("userId", pa.string(), _ANY),
        "email": Column("email", pa.string(), _text(320)),
        "phone": Column("phone", pa.string(), _phone, required=False),
        "quantity": Column("quantity", pa.int32(), _whole(1, 50)),
        "max_price": Column("maxPrice", _MONEY, _money),
        "currency": Column("currency", pa.string(), _currency),
        "sections": Column("sections", pa.list_(pa.string()), _texts),
        "preferences": Column(
            "preferences",
            pa.struct({"aisle": pa.bool_(), "accessible": pa.bool_(), "note": pa.string()}),
            _preferences,
            required=False,
        ),
        "status": Column("status", pa.string(), _one_of("OPEN", "MATCHED", "EXPIRED", "CANCELLED")),
    },
    "event": {
        "name": Column("name", pa.string(), _text(500)),
        "venue_id": Column("venueId", pa.string(), _ANY),
        "starts_at": Column("startsAt", _TIMESTAMP, _time),
        "on_sale": Column("onSale", pa.bool_(), _flag),
        "capacity": Column("capacity", pa.int32(), _whole(0, _COUNT)),
        "tags": Column("tags", pa.list_(pa.string()), _texts, required=False),
    },
    "notification": {
        "demand_id": Column("demandId", pa.string(), _ANY),
        "user_id": Column("userId", pa.string(), _ANY),
        "channel": Column("channel", pa.string(), _one_of("email", "sms", "push")),
        "address": Column("address", pa.string(), _text(500)),
        "template": Column("template", pa.string(), _ANY),
        "sent_at": Column("sentAt", _TIMESTAMP, _time),
        "status": Column("status", pa.string(), _one_of("QUEUED", "SENT", "BOUNCED", "FAILED")),
    },
    "sale": {
        "demand_id": Column("demandId", pa.string(), _ANY, required=False),
        "order_id": Column("orderId", pa.string(), _ANY),
        "user_id": Column("userId", pa.string(), _ANY),
        "email": Column("email", pa.string(), _text(320)),
        "quantity": Column("quantity", pa.int32(), _whole(1, _COUNT)),
        "total": Column("total", _MONEY, _money),
        "currency": Column("currency", pa.string(), _currency),
        "sold_at": Column("soldAt", _TIMESTAMP, _time),
        "items": Column(
            "items",
            pa.list_(
                pa.struct(
                    {"section": pa.string(), "row": pa.string(), "seat": pa.string()}
                    | {"price": _MONEY}
                )
            ),
            _items,
            required=False,
        ),
    },
}
_COMPUTED = {"demand": {"system_id": pa.string()}}
_LAST = {
    "reference": pa.string(),
    "deleted": pa.bool_(),
    "deleted_at": _TIMESTAMP,
    "deleted_by": pa.string(),
    "change_time": _TIMESTAMP,
    "change_id": pa.string(),
    "extra": pa.string(),
}


def deliver(pipeline: beam.Pipeline, source: str, lake: Path) -> None:
    """Read, type, check, group and write every change record of ``source``."""
    rows = (
        pipeline
        | "ReadLines" >> beam.io.ReadFromText(source)
        | "ToRows" >> beam.ParDo(ToRow()).with_outputs(_INVALID, main="rows")
    )
    _ = (
        rows.rows
        | "ByTypeAndDate" >> beam.Map(_keyed)
        | "Group" >> beam.GroupByKey()
        | "WriteFiles" >> beam.MapTuple(lambda key, group: _write(lake, key, group))
    )
    _ = rows[_INVALID] | "WriteInvalid" >> beam.io.WriteToText(
        str(lake / "errors" / "invalid"), ".ndjson", shard_name_template="", skip_if_empty=True
    )


class ToRow(beam.DoFn):  # type: ignore[misc]
    """One line to one row, or to the invalid lines."""

    def process(self, line: str) -> Iterator[Any]:
        try:
            yield _row(json.loads(line))
        except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
            yield beam.pvalue.TaggedOutput(_INVALID, line)


def _row(change: Row) -> Row:
    dynamodb = change["dynamodb"]
    deleted = change["eventName"] == "REMOVE"
    image = dynamodb["OldImage" if deleted else "NewImage"]
    item = {name: _plain(value) for name, value in image.items()}
    row = _checked(item, {**_FIRST, **_OWN[item["type"]]})
    if row["type"] == "demand":
        row["system_id"] = _system_id(row["event_id"])
    row["reference"] = f"urn:lethe:{row['type']}:{row['id']}:{row['version']}"
    return {**row, **_marks(change, deleted)}


def _checked(item: Row, columns: dict[str, Column]) -> Row:
    row: Row = {}
    for name, column in columns.items():
        value = item.get(column.source)
        if value is None and column.required:
            raise ValueError("a required attribute is missing")
        row[name] = None if value is None else column.check(value)
    return row


def _marks(change: Row, deleted: bool) -> Row:
    millis = change["dynamodb"]["ApproximateCreationDateTime"]
    time = datetime.fromtimestamp(millis / 1000, UTC)
    return {
        "deleted": deleted,
        "deleted_at": time if deleted else None,
        "deleted_by": _deleted_by(change.get("userIdentity")) if deleted else None,
        "change_time": time,
        "change_id": change["eventID"],
        "extra": None,
    }


def _deleted_by(identity: Row | None) -> str:
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return "ttl" if identity == service else "request"


def _system_id(event_id: str) -> str:
    found = _SYSTEM.match(event_id)
    return found[1].upper() if found else "UNKNOWN"


def _plain(attribute: Row) -> Any:
    """A DynamoDB attribute value as a Python value."""
    ((tag, value),) = attribute.items()
    match tag:
        case "N":
            return Decimal(value)
        case "NULL":
            return None
        case "L":
            return [_plain(item) for item in value]
        case "M":
            return {name: _plain(item) for name, item in value.items()}
        case _:
            return value


def _keyed(row: Row) -> tuple[tuple[str, str], Row]:
    return (row["type"], row["updated_at"].date().isoformat()), row


def _write(lake: Path, key: tuple[str, str], rows: Iterable[Row]) -> None:
    name, day = key
    folder = lake / f"type={name}" / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), schema=_schema(name))
    pq.write_table(table, folder / f"{uuid4().hex}.parquet", compression="zstd")


def _schema(name: str) -> Any:
    read = {**_FIRST, **_OWN[name]}
    columns = {column: definition.arrow for column, definition in read.items()}
    return pa.schema({**columns, **_COMPUTED.get(name, {}), **_LAST})


def main() -> None:
    parser = argparse.ArgumentParser(description="Deliver change records with plain Beam.")
    parser.add_argument("input")
    parser.add_argument("--lake", type=Path, required=True)
    options = parser.parse_args()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        deliver(pipeline, options.input, options.lake)


if __name__ == "__main__":
    main()
