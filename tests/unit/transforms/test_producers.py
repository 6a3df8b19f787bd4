"""What is learned of producers: the order of members, and what unread ones look like."""

from __future__ import annotations

import pytest
from records import DECODER, DEMAND, change, compact, demand

from transforms.producers import Habits, merged

READERS = DECODER.readers


def learned(*documents: bytes) -> Habits:
    habits = Habits(READERS)
    habits.learn(documents)
    return habits


@pytest.mark.parametrize(
    ("order", "names", "result"),
    [
        ((), "abc", "abc"),
        ("ac", "abc", "abc"),
        ("abc", "xa", "xabc"),
        ("abc", "cx", "abcx"),
        ("ab", "ba", "ab"),
    ],
)
def test_a_name_is_put_after_the_one_that_it_follows(order: str, names: str, result: str) -> None:
    assert "".join(merged(tuple(order), names)) == result


def test_a_member_missing_from_one_record_is_learned_from_another() -> None:
    habits = learned(change(demand()), change(demand(phone={"S": "+1"})))
    assert habits.orders["demand",][-2:] == ("status", "phone")


def test_the_same_again_teaches_nothing() -> None:
    habits = learned(change(demand()))
    version = habits.version
    habits.learn([change(demand(email={"S": "b@example.com"}), eventID="c-2")])
    assert habits.version == version


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{", b'{"dynamodb":5}', change('{"type":{"S":"no"}}'), change("[]")]
)
def test_nothing_is_learned_of_types_from_what_is_no_change(document: bytes) -> None:
    assert learned(document).type_places == {}


def test_few_ways_to_write_a_member_are_learned() -> None:
    habits = learned(*(change(demand(), tags=list(range(count))) for count in range(20)))
    assert len(habits.variants["envelope", "tags"]) == 4


def test_names_that_are_data_are_not_all_learned() -> None:
    names = (f"member{number}" for number in range(200))
    habits = learned(*(change(demand(), "INSERT", **{name: 1}) for name in names))
    assert len(habits.orders["envelope",]) <= 64


def test_a_type_is_looked_for_in_few_places() -> None:
    more = [{f"x{n}": {"S": ""} for n in range(count)} for count in range(9)]
    habits = learned(*(change(compact({**members, **DEMAND})) for members in more))
    assert len(habits.type_places["demand"]) == 4
