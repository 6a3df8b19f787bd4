"""What must be in a lake, computed from its inputs with plain Python alone.

Nothing here imports the code that delivers. Each shipped type, and the example type ``shipment``,
is written down once more by hand, as columns and how the value of each is read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

SCRUB_KEY = "a key that only tests have"

Row = dict[str, Any]
_Read = Callable[[Any], Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def expected_rows(*inputs: Path, zone: str = "UTC") -> list[Row]:
    """The rows that a delivery of these inputs makes, with their partition's ``date``, sorted."""
    return in_order(
        _row(change, zone) for path in inputs for change in _changes(path.read_text("utf-8"))
    )


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in an order of their own, so that two lists of them can be compared."""
    return sorted(rows, key=lambda r: (r["reference"], str(r["change_id"]), str(r["change_time"])))


def as_read(row: Mapping[str, Any]) -> Row:
    """A row from a reader in the form of ``expected_rows``: ``extra`` parsed, ``date`` a date."""
    extra = row["extra"]
    day = row["date"]
    return {
        **row,
        "extra": None
        if extra is None
        else json.loads(extra, parse_int=Decimal, parse_float=Decimal),
        "date": day if isinstance(day, date) else date.fromisoformat(day),
    }


def columns_of(type_name: str) -> set[str]:
    return {*_TYPES[type_name], *_LAKE_COLUMNS, "date"}


def _row(change: Mapping[str, Any], zone: str) -> Row:
    removed = change["eventName"] == "REMOVE"
    image = change["dynamodb"]["OldImage" if removed else "NewImage"]
    name = image["type"]["S"]
    row = {column: read(image.get(_source(column)), image) for column, read in _TYPES[name].items()}
    return {
        **row,
        **_lake_columns(change, row, removed),
        "extra": _extra(image, name),
        "date": row[_PARTITION].astimezone(ZoneInfo(zone)).date(),
    }


_PARTITION = "updated_at"
_LAKE_COLUMNS = (
    "reference", "deleted", "deleted_at", "deleted_by", "change_time", "change_id", "extra",
)  # fmt: skip


def _lake_columns(change: Mapping[str, Any], row: Row, removed: bool) -> Row:
    time = _change_time(change)
    identity = change.get("userIdentity") or {}
    by_service = identity.get("principalId") == "dynamodb.amazonaws.com"
    return {
        "reference": f"urn:lethe:{row['type']}:{row['id']}:{row['version']}",
        "deleted": removed,
        "deleted_at": time if removed else None,
        "deleted_by": ("ttl" if by_service else "request") if removed else None,
        "change_time": time,
        "change_id": change["eventID"],
    }


def _change_time(change: Mapping[str, Any]) -> datetime:
    """DynamoDB Streams counts seconds, Kinesis milliseconds."""
    time = change["dynamodb"]["ApproximateCreationDateTime"]
    return _EPOCH + (
        timedelta(seconds=time) if "eventSourceARN" in change else timedelta(milliseconds=time)
    )


def _extra(image: Mapping[str, Any], type_name: str) -> Row | None:
    known = {_source(column) for column in _TYPES[type_name]}
    return {name: _plain(value) for name, value in image.items() if name not in known} or None


def _source(column: str) -> str:
    """``created_at`` is ``createdAt`` in an image."""
    return re.sub(r"_(.)", lambda found: found[1].upper(), column)


def _changes(text: str) -> Iterator[dict[str, Any]]:
    """The change records of a file: in lines, without lines between, or inside Lambda events."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text.rstrip()):
        document, place = decoder.raw_decode(text, place)
        place += len(text[place:]) - len(text[place:].lstrip())
        yield from map(_inner, document.get("Records", [document]))


def _inner(record: dict[str, Any]) -> Any:
    if "kinesis" not in record:
        return record
    return json.loads(base64.b64decode(record["kinesis"]["data"]))


def _plain(value: Mapping[str, Any]) -> Any:
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return Decimal(content)
        case "NS":
            return [Decimal(number) for number in content]
        case "NULL":
            return None
        case "L":
            return [_plain(item) for item in content]
        case "M":
            return {name: _plain(item) for name, item in content.items()}
    return content


def _absent(value: Any) -> bool:
    return value is None or value == {"NULL": True}


def _optional(read: _Read) -> _Read:
    return lambda value: None if _absent(value) else read(value)


def _text(value: Any) -> Any:
    return value["S"]


def _flag(value: Any) -> Any:
    return value["BOOL"]


def _whole(value: Any) -> int:
    return int(Decimal(value["N"]))


def _exact(value: Any) -> Decimal:
    return Decimal(value["N"])


def _moment(value: Any) -> datetime:
    """ISO 8601 text with a zone, or epoch milliseconds."""
    if "N" in value:
        return _EPOCH + timedelta(milliseconds=int(value["N"]))
    return datetime.fromisoformat(value["S"]).astimezone(UTC)


def _day(value: Any) -> date:
    return date.fromisoformat(value["S"])


def _texts(value: Any) -> list[str]:
    return list(value["SS"]) if "SS" in value else [item["S"] for item in value["L"]]


def _masked(value: Any) -> str:
    text = value["S"]
    return str("*" * (len(text) - 2) + text[-2:])


def _hashed(value: Any) -> str:
    text = value["S"].strip().lower().encode()
    return "hmac-sha256:" + hmac.new(SCRUB_KEY.encode(), text, hashlib.sha256).hexdigest()


def _struct(**members: _Read) -> _Read:
    def read(value: Any) -> Row:
        return {name: member(value["M"].get(_source(name))) for name, member in members.items()}

    return read


def _list(item: _Read) -> _Read:
    return lambda value: [item(entry) for entry in value["L"]]


def _map(item: _Read) -> _Read:
    return lambda value: {name: item(entry) for name, entry in value["M"].items()}


def _system(image: Mapping[str, Any]) -> str:
    head, dash, _ = image["eventId"]["S"].partition("-")
    named = dash and 2 <= len(head) <= 10 and head.isascii() and head.isalnum()
    return head.upper() if named else "UNKNOWN"


def _columns(computed: Mapping[str, Callable[[Any], Any]], **own: _Read) -> dict[str, Any]:
    every = {
        "id": _text,
        "type": _text,
        "version": _whole,
        "created_at": _moment,
        "updated_at": _moment,
    }
    read = {name: _of_value(reader) for name, reader in {**every, **own}.items()}
    return {**read, **{name: _of_image(reader) for name, reader in computed.items()}}


def _of_value(read: _Read) -> Callable[[Any, Any], Any]:
    return lambda value, _: read(value)


def _of_image(read: _Read) -> Callable[[Any, Any], Any]:
    return lambda _, image: read(image)


_PREFERENCES = _struct(aisle=_optional(_flag), accessible=_optional(_flag), note=_optional(_text))
_SEAT = _struct(section=_text, row=_text, seat=_text, price=_exact)
_PARCEL = _struct(number=_whole, weight_kg=_exact, fragile=_optional(_flag))

_TYPES: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
    "demand": _columns(
        {"system_id": _system},
        event_id=_text, user_id=_text, email=_text, phone=_optional(_masked), quantity=_whole,
        max_price=_exact, currency=_text, sections=_texts, preferences=_optional(_PREFERENCES),
        status=_text,
    ),
    "notification": _columns(
        {},
        demand_id=_text, user_id=_text, channel=_text, address=_text, template=_text,
        sent_at=_moment, status=_text,
    ),
    "event": _columns(
        {},
        name=_text, venue_id=_text, starts_at=_moment, on_sale=_flag, capacity=_whole,
        tags=_optional(_texts),
    ),
    "sale": _columns(
        {},
        demand_id=_optional(_text), order_id=_text, user_id=_text, email=_text, quantity=_whole,
        total=_exact, currency=_text, sold_at=_moment, items=_optional(_list(_SEAT)),
    ),
    "shipment": _columns(
        {"system_id": _system},
        order_id=_text, event_id=_text, user_id=_text, email=_hashed, recipient=_masked,
        carrier=_text, tracking_code=_optional(_text),
        destination=_struct(city=_text, postcode=_text, country=_text), parcels=_list(_PARCEL),
        insured_value=_optional(_exact), labels=_map(_text), promised_on=_optional(_day),
        delivered_at=_optional(_moment),
    ),
}  # fmt: skip
