"""A type of the user's own, from its ``.avsc`` file through every step, with no Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pytest
import sqlglot
from sqlglot import exp

from tests.engines.lakes import EXAMPLES, done, lethe, make_lake

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}
CURRENCY = {"type": "enum", "name": "currency", "symbols": ["EUR", "JPY"]}
PRICE = {
    "type": "record",
    "name": "price",
    "fields": [
        {"name": "amount", "type": MONEY},
        {"name": "currency", "type": CURRENCY},
    ],
}
LEG = {
    "type": "record",
    "name": "leg",
    "fields": [
        {"name": "from_stop", "type": "string", "source": "fromStop", "maxLength": 5},
        {"name": "leaves_at", "type": MICROS, "source": "leavesAt"},
        {"name": "price", "type": ["null", PRICE], "default": None},
        {"name": "seats", "type": {"type": "array", "items": "int"}},
        {"name": "notes", "type": {"type": "map", "values": ["null", "string"]}},
    ],
}
TRIP = {
    "type": "record",
    "name": "trip",
    "doc": "A journey of several legs",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "booked_on", "source": "bookedOn", "partition": True,
         "type": {"type": "int", "logicalType": "date"}},
        {"name": "email", "type": "string", "subject": "email", "pii": "email", "scrub": "hash"},
        {"name": "legs", "type": {"type": "array", "items": LEG}},
        {"name": "by_class", "source": "byClass",
         "type": {"type": "map", "values": {"type": "array", "items": "double"}}},
        {"name": "ticket", "type": ["null", "bytes"], "default": None},
        {"name": "ratio", "type": ["null", "float"], "default": None},
        {"name": "grid", "default": None,
         "type": ["null", {"type": "array", "items": {"type": "array", "items": "long"}}]},
    ],
}  # fmt: skip

EMAIL = "ana.costa@example.com"


def leg(**changed: Any) -> dict[str, Any]:
    image = {
        "fromStop": {"S": "LIS"},
        "leavesAt": {"S": "2026-01-08T01:30:00+02:00"},
        "price": {"M": {"amount": {"N": "1234567890123456789012345678.0123456789"},
                        "currency": {"S": "JPY"}}},
        "seats": {"NS": ["12", "7"]},
        "notes": {"M": {"meal": {"S": "none"}, "pet": {"NULL": True}}},
    }  # fmt: skip
    return {"M": {**image, **changed}}


def change(number: int, **changed: Any) -> dict[str, Any]:
    """A change of trip ``T-<number>``; attributes given as None are left out."""
    image = {
        "id": {"S": f"T-{number}"},
        "type": {"S": "trip"},
        "version": {"N": "1"},
        "bookedOn": {"S": "2026-01-07"},
        "email": {"S": EMAIL},
        "legs": {"L": [leg(), leg(price={"NULL": True}, seats={"L": []}, notes={"M": {}})]},
        "byClass": {"M": {"first": {"L": [{"N": "0.1"}, {"N": "1E+2"}]}, "second": {"L": []}}},
        "ticket": {"B": "AP/+"},
        "ratio": {"N": "0.5"},
        "grid": {"L": [{"L": [{"N": "1"}, {"N": "2"}]}, {"L": []}]},
        **changed,
    }
    new = {name: value for name, value in image.items() if value is not None}
    time = 1_767_787_200_123
    stream = {"ApproximateCreationDateTime": time, "NewImage": new}
    return {"eventID": f"c-{number}", "eventName": "INSERT", "dynamodb": stream}


GOOD = (
    change(1),
    change(2, ticket=None, ratio={"NULL": True}, grid=None, legs={"L": []}, byClass={"M": {}}),
    change(3, gate={"M": {"letter": {"S": "B"}}}),
)

EXPECTED_FIRST = {
    "id": "T-1",
    "type": "trip",
    "version": 1,
    "booked_on": date(2026, 1, 7),
    "legs": [
        {
            "from_stop": "LIS",
            "leaves_at": datetime(2026, 1, 7, 23, 30, tzinfo=UTC),
            "price": {
                "amount": Decimal("1234567890123456789012345678.0123456789"),
                "currency": "JPY",
            },
            "seats": [12, 7],
            "notes": {"meal": "none", "pet": None},
        },
        {
            "from_stop": "LIS",
            "leaves_at": datetime(2026, 1, 7, 23, 30, tzinfo=UTC),
            "price": None,
            "seats": [],
            "notes": {},
        },
    ],
    "by_class": {"first": [0.1, 100.0], "second": []},
    "ticket": b"\x00\xff\xfe",
    "ratio": 0.5,
    "grid": [[1, 2], []],
    "reference": "urn:lethe:trip:T-1:1",
    "deleted": False,
    "deleted_at": None,
    "deleted_by": None,
    "change_time": datetime(2026, 1, 7, 12, 0, 0, 123_000, tzinfo=UTC),
    "change_id": "c-1",
    "extra": None,
}

# What is wrong, as attributes of the image, and the field and code that the dead letter names.
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "text_where_a_number_goes": (
        {"legs": {"L": [leg(seats={"SS": ["a"]})]}}, "legs.seats", "wrong_type"),
    "no_number": (
        {"legs": {"L": [leg(), leg(seats={"NS": ["x"]})]}}, "legs.seats", "bad_number"),
    "missing_in_a_record_of_a_list": (
        {"legs": {"L": [{"M": {"fromStop": {"S": "LIS"}}}]}}, "legs.leavesAt", "missing_field"),
    "time_without_a_zone": (
        {"legs": {"L": [leg(leavesAt={"S": "2026-01-08T01:30:00"})]}},
        "legs.leaves_at", "bad_timestamp"),
    "too_long_in_a_record_of_a_list": (
        {"legs": {"L": [leg(fromStop={"S": "LISBON"})]}}, "legs.from_stop", "too_long"),
    "no_such_symbol": (
        {"legs": {"L": [leg(price={"M": {"amount": {"N": "1"}, "currency": {"S": "XXX"}}})]}},
        "legs.price.currency", "not_allowed"),
    "more_digits_than_the_decimal_has": (
        {"legs": {"L": [leg(price={"M": {"amount": {"N": "0.00000000001"},
                                         "currency": {"S": "EUR"}}})]}},
        "legs.price.amount", "number_out_of_range"),
    "wrong_value_of_a_map": (
        {"byClass": {"M": {"first": {"L": [{"N": "1E+999"}]}}}}, "by_class", "number_out_of_range"),
    "no_base64": ({"ticket": {"B": "?"}}, "ticket", "bad_base64"),
    "no_date": ({"bookedOn": {"S": "2026-02-30"}}, "booked_on", "bad_timestamp"),
}  # fmt: skip


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "trip.avsc").write_text(json.dumps(TRIP))
    return folder


def input_file(folder: Path, *changes: dict[str, Any]) -> Path:
    path = folder / "trips.ndjson"
    path.write_text("".join(json.dumps(change, separators=(",", ":")) + "\n" for change in changes))
    return path


def read_parquet(lake: Path) -> list[dict[str, Any]]:
    files = f"read_parquet('{lake}/type=trip/*/*.parquet', hive_partitioning = false)"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM {files} ORDER BY id")
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def read_avro(lake: Path) -> list[dict[str, Any]]:
    rows: list[Any] = []
    for path in lake.glob("type=trip/*/*.avro"):
        with path.open("rb") as file:
            rows += fastavro.reader(file)
    return sorted(rows, key=lambda row: str(row["id"]))


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "parquet": read_parquet,
    "avro": read_avro,
}


@pytest.fixture(params=sorted(READERS))
def rows(request: pytest.FixtureRequest, tmp_path: Path, schemas: Path) -> list[dict[str, Any]]:
    """The good trips, delivered in a format and read from it."""
    options = ("--schemas", schemas, "--format", request.param)
    lake = make_lake(tmp_path / "lake", (input_file(tmp_path, *GOOD),), *options)
    return READERS[request.param](lake)


def test_nested_values_arrive_as_they_were(rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    assert first.pop("email").startswith("hmac-sha256:")
    assert first == EXPECTED_FIRST


def test_absent_values_are_null_and_empty_ones_are_empty(rows: list[dict[str, Any]]) -> None:
    second = {name: rows[1][name] for name in ("ticket", "ratio", "grid", "legs", "by_class")}
    assert second == {"ticket": None, "ratio": None, "grid": None, "legs": [], "by_class": {}}


def test_unknown_field_is_kept_as_json(rows: list[dict[str, Any]]) -> None:
    assert json.loads(rows[2]["extra"]) == {"gate": {"letter": "B"}}


def deliver_bad(tmp_path: Path, schemas: Path, changed: dict[str, Any]) -> Path:
    """A lake with one good trip and a dead letter."""
    lake = tmp_path / "lake"
    source = input_file(tmp_path, change(1), change(2, **changed))
    options = ("--schemas", schemas, "--max-error-rate", 1)
    return make_lake(lake, (source,), *options)


def letters(lake: Path) -> Iterator[dict[str, Any]]:
    for path in lake.glob("errors/date=*/*.ndjson"):
        yield from map(json.loads, path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("name", BAD)
def test_dead_letter_names_the_nested_field(tmp_path: Path, schemas: Path, name: str) -> None:
    changed, field, code = BAD[name]
    (letter,) = letters(deliver_bad(tmp_path, schemas, changed))
    assert (letter["field"], letter["code"], letter["type"]) == (field, code, "trip")


def test_bad_record_costs_no_good_one(tmp_path: Path, schemas: Path) -> None:
    lake = deliver_bad(tmp_path, schemas, {"bookedOn": None})
    assert [row["id"] for row in read_parquet(lake)] == ["T-1"]


def test_dead_letter_hides_the_personal_value(tmp_path: Path, schemas: Path) -> None:
    (letter,) = letters(deliver_bad(tmp_path, schemas, {"bookedOn": None}))
    assert EMAIL not in json.dumps(letter)


def test_replay_delivers_what_a_wider_schema_allows(tmp_path: Path, schemas: Path) -> None:
    changed = {"legs": {"L": [leg(fromStop={"S": "LISBON"})]}}
    lake = deliver_bad(tmp_path, schemas, changed)
    text = (schemas / "trip.avsc").read_text().replace('"maxLength": 5', '"maxLength": 50')
    (schemas / "trip.avsc").write_text(text)
    done("replay", "--lake", lake, "--schemas", schemas)
    assert [row["id"] for row in read_parquet(lake)] == ["T-1", "T-2"]
    assert list(letters(lake)) == []


def test_replayed_row_equals_one_that_was_never_rejected(tmp_path: Path, schemas: Path) -> None:
    (schemas / "trip.avsc").rename(schemas / "later")
    lake = tmp_path / "lake"
    options = ("--max-error-rate", 1, "--schemas", schemas)
    make_lake(lake, (input_file(tmp_path, change(1)),), *options)
    (schemas / "later").rename(schemas / "trip.avsc")
    done("replay", "--lake", lake, "--schemas", schemas, "--code", "unknown_type")
    (row,) = read_parquet(lake)
    assert {name: row[name] for name in EXPECTED_FIRST} == EXPECTED_FIRST


def test_list_tells_of_the_type(schemas: Path) -> None:
    listed = json.loads(done("schemas", "list", "--json", "--schemas", schemas))
    trip = next(entry for entry in listed if entry["type"] == "trip")
    assert (trip["partition"], trip["subject"]) == ("booked_on", {"email": "email"})


def test_ddl_has_the_nested_columns(schemas: Path) -> None:
    statement = sqlglot.parse_one(
        done("schemas", "ddl", "trip", "--schemas", schemas), dialect="athena"
    )
    columns = {c.name: c.kind.sql("hive") for c in statement.this.find_all(exp.ColumnDef)}
    assert columns["by_class"] == "MAP<STRING, ARRAY<DOUBLE>>"
    assert "DECIMAL(38, 10)" in columns["legs"]


def test_json_schema_has_the_nested_fields(schemas: Path) -> None:
    document = json.loads(done("schemas", "json", "trip", "--schemas", schemas))
    properties = document["properties"]["legs"]["items"]["properties"]
    assert properties["from_stop"]["maxLength"] == 5


def test_arrow_schema_has_the_nested_fields(schemas: Path) -> None:
    printed = done("schemas", "arrow", "trip", "--schemas", schemas)
    assert "decimal128(38, 10) not null" in printed


def test_check_finds_a_change_inside_a_list_of_records(schemas: Path, tmp_path: Path) -> None:
    new = json.dumps(TRIP).replace('"EUR", "JPY"', '"EUR"')
    (tmp_path / "new.avsc").write_text(new)
    result = lethe("schemas", "check", schemas / "trip.avsc", tmp_path / "new.avsc")
    assert result.exit_code == 1
    assert "legs[].price.currency\tenum_symbols" in result.stdout


@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_delivered_lake_has_no_drift(tmp_path: Path, schemas: Path, fmt: str) -> None:
    source = input_file(tmp_path, *GOOD)
    lake = make_lake(tmp_path / "lake", (source,), "--schemas", schemas, "--format", fmt)
    assert done("schemas", "drift", "--lake", lake, "--schemas", schemas) == "no drift\n"


@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_drift_is_found_inside_a_list_of_records(tmp_path: Path, schemas: Path, fmt: str) -> None:
    source = input_file(tmp_path, *GOOD)
    lake = make_lake(tmp_path / "lake", (source,), "--schemas", schemas, "--format", fmt)
    text = (schemas / "trip.avsc").read_text().replace('"scale": 10', '"scale": 9')
    (schemas / "trip.avsc").write_text(text)
    result = lethe("schemas", "drift", "--lake", lake, "--schemas", schemas)
    assert result.exit_code == 1
    assert "type_differs\tlegs" in result.stdout


def test_example_type_is_delivered_in_full(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--schemas", EXAMPLES / "schemas", "--report", report)
    make_lake(tmp_path / "lake", (EXAMPLES / "shipments.ndjson",), *options)
    counts = json.loads(report.read_text())
    assert counts["by_type"] == {"shipment": 6}
    assert counts["dead_letters"] == 0


def test_type_without_its_schema_becomes_dead_letters(tmp_path: Path) -> None:
    result = lethe("deliver", EXAMPLES / "shipments.ndjson", "--lake", tmp_path, "--workers", 1)
    assert result.exit_code == 3
    assert {letter["code"] for letter in letters(tmp_path)} == {"unknown_type"}
