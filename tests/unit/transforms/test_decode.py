"""Decoding: what a change record says, and what is wrong with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from records import REGISTRY, block, change, codes, column, compact, decode, demand, faults

from schemas.changes import ErrorCode, Position, Replayed
from transforms.decode import Decoder

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def twice(text: str, member: str) -> str:
    """JSON text with a member put in a second time, in front of the first."""
    return text.replace(member, f"{member},{member}", 1)


@pytest.mark.parametrize(
    "image",
    [
        twice(demand(), '"quantity":{"N":"2"}'),
        twice(demand(), '"type":{"S":"demand"}'),
        demand().replace('{"N":"2"}', '{"N":"2","N":"3"}'),
        twice(demand(preferences={"M": {"note": {"S": "x"}}}), '"note":{"S":"x"}'),
        demand(preferences={"M": {}}).replace('{"M":{}}', '{"M":{},"M":{}}'),
        demand().replace('{"S":"A"}', '{"S":"A","S":"B"}'),
        demand(wish={"S": "x"}).replace('"wish":', '"wish":{"S":"y"},"wish":'),
        demand(wish={"M": {"a": {"S": "b"}}}).replace('"a":', '"a":{"S":"c"},"a":'),
    ],
)
def test_a_repeated_key_in_an_image_is_found(image: str) -> None:
    assert codes(decode(change(image), change(demand()))) == ["duplicate_key"]


@pytest.mark.parametrize("hidden", ['"phone":{}', '"phone" :{"S":"1"}', '"phone"\n:{"S":"1"}'])
def test_a_repeated_key_does_not_hide_behind_a_key_that_is_counted_short(hidden: str) -> None:
    image = demand().replace('"version"', f'{hidden},"version":{{"N":"7"}},"version"', 1)
    assert codes(decode(change(image))) == ["duplicate_key"]


def test_a_key_counted_short_in_one_record_hides_none_in_another() -> None:
    short = change(demand(phone={}))
    long = change(demand().replace('{"S":"ana@example.com"}', '{"S":"a@b.example","X":"1"}'))
    assert codes(decode(short, long)) == ["wrong_type", "wrong_type"]


@pytest.mark.parametrize(
    "image",
    [
        demand(eventId={"S": 'say "x": y'}),
        demand(eventId={"S": "Prix : 10"}),
        demand(eventId={"S": '"a" : {"b":1}'}),
        json.dumps(json.loads(demand()), indent=2),
        json.dumps(json.loads(demand()), separators=(" , ", " :\t")),
    ],
)
def test_white_space_and_text_that_looks_like_keys_are_no_fault(image: str) -> None:
    batch = decode(change(image))
    assert (codes(batch), column(batch, "quantity")) == ([], [2])


def test_a_type_that_another_text_tells_of_is_not_taken_for_the_type() -> None:
    decoy = {"M": {"note": {"S": "x"}, "type": {"S": "sale"}}}
    image = compact({"decoy": decoy, **json.loads(demand())})
    batch = decode(change(image))
    assert [changes.record_type.name for changes in batch.typed] == ["demand"]


def test_a_type_told_in_a_string_is_not_taken_for_the_type() -> None:
    image = compact({"note": {"S": '"type":{"S":"sale"}'}, **json.loads(demand())})
    assert [changes.record_type.name for changes in decode(change(image)).typed] == ["demand"]


def test_keys_that_hold_a_type_are_not_taken_for_the_image() -> None:
    record = change(demand()).replace(b'{"id":{"S":"D-1"}},', b'{"type":{"S":"sale"}},', 1)
    assert codes(decode(record)) == []


def test_the_type_may_come_last() -> None:
    image = json.loads(demand())
    image["type"] = image.pop("type")
    assert column(decode(change(compact(image))), "type") == ["demand"]


@pytest.mark.parametrize("event", ["INSERT", "MODIFY", "REMOVE"])
def test_the_image_of_an_event(event: str) -> None:
    batch = decode(change(demand(), event))
    assert batch.typed[0].event_name.to_pylist() == [event]


def test_a_modification_gives_the_new_image() -> None:
    record = json.loads(change(demand(quantity={"N": "3"}), "MODIFY"))
    record["dynamodb"]["OldImage"] = json.loads(demand(quantity={"N": "2"}))
    assert column(decode(compact(record).encode()), "quantity") == [3]


def test_a_removal_gives_the_old_image() -> None:
    record = json.loads(change(demand(quantity={"N": "3"}), "REMOVE"))
    record["dynamodb"]["NewImage"] = json.loads(demand(quantity={"N": "2"}))
    assert column(decode(compact(record).encode()), "quantity") == [3]


TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("event", "identity", "by_ttl"),
    [
        ("REMOVE", TTL, True),
        ("REMOVE", None, False),
        ("REMOVE", {"type": "User", "principalId": "someone"}, False),
        ("REMOVE", {}, False),
        ("MODIFY", TTL, False),
    ],
)
def test_who_removed_an_item(event: str, identity: Any, by_ttl: bool) -> None:
    batch = decode(change(demand(), event, userIdentity=identity))
    assert (codes(batch), batch.typed[0].by_ttl.to_pylist()) == ([], [by_ttl])


@pytest.mark.parametrize("first_has_identity", [True, False])
def test_removals_by_the_service_and_by_request_mix(first_has_identity: bool) -> None:
    records = [change(demand(), "REMOVE", userIdentity=TTL), change(demand(), "REMOVE")]
    batch = decode(*(records if first_has_identity else records[::-1]))
    assert batch.typed[0].by_ttl.to_pylist() == [first_has_identity, not first_has_identity]


def with_time(time: str) -> bytes:
    return change(demand()).replace(
        b'"dynamodb":{', f'"dynamodb":{{"ApproximateCreationDateTime":{time},'.encode()
    )


@pytest.mark.parametrize(
    "time", ["1767355200", "1767355200.0", "1767355200000", "1767355200000000", '"1767355200"']
)
def test_change_times_in_seconds_milliseconds_and_microseconds(time: str) -> None:
    assert decode(with_time(time)).typed[0].change_time.to_pylist() == [NOON]


@pytest.mark.parametrize(
    ("time", "code"),
    [
        ("1" + "0" * 400, "date_out_of_range"),
        ("-9e15", "date_out_of_range"),
        ("1e300", "date_out_of_range"),
        ('"nan"', "bad_timestamp"),
        ('" 1_0 "', "bad_timestamp"),
        ("true", "bad_timestamp"),
        ("NaN", "bad_number"),
    ],
)
def test_change_times_that_are_none(time: str, code: str) -> None:
    assert codes(decode(with_time(time), change(demand()))) == [code]


def test_an_optional_field_may_be_missing_or_null() -> None:
    batch = decode(change(demand(phone={"NULL": True})), change(demand()))
    assert (codes(batch), column(batch, "phone")) == ([], [None, None])


@pytest.mark.parametrize("value", [None, {"NULL": True}])
@pytest.mark.parametrize("name", ["userId", "quantity", "updatedAt", "sections", "status"])
def test_a_required_field_may_be_neither_missing_nor_null(name: str, value: Any) -> None:
    (found,) = faults(decode(change(demand(**{name: value}))))
    assert found[0] == "missing_field"


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ({"section": {"S": "A"}}, ("missing_field", "items.row")),
        (
            {"section": {"N": "1"}, "row": {"S": "1"}, "seat": {"S": "1"}, "price": {"N": "1"}},
            ("wrong_type", "items.section"),
        ),
    ],
)
def test_a_fault_within_a_list_of_records_is_named(item: Any, fault: tuple[str, str]) -> None:
    image = json.loads(demand(type={"S": "sale"}))
    image |= {"orderId": {"S": "o"}, "total": {"N": "1"}, "soldAt": {"N": "0"}}
    image["items"] = {"L": [{"M": item}]}
    assert list(faults(decode(change(compact(image))))) == [fault]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b"[]", "unknown_envelope"),
        (b"1", "unknown_envelope"),
        (b'{"a":1}', "unknown_envelope"),
        (change(demand(), "UPSERT"), "bad_event_name"),
        (b'{"eventName":"INSERT","dynamodb":{}}', "missing_image"),
        (b'{"eventName":"REMOVE","dynamodb":{}}', "missing_old_image"),
        (change("5"), "wrong_type"),
        (change(demand(type={"S": "../x"})), "invalid_type_name"),
        (change(demand(type={"S": "coupon"})), "unknown_type"),
        (change(demand(type={"N": "1"})), "wrong_type"),
        (change(demand(type=None)), "missing_field"),
        (change(demand(id={"S": "\x00"}).replace("\\u0000", "\x00")), "nul_byte"),
        (change(demand(id={"S": "\ud800"})), "lone_surrogate"),
        (change(demand(wish={"S": "\ud800"})), "lone_surrogate"),
        (change(demand()).replace(b"u-1", b"\xff"), "invalid_utf8"),
        (change(demand(wish={"S": "u-2"})).replace(b"u-2", b"\xff"), "invalid_utf8"),
        (change(demand(wish={"S": "x"})).replace(b"wish", b"wi\xff"), "invalid_utf8"),
        (change(demand())[:-1], "invalid_json"),
        (change(demand()) + b"}", "invalid_json"),
    ],
)
def test_each_fault_has_its_code_and_costs_one_record(record: bytes, code: str) -> None:
    batch = decode(change(demand()), record, change(demand()))
    assert (codes(batch), len(batch.typed[0])) == ([code], 2)


def test_every_record_is_counted_once() -> None:
    records = [change(demand()), change(demand(quantity=None)), b"junk", b"  "]
    batch = decode(*records)
    assert (batch.read, len(batch.typed[0]), len(batch.rejects)) == (3, 1, 2)


def test_rows_stay_in_the_order_of_the_source() -> None:
    spaced = json.dumps(json.loads(demand(id={"S": "2"})))
    images = [demand(id={"S": "1"}), spaced, demand(id={"S": "3"})]
    assert column(decode(*map(change, images)), "id") == ["1", "2", "3"]


@pytest.mark.parametrize("wanted", [["sale"], []])
def test_types_that_are_not_wanted_are_counted_and_left(wanted: list[str]) -> None:
    decoder = Decoder(REGISTRY, frozenset(wanted))
    batch = decoder.decode(block(change(demand()), change(demand(quantity={"N": "x"}))))
    assert (batch.read, batch.filtered, batch.typed, batch.rejects) == (2, 2, (), ())


def test_a_wanted_type_is_not_left_for_the_sake_of_a_decoy() -> None:
    image = compact({"decoy": {"M": {"type": {"S": "sale"}}}, **json.loads(demand())})
    batch = Decoder(REGISTRY, frozenset({"demand"})).decode(block(change(image)))
    assert (batch.filtered, len(batch.typed[0])) == (0, 1)


def test_a_replayed_record_keeps_its_origin_and_counts_the_attempt() -> None:
    origin = Position("first", 7, 3)
    replayed = block(b"junk")
    object.__setattr__(replayed, "replayed", (Replayed(origin, 2),))
    (found,) = Decoder(REGISTRY).decode(replayed).rejects
    assert (found.origin, found.attempt) == (origin, 2)


def test_the_original_of_a_reject_is_its_record() -> None:
    record = change(demand(quantity=None))
    (found,) = decode(change(demand()), record).rejects
    assert (found.original, found.fault.code) == (record, ErrorCode.MISSING_FIELD)
