"""Long lines of JSON are taken apart at the values in them, wherever a piece ends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.erasure.second_lines import json_parts, lines_of

VALUES = st.sampled_from(
    [
        {"email": "a@b.c", "tags": ["x", {"y": None}]},
        'quotes \\" and ],[ "',
        -1.5e-07,
        1e20,
        120,
        True,
        None,
        {},
        "",
    ]
)


@given(st.lists(VALUES), st.integers(1, 40), st.sampled_from([None, 1]))
def test_parts_of_an_array_are_its_members(members: list[Any], long: int, indent: int) -> None:
    text = json.dumps(members, indent=indent).replace("\n", " ") + "\n"
    if len(text) > long:
        *parts, end = json_parts(io.StringIO(text), long)
        assert [*map(json.loads, parts)] == members
        assert not end.strip("[] \n")
    else:
        assert [*json_parts(io.StringIO(text), long)] == [text]


@given(st.text('[]{},:"\\\n1e+-ab '), st.integers(1, 9))
def test_nothing_but_what_is_between_values_is_left_out(text: str, long: int) -> None:
    parts = "".join(json_parts(io.StringIO(text), long))
    between = str.maketrans("", "", "[], \n")
    assert parts.translate(between) == text.translate(between)


@pytest.mark.parametrize("parts", [json_parts, lines_of])
def test_part_that_has_no_end_is_an_error_of_the_file(parts: Any) -> None:
    with pytest.raises(InputError, match="more than 64 MiB"):
        list(parts(io.StringIO('["' + "x" * (65 << 20))))
