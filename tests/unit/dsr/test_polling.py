"""Asking a processor that is silent about a request: what its answer, or none, makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.forwarding import Heard, Located, LookUp, Outcome, Rules, Settle, Tell
from dsr.pauses import Pauses, Silence
from dsr.polling import THERE, inquiry, orphaned
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.opendsr.model import ProcessingStatus, StatusReport
from stores.processors.errors import Garbled, Gone, Misconfigured, ProcessorError, Unreachable
from tests.dsr_requests import RECEIVED, a_request

NOW = RECEIVED + timedelta(hours=2)
DAY = 86_400.0
LINK = "https://results.example.com/canary"
GONE = [Gone("never had it", status=404), Gone("has it no more", status=410)]


def sealed(_: Dsr, url: str) -> bytes:
    return url.encode()


RULES = Rules(
    Pauses(5.0, 900.0),
    lambda _, high: high,
    3,
    sealed,
    silence=Silence(3600.0, DAY, lambda a, _: a),
)


def at_processor(status: DsrStatus = DsrStatus.SUBMITTED, **changes: object) -> Dsr:
    there = Forwarding("one", "eu", 1, RECEIVED, NOW, "controller-1")
    return a_request(**{"status": status, "forwarding": there, **changes})


def told(status: str, **fields: object) -> Located:
    report = StatusReport("id", ProcessingStatus(status), "controller-1", **fields)  # type: ignore[arg-type]
    return Located("eu", report)


class Asked:
    """An inquiry that is answered so; ``meanwhile`` is what the request has become by then."""

    def __init__(
        self,
        dsr: Dsr,
        *answers: Heard,
        meanwhile: Dsr | None = None,
        now: datetime = NOW,
        rules: Rules = RULES,
    ) -> None:
        self.dsr, self.said, self.details = meanwhile or dsr, list[object](), list[object]()
        left, talk = [*answers], inquiry(dsr, now, rules)
        try:
            said = next(talk)
            while True:
                self.said.append(said)
                if isinstance(said, Settle):
                    step = said.decide(self.dsr, now)
                    self.dsr = self.dsr if step is None else step.dsr
                    self.details.append(None if step is None else (step.action, step.detail))
                    said = talk.send(self.dsr)
                else:
                    said = talk.send(left.pop(0))
        except StopIteration as end:
            self.outcome: Outcome = end.value


@pytest.mark.parametrize("status", ["in_progress", "completed", "cancelled"])
def test_answer_takes_a_request_further_as_a_callback_does(status: str) -> None:
    asked = Asked(at_processor(), told(status, results_count=3))
    assert (asked.outcome, asked.dsr.status) == (Outcome.ASKED, status)
    assert asked.dsr.forwarding.results_count == 3
    assert asked.details == [("told", {"told": status, "asked": True})]


def test_answer_that_is_over_closes_the_request_which_is_asked_about_no_more() -> None:
    asked = Asked(at_processor(), told("completed"))
    assert (asked.dsr.closed_at, asked.dsr.forwarding.next_try_at) == (NOW, None)


def test_answer_that_is_nothing_new_puts_the_next_question_off() -> None:
    asked = Asked(at_processor(), told("pending"))
    assert asked.dsr.status is DsrStatus.SUBMITTED
    assert asked.dsr.forwarding.next_try_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize("status", [*ProcessingStatus])
@pytest.mark.parametrize("known", [*DsrStatus])
def test_no_answer_takes_a_request_back(known: DsrStatus, status: ProcessingStatus) -> None:
    before = at_processor(known)
    after = Asked(at_processor(), told(status), meanwhile=before).dsr.status
    assert after is known or known.may_become(after)
    assert after is known or known in THERE


def test_callback_that_was_faster_is_not_undone() -> None:
    done = at_processor(DsrStatus.COMPLETED, closed_at=RECEIVED)
    assert Asked(at_processor(), told("in_progress"), meanwhile=done).dsr is done


def test_address_of_results_is_sealed() -> None:
    assert Asked(at_processor(), told("completed", results_url=LINK)).dsr.sealed == LINK.encode()


def test_request_whose_seal_is_broken_goes_on_and_the_audit_log_says_what_was_lost() -> None:
    rules = replace(RULES, seal=lambda _, __: None)
    asked = Asked(at_processor(), told("completed", results_url=LINK), rules=rules)
    assert asked.dsr.status is DsrStatus.COMPLETED
    assert asked.details == [("told", {"told": "completed", "asked": True, "results": "lost"})]


@pytest.mark.parametrize("error", [Unreachable("?"), Garbled("?"), Misconfigured("no region")])
def test_question_that_is_not_answered_is_asked_again(error: ProcessorError) -> None:
    asked = Asked(at_processor(), error)
    assert (asked.outcome, asked.dsr.status) == (Outcome.PUT_OFF, DsrStatus.SUBMITTED)
    assert asked.dsr.forwarding.next_try_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize("gone", GONE)
def test_request_that_its_processor_does_not_have_is_parked_and_told_of(gone: Gone) -> None:
    asked = Asked(at_processor(), gone, True)
    assert isinstance(asked.said[1], Tell)
    assert (asked.outcome, asked.dsr.status) == (Outcome.PARKED, DsrStatus.SUBMITTED)
    assert asked.dsr.parked_reason == f"processor_gone: {gone.message}"


def test_request_is_not_parked_while_nobody_could_be_told() -> None:
    asked = Asked(at_processor(), GONE[0], False)
    assert (asked.outcome, asked.dsr.parked_reason) == (Outcome.PUT_OFF, None)


def test_request_that_was_just_sent_may_be_on_its_way() -> None:
    asked = Asked(at_processor(), GONE[0], now=RECEIVED + timedelta(seconds=30))
    assert (asked.outcome, asked.dsr.parked_reason) == (Outcome.PUT_OFF, None)


def test_request_that_went_on_meanwhile_is_not_parked() -> None:
    done = at_processor(DsrStatus.COMPLETED)
    assert Asked(at_processor(), GONE[0], True, meanwhile=done).dsr is done


def test_request_to_be_cancelled_meanwhile_is_looked_at_at_once() -> None:
    to_cancel = at_processor(cancel_requested_at=NOW)
    asked = Asked(at_processor(), told("pending"), meanwhile=to_cancel)
    assert asked.dsr.forwarding.next_try_at == NOW


def test_only_the_request_is_asked_about() -> None:
    dsr = at_processor()
    assert Asked(dsr, told("pending")).said[0] == LookUp(dsr)


def test_request_without_a_processor_is_parked_with_what_to_do() -> None:
    talk = orphaned(at_processor(), RULES)
    assert isinstance(next(talk), Tell)
    settle = talk.send(True)
    assert isinstance(settle, Settle)
    step = settle.decide(at_processor(), NOW)
    assert step is not None
    assert "'one'" in str(step.dsr.parked_reason)
    assert "name it again" in str(step.dsr.parked_reason)


def test_request_without_a_processor_waits_while_nobody_could_be_told() -> None:
    talk = orphaned(at_processor(), RULES)
    next(talk)
    settle = talk.send(False)
    assert isinstance(settle, Settle)
    step = settle.decide(at_processor(), NOW)
    assert step is not None
    assert step.dsr.forwarding.next_try_at == NOW + timedelta(seconds=10)


@given(st.floats(0, 1e8), st.floats(1, 1e5), st.floats(1, 1e6), st.floats(1.0, 1.5))
def test_silence_grows_with_the_age_within_its_bounds(
    age: float, first: float, longest: float, drawn: float
) -> None:
    silence = Silence(first, max(first, longest), lambda *_: drawn)
    pause = (silence.until(NOW - timedelta(seconds=age), NOW) - NOW).total_seconds()
    assert first - 1e-3 <= pause <= 1.5 * max(first, longest) + 1e-3
    assert pause <= 1.5 * max(first, age) + 1e-3
