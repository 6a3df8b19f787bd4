"""A request's life: submitted once, cancelled, extended, reviewed, minimised."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from config.dsr import DsrSection, RiskSection
from dsr.cancel import cancel
from dsr.changing import Step, change
from dsr.desk import Desk
from dsr.extend import extend
from dsr.minimise import minimise
from dsr.requests import Search, at_risk, history, particulars, search
from dsr.review import Verdict, review
from dsr.submit import Order, Submitter, regulation_of, request_id_of, submit
from schemas.access import Reach
from schemas.deadlines import days_left
from schemas.dsr import Dsr, DsrStatus, Forwarding, Identity, IdentityType, Regulation, RequestType
from schemas.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from tests.dsr_memory import Office
from tests.dsr_requests import EMAIL, a_request

ORG = Reach("org-1")
ANA = Submitter("user-1", "org-1", ORG)
DELETE = Order("gdpr_delete", [EMAIL])
CUSTOMER = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "c-1")
CAREFUL = DsrSection(risk=RiskSection(review_at=0.1, disposable_domains=("example.com",)))


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def desk(office: Office) -> Desk:
    return office.desk()


def submitted(desk: Desk, order: Order = DELETE, by: Submitter = ANA) -> Dsr:
    return submit(desk, order, by, str(uuid.uuid4()))


def kept(office: Office, **changes: object) -> Dsr:
    dsr = a_request(**changes)
    office.dsr.all[dsr.id] = dsr
    return dsr


def test_order_becomes_a_queued_request_with_its_deadline(desk: Desk) -> None:
    dsr = submitted(desk)
    assert (dsr.status, dsr.regulation, dsr.type) == ("queued", "gdpr", "erasure")
    assert dsr.due_at == datetime(2026, 12, 21, 23, 59, 59, tzinfo=UTC)


def test_identities_and_extensions_are_kept_sealed(desk: Desk) -> None:
    extensions = {"opendsr.mparticle.com": {"mobile_number": "canary"}}
    dsr = submitted(desk, replace(DELETE, extensions=extensions))
    assert particulars(desk, dsr).identities == (EMAIL,)
    assert particulars(desk, dsr).extensions == extensions
    assert b"canary" not in dsr.sealed


def test_audit_log_is_told_hashes_and_no_identity(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    [entry] = office.audit.all
    assert (entry.draft.action, entry.draft.actor) == ("dsr.submitted", "user-1")
    assert entry.draft.detail["subjects"] == [*dsr.subjects]
    assert "canary" not in repr(entry)


def test_repeat_under_the_same_id_is_the_same_request(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    assert submit(desk, DELETE, ANA, dsr.id) == dsr
    assert office.actions == ["dsr.submitted"]


def test_second_request_for_the_same_names_the_first(desk: Desk) -> None:
    first = submitted(desk)
    shouted = replace(DELETE, identities=[replace(EMAIL, value="ANA.Canary@example.com ")])
    with pytest.raises(Conflict) as raised:
        submitted(desk, shouted)
    assert raised.value.details == {"reason": "duplicate", "requestId": first.id}


@pytest.mark.parametrize("readable", [None, Reach("org-1", "user-2")])
def test_request_out_of_reach_is_not_named(desk: Desk, readable: Reach | None) -> None:
    submitted(desk)
    with pytest.raises(Conflict) as raised:
        submitted(desk, by=Submitter("user-2", "org-1", readable))
    assert raised.value.details == {"reason": "duplicate"}


@pytest.mark.parametrize(
    ("kind", "organization"),
    [("export", "org-1"), ("ccpa_delete", "org-1"), ("gdpr_delete", "o-2")],
)
def test_other_types_and_organizations_are_no_duplicates(
    desk: Desk, kind: str, organization: str
) -> None:
    submitted(desk)
    submitted(desk, replace(DELETE, kind=kind), Submitter("u", organization, None))


def test_closed_request_stands_in_nobodys_way(desk: Desk) -> None:
    cancel(desk, submitted(desk).id, ORG, "user-1")
    assert submitted(desk).status == "queued"


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("gdpr_delete", None, ("gdpr", "erasure")),
        ("ccpa_delete", Regulation.CCPA, ("ccpa", "erasure")),
        ("export", None, ("gdpr", "portability")),
        ("export", Regulation.CCPA, ("ccpa", "portability")),
        ("access", Regulation.CCPA, ("ccpa", "access")),
    ],
)
def test_law_and_type_follow_from_what_is_asked(
    kind: str, given: Regulation | None, found: tuple[Regulation, RequestType]
) -> None:
    assert regulation_of(Order(kind, [], given), Regulation.GDPR) == found


@pytest.mark.parametrize(("kind", "law"), [("gdpr_delete", Regulation.CCPA), ("delete", None)])
def test_what_does_not_go_together_is_refused(kind: str, law: Regulation | None) -> None:
    with pytest.raises(Invalid):
        regulation_of(Order(kind, [], law), Regulation.GDPR)


def test_risky_request_is_held_and_says_why(office: Office) -> None:
    dsr = submitted(office.desk(CAREFUL))
    assert dsr.status == "held"
    assert dsr.risk.reasons[0].startswith("disposable_domain")


def test_many_requests_of_one_subject_raise_its_score(desk: Desk) -> None:
    kinds = ["gdpr_delete", "ccpa_delete", "export", "access"]
    scores = [submitted(desk, replace(DELETE, kind=kind)).risk.score for kind in kinds]
    assert scores == [0, 0, 0, 0.4]


def test_source_is_counted_by_a_pseudonym(office: Office, desk: Desk) -> None:
    submitted(desk, by=replace(ANA, source="192.0.2.7"))
    assert sum("/source/" in name for name in office.counters.counts) == 1
    assert not any("192.0.2.7" in name or "canary" in name for name in office.counters.counts)


def test_subject_with_another_customer_id_than_before_is_a_mismatch(desk: Desk) -> None:
    submitted(desk, replace(DELETE, identities=[EMAIL, CUSTOMER]))
    other = [EMAIL, replace(CUSTOMER, value="c-2")]
    dsr = submitted(desk, Order("export", other))
    assert [reason.partition(":")[0] for reason in dsr.risk.reasons] == ["identity_mismatch"]


def test_id_of_digits_is_a_uuid_of_version_4() -> None:
    made = uuid.UUID(request_id_of("f" * 32))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


def test_queued_request_is_cancelled_at_once_and_once(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    assert cancel(desk, dsr.id, ORG, "user-1").status == "cancelled"
    assert cancel(desk, dsr.id, ORG, "user-1").version == 2
    assert office.actions == ["dsr.submitted", "dsr.cancelled"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": DsrStatus.SUBMITTED},
        {"forwarding": Forwarding(tried_at=datetime(2026, 11, 21, tzinfo=UTC))},
    ],
)
def test_what_a_processor_may_have_is_cancelled_by_it(
    office: Office, desk: Desk, changes: dict[str, object]
) -> None:
    dsr = kept(office, **changes)
    asked = cancel(desk, dsr.id, ORG, "user-1")
    assert (asked.status, asked.cancel_requested_at) == (dsr.status, office.clock.now)
    assert asked.forwarding.next_try_at == office.clock.now


@pytest.mark.parametrize("status", ["in_progress", "completed", "failed"])
def test_what_has_begun_or_ended_is_not_cancelled(office: Office, desk: Desk, status: str) -> None:
    dsr = kept(office, status=DsrStatus(status))
    with pytest.raises(Conflict, match=status):
        cancel(desk, dsr.id, ORG, "user-1")


def test_what_is_out_of_reach_is_not_there(desk: Desk) -> None:
    dsr = submitted(desk)
    with pytest.raises(NotFound):
        cancel(desk, dsr.id, Reach("org-2"), "user-1")


def test_deadline_is_extended_to_the_latest_with_a_reason(office: Office, desk: Desk) -> None:
    dsr = extend(desk, submitted(desk).id, ORG, "user-2", "canary: many systems")
    assert dsr.due_at == datetime(2027, 2, 21, 23, 59, 59, tzinfo=UTC)
    assert dsr.extension_reason == "canary: many systems"
    assert "canary" not in repr(office.audit.all)


def test_deadline_is_extended_once(desk: Desk) -> None:
    dsr = extend(desk, submitted(desk).id, ORG, "user-2", "many systems")
    with pytest.raises(Conflict, match="before"):
        extend(desk, dsr.id, ORG, "user-2", "many systems")


def test_approved_request_is_queued(office: Office) -> None:
    desk = office.desk(CAREFUL)
    dsr = review(desk, submitted(desk).id, ORG, "user-2", Verdict(True, "known customer"))
    assert dsr.status == "queued"
    assert dsr.review is not None
    assert (dsr.review.by, dsr.review.approved) == ("user-2", True)


def test_denied_request_is_closed(office: Office) -> None:
    desk = office.desk(CAREFUL)
    dsr = review(desk, submitted(desk).id, ORG, "user-2", Verdict(False, "canary"))
    assert (dsr.status, dsr.error_code, dsr.closed_at) == (
        "cancelled", "review_denied", office.clock.now,
    )  # fmt: skip
    assert office.actions[-1] == "dsr.denied"
    assert "canary" not in repr(office.audit.all)


def test_repeated_review_changes_nothing_and_another_one_is_too_late(office: Office) -> None:
    desk = office.desk(CAREFUL)
    dsr = review(desk, submitted(desk).id, ORG, "user-2", Verdict(True, "known"))
    assert review(desk, dsr.id, ORG, "user-2", Verdict(True, "known")) == dsr
    with pytest.raises(Conflict, match="no review"):
        review(desk, dsr.id, ORG, "user-3", Verdict(False, "unknown"))


def test_nobody_reviews_what_they_submitted(office: Office) -> None:
    desk = office.desk(CAREFUL)
    dsr = submitted(desk)
    with pytest.raises(Forbidden):
        review(desk, dsr.id, ORG, "user-1", Verdict(True, "mine"))


def test_one_pair_of_eyes_is_enough_where_that_is_set(office: Office) -> None:
    risk = CAREFUL.risk.model_copy(update={"four_eyes": False})
    desk = office.desk(CAREFUL.model_copy(update={"risk": risk}))
    assert review(desk, submitted(desk).id, ORG, "user-1", Verdict(True, "ok")).status == "queued"


def test_change_decides_again_when_another_was_faster(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    seen: list[int] = []

    def decide(read: Dsr, now: datetime) -> Step:
        seen.append(read.version)
        if len(seen) == 1:
            office.dsr.all[dsr.id] = replace(read, version=2)
        return Step(replace(read, parked_reason="x"), "parked")

    assert change(desk, dsr.id, ORG, "drain", decide).version == 3
    assert seen == [1, 2]


def test_change_that_never_succeeds_gives_up(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    with pytest.raises(Unavailable):
        change(desk, dsr.id, ORG, "x", lambda read, _: Step(replace(read, version=99), "x"))
    assert office.actions == ["dsr.submitted"]


def test_closed_request_loses_its_subject_after_a_while(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    cancel(desk, dsr.id, ORG, "user-1")
    office.clock.advance(days=90)
    assert minimise(desk) == 0
    office.clock.advance(seconds=1)
    assert minimise(desk) == 1
    bare = office.dsr.all[dsr.id]
    assert (bare.subjects, bare.sealed, bare.minimised_at) == ((), b"", office.clock.now)
    assert minimise(desk) == 0


def test_reasons_go_with_the_subject(office: Office, desk: Desk) -> None:
    dsr = extend(desk, submitted(desk).id, ORG, "user-2", "canary")
    cancel(desk, dsr.id, ORG, "user-1")
    office.clock.advance(days=91)
    minimise(desk)
    assert office.dsr.all[dsr.id].extension_reason is None


def test_open_request_keeps_its_subject(office: Office, desk: Desk) -> None:
    submitted(desk)
    office.clock.advance(days=500)
    assert minimise(desk) == 0


def test_minimised_request_names_nobody(office: Office, desk: Desk) -> None:
    dsr = kept(office, sealed=b"", subjects=())
    assert particulars(desk, dsr).identities == ()


def test_requests_of_a_subject_are_found_however_it_is_written(desk: Desk) -> None:
    dsr = submitted(desk)
    shouted = replace(EMAIL, value=" ANA.CANARY@example.COM")
    assert search(desk, Search(shouted), ORG) == [dsr]
    assert search(desk, Search(replace(EMAIL, value="bo@example.com")), ORG) == []
    assert search(desk, Search(shouted), Reach("org-2")) == []


def test_requests_are_at_risk_when_days_run_out(office: Office, desk: Desk) -> None:
    dsr = submitted(desk)
    office.clock.now = dsr.due_at - timedelta(days=8)
    assert (days_left(dsr.due_at, office.clock.now), at_risk(desk, ORG, 10)) == (8, [])
    office.clock.advance(seconds=1)
    assert (days_left(dsr.due_at, office.clock.now), at_risk(desk, ORG, 10)) == (7, [dsr])
    assert at_risk(desk, ORG, 10, days=6) == []


def test_history_is_for_those_who_may_see_the_request(desk: Desk) -> None:
    dsr = submitted(desk)
    assert len([*history(desk, dsr.id, ORG, ORG, 10)]) == 1
    with pytest.raises(NotFound):
        history(desk, dsr.id, Reach("org-2"), ORG, 10)
