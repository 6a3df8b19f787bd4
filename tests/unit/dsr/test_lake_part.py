"""The lake's part in a request: when it begins, who has to see it, and how it meets the other."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from config.dsr import DsrSection, RiskSection
from dsr.callbacks import advanced, takes_further
from dsr.cancel import cancel
from dsr.changing import Decide, change
from dsr.desk import Desk
from dsr.forwarding import retried
from dsr.lake import (
    LakeOffer,
    NotSupported,
    done,
    handed_over,
    held,
    offered,
    parked,
    returned,
    taken,
)
from dsr.pauses import Silence
from dsr.review import Verdict, review
from dsr.submit import Order, Submitter, submit
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Identity, IdentityFormat, IdentityType, RequestType
from schemas.dsr_lake import LakeCertificate, LakeExport, LakePreview, LakeState
from schemas.errors import Conflict, Forbidden, Invalid
from schemas.opendsr.model import ProcessingStatus, StatusReport
from schemas.registry import load_registry
from tests.dsr_memory import Office
from tests.dsr_requests import EMAIL, RECEIVED

ORG = Reach("org-1")
ANA = Submitter("user-1", "org-1", ORG)
DELETE = Order("gdpr_delete", [EMAIL])
DEVICE = Identity(IdentityType.ROKU_PUBLISHER_ID, "canary-device")
DIGEST = Identity(IdentityType.EMAIL, "0" * 64, IdentityFormat.SHA256)
ERASURE = frozenset({RequestType.ERASURE})
EMAILS = frozenset({IdentityType.EMAIL})
ALONE = LakeOffer(ERASURE, EMAILS, frozenset(), alone=True)
BESIDE = replace(ALONE, alone=False)
HASHED = LakeOffer(ERASURE, frozenset(), EMAILS, alone=True)
PREVIEW = LakePreview("p1", 3, 100, 2, {"demand": 3})
CERTIFICATE = LakeCertificate("c1", "0" * 64, 1, 3, 2)
COMPLETED = StatusReport("x", ProcessingStatus.COMPLETED)

take = partial(taken, job_id="j1", counts_first=False)
count = partial(taken, job_id="j1", counts_first=True)
hold = partial(held, job_id="j1", preview=PREVIEW, reason="counted")
finish = partial(done, job_id="j1", certificate=CERTIFICATE)
park = partial(parked, job_id="j1", code="broken", message="it is broken")


@pytest.fixture
def office() -> Office:
    return Office()


def desk_of(office: Office, offer: LakeOffer = ALONE, **section: Any) -> Desk:
    return replace(office.desk(DsrSection(**section)), lake=offer)


@pytest.fixture
def desk(office: Office) -> Desk:
    return desk_of(office)


@pytest.fixture
def beside(office: Office) -> Desk:
    """Of a lake beside a processor."""
    return desk_of(office, BESIDE)


def submitted(desk: Desk, order: Order = DELETE) -> Dsr:
    return submit(desk, order, ANA, str(uuid.uuid4()))


def after(desk: Desk, dsr: Dsr, *steps: Decide) -> Dsr:
    for step in steps:
        dsr = change(desk, dsr.id, Reach(None), "lake", step)
    return dsr


def state_of(dsr: Dsr) -> str:
    assert dsr.lake is not None
    return dsr.lake.state.value


def told(desk: Desk, dsr: Dsr, report: StatusReport = COMPLETED) -> Dsr:
    """What a processor says, as a callback applies it."""
    return advanced(dsr, report, Silence(), desk.clock())


def test_lake_alone_is_where_a_request_is_submitted_to(desk: Desk) -> None:
    dsr = submitted(desk)
    assert (dsr.status, state_of(dsr), dsr.is_waiting) == ("submitted", "waiting", False)


def test_lake_beside_a_processor_leaves_the_request_queued_for_that(beside: Desk) -> None:
    dsr = submitted(beside)
    assert (dsr.status, state_of(dsr), dsr.is_waiting) == ("queued", "waiting", True)


def test_lake_only_order_goes_to_no_processor(beside: Desk) -> None:
    assert submitted(beside, replace(DELETE, lake_only=True)).status == "submitted"


def test_export_is_left_to_processors(desk: Desk) -> None:
    dsr = submitted(desk, Order("export", [EMAIL]))
    assert (dsr.status, dsr.lake) == ("queued", None)


def test_export_is_not_counted_first_and_ends_with_its_archive(office: Office) -> None:
    desk = desk_of(office, replace(ALONE, types=frozenset(RequestType)))
    dsr = after(desk, submitted(desk, Order("export", [EMAIL])), count)
    assert state_of(dsr) == "running"
    export = LakeExport("e1", "lethe-export-e1.zip", "0" * 64, 5, RECEIVED)
    dsr = after(desk, dsr, partial(handed_over, job_id="j1", export=export, sealed=b"new"))
    assert (dsr.status, dsr.sealed, dsr.forwarding.results_count) == ("completed", b"new", 5)


def test_lake_only_export_is_not_supported(desk: Desk) -> None:
    with pytest.raises(NotSupported):
        submitted(desk, Order("export", [EMAIL], lake_only=True))


@pytest.mark.parametrize("offer", [ALONE, HASHED])
def test_what_the_lake_cannot_find_is_refused_without_its_value(
    office: Office, offer: LakeOffer
) -> None:
    identity = DEVICE if offer is ALONE else DIGEST
    with pytest.raises(Invalid, match="searched by email") as refused:
        submitted(desk_of(office, offer), Order("gdpr_delete", [identity]))
    assert identity.value not in str(refused.value)
    assert office.dsr.all == {}


def test_identities_that_are_not_searched_are_named(desk: Desk) -> None:
    dsr = submitted(desk, Order("gdpr_delete", [EMAIL, DEVICE]))
    assert dsr.lake is not None
    assert dsr.lake.unsearched == ("roku_publisher_id",)


def test_processor_goes_on_where_the_lake_finds_nothing(beside: Desk) -> None:
    dsr = submitted(beside, Order("gdpr_delete", [DEVICE]))
    assert (dsr.status, state_of(dsr)) == ("queued", "unsearched")
    assert told(beside, dsr).status is DsrStatus.COMPLETED


def test_shipped_types_find_emails() -> None:
    offer = offered(load_registry(), ERASURE, alone=True)
    assert IdentityType.EMAIL in offer.kept | offer.hashed
    assert all(kind in offer.kept | offer.hashed for kind, _ in offer.formats)


def test_lake_alone_takes_it_to_its_end(office: Office, desk: Desk) -> None:
    dsr = after(desk, submitted(desk), take)
    assert (dsr.status, state_of(dsr)) == ("in_progress", "running")
    dsr = after(desk, dsr, finish)
    assert (dsr.status, dsr.closed_at, state_of(dsr)) == ("completed", RECEIVED, "done")
    assert office.actions == ["dsr.submitted", "dsr.lake_running", "dsr.lake_erased"]


def test_request_waits_for_the_lake_when_its_processor_is_done(beside: Desk) -> None:
    dsr = told(beside, submitted(beside))
    assert (dsr.status, dsr.forwarding.next_try_at) == ("in_progress", None)
    assert not takes_further(dsr, COMPLETED)
    step = take(dsr, RECEIVED)
    assert step is not None
    step = finish(step.dsr, RECEIVED)
    assert step is not None
    assert step.dsr.status is DsrStatus.COMPLETED


def test_request_waits_for_its_processor_when_the_lake_is_done(beside: Desk) -> None:
    dsr = after(beside, submitted(beside), take, finish)
    assert (dsr.status, state_of(dsr)) == ("queued", "done")
    assert told(beside, dsr).status is DsrStatus.COMPLETED


def test_held_request_is_not_taken_up(office: Office) -> None:
    risk = RiskSection(review_at=0.1, disposable_domains=("example.com",))
    desk = desk_of(office, risk=risk)
    dsr = submitted(desk)
    assert (dsr.status, take(dsr, RECEIVED)) == ("held", None)
    approved = review(desk, dsr.id, ORG, "user-2", Verdict(True, "known"))
    assert (approved.status, state_of(approved)) == ("submitted", "waiting")


def test_counted_request_waits_for_somebody_else_than_who_submitted_it(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), count, hold)
    assert (dsr.status, state_of(dsr)) == ("submitted", "held")
    with pytest.raises(Forbidden):
        review(desk, dsr.id, ORG, "user-1", Verdict(True, "mine"))
    approved = review(desk, dsr.id, ORG, "user-2", Verdict(True, "right"))
    assert state_of(approved) == "waiting"
    assert review(desk, dsr.id, ORG, "user-2", Verdict(True, "right")) == approved


def test_approved_request_is_not_counted_again(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), count, hold)
    review(desk, dsr.id, ORG, "user-2", Verdict(True, "right"))
    assert state_of(after(desk, dsr, count)) == "running"


def test_approval_that_is_given_back_has_to_be_given_anew(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), count, hold)
    review(desk, dsr.id, ORG, "user-2", Verdict(True, "right"))
    assert state_of(after(desk, dsr, take, partial(returned, job_id="j1"), count)) == "counting"


def test_denied_request_is_cancelled(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), count, hold)
    denied = review(desk, dsr.id, ORG, "user-2", Verdict(False, "wrong"))
    assert (denied.status, state_of(denied)) == ("cancelled", "denied")
    assert denied.error_code == "review_denied"


def test_denied_request_fails_when_its_processor_is_done(beside: Desk) -> None:
    dsr = after(beside, submitted(beside), count, hold)
    denied = review(beside, dsr.id, ORG, "user-2", Verdict(False, "wrong"))
    assert denied.status is DsrStatus.QUEUED
    assert told(beside, denied).status is DsrStatus.FAILED


@pytest.mark.parametrize("steps", [(), (count,), (count, hold)])
def test_request_is_cancelled_until_the_lake_begins(desk: Desk, steps: tuple[Decide, ...]) -> None:
    dsr = after(desk, submitted(desk), *steps)
    assert cancel(desk, dsr.id, ORG, "user-1").status is DsrStatus.CANCELLED
    assert state_of(after(desk, dsr, take, finish)) != "done"


@pytest.mark.parametrize("steps", [(take,), (take, finish), (take, park)])
def test_request_that_the_lake_has_begun_is_not_cancelled(
    beside: Desk, steps: tuple[Decide, ...]
) -> None:
    dsr = after(beside, submitted(beside), *steps)
    with pytest.raises(Conflict):
        cancel(beside, dsr.id, ORG, "user-1")


def test_request_that_is_being_cancelled_is_not_taken_up(beside: Desk) -> None:
    dsr = replace(submitted(beside), cancel_requested_at=RECEIVED)
    assert take(dsr, RECEIVED) is None


def test_what_another_job_has_is_left_to_it(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), take)
    assert state_of(after(desk, dsr, partial(finish, job_id="j2"), partial(park, job_id="j2"))) == (
        "running"
    )
    assert taken(dsr, RECEIVED, "j2", counts_first=False) is None


def test_parked_part_is_tried_again_when_somebody_says_so(desk: Desk) -> None:
    dsr = after(desk, submitted(desk), take, park)
    assert dsr.lake is not None
    assert (state_of(dsr), dsr.lake.reason) == ("parked", "broken: it is broken")
    assert state_of(after(desk, dsr, retried)) == "waiting"


def test_closed_request_still_learns_that_the_lake_is_done(beside: Desk) -> None:
    dsr = after(beside, submitted(beside), take)
    failed = replace(dsr, status=DsrStatus.FAILED, closed_at=RECEIVED)
    step = finish(failed, RECEIVED + timedelta(hours=1))
    assert step is not None
    assert (step.dsr.status, state_of(step.dsr)) == ("failed", LakeState.DONE)
