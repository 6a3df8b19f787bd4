"""The conversation that forwards a request: what is written, sent and asked, in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.forwarding import (
    Claim,
    Heard,
    Located,
    LookUp,
    Outcome,
    Rules,
    Said,
    Send,
    Settle,
    Talk,
    Tell,
    Unreadable,
    Unready,
    Withdraw,
    forwarding,
    retried,
    withdrawal,
)
from dsr.pauses import Pauses
from schemas.alerts import Alert
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.opendsr.model import Acceptance, ProcessingStatus, StatusReport
from stores.processors.errors import (
    Duplicate,
    Garbled,
    Gone,
    NotPending,
    ProcessorError,
    Refused,
    Throttled,
    Unreachable,
    Unsettled,
)
from stores.processors.port import Accepted, Earlier
from tests.dsr_requests import RECEIVED, a_request

NOW = RECEIVED + timedelta(hours=1)
DOWN = Unreachable("it does not answer")
ACCEPTED = Accepted("eu", "controller-1", NOW, NOW + timedelta(days=14))


def the_bound(_: float, bound: float) -> float:
    return bound


def sealed(_: Dsr, url: str) -> bytes:
    return url.encode()


RULES = Rules(Pauses(5.0, 900.0), the_bound, max_attempts=3, seal=sealed)


def there(status: ProcessingStatus = ProcessingStatus.PENDING) -> Located:
    return Located("eu", StatusReport("id", status, "controller-1"))


class Run:
    """A conversation with these answers; a store of one request, and what was said."""

    def __init__(self, talk: Talk, dsr: Dsr, answers: list[Heard], now: datetime = NOW) -> None:
        self.dsr, self.actions, self.asked = dsr, list[str](), list[Said]()
        self._answers, self._now = answers, now
        try:
            said = next(talk)
            while True:
                said = talk.send(self._heard(said))
        except StopIteration as end:
            self.outcome: Outcome = end.value

    def _heard(self, said: Said) -> Heard:
        if not isinstance(said, Claim | Settle):
            self.asked.append(said)
            return self._answers.pop(0)
        step = said.decide(self.dsr, self._now)
        if step is not None:
            self.dsr = replace(step.dsr, version=self.dsr.version + 1)
            self.actions.append(step.action)
        return None if step is None else self.dsr


def forwarded(dsr: Dsr, *answers: Heard, now: datetime = NOW) -> Run:
    return Run(forwarding(dsr, "one", RULES), dsr, [*answers], now)


def withdrawn(dsr: Dsr, *answers: Heard) -> Run:
    return Run(withdrawal(dsr, RULES), dsr, [*answers])


def tried(**known: object) -> Dsr:
    first = Forwarding("one", None, 1, RECEIVED)
    return a_request(forwarding=replace(first, **known))  # type: ignore[arg-type]


def to_cancel(dsr: Dsr) -> Dsr:
    return replace(dsr, cancel_requested_at=NOW)


def test_time_is_written_down_before_anything_is_sent() -> None:
    talk = forwarding(a_request(), "one", RULES)
    claim = next(talk)
    assert isinstance(claim, Claim)
    step = claim.decide(a_request(), NOW)
    assert step is not None
    assert step.dsr.forwarding == Forwarding("one", None, 1, NOW)
    assert isinstance(talk.send(step.dsr), Send)


def test_accepted_request_is_submitted_where_it_was_taken() -> None:
    run = forwarded(a_request(), ACCEPTED)
    assert (run.outcome, run.dsr.status) == (Outcome.FORWARDED, DsrStatus.SUBMITTED)
    assert run.dsr.forwarding.controller_id == "controller-1"
    assert run.dsr.forwarding.region == "eu"
    assert run.actions == ["forwarding", "forwarded"]


def test_request_that_somebody_else_changed_is_not_sent() -> None:
    talk = forwarding(a_request(), "one", RULES)
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(None)
    assert end.value.value is Outcome.OVERTAKEN


def test_what_died_before_is_sent_with_what_is_known_of_it() -> None:
    dsr = tried()
    assert forwarded(dsr, ACCEPTED).asked == [Send(claimed(dsr), Earlier(RECEIVED, None))]


def test_region_of_an_unsettled_attempt_is_forgotten_while_it_is_tried_again() -> None:
    dsr = tried(region="eu")
    run = forwarded(dsr, DOWN)
    [sent] = run.asked
    assert isinstance(sent, Send)
    assert sent.earlier == Earlier(RECEIVED, "eu")
    assert sent.dsr.forwarding.region is None


def test_unsettled_attempt_is_kept_in_mind() -> None:
    run = forwarded(a_request(), Unsettled("lost", region="us"))
    assert (run.outcome, run.dsr.status) == (Outcome.PUT_OFF, DsrStatus.QUEUED)
    assert (run.dsr.forwarding.tried_at, run.dsr.forwarding.region) == (NOW, "us")


def test_question_to_all_regions_does_not_put_off_when_the_attempt_counts_as_settled() -> None:
    run = forwarded(tried(), Unsettled("any may have it", region=None))
    assert run.outcome is Outcome.PUT_OFF
    assert (run.dsr.forwarding.tried_at, run.dsr.forwarding.region) == (RECEIVED, None)


@pytest.mark.parametrize("error", [DOWN, Garbled("?"), Duplicate("another is in progress")])
def test_attempt_that_brought_nothing_is_put_off(error: ProcessorError) -> None:
    run = forwarded(a_request(), error)
    assert run.outcome is Outcome.PUT_OFF
    assert run.dsr.forwarding == Forwarding("one", None, 1, None, NOW + timedelta(seconds=5))


def test_being_throttled_is_no_failed_attempt() -> None:
    run = forwarded(tried(attempts=3), Throttled("slow down", retry_after=60.0))
    assert run.outcome is Outcome.PUT_OFF
    assert run.dsr.forwarding.attempts == 3
    assert run.dsr.forwarding.next_try_at is not None
    assert run.dsr.forwarding.next_try_at > NOW + timedelta(seconds=60)


def test_refused_request_fails_with_the_reason() -> None:
    run = forwarded(a_request(), Refused("not this type", status=400))
    assert (run.outcome, run.dsr.status) == (Outcome.FAILED, DsrStatus.FAILED)
    assert (run.dsr.error_code, run.dsr.closed_at) == ("processor_refused", NOW)


def test_request_is_parked_after_the_last_attempt_when_somebody_was_told() -> None:
    run = forwarded(tried(attempts=2), DOWN, True)
    assert (run.outcome, run.dsr.status) == (Outcome.PARKED, DsrStatus.QUEUED)
    assert run.dsr.parked_reason == "processor_unreachable: it does not answer"
    assert isinstance(run.asked[-1], Tell)


def test_request_is_not_parked_while_nobody_could_be_told() -> None:
    run = forwarded(tried(attempts=2), DOWN, False)
    assert (run.outcome, run.dsr.parked_reason) == (Outcome.PUT_OFF, None)


def test_request_that_cannot_be_opened_is_parked_at_once() -> None:
    assert forwarded(a_request(), Unreadable("sealed"), True).outcome is Outcome.PARKED


@pytest.mark.parametrize("error", [Unreadable("sealed"), Unready("the key is too short")])
def test_attempt_that_could_not_be_made_leaves_what_is_known_of_those_before(
    error: ProcessorError,
) -> None:
    run = forwarded(tried(region="us"), error, True)
    assert run.dsr.status is DsrStatus.QUEUED
    assert (run.dsr.forwarding.tried_at, run.dsr.forwarding.region) == (RECEIVED, "us")


@pytest.mark.parametrize("error", [DOWN, Refused("no"), Unreadable("sealed")])
def test_what_another_one_has_claimed_since_is_left_to_it(error: ProcessorError) -> None:
    talk = forwarding(a_request(), "one", RULES)
    next(talk)
    talk.send(claimed(a_request()))
    said = talk.send(error)
    settle = talk.send(True) if isinstance(said, Tell) else said
    assert isinstance(settle, Settle)
    assert settle.decide(claimed(a_request()), NOW) is not None
    later = NOW + timedelta(seconds=9)
    assert settle.decide(tried(attempts=2, tried_at=later), later) is None


def test_alert_of_a_parked_request_names_no_subject() -> None:
    told = forwarded(tried(attempts=2), DOWN, True).asked[-1]
    assert isinstance(told, Tell)
    assert told.alert.resource == f"dsr:{told.alert.key.split(':')[1]}"
    assert "canary" not in repr(Alert(**vars(told.alert)))


def test_callback_that_was_faster_is_not_undone() -> None:
    dsr, talk = a_request(), forwarding(a_request(), "one", RULES)
    next(talk)
    talk.send(dsr)
    settle = talk.send(ACCEPTED)
    assert isinstance(settle, Settle)
    step = settle.decide(replace(dsr, status=DsrStatus.COMPLETED), NOW)
    assert step is not None
    assert (step.dsr.status, step.dsr.forwarding.region) == (DsrStatus.COMPLETED, "eu")


def test_time_that_a_callback_told_is_kept_if_the_answer_tells_none() -> None:
    talk, soon = forwarding(a_request(), "one", RULES), NOW + timedelta(days=1)
    next(talk)
    talk.send(a_request())
    settle = talk.send(replace(ACCEPTED, expected_completion_at=None))
    assert isinstance(settle, Settle)
    told = Forwarding("one", attempts=1, tried_at=NOW, expected_completion_at=soon)
    step = settle.decide(a_request(forwarding=told), NOW)
    assert step is not None
    assert step.dsr.forwarding.expected_completion_at == soon


def test_parked_request_is_tried_again_when_somebody_says_so() -> None:
    step = retried(tried(attempts=9, next_try_at=None), NOW)
    assert step is None
    step = retried(replace(tried(attempts=9), parked_reason="down"), NOW)
    assert step is not None
    assert (step.dsr.parked_reason, step.dsr.forwarding.attempts) == (None, 0)


def test_queued_request_is_cancelled_without_asking_anybody() -> None:
    run = forwarded(to_cancel(a_request()))
    assert (run.outcome, run.dsr.status, run.asked) == (Outcome.CANCELLED, "cancelled", [])


def test_request_to_cancel_that_may_have_arrived_is_looked_for_and_not_sent() -> None:
    dsr = to_cancel(tried())
    run = forwarded(dsr, there())
    assert run.asked == [LookUp(dsr)]
    assert (run.dsr.status, run.dsr.forwarding.region) == (DsrStatus.SUBMITTED, "eu")
    assert run.dsr.cancel_requested_at is not None


def test_request_to_cancel_is_over_when_no_region_has_it() -> None:
    assert forwarded(to_cancel(tried()), Gone("no")).dsr.status is DsrStatus.CANCELLED


def test_request_to_cancel_that_was_just_sent_may_be_on_its_way() -> None:
    run = forwarded(to_cancel(tried()), Gone("no"), now=RECEIVED + timedelta(seconds=10))
    assert (run.outcome, run.dsr.status) == (Outcome.PUT_OFF, DsrStatus.QUEUED)
    assert run.dsr.forwarding.next_try_at == RECEIVED + RULES.settled_after


def at_processor() -> Dsr:
    known = Forwarding("one", "eu", 1, RECEIVED, NOW, "controller-1")
    return to_cancel(a_request(status=DsrStatus.SUBMITTED, forwarding=known))


@pytest.mark.parametrize("answer", [Acceptance("id", "controller-1"), Gone("no", status=404)])
def test_submitted_request_is_cancelled_at_its_processor(answer: Heard) -> None:
    run = withdrawn(at_processor(), answer)
    assert isinstance(run.asked[0], Withdraw)
    assert (run.outcome, run.dsr.status, run.dsr.closed_at) == ("cancelled", "cancelled", NOW)


def test_request_that_its_processor_has_no_more_does_not_count_as_cancelled() -> None:
    """It may have been worked off, and forgotten since."""
    run = withdrawn(at_processor(), Gone("no more", status=410), Gone("no more", status=410))
    assert (run.dsr.status, run.dsr.cancel_requested_at) == (DsrStatus.SUBMITTED, None)
    assert run.actions == ["cancel_refused"]


def test_request_to_cancel_that_a_processor_has_no_more_is_parked() -> None:
    run = forwarded(to_cancel(tried()), Gone("no more", status=410), True)
    assert (run.outcome, run.dsr.status) == (Outcome.PARKED, DsrStatus.QUEUED)


def test_accepted_request_is_asked_about_when_its_processor_is_silent() -> None:
    next_look = forwarded(a_request(), ACCEPTED).dsr.forwarding.next_try_at
    assert next_look is not None
    assert timedelta(hours=1) <= next_look - NOW <= timedelta(hours=1.5)


def test_request_that_arrived_although_it_is_to_be_cancelled_is_cancelled_soon() -> None:
    assert forwarded(to_cancel(tried()), there()).dsr.forwarding.next_try_at == NOW


def test_accepted_request_whose_seal_is_broken_is_submitted_and_loses_the_address() -> None:
    dsr, talk = a_request(), forwarding(a_request(), "one", replace(RULES, seal=lambda *_: None))
    next(talk)
    talk.send(dsr)
    settle = talk.send(replace(ACCEPTED, results_url="https://results.example.com"))
    assert isinstance(settle, Settle)
    step = settle.decide(dsr, NOW)
    assert step is not None
    assert (step.dsr.status, step.dsr.sealed) == (DsrStatus.SUBMITTED, dsr.sealed)
    assert step.detail["results"] == "lost"


def test_cancelling_is_tried_again_while_the_processor_does_not_answer() -> None:
    run = withdrawn(at_processor(), DOWN)
    assert (run.outcome, run.dsr.status) == (Outcome.PUT_OFF, DsrStatus.SUBMITTED)
    assert run.dsr.forwarding.next_try_at == NOW + timedelta(seconds=10)
    assert run.dsr.cancel_requested_at is not None


def test_request_that_its_processor_has_begun_goes_on() -> None:
    run = withdrawn(at_processor(), NotPending("late"), there(ProcessingStatus.IN_PROGRESS))
    assert (run.dsr.status, run.dsr.cancel_requested_at) == (DsrStatus.IN_PROGRESS, None)
    assert run.actions == ["cancel_refused"]


@given(st.integers(1, 10_000), st.floats(0.01, 100), st.floats(0.01, 10_000))
def test_bound_of_pauses_doubles_up_to_the_longest(n: int, first: float, longest: float) -> None:
    pauses = Pauses(first, longest)
    assert pauses.bound(n) <= pauses.bound(n + 1) <= longest
    assert pauses.bound(n + 1) in {pauses.bound(n) * 2, longest} or n > 40


@given(st.integers(1, 100), st.randoms(use_true_random=False))
def test_pause_is_drawn_from_zero_to_its_bound(failures: int, random: object) -> None:
    draw = random.uniform  # type: ignore[attr-defined]
    pause = Pauses(5.0, 900.0).drawn(failures, draw).total_seconds()
    assert 0 <= pause <= Pauses(5.0, 900.0).bound(failures) + 1e-6


def claimed(dsr: Dsr) -> Dsr:
    """The request as the claim leaves it."""
    known = replace(dsr.forwarding, attempts=dsr.forwarding.attempts + 1, tried_at=NOW, region=None)
    return replace(dsr, forwarding=known, version=dsr.version + 1)
