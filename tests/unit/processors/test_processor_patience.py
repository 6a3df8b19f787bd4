"""What the client tries again, how often, how long; and what it makes of each answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from schemas.dsr import Identity, IdentityType, Regulation, RequestType
from schemas.opendsr.model import Dialect, SubjectRequest
from stores.processors.client import ClientRules, ProcessorClient
from stores.processors.errors import (
    Duplicate,
    Garbled,
    Gone,
    Misconfigured,
    NotPending,
    ProcessorError,
    Refused,
    Throttled,
    Unreachable,
    Unsettled,
)
from stores.processors.exchange import Exchange, NoAnswer, Reply
from stores.processors.pace import Pace
from stores.processors.region import Manners, Region
from stores.processors.support import Supported
from stores.resilience.breaker import BreakerRules, CircuitBreaker

ID = "a7551968-d5d6-44b2-9831-815ac9017798"
REQUEST = SubjectRequest(
    ID, Regulation.GDPR, RequestType.ERASURE, datetime(2026, 1, 1, tzinfo=UTC),
    (Identity(IdentityType.EMAIL, "canary@mail.example"),),
)  # fmt: skip
BUDGET = 20.0

Answer = Reply | NoAnswer


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Script:
    """Answers in this order, the last one for ever; and what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def call(self, method: str, path: str, authorization: str | None, body: object = None) -> Reply:
        self.asked.append(method)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


class Slow(Script):
    """Takes all the time that there is for each answer."""

    def __init__(self, clock: Clock, *answers: Answer) -> None:
        super().__init__(*answers)
        self._clock = clock

    def call(self, method: str, path: str, authorization: str | None, body: object = None) -> Reply:
        self._clock.sleep(BUDGET)
        return super().call(method, path, authorization, body)


def client(*scripts: Script, clock: Clock, attempts: int = 3) -> ProcessorClient:
    regions = {f"r{number}": region(script, clock) for number, script in enumerate(scripts)}
    supported = Supported(
        "mock", Dialect.SPECIFICATION_2, frozenset(IdentityType), frozenset(RequestType)
    )
    rules = ClientRules(attempts, BUDGET, timedelta(seconds=80))
    return ProcessorClient("mock", supported.dialect, regions, supported, rules, clock)


def region(script: Script, clock: Clock) -> Region:
    breaker = CircuitBreaker(BreakerRules(), clock.monotonic)
    manners = Manners(breaker, Pace(1000, clock.monotonic), clock)
    return Region("here", cast("Exchange", script), manners, lambda: None)


def answer(status: int, retry_after: float | None = None, **content: object) -> Reply:
    return Reply(status, json.dumps(content).encode(), retry_after)


ACCEPTED = answer(201, controller_id="c", subject_request_id=ID, encoded_request="eA==")
PENDING = answer(200, controller_id="c", subject_request_id=ID, request_status="pending")
CANCELLED = answer(200, controller_id="c", subject_request_id=ID, request_status="cancelled")
SILENCE = NoAnswer("ReadTimeoutError", may_have_arrived=True)


@pytest.mark.parametrize("trouble", [answer(500), answer(503), answer(429, 1.0), SILENCE])
def test_question_is_repeated_until_it_is_answered(trouble: Answer) -> None:
    script = Script(trouble, trouble, PENDING)
    assert client(script, clock=Clock()).status(ID, "r0").request_id == ID
    assert script.asked == ["GET"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 301])
def test_what_will_not_change_is_not_asked_again(status: int) -> None:
    script = Script(answer(status))
    with pytest.raises(ProcessorError):
        client(script, clock=Clock()).status(ID, "r0")
    assert script.asked == ["GET"]


def test_question_is_asked_so_many_times_and_no_more() -> None:
    script = Script(answer(500))
    with pytest.raises(Unreachable):
        client(script, clock=Clock(), attempts=4).status(ID, "r0")
    assert len(script.asked) == 4


def test_wish_to_be_left_alone_is_heeded() -> None:
    clock = Clock()
    client(Script(answer(429, 7.0), PENDING), clock=clock).status(ID, "r0")
    assert sum(clock.slept) >= 7.0


def test_nothing_is_waited_for_beyond_the_budget() -> None:
    clock, script = Clock(), Script(answer(429, BUDGET + 1))
    with pytest.raises(Throttled):
        client(script, clock=clock).status(ID, "r0")
    assert (clock.slept, len(script.asked)) == ([], 1)


def test_repeats_end_when_their_share_is_used_up() -> None:
    clock, script = Clock(), Script(answer(500))
    forwarding = client(script, clock=clock, attempts=10)
    for _ in range(20):
        with pytest.raises(Unreachable):
            forwarding.status(ID, "r0")
    assert len(script.asked) <= 20 + 10 + 20 * 0.2 + 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (422, Refused), (409, Duplicate), (401, Misconfigured), (404, Misconfigured),
     (302, Misconfigured), (503, Unreachable), (429, Throttled)],
)  # fmt: skip
def test_each_status_has_its_meaning(status: int, kind: type[ProcessorError]) -> None:
    asked_whether_it_has_it = answer(404)
    script = Script(answer(status, BUDGET + 1), asked_whether_it_has_it)
    with pytest.raises(ProcessorError) as raised:
        client(script, clock=Clock(), attempts=1).submit(REQUEST)
    assert type(raised.value) is kind


@pytest.mark.parametrize("trouble", [answer(500), answer(502), answer(504), answer(408), SILENCE])
def test_silence_about_a_request_that_was_sent_is_unsettled(trouble: Answer) -> None:
    with pytest.raises(Unsettled):
        client(Script(trouble), clock=Clock()).submit(REQUEST)


@pytest.mark.parametrize(
    "garbage",
    [answer(201), answer(201, controller_id="c", subject_request_id=ID[::-1]),
     answer(201, controller_id="c", subject_request_id=ID.replace("a", "b")),
     Reply(201, b"<html>")],
)  # fmt: skip
def test_acceptance_that_is_none_is_asked_about(garbage: Reply) -> None:
    script = Script(garbage, PENDING)
    assert client(script, clock=Clock()).submit(REQUEST).is_late
    assert script.asked == ["POST", "GET"]


def test_nothing_is_sent_when_there_is_no_time_left() -> None:
    clock, second = Clock(), Script(ACCEPTED)
    first = Slow(clock, NoAnswer("ConnectTimeoutError", may_have_arrived=False))
    with pytest.raises(Unreachable, match="no time left"):
        client(first, second, clock=clock).submit(REQUEST)
    assert second.asked == []


def test_status_of_another_request_is_garbled() -> None:
    other = answer(
        200, controller_id="c", subject_request_id=ID.replace("a", "b"), request_status="pending"
    )
    with pytest.raises(Garbled):
        client(Script(other), clock=Clock()).status(ID, "r0")


def test_cancelling_that_was_done_before_is_done() -> None:
    script = Script(answer(400), CANCELLED)
    assert client(script, clock=Clock()).cancel(ID, "r0").controller_id == "c"


@pytest.mark.parametrize(("status", "kind"), [(400, NotPending), (409, NotPending), (404, Gone)])
def test_cancelling_what_cannot_be(status: int, kind: type[ProcessorError]) -> None:
    with pytest.raises(kind):
        client(Script(answer(status), PENDING), clock=Clock()).cancel(ID, "r0")


def test_region_that_is_not_configured_is_a_matter_of_settings() -> None:
    with pytest.raises(Misconfigured, match="'gone'"):
        client(Script(PENDING), clock=Clock()).status(ID, "gone")


@pytest.mark.parametrize(
    "call",
    [lambda one: one.submit(REQUEST), lambda one: one.status(ID, "r0"),
     lambda one: one.cancel(ID, "r0")],
)  # fmt: skip
def test_what_a_processor_writes_into_an_error_is_not_repeated(
    call: Callable[[ProcessorClient], object],
) -> None:
    rude = answer(400, message="canary@mail.example is taken")
    with pytest.raises(ProcessorError) as raised:
        call(client(Script(rude, answer(404)), clock=Clock()))
    assert "canary" not in f"{raised.value!r} {raised.value.details} {raised.value.__context__!r}"
