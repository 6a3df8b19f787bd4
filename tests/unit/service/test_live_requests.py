"""Messages of clients are taken apart, and every fault is named without repeating what was sent."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Invalid
from service.live.messages import Watched
from service.live.requests import (
    MOST_BYTES,
    Authenticate,
    Ping,
    Request,
    Subscribe,
    Unsubscribe,
    parse,
)

OWN = "session-1"
SECRET = "ana@example.com"


def read(kind: str, **data: Any) -> Request:
    return parse(json.dumps({"type": kind, "data": data}), OWN)


def refused(kind: str, **data: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read(kind, **data)
    return caught.value


def test_token_is_taken_and_never_shown() -> None:
    request = read("auth", action="authenticate", token="abc.def", sessionId="s-1")
    assert request == Authenticate("abc.def", "s-1")
    assert "abc.def" not in repr(request)


def test_names_of_one_thing_and_of_all_are_taken() -> None:
    request = read("message", action="subscribe", message="job:a run:b jobs runs")
    watched = [Watched("job", "a"), Watched("run", "b"), Watched("job"), Watched("run")]
    assert request == Subscribe(tuple((one, None) for one in watched))


def test_resume_takes_the_number_behind_each_name() -> None:
    request = read("message", action="resume", message="job:a@7 jobs@120")
    assert request == Subscribe(((Watched("job", "a"), 7), (Watched("job"), 120)))


def test_unsubscribe_takes_names() -> None:
    assert read("message", action="unsubscribe", message="jobs") == Unsubscribe((Watched("job"),))


def test_ping_needs_no_data() -> None:
    assert parse('{"type": "ping"}', OWN) == Ping()


@pytest.mark.parametrize(
    ("field", "length"),
    [("action", 50), ("message", 10_000), ("sessionId", 100), ("token", 10_000)],
)
def test_field_longer_than_its_limit_is_named(field: str, length: int) -> None:
    error = refused(
        "message", **{"action": "subscribe", "message": "jobs", field: "a" * length + "a"}
    )
    assert error.message == f"data.{field}: is longer than {length:,} characters"


@pytest.mark.parametrize("field", ["action", "message", "sessionId", "token"])
def test_field_of_other_characters_is_named_and_not_repeated(field: str) -> None:
    error = refused("message", **{"action": "subscribe", "message": "jobs", field: SECRET + "€"})
    assert error.message.startswith(f"data.{field}: has other characters than")
    assert SECRET not in str((error.message, error.details))


def test_two_faults_are_two_problems() -> None:
    error = refused("message", action="subscribe", token="x")
    assert error.details["problems"] == [
        {"where": "data.message", "problem": "is missing"},
        {"where": "data.token", "problem": "does not go with this action"},
    ]


def test_action_of_another_type_is_refused_with_those_there_are() -> None:
    assert (
        refused("auth", action="subscribe").message == "data.action: type auth takes authenticate"
    )


def test_unknown_type_is_refused() -> None:
    assert refused("order").message.startswith("type: ")


def test_unknown_field_is_refused_without_its_name() -> None:
    error = refused("message", **{SECRET: 1})
    assert SECRET not in str((error.message, error.details))


@pytest.mark.parametrize(
    ("action", "message", "problem"),
    [
        ("subscribe", "job:a@3", "takes no @NUMBER: use resume"),
        ("resume", "job:a@3 jobs", "needs @NUMBER behind every name"),
        ("unsubscribe", "job:a@3", "takes no @NUMBER with this action"),
        ("subscribe", "jobs job:", "name 2 is not job:ID, run:ID, dsr:ID, jobs, runs or dsrs"),
        ("subscribe", "jobs jobs", "holds a name twice"),
        ("subscribe", "   ", "holds no name"),
        ("subscribe", " ".join(f"job:{n}" for n in range(101)), "holds more than 100 names"),
    ],
)
def test_names_that_cannot_be_taken_are_told(action: str, message: str, problem: str) -> None:
    assert refused("message", action=action, message=message).message == f"data.message: {problem}"


def test_message_of_another_session_is_refused() -> None:
    error = refused("message", action="subscribe", message="jobs", sessionId="session-2")
    assert error.message == "data.sessionId: is not the one of this connection"


def test_largest_message_fits_into_the_limit_of_bytes() -> None:
    longest = {"action": 50, "message": 10_000, "sessionId": 100, "token": 10_000}
    escaped = {name: "\\u0061" * length for name, length in longest.items()}
    text = json.dumps({"type": "message", "data": escaped}).replace("\\\\", "\\")
    assert len(text) <= MOST_BYTES


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_text_is_taken_or_refused_as_invalid(text: str) -> None:
    with suppress(Invalid):
        assert isinstance(parse(text, OWN), Request)
