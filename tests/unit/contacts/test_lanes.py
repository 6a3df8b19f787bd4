"""Lanes: every part once, and never more calls than were asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.contacts import EnrichmentPlan, InputIdentity, Part
from stores.enrichment.client import ApiSettings
from transforms.contacts.lanes import deal_out


def plan(parts: int) -> EnrichmentPlan:
    found = tuple(Part(number, number, 1) for number in range(parts))
    return EnrichmentPlan("p", InputIdentity("/c", 1, "1"), {}, 1, parts, parts, found)


@given(st.integers(0, 50), st.integers(1, 300), st.integers(1, 20))
def test_parts_and_calls_are_dealt_out_whole(parts: int, calls: int, workers: int) -> None:
    lanes = deal_out(plan(parts), ApiSettings("http://a", concurrency=calls), workers)
    assert sorted(p.number for lane in lanes for p in lane.parts) == [*range(parts)]
    assert sum(lane.calls for lane in lanes) == (calls if parts else 0)
    assert all(lane.calls and lane.parts for lane in lanes)


def test_a_rate_is_shared() -> None:
    lanes = deal_out(plan(9), ApiSettings("http://a", rate=30.0), 3)
    assert [lane.rate for lane in lanes] == [10.0, 10.0, 10.0]
