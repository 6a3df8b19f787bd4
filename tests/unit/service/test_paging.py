"""Cursors lead back to where a page ended, and nothing else is taken for one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import Invalid
from service.paging import Page, PageQuery, Place, read_cursor, write_cursor

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
HERE = Place(datetime(2026, 11, 21, 5, 0, 0, 123456, UTC), "20261121T050000-1-abc")


@given(TIMES, IDS)
def test_cursor_leads_back_to_its_place(at: datetime, name: str) -> None:
    place = Place(at, name)
    assert read_cursor("runs", write_cursor("runs", place)) == place


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        read_cursor("runs", text)


@given(st.data())
def test_changed_cursor_names_a_place_or_is_refused(data: st.DataObject) -> None:
    cursor = write_cursor("runs", HERE)
    at = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:at] + data.draw(st.characters(codec="ascii")) + cursor[at + 1 :]
    with suppress(Invalid):
        assert write_cursor("runs", read_cursor("runs", changed)) == changed


def test_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Invalid):
        read_cursor("enrichment", write_cursor("runs", HERE))


def test_cursor_and_offset_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="not both"):
        PageQuery(cursor="x", offset=1)


def test_page_says_whether_others_follow() -> None:
    assert Page.of([1, 2, 3], 2) == Page([1, 2], True)
    assert Page.of([1, 2], 2) == Page([1, 2], False)
