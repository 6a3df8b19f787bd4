"""A session says what is to be done, whatever comes and however time passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Forbidden, NotAuthenticated, RateLimited, Unavailable
from service.live.frames import CloseCode, Closed, Frames, Pinged, Ponged, pong_frame
from service.live.messages import State, Watched
from service.live.requests import MOST_BYTES
from service.live.session import RECHECK_SECONDS
from service.live.steps import Close, Identify, Open, Send, Unwatch
from service.live.watches import Begun, Missing
from service.security.tokens import Identity
from tests.unit.service.live_sessions import (
    JOB,
    RULES,
    SOMEBODY,
    START,
    Time,
    close_of,
    known_session,
    new_session,
    said,
    say,
    subscribe,
    update,
    versions,
)


def code_of(steps: list) -> int | None:  # type: ignore[type-arg]
    close = close_of(steps)
    return None if close is None else int(close.code)


def test_token_is_asked_about_and_its_owner_welcomed() -> None:
    session = new_session(Time())
    asked = say(session, "auth", action="authenticate", token="token-1", sessionId="mine")
    welcome = said(session.identified(Identity(SOMEBODY, START + timedelta(hours=1))))
    assert asked == [Identify("token-1")]
    assert welcome == [
        {
            "type": "auth",
            "data": {
                "action": "authenticated",
                "subject": "user-1",
                "sessionId": "mine",
                "expiresAt": "2026-11-21T13:00:00.000000Z",
            },
        }
    ]


def test_who_subscribes_before_authenticating_is_closed() -> None:
    steps = subscribe(new_session(Time()), "jobs")
    assert said(steps)[0]["error"]["code"] == "not_authenticated"
    assert code_of(steps) == CloseCode.NOT_AUTHENTICATED


def test_who_never_authenticates_is_closed_in_time() -> None:
    time = Time()
    session = new_session(time)
    time.pass_by(session.due_in())
    assert time.seconds == RULES.authenticate_seconds
    assert code_of(session.tick()) == CloseCode.NOT_AUTHENTICATED


def test_refused_token_ends_the_session() -> None:
    session = new_session(Time())
    say(session, "auth", action="authenticate", token="bad")
    assert code_of(session.refused(NotAuthenticated("no"))) == CloseCode.NOT_AUTHENTICATED
    assert session.receive(Pinged(b"")) == []


@pytest.mark.parametrize("error", [RateLimited("enough"), Unavailable("the database is away")])
def test_who_cannot_be_let_in_now_is_told_to_try_later(error: Exception) -> None:
    session = new_session(Time())
    say(session, "auth", action="authenticate", token="good")
    assert code_of(session.refused(error)) == CloseCode.TRY_LATER


def test_expired_token_ends_the_session_at_its_time() -> None:
    time = Time()
    session = known_session(time, lives=15)
    assert session.due_in() == 15
    time.pass_by(15)
    steps = session.tick()
    assert "expired" in said(steps)[0]["error"]["message"]
    assert code_of(steps) == CloseCode.NOT_AUTHENTICATED


def test_new_token_of_the_same_owner_prolongs_the_session() -> None:
    time = Time()
    session = known_session(time, lives=15)
    say(session, "auth", action="authenticate", token="token-2")
    session.identified(Identity(SOMEBODY, START + timedelta(seconds=600)))
    time.pass_by(16)
    assert close_of(session.tick()) is None


def test_token_of_somebody_else_ends_the_session() -> None:
    session = known_session(Time())
    steps = session.identified(Identity(replace(SOMEBODY, subject="user-2"), None))
    assert code_of(steps) == CloseCode.NOT_AUTHENTICATED


def test_token_is_looked_at_again_and_its_revocation_ends_the_session() -> None:
    time = Time()
    session = known_session(time)
    time.pass_by(RECHECK_SECONDS)
    session.receive(Ponged())
    assert Identify("token-1") in session.tick()
    assert code_of(session.refused(NotAuthenticated("revoked"))) == CloseCode.NOT_AUTHENTICATED


def test_session_survives_that_its_token_cannot_be_looked_at_now() -> None:
    time = Time()
    session = known_session(time)
    time.pass_by(RECHECK_SECONDS)
    session.receive(Ponged())
    session.tick()
    assert session.refused(Unavailable("the database is away")) == []
    assert session.due_in() <= RECHECK_SECONDS


def test_client_that_gives_no_sign_of_life_is_closed() -> None:
    time = Time()
    session = known_session(time)
    time.pass_by(25)
    assert len(session.tick()) == 1
    time.pass_by(25)
    assert close_of(session.tick()) == Close(CloseCode.POLICY, "no sign of life")


def test_client_that_answers_pings_stays() -> None:
    time = Time()
    session = known_session(time)
    for _ in range(4):
        time.pass_by(25)
        assert close_of(session.tick()) is None
        session.receive(Ponged())


def test_pings_of_either_kind_are_answered() -> None:
    session = new_session(Time())
    assert session.receive(Pinged(b"x")) == [Send(pong_frame(b"x"))]
    assert said(say(session, "ping")) == [{"type": "pong", "data": {}}]


def test_flood_ends_the_session() -> None:
    session = known_session(Time())
    for _ in range(199):
        assert close_of(say(session, "ping")) is None
    steps = say(session, "ping")
    assert said(steps)[0]["error"]["code"] == "rate_limited"
    assert code_of(steps) == CloseCode.POLICY


def test_client_within_the_rate_is_served_for_ever() -> None:
    time = Time()
    session = known_session(time)
    for _ in range(1000):
        time.pass_by(1 / 20)
        assert said(say(session, "ping"))


def test_subscription_is_opened_before_anything_is_sent() -> None:
    assert subscribe(known_session(Time()), "job:a") == [Open(JOB, None)]


def test_snapshot_comes_first_and_updates_follow() -> None:
    session = known_session(Time())
    subscribe(session, "job:a")
    steps = session.opened(JOB, Begun(State(JOB, 3, {"status": "running"})))
    assert said(steps)[0]["data"] == {
        "action": "snapshot",
        "resource": "job:a",
        "version": 3,
        "state": {"status": "running"},
    }
    assert versions(session.told(update(4))) == [4]


def test_what_is_not_there_and_what_is_out_of_reach_are_told_alike() -> None:
    session = known_session(Time())
    subscribe(session, "jobs job:a")
    steps = session.opened(JOB, Missing())
    assert steps[0] == Unwatch(JOB)
    error = said(steps)[0]["error"]
    assert (error["code"], error["name"]) == ("not_found", 2)


def test_what_may_not_be_watched_is_refused_and_the_session_goes_on() -> None:
    session = known_session(Time())
    subscribe(session, "job:a")
    steps = session.not_opened(JOB, Forbidden("this needs a right"))
    assert said(steps)[0]["error"]["code"] == "forbidden"
    assert said(say(session, "ping"))


def test_nothing_follows_an_unsubscribe() -> None:
    session = known_session(Time())
    subscribe(session, "job:a")
    session.opened(JOB, Begun(State(JOB, 3, {})))
    steps = subscribe(session, "job:a", "unsubscribe")
    assert Unwatch(JOB) in steps
    assert session.told(update(4)) == []


def test_second_subscription_to_the_same_is_refused() -> None:
    session = known_session(Time())
    subscribe(session, "job:a")
    assert said(subscribe(session, "job:a"))[0]["error"]["code"] == "invalid"


def test_watches_of_one_connection_are_bounded() -> None:
    session = known_session(Time())
    subscribe(session, " ".join(f"job:{n}" for n in range(100)))
    assert said(subscribe(session, "jobs"))[0]["error"]["code"] == "invalid"


def test_error_has_type_code_correlation_id_and_time() -> None:
    error = said(subscribe(known_session(Time()), "?"))[0]["error"]
    assert (error["type"], error["code"]) == ("validation", "invalid")
    assert error["correlationId"] == "correlation-1"
    assert error["timestamp"] == "2026-11-21T12:00:00Z"
    assert "development" not in error


def test_error_tells_developers_where_it_arose_and_nothing_of_what_was_sent() -> None:
    session = new_session(Time(), replace(RULES, development=True))
    error = said(say(session, "auth", action="authenticate", token="sécret"))[0]["error"]
    assert error["development"]["stack"]
    assert error["development"]["request"]["characters"] > 0
    assert "cret" not in str(error)


def test_close_of_the_client_is_answered() -> None:
    assert code_of(known_session(Time()).receive(Closed())) == CloseCode.NORMAL


def test_mistake_of_ours_is_told_without_its_message() -> None:
    steps = known_session(Time()).broke(ValueError("ana@example.com"))
    assert said(steps)[0]["error"]["code"] == "internal"
    assert "ana@" not in str(said(steps))
    assert code_of(steps) == CloseCode.MISTAKE


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_bytes_are_answered_or_end_the_session(chunks: list[bytes]) -> None:
    session, frames = known_session(Time()), Frames(MOST_BYTES)
    for received in (r for chunk in chunks for r in frames.receive(chunk)):
        close_of(session.receive(received))


@given(st.lists(st.text(max_size=60), max_size=20))
def test_any_text_gets_an_answer_until_the_session_ends(texts: list[str]) -> None:
    from service.live.frames import Text

    session = known_session(Time())
    for text in texts:
        assert session.receive(Text(text)) or session.closed


def test_all_is_another_watch_than_one() -> None:
    session = known_session(Time())
    assert subscribe(session, "jobs") == [Open(Watched("job"), None)]
