"""What a believed callback makes of a request."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsr.callbacks import Outcome, apply
from dsr.cancel import cancel
from dsr.trust import Peer
from dsr.verification import Signed, Verified
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Forwarding, Particulars
from schemas.errors import Conflict
from schemas.opendsr.model import ProcessingStatus, StatusReport
from tests.dsr_memory import Office
from tests.dsr_requests import EMAIL, RECEIVED, a_request

BY = Verified(Peer("example", "opendsr.example.com"), "f" * 64)
MESSAGE = Signed("opendsr.example.com", "signature", b"{}")
AT_PROCESSOR = Forwarding(processor="example", region="eu", controller_id="c-1")
LINK = "https://results.example.com/canary"


@pytest.fixture
def office() -> Office:
    return Office()


def kept(office: Office, **changes: object) -> Dsr:
    dsr = a_request(**{"status": DsrStatus.SUBMITTED, "forwarding": AT_PROCESSOR, **changes})
    office.dsr.all[dsr.id] = dsr
    return dsr


def told(office: Office, dsr: Dsr, status: str, **fields: object) -> Outcome:
    report = StatusReport(dsr.id, ProcessingStatus(status), **fields)  # type: ignore[arg-type]
    return apply(office.desk(), MESSAGE, report, BY)


def now_of(office: Office, dsr: Dsr) -> Dsr:
    return office.dsr.all[dsr.id]


@pytest.mark.parametrize("status", ["in_progress", "completed", "cancelled"])
def test_request_goes_on_as_it_is_told(office: Office, status: str) -> None:
    dsr = kept(office)
    assert told(office, dsr, status) is Outcome.APPLIED
    assert now_of(office, dsr).status == status


@pytest.mark.parametrize("status", ["in_progress", "completed"])
def test_request_that_its_processor_has_begun_is_not_said_to_be_cancelled(
    office: Office, status: str
) -> None:
    dsr = kept(office, cancel_requested_at=RECEIVED)
    told(office, dsr, status)
    assert now_of(office, dsr).cancel_requested_at is None
    with pytest.raises(Conflict, match="cannot be cancelled any more"):
        cancel(office.desk(), dsr.id, Reach(None), "user-1")


def test_final_status_closes_the_request(office: Office) -> None:
    dsr = kept(office)
    office.clock.advance(hours=1)
    told(office, dsr, "completed")
    assert now_of(office, dsr).closed_at == RECEIVED + timedelta(hours=1)


def test_change_is_in_the_audit_log_with_what_proves_it(office: Office) -> None:
    told(office, kept(office), "completed")
    (entry,) = office.audit.all
    assert entry.draft.actor == "processor:example"
    assert entry.draft.detail["certificate_sha256"] == "f" * 64


def test_repeat_changes_nothing(office: Office) -> None:
    dsr = kept(office)
    told(office, dsr, "in_progress")
    before = now_of(office, dsr)
    assert told(office, dsr, "in_progress", results_count=7) is Outcome.UNCHANGED
    assert now_of(office, dsr) is before
    assert len(office.audit.all) == 1


def test_late_callback_does_not_take_a_request_back(office: Office) -> None:
    dsr = kept(office)
    told(office, dsr, "completed")
    for status in ("pending", "in_progress", "cancelled"):
        assert told(office, dsr, status) is Outcome.UNCHANGED
    assert now_of(office, dsr).status is DsrStatus.COMPLETED


def test_unknown_id_changes_nothing(office: Office) -> None:
    kept(office)
    assert told(office, a_request(), "completed") is Outcome.UNKNOWN
    assert office.audit.all == []


@pytest.mark.parametrize("processor", ["other", None])
def test_request_at_another_processor_is_left_alone(office: Office, processor: str | None) -> None:
    dsr = kept(office, forwarding=Forwarding(processor=processor))
    assert told(office, dsr, "completed") is Outcome.UNKNOWN
    assert now_of(office, dsr) is dsr


def test_callback_about_another_controllers_request_is_left_alone(office: Office) -> None:
    dsr = kept(office)
    assert told(office, dsr, "completed", controller_id="c-2") is Outcome.UNKNOWN
    assert now_of(office, dsr) is dsr


def test_controller_that_is_not_named_is_ours(office: Office) -> None:
    dsr = kept(office)
    assert told(office, dsr, "completed", controller_id=None) is Outcome.APPLIED
    assert now_of(office, dsr).forwarding.controller_id == "c-1"


def test_what_is_left_out_stays(office: Office) -> None:
    expected = datetime(2026, 12, 1, tzinfo=RECEIVED.tzinfo)
    dsr = kept(office)
    told(office, dsr, "in_progress", expected_completion_at=expected, results_count=0)
    told(office, dsr, "completed")
    forwarding = now_of(office, dsr).forwarding
    assert (forwarding.expected_completion_at, forwarding.results_count) == (expected, 0)


def test_callback_counts_although_the_seal_is_broken_and_the_audit_log_says_so(
    office: Office,
) -> None:
    dsr = kept(office, sealed=b"of a lost key")
    assert told(office, dsr, "completed", results_url=LINK) is Outcome.APPLIED
    assert now_of(office, dsr).status is DsrStatus.COMPLETED
    assert now_of(office, dsr).sealed == dsr.sealed
    assert office.audit.all[-1].draft.detail["results"] == "lost"


def test_request_that_was_heard_of_is_asked_about_after_a_silence(office: Office) -> None:
    dsr = kept(office)
    told(office, dsr, "in_progress")
    next_look = now_of(office, dsr).forwarding.next_try_at
    assert next_look is not None
    assert timedelta(hours=1) <= next_look - RECEIVED <= timedelta(hours=1.5)
    told(office, dsr, "completed")
    assert now_of(office, dsr).forwarding.next_try_at is None


def test_address_of_results_is_kept_sealed(office: Office) -> None:
    desk = office.desk()
    dsr = a_request()
    dsr = kept(office, id=dsr.id, sealed=desk.subjects.seal(dsr.id, Particulars((EMAIL,))))
    told(office, dsr, "completed", results_url=LINK, results_count=3)
    after = now_of(office, dsr)
    opened = desk.subjects.open(dsr.id, after.sealed)
    assert (opened.results_url, opened.identities) == (LINK, (EMAIL,))
    assert LINK not in f"{after.sealed!r}{office.audit.all}"
    assert after.forwarding.results_count == 3


def test_minimised_request_gets_no_address_of_results(office: Office) -> None:
    dsr = kept(office, sealed=b"", subjects=())
    assert told(office, dsr, "completed", results_url=LINK) is Outcome.APPLIED
    assert now_of(office, dsr).sealed == b""


def test_parked_request_that_arrived_after_all_is_parked_no_more(office: Office) -> None:
    dsr = kept(office, status=DsrStatus.QUEUED, parked_reason="unreachable")
    told(office, dsr, "in_progress")
    assert now_of(office, dsr).parked_reason is None


def test_pending_request_is_left_to_whoever_is_sending_it(office: Office) -> None:
    on_its_way = Forwarding(processor="example", tried_at=RECEIVED)
    dsr = kept(office, status=DsrStatus.QUEUED, forwarding=on_its_way)
    assert told(office, dsr, "pending") is Outcome.UNCHANGED
    assert told(office, dsr, "in_progress") is Outcome.APPLIED


def test_callback_is_applied_to_what_another_made_of_the_request(office: Office) -> None:
    dsr = kept(office)
    change = office.dsr.change

    def overtaken(changed, draft):
        office.dsr.change = change  # type: ignore[method-assign]
        office.dsr.all[dsr.id] = a_request(
            id=dsr.id, status=DsrStatus.IN_PROGRESS, forwarding=AT_PROCESSOR, version=2
        )
        return change(changed, draft)

    office.dsr.change = overtaken  # type: ignore[method-assign]
    assert told(office, dsr, "completed") is Outcome.APPLIED
    assert (now_of(office, dsr).status, now_of(office, dsr).version) == ("completed", 3)


@given(st.lists(st.sampled_from([*ProcessingStatus]), max_size=12))
def test_in_whatever_order_callbacks_come_no_status_goes_back(statuses: list) -> None:
    office = Office()
    dsr = kept(office)
    seen = [now_of(office, dsr).status]
    for status in statuses:
        told(office, dsr, status)
        seen.append(now_of(office, dsr).status)
    steps = [*pairwise(seen)]
    assert all(a == b or a.may_become(b) for a, b in steps)
    assert len(office.audit.all) == sum(a != b for a, b in steps)
