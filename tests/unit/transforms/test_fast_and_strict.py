"""The fast way and the strict way are one: what the one makes of a record, the other does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import images
from records import block, change, codes, compact, demand

from schemas.changes import ChangeBatch
from schemas.registry import load_registry
from transforms.decode import Decoder
from transforms.strict import StrictDecoder

SCHEMAS = Path(__file__).parents[3] / "examples" / "schemas"
REGISTRY = load_registry(SCHEMAS)
DECODER = Decoder(REGISTRY)
TYPES = sorted(REGISTRY.types)


def spaced(image: dict[str, Any]) -> str:
    """The image written so that the fast way does not find its type."""
    return json.dumps(image, separators=(" , ", " : "))


def decode(texts: Iterable[str]) -> ChangeBatch:
    return DECODER.decode(block(*map(change, texts)))


def named(batch: ChangeBatch) -> list[tuple[str, str]]:
    """Codes and top-level fields; below them, the strict way tells less."""
    found = [reject.fault for reject in batch.rejects]
    return [(fault.code.value, (fault.field or "").partition(".")[0]) for fault in found]


def rows(batch: ChangeBatch) -> dict[str, pa.Array]:
    (changes,) = batch.typed
    return dict(changes.columns)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_both_ways_give_equal_columns_and_extras(name: str, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(images(REGISTRY[name]), min_size=1, max_size=4))
    fast, strict = decode(map(compact, drawn)), decode(map(spaced, drawn))
    assert codes(fast) == codes(strict) == []
    assert rows(fast) == rows(strict)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=20)
@given(data=st.data())
def test_a_fault_in_one_row_changes_no_other(name: str, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(images(REGISTRY[name]), min_size=1, max_size=3))
    broken = {**drawn[0], "version": {"N": "many"}, "updatedAt": {"S": "soon"}}
    alone = rows(decode(map(compact, drawn)))
    assert rows(decode(map(compact, [broken, *drawn]))) == alone


@pytest.mark.parametrize(
    "attributes",
    [
        {"updatedAt": {"NULL": True}},
        {"updatedAt": {}},
        {"updatedAt": {"N": "soon"}},
        {"updatedAt": {"N": "NaN"}},
        {"sections": {"NULL": True}},
        {"sections": {}},
        {"sections": {"L": None}},
        {"sections": {"L": [{}]}},
        {"phone": {}},
        {"phone": {"NULL": False}},
        {"phone": {"S": "1", "NULL": True}},
        {"phone": {"S": None}},
        {"preferences": {"M": {"note": {}}}},
        {"preferences": {"M": {"aisle": {"S": "x"}}}},
        {"preferences": {"L": []}},
        {"quantity": {"N": "0x1F"}},
        {"quantity": {"N": ""}},
        {"quantity": {"N": "1.5"}},
        {"maxPrice": {"N": "1E+400"}},
        {"maxPrice": {"N": "9" * 39}},
        {"type": {"S": "demand", "N": "1"}},
        {"id": {"S": "a", "B": "b"}},
        {"wish": {"S": "a", "N": "1"}},
        {"wish": 5},
    ],
    ids=compact,
)
def test_both_ways_find_the_same_fault(attributes: dict[str, Any]) -> None:
    image = json.loads(demand(**attributes))
    fast, strict = decode([compact(image)]), decode([spaced(image)])
    assert named(fast) == named(strict) != []


def test_sound_records_need_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    monkeypatch.setattr(StrictDecoder, "decode", lambda _, document: looked_at.append(document))
    decode([demand(), demand(wish={"S": "front row"}), demand(phone={"NULL": True})])
    assert looked_at == []
