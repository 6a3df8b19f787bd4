"""JSON is looked at before it is parsed: how deep it nests, and how much it holds."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RequestError, TooLarge
from service.bodies import check_structure

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('"\\[]{},a', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\[{,', max_size=3), inner)
    ),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(VALUES)
def test_depth_is_told_whatever_strings_hold(value: Any) -> None:
    body, depth = json.dumps(value).encode(), depth_of(value)
    check_structure(body, depth, 1000)
    if depth:
        with pytest.raises(RequestError, match="nests deeper"):
            check_structure(body, depth - 1, 1000)


@given(st.binary(max_size=200), st.integers(1, 5), st.integers(1, 20))
def test_any_bytes_are_passed_or_refused(body: bytes, depth: int, values: int) -> None:
    with suppress(RequestError):
        check_structure(body, depth, values)


def test_brackets_in_strings_are_no_structure() -> None:
    check_structure(json.dumps({"text": "[{" * 500 + '\\"'}).encode(), 2, 10)


def test_more_values_than_are_taken_are_refused() -> None:
    check_structure(json.dumps([1] * 100).encode(), 1, 101)
    with pytest.raises(TooLarge, match="more than 100 values"):
        check_structure(json.dumps([1] * 101).encode(), 0, 100)


def test_empty_lists_count_as_values() -> None:
    with pytest.raises(TooLarge):
        check_structure(b"[" + b"[]," * 5000 + b"[]]", 20, 1000)


def test_character_that_no_database_keeps_is_refused() -> None:
    check_structure(rb'{"a": "\\u0000"}', 2, 10)
    with pytest.raises(RequestError, match="NUL"):
        check_structure(rb'{"a": "\u0000"}', 2, 10)
