"""What one GraphQL document may ask for, and what is refused before anything is done."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.service import GraphqlSection
from schemas.errors import Invalid, RequestError, TooLarge
from service.graphql.limits import parsed

LIMITS = GraphqlSection()
BOMB = "fragment A on Query { ...B } fragment B on Query { ...A } { ...A }"


def refusal(text: str, variables: dict[str, Any] | None = None, **limits: int) -> RequestError:
    with pytest.raises(RequestError) as raised:
        parsed(text, variables or {}, GraphqlSection.model_validate(limits))
    assert "canary" not in str(raised.value) + str(raised.value.details)
    return raised.value


def nested(levels: int, field: str = "canary") -> str:
    return f"{{ {field} " * levels + "}" * levels


def page(first: str) -> str:
    return f'{{ dsrRequestsByEmail(email: "e", first: {first}) {{ items {{ id }} }} }}'


def test_document_within_the_limits_is_parsed() -> None:
    document = parsed(nested(LIMITS.depth), {}, LIMITS)
    assert len(document.definitions) == 1


def test_deep_nesting_is_refused() -> None:
    assert refusal(nested(LIMITS.depth + 1)).details == {"limit": LIMITS.depth}


def test_nesting_beyond_the_stack_is_refused_by_its_brackets() -> None:
    for opening in "{[(":
        assert isinstance(refusal(f"{opening}" * 5000, tokens=10_000), TooLarge)


def test_depth_goes_through_fragments() -> None:
    chain = [f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(LIMITS.depth)]
    text = "{ ...F0 } " + " ".join(chain) + f" fragment F{LIMITS.depth} on Query {{ id }}"
    assert "levels" in refusal(text).message


@pytest.mark.parametrize("text", [BOMB, "fragment A on Query { a { ...A } } { ...A }"])
def test_fragments_without_an_end_are_refused(text: str) -> None:
    assert isinstance(refusal(text), Invalid)


def test_fragments_that_double_are_measured_once_each_and_refused() -> None:
    spreads = [f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40)]
    text = "{ ...F0 } " + " ".join(spreads) + " fragment F40 on Q { id }"
    assert isinstance(refusal(text, depth=50), TooLarge)


def test_a_thousand_aliases_are_refused() -> None:
    text = "{" + " ".join(f"a{n}: canary" for n in range(1000)) + "}"
    assert refusal(text, tokens=10_000).details == {"limit": LIMITS.aliases}


def test_flood_of_directives_is_refused() -> None:
    text = "{ canary" + " @include(if: true)" * 100 + " }"
    assert refusal(text).details == {"limit": LIMITS.directives}


def test_directives_count_wherever_they_stand() -> None:
    text = "query ($a: Int @canary) @canary { ...F @canary } fragment F on Q @canary { id @canary }"
    assert refusal(text, directives=4).details == {"limit": 4}
    assert parsed(text, {}, GraphqlSection(directives=5))


def test_huge_document_is_refused_by_its_tokens() -> None:
    assert refusal("{" + " canary" * 100_000).details == {"limit": LIMITS.tokens}


@pytest.mark.parametrize(("first", "cost"), [("50", 101), ("1", 3), ("-9", 3), ("9999", 401)])
def test_cost_is_fields_times_the_length_of_their_list(first: str, cost: int) -> None:
    assert parsed(page(first), {}, GraphqlSection(cost=max(cost, 10)))
    if cost > 10:
        assert refusal(page(first), cost=cost - 1).details == {"limit": cost - 1}


def test_length_of_a_list_is_read_from_variables() -> None:
    text = "query ($n: Int)" + page("$n")
    assert parsed(text, {"n": 5}, GraphqlSection(cost=11))
    assert refusal(text, {"n": "canary"}, cost=400).details == {"limit": 400}


def test_malformed_document_is_refused_by_its_place() -> None:
    assert refusal("{ a(canary:").details == {"where": [{"line": 1, "column": 12}]}


@pytest.mark.parametrize("value", ['"\\u0000"', "1e999", "-1e999", "9" * 5000])
def test_values_that_json_could_not_hold_are_refused(value: str) -> None:
    assert "query: holds a" in refusal(f"{{ a(b: {value}) }}").message


@given(st.text(alphabet='{}()[]$:!@.."#ab1 \n', max_size=80))
def test_any_text_is_a_document_or_refused(text: str) -> None:
    with suppress(RequestError):
        assert parsed(text, {}, LIMITS).definitions
