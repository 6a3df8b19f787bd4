"""Fields that no schema names: kept, counted or refused, wherever they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import any_attribute
from records import change, codes, column, compact, decode, demand, faults

from transforms.attributes import plain_json, unmarshal
from transforms.decode import UnknownFields
from transforms.strict import StrictDecoder

NESTED = {"preferences": {"M": {"note": {"S": "x"}, "pet": {"S": "dog"}}}}


def extras(*images: str) -> list[Any]:
    batch = decode(*map(change, images))
    assert codes(batch) == []
    return [None if text is None else json.loads(text) for text in column(batch, "extra")]


def test_unknown_fields_are_kept_as_json() -> None:
    assert extras(demand(wish={"S": "front"}), demand()) == [{"wish": "front"}, None]


def test_all_ten_types_are_kept() -> None:
    image = demand(
        a={"S": "s"},
        b={"N": "1.50"},
        c={"B": "AAE="},
        d={"BOOL": False},
        e={"NULL": True},
        f={"M": {"x": {"L": [{"N": "1"}]}}},
        g={"SS": ["p", "q"]},
        h={"NS": ["1", "2.0"]},
        i={"BS": ["AAE="]},
    )
    (extra,) = column(decode(change(image)), "extra")
    assert extra == (
        '{"a":"s","b":1.50,"c":"AAE=","d":false,"e":null,"f":{"x":[1]},'
        '"g":["p","q"],"h":[1,2.0],"i":["AAE="]}'
    )


def test_numbers_in_unknown_fields_keep_38_digits() -> None:
    digits = "12345678901234567890.123456789012345678"
    assert column(decode(change(demand(x={"N": digits}))), "extra") == [f'{{"x":{digits}}}']


def test_nested_unknown_fields_are_kept_where_they_stood() -> None:
    assert extras(demand(**NESTED)) == [{"preferences": {"pet": "dog"}}]


def test_discarded_fields_are_counted() -> None:
    images = [demand(a={"S": "x"}, b={"N": "1"}), demand(**NESTED), demand()]
    batch = decode(*map(change, images), policy=UnknownFields.DISCARD)
    assert (batch.discarded_fields, column(batch, "extra")) == (3, [None] * 3)


@pytest.mark.parametrize(
    ("more", "name"), [({"wish": {"S": "x"}}, "wish"), (NESTED, "preferences")]
)
def test_rejected_fields_are_named(more: dict[str, Any], name: str) -> None:
    batch = decode(change(demand(**more)), change(demand()), policy=UnknownFields.REJECT)
    assert (list(faults(batch)), len(batch.typed[0])) == ([("unknown_field", name)], 1)


def test_text_that_looks_like_a_key_is_no_unknown_field() -> None:
    image = demand(eventId={"S": 'a " : b'})
    assert codes(decode(change(image), policy=UnknownFields.REJECT)) == []


@given(attributes=st.lists(any_attribute, min_size=1, max_size=3))
def test_whatever_an_unknown_field_holds_is_kept(attributes: list[dict[str, Any]]) -> None:
    images = [demand(**{f"wish{i}": attribute}) for i, attribute in enumerate(attributes)]
    kept = [{f"wish{i}": unmarshal(attribute)} for i, attribute in enumerate(attributes)]
    assert extras(*images) == [json.loads(plain_json(fields)) for fields in kept]


def test_records_with_different_unknown_fields_need_no_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StrictDecoder, "decode", lambda *_: pytest.fail("was looked at again"))
    images = [demand(**{f"wish{i % 90}": {"S": "x"}, "pet": {"N": "1"}}) for i in range(200)]
    assert extras(*images)[199] == {"pet": 1, "wish19": "x"}


@pytest.mark.parametrize("name", ["wi sh", 'wi"sh', "wi\\sh", "wünsch", "\x1f", "", "f0", "m0"])
def test_an_unknown_field_may_have_any_name(name: str) -> None:
    image = compact({**json.loads(demand()), name: {"S": "x"}})
    assert extras(image, image, demand()) == [{name: "x"}, {name: "x"}, None]


def test_a_known_name_in_an_unknown_map_is_no_field_of_the_type() -> None:
    assert extras(demand(wish={"M": {"quantity": {"N": "9"}}})) == [{"wish": {"quantity": 9}}]
