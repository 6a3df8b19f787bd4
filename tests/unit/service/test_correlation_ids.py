"""An id from outside goes into headers and logs only if it is harmless."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.correlation import correlation_id_of, traceparent_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("given_id", ["a", "req-42", "7f3c.1_x", "A" * 64])
def test_harmless_id_is_kept(given_id: str) -> None:
    assert correlation_id_of(given_id) == given_id


@pytest.mark.parametrize(
    "given_id", [None, "", "a b", "a\r\nSet-Cookie: x=1", "a\n", "é", "A" * 65, "-a", "<b>", "a\0"]
)
def test_any_other_is_replaced(given_id: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{32}", correlation_id_of(given_id))


@given(st.text())
def test_id_never_holds_what_ends_a_header_or_a_log_line(given_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", correlation_id_of(given_id))


def test_trace_context_passes_if_it_is_well_formed() -> None:
    assert traceparent_of(TRACE) == TRACE


@pytest.mark.parametrize(
    "given_context",
    [None, "", TRACE.upper(), "ff" + TRACE[2:], TRACE + "\n", f"00-{'0' * 32}-{TRACE[36:]}"],
)
def test_malformed_trace_context_does_not(given_context: str | None) -> None:
    assert traceparent_of(given_context) is None
