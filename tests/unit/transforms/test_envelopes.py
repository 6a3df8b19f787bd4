"""Envelopes: a key that stands twice is found, and members nobody knows are no reason for care."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import DECODER, block, change, codes, decode, demand, kinesis_event, stream_event

from schemas.changes import InputFormat
from transforms.envelopes import split_records
from transforms.strict import StrictDecoder

IMAGE = demand()
GOOD = change(IMAGE, awsRegion="eu-west-1", tableName="t", userIdentity=None)

REPEATED = [
    GOOD.replace(b'"eventName":"INSERT"', b'"eventName":"REMOVE","eventName":"INSERT"'),
    GOOD.replace(b'"eventName":"INSERT"', b'"event\\u004eame":"REMOVE","eventName":"INSERT"'),
    GOOD.replace(b'"eventID"', b'"eventID":"c-0","eventID"'),
    GOOD.replace(b'"eventID"', b'"eventID" : "c-0","eventID"'),
    GOOD.replace(b'"userIdentity"', b'"userIdentity":{"type":"x"},"userIdentity"'),
    GOOD.replace(b'"awsRegion"', b'"awsRegion":"us-east-1","awsRegion"'),
    GOOD.replace(b'"NewImage"', b'"NewImage":' + IMAGE.encode() + b',"NewImage"'),
    GOOD.replace(b'"dynamodb"', b'"dynamodb":{},"dynamodb"'),
    GOOD.replace(b'"Keys"', b'"Keys":{},"Keys"'),
    GOOD.replace(b'"userIdentity":null', b'"userIdentity":{"principalId":"a","principalId":"b"}'),
]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("repeated", REPEATED)
def test_a_repeated_key_in_an_envelope_costs_its_record(repeated: bytes, place: int) -> None:
    records = [GOOD, GOOD]
    records.insert(place, repeated)
    batch = decode(*records)
    assert (codes(batch), len(batch.typed[0])) == (["duplicate_key"], 2)


def test_a_repeated_item_in_an_export_is_found() -> None:
    good = f'{{"Item":{IMAGE}}}'.encode()
    repeated = f'{{"Item":{{}},"Item":{IMAGE}}}'.encode()
    batch = decode(good, repeated, fmt=InputFormat.EXPORT)
    assert codes(batch) == ["duplicate_key"]


names = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(lambda name: f"x{name}"),
    st.sampled_from(['x"y', "x\\", "x\x1f", "xé", 'x":']),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just('"a":1')),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(names, inner)),
    max_leaves=5,
)


@given(members=st.lists(st.dictionaries(names, values, max_size=3), min_size=1, max_size=4))
def test_members_that_nobody_knows_are_accepted(members: list[dict[str, Any]]) -> None:
    batch = decode(*(change(IMAGE, **more) for more in members))
    assert (codes(batch), len(batch.typed[0])) == ([], len(members))


@pytest.mark.parametrize(
    "records",
    [
        [change(IMAGE, extra={"a": 1})] * 2,
        [GOOD, change(IMAGE, tableName="t")],
        [change(IMAGE), GOOD],
        [change(IMAGE), change(IMAGE, "REMOVE", userIdentity={"type": "Service"})],
        [GOOD.replace(b"tableName", b"table name"), GOOD],
    ],
)
def test_envelopes_that_differ_need_no_care(
    records: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StrictDecoder, "decode", lambda *_: pytest.fail("was looked at again"))
    assert len(decode(*records).typed[0]) == len(records)


def test_what_is_not_read_of_an_envelope_is_not_judged() -> None:
    old = b'"OldImage":{"a":{"S":"b"},"a":{"S":"c"}},'
    record = change(IMAGE, "MODIFY").replace(b'"NewImage"', old + b'"NewImage"')
    assert codes(decode(record)) == []


FORMATS = {
    InputFormat.LAMBDA_KINESIS: kinesis_event,
    InputFormat.LAMBDA_DYNAMODB: stream_event,
}
BROKEN = [
    (GOOD.replace(b'"eventID"', b'"eventID":"c-0","eventID"'), "duplicate_key"),
    (change(demand(id={"S": "\ud800"})), "lone_surrogate"),
    (GOOD.replace(b"u-1", b"\xff"), "invalid_utf8"),
    (GOOD.replace(b"u-1", b"\x00"), "nul_byte"),
    (change(demand(id={"S": "[" + "{" * 300})), None),
    (b"5", "unknown_envelope"),
    (b"null", "unknown_envelope"),
    (b"[1,{}]", "unknown_envelope"),
    (change(demand(quantity=None)), "missing_field"),
]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(("broken", "code"), BROKEN)
def test_one_broken_record_of_an_event_costs_that_record(
    fmt: InputFormat, broken: bytes, code: str | None
) -> None:
    batch = decode(FORMATS[fmt]([GOOD, GOOD, broken, GOOD]), fmt=fmt)
    found = [(reject.origin.index, reject.fault.code.value) for reject in batch.rejects]
    assert found == ([] if code is None else [(2, code)])
    assert len(batch.typed[0]) == 4 - len(found)


@pytest.mark.parametrize("fmt", FORMATS)
def test_an_event_among_change_records_is_told_apart_record_by_record(fmt: InputFormat) -> None:
    event = FORMATS[fmt]([GOOD, BROKEN[0][0], GOOD])
    batch = decode(GOOD, event)
    assert [reject.origin.index for reject in batch.rejects] == [1]
    assert (codes(batch), len(batch.typed[0])) == (["duplicate_key"], 3)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_original_is_the_inner_record_and_not_its_event(fmt: InputFormat) -> None:
    inner = change(demand(quantity=None))
    (found,) = decode(FORMATS[fmt]([GOOD, inner]), fmt=fmt).rejects
    assert found.original == inner


@pytest.mark.parametrize(
    "event",
    [
        b'{"Records":[' + GOOD + b'],"Records":[]}',
        b'{"Records":[],"Records":[' + GOOD + b"]}",
        b'{"Records":[' + GOOD + b',],"x":1}',
        b'{"Records":[' + GOOD,
    ],
)
def test_an_event_broken_outside_its_records_is_one_reject(event: bytes) -> None:
    batch = decode(event, fmt=InputFormat.LAMBDA_DYNAMODB)
    assert (batch.read, len(batch.rejects)) == (1, 1)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (b'{"kinesis":{"data":"***"}}', "bad_base64"),
        (b'{"kinesis":{"data":5}}', "unknown_envelope"),
        (b'{"kinesis":{}}', "unknown_envelope"),
        (b'{"kinesis":{"data":"e30=","data":"e30="}}', "duplicate_key"),
        (b'{"kinesis":{"data":"e30="},"kinesis":{"data":"e30="}}', "duplicate_key"),
        (b'{"kinesis":{"data":"bm8="}}', "invalid_json"),
    ],
)
def test_a_kinesis_record_that_carries_no_change(record: bytes, code: str) -> None:
    good = kinesis_event([GOOD])[len(b'{"Records":[') : -2]
    event = b'{"Records":[' + good + b"," + record + b"," + good + b"]}"
    batch = decode(event, fmt=InputFormat.LAMBDA_KINESIS)
    assert ([r.origin.index for r in batch.rejects], codes(batch)) == ([1], [code])


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("more", [{}, {"eventSource": "aws:kinesis", "n": 1}])
def test_events_may_be_printed_in_any_way_and_have_more_members(
    indent: int | None, more: dict[str, Any]
) -> None:
    event = json.loads(kinesis_event([GOOD] * 3))
    event["Records"][1] |= more
    batch = decode(json.dumps(event | more, indent=indent).encode(), fmt=InputFormat.LAMBDA_KINESIS)
    assert (codes(batch), len(batch.typed[0])) == ([], 3)


@given(records=st.lists(values, max_size=5), more=st.dictionaries(names, values, max_size=2))
def test_records_are_split_as_json_has_them(records: list[Any], more: dict[str, Any]) -> None:
    _, split = split_records(json.dumps({**more, "Records": records}, indent=1).encode())
    assert [json.loads(record) for record in split] == records


def test_an_empty_event_holds_nothing() -> None:
    for fmt in FORMATS:
        assert decode(b'{"Records":[]}', fmt=fmt).read == 0


def test_blocks_of_different_producers_are_read_by_one_decoder() -> None:
    first = DECODER.decode(block(GOOD, GOOD))
    second = DECODER.decode(block(change(IMAGE), GOOD))
    assert (codes(first), codes(second)) == ([], [])
