"""Batches and their results: whatever an API does, each row gets one, in order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import Reason, Row, Status
from stores.enrichment.errors import BatchNotEnriched
from transforms.contacts.enrich import enrich_rows

Contacts = Sequence[msgspec.Raw]


class Api:
    """Breaks over some ids, forgets, shuffles, and answers at most ``most`` contacts of a call."""

    def __init__(self, breaking: set[str], most: int = 1000, seed: int = 0) -> None:
        self.breaking, self.most, self.asked = breaking, most, 0
        self.random = random.Random(seed)

    def __call__(self, asked: Contacts) -> list[dict[str, Any]]:
        self.asked += 1
        contacts = [msgspec.json.decode(each) for each in asked]
        if self.breaking & {contact["id"] for contact in contacts}:
            raise BatchNotEnriched(Reason.API_ERROR)
        results = [{"id": c["id"], "said": f"of {c['id']}"} for c in contacts][: self.most]
        self.random.shuffle(results)
        return results


def rows(ids: Sequence[str]) -> list[Row]:
    return [
        Row(line, each, msgspec.Raw(msgspec.json.encode({"id": each})))
        for line, each in enumerate(ids, 1)
    ]


@given(
    st.lists(st.integers(0, 30).map(str), max_size=40), st.sets(st.integers(0, 30).map(str)),
    st.integers(1, 50), st.integers(),
)  # fmt: skip
def test_each_row_gets_its_own_result_in_order(
    ids: list[str], breaking: set[str], most: int, seed: int
) -> None:
    results = enrich_rows(rows(ids), Api(breaking, most, seed))
    assert [(r.line, r.id) for r in results] == [(n, each) for n, each in enumerate(ids, 1)]
    for result in results:
        is_broken = result.id in breaking
        assert result.reason == (Reason.API_ERROR if is_broken else None)
        assert result.enrichment == (None if is_broken else {"said": f"of {result.id}"})


def test_one_that_breaks_a_batch_is_found_in_few_questions() -> None:
    api = Api({"70"})
    enrich_rows(rows([str(n) for n in range(100)]), api)
    assert api.asked <= 15


def test_a_faulty_row_is_not_sent() -> None:
    def ask(contacts: Contacts) -> list[dict[str, Any]]:
        raise AssertionError("it was sent")

    faulty = Row(1, None, None, Reason.INVALID_JSON)
    assert enrich_rows([faulty], ask)[0].reason is Reason.INVALID_JSON


def test_a_contact_that_the_api_never_answers_has_no_result() -> None:
    result = enrich_rows(rows(["1"]), lambda _: [{"id": "2"}])[0]
    assert (result.status, result.reason) == (Status.FAILED, Reason.NO_RESULT)


def test_what_the_api_rejects_is_said() -> None:
    result = enrich_rows(rows(["1"]), lambda _: [{"id": "1", "error": "not this one"}])[0]
    assert result.reason is Reason.REJECTED


def test_equal_ids_are_told_apart_by_their_order() -> None:
    answers = [{"id": "1", "n": 1}, {"id": "1", "n": 2}]
    found = enrich_rows(rows(["1", "1"]), lambda _: answers)
    assert [result.enrichment for result in found] == [{"n": 1}, {"n": 2}]
