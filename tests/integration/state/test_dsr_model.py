"""Lists of requests, page by page, while others are added and changed: nothing lost or twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrCursor, DsrQuery, DsrStatus
from stores.state.sql import SqlState, open_state
from tests.dsr_requests import RECEIVED, a_request
from tests.integration.state.records import ALL

SUBJECT = "a" * 64

SAID = AuditDraft("user-1", "org-1", "dsr.changed", "dsr:1")

HOURS = st.lists(st.integers(0, 3), max_size=6)


@contextmanager
def empty() -> Iterator[SqlState]:
    with tempfile.TemporaryDirectory() as folder:
        state = open_state(f"sqlite:///{Path(folder) / 'state.db'}")
        try:
            yield state
        finally:
            state.close()


def added(state: SqlState, hours: list[int]) -> set[str]:
    """Closed requests of one subject, many of one time; their ids."""
    requests = [
        a_request(status=DsrStatus.COMPLETED, received_at=RECEIVED + timedelta(hours=hour))
        for hour in hours
    ]
    state.dsr.add(requests, [SAID for _ in requests])
    return {dsr.id for dsr in requests}


def pages(state: SqlState, query: DsrQuery) -> Iterator[list[Dsr]]:
    while page := state.dsr.find(query, ALL):
        yield page
        query = replace(query, after=DsrCursor(page[-1].received_at, page[-1].id))


@settings(max_examples=25, deadline=None)
@given(HOURS, HOURS, st.integers(1, 3), st.booleans())
def test_a_list_gives_what_was_there_once_and_in_order(
    before: list[int], meanwhile: list[int], size: int, of_subject: bool
) -> None:
    query = DsrQuery(SUBJECT if of_subject else None, limit=size)
    with empty() as state:
        known, found = added(state, before), []
        for number, page in enumerate(pages(state, query)):
            found += page
            if number == 0:
                added(state, meanwhile)
    places = [(dsr.received_at, dsr.id) for dsr in found]
    assert places == sorted(set(places), reverse=True)
    assert known <= {dsr.id for dsr in found}
