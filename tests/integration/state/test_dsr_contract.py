"""Data subject requests, on every kind of state store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import (
    Dsr,
    DsrCursor,
    DsrQuery,
    DsrStatus,
    DueCursor,
    DueNotice,
    Forwarding,
    OpenTally,
    Regulation,
    RequestType,
    Review,
    Risk,
    event_of_dsr,
)
from schemas.dsr_lake import (
    UNDER_WAY,
    LakeCertificate,
    LakePreview,
    LakeState,
    LakeWork,
)
from schemas.errors import StoreError
from stores.state.dsr_port import OpenRequestExists
from tests.dsr_requests import RECEIVED, a_request
from tests.integration.state.records import ALL, AnyState, events_of, there

ORG = Reach("org-1")


def subject(letter: str) -> str:
    """The hash of a subject."""
    return letter * 64


def draft_of(dsr: Dsr, action: str = "submitted") -> AuditDraft:
    return AuditDraft("user-1", dsr.organization, f"dsr.{action}", f"dsr:{dsr.id}")


def add(state: AnyState, *requests: Dsr) -> None:
    state.dsr.add(requests, [draft_of(dsr) for dsr in requests])


def added(state: AnyState, **changes: Any) -> Dsr:
    """A new request, of a subject of its own unless one is given."""
    dsr = a_request(**changes)
    if "subjects" not in changes:
        dsr = replace(dsr, subjects=(dsr.id.replace("-", "") * 2,))
    add(state, dsr)
    return dsr


def become(state: AnyState, dsr: Dsr, **changes: Any) -> Dsr:
    return there(state.dsr.change(replace(dsr, **changes), draft_of(dsr, "changed")))


def later(**by: float) -> Any:
    return RECEIVED + timedelta(**by)


FULL: dict[str, Any] = {
    "regulation": Regulation.CCPA,
    "type": RequestType.ACCESS,
    "status": DsrStatus.FAILED,
    "subjects": (subject("b"), subject("a")),
    "sealed": bytes(range(256)),
    "confirm_at": later(days=10),
    "extended_at": later(days=2),
    "extension_reason": "much to look for",
    "risk": Risk(0.75, ("many requests", "mismatch")),
    "review": Review(later(hours=1, microseconds=7), "user-2", True, "known"),
    "forwarding": Forwarding(
        "mparticle", "eu1", 3, later(days=1), later(days=2), "c-1", later(days=9), 0
    ),
    "cancel_requested_at": later(days=3),
    "parked_reason": "no answer",
    "closed_at": later(days=4),
    "minimised_at": later(days=5),
    "error_code": "refused",
    "error_message": "the processor refused it",
    "lake": LakeWork(
        LakeState.DONE,
        alone=False,
        unsearched=("android_id",),
        job_id="j1",
        preview=LakePreview("p1", 3, 100, 2, {"demand": 3}),
        reviewed_by="user-2",
        reviewed_at=later(hours=2, microseconds=7),
        began_at=later(hours=3),
        certificate=LakeCertificate("c1", subject("c"), 2, 3, 2, 1, 1, "j1"),
        try_at=later(hours=6),
        earlier=(LakeCertificate("c0", subject("b"), 1, 9, 2),),
        done_at=later(hours=4),
        processor_done_at=later(hours=5),
        reason="seen",
    ),
}


def test_a_request_is_kept_with_all_that_is_known_of_it(state: AnyState) -> None:
    for dsr in (added(state), added(state, **FULL)):
        assert state.dsr.get(dsr.id, ALL) == dsr


def test_a_request_out_of_reach_is_not_there(state: AnyState) -> None:
    dsr = added(state)
    beyond = (Reach("org-2"), Reach("org-1", "user-2"))
    assert [state.dsr.get(dsr.id, reach) for reach in beyond] == [None, None]
    assert state.dsr.get(dsr.id, Reach("org-1", "user-1")) == dsr


def test_an_unknown_request_is_not_there(state: AnyState) -> None:
    assert state.dsr.get("unknown", ALL) is None


def test_many_requests_come_in_the_order_asked_for(state: AnyState) -> None:
    one, other, third = (added(state) for _ in range(3))
    beyond = added(state, organization="org-2")
    wanted = [third.id, "unknown", one.id, beyond.id, other.id]
    assert state.dsr.get_many(wanted, ORG) == [third, one, other]


def test_a_hundred_requests_are_had_at_once(state: AnyState) -> None:
    requests = [added(state) for _ in range(100)]
    assert state.dsr.get_many([dsr.id for dsr in requests], ALL) == requests


def test_adding_writes_an_event_and_an_audit_entry_each(state: AnyState) -> None:
    one, other = a_request(), a_request(subjects=(subject("b"),))
    add(state, one, other)
    told = [stored.event for stored in events_of(state, "dsr")]
    assert told == [event_of_dsr(one), event_of_dsr(other)]
    resources = [entry.draft.resource for entry in state.audit.entries(0, 9)]
    assert resources == [f"dsr:{one.id}", f"dsr:{other.id}"]


def test_a_taken_id_is_refused_with_all_that_came_with_it(state: AnyState) -> None:
    dsr = added(state, status=DsrStatus.COMPLETED, subjects=(subject("a"),))
    other = a_request(subjects=(subject("b"),))
    with pytest.raises(StoreError):
        add(state, other, replace(dsr, owner="user-2"))
    assert state.dsr.get_many([dsr.id, other.id], ALL) == [dsr]
    assert state.audit.head().sequence == len(events_of(state, "dsr")) == 1


def test_the_same_for_the_same_subject_is_refused_while_one_is_open(state: AnyState) -> None:
    known = added(state, subjects=(subject("a"), subject("b")))
    with pytest.raises(OpenRequestExists) as refused:
        add(state, a_request(subjects=(subject("c"), subject("b"))))
    assert refused.value.details == {"request_id": known.id}
    assert state.dsr.find(DsrQuery(subject("c")), ALL) == []
    assert state.audit.head().sequence == 1


def test_of_two_new_ones_that_ask_for_the_same_neither_is_added(state: AnyState) -> None:
    with pytest.raises(OpenRequestExists) as refused:
        add(state, a_request(), a_request())
    assert refused.value.details == {"request_id": None}
    assert state.dsr.find(DsrQuery(), ALL) == []


@pytest.mark.parametrize(
    "differs",
    [
        {"organization": "org-2"},
        {"regulation": Regulation.CCPA},
        {"type": RequestType.ACCESS},
        {"subjects": (subject("b"),)},
        {"status": DsrStatus.FAILED},
    ],
    ids=lambda differs: next(iter(differs)),
)
def test_what_differs_stands_beside_an_open_one(state: AnyState, differs: dict[str, Any]) -> None:
    add(state, a_request(), a_request(**differs))
    assert len(state.dsr.find(DsrQuery(), ALL)) == 2


def test_a_closed_request_makes_room_for_the_same_again(state: AnyState) -> None:
    dsr = added(state, subjects=(subject("a"), subject("b")))
    become(state, dsr, status=DsrStatus.CANCELLED, closed_at=later(days=1))
    again = added(state, subjects=(subject("b"),))
    assert [found.id for found in state.dsr.find(DsrQuery(subject("b")), ALL)] == sorted(
        [dsr.id, again.id], reverse=True
    )


def test_a_change_is_kept_and_told_of(state: AnyState) -> None:
    dsr = added(state)
    kept = become(state, dsr, status=DsrStatus.SUBMITTED, updated_at=later(hours=1))
    assert kept == replace(dsr, status=DsrStatus.SUBMITTED, updated_at=later(hours=1), version=2)
    assert state.dsr.get(dsr.id, ALL) == kept
    assert [stored.event for stored in events_of(state, "dsr")][1:] == [event_of_dsr(kept)]
    assert [entry.draft.action for entry in state.audit.entries(1, 9)] == ["dsr.changed"]


def test_everything_but_what_it_asks_for_can_change(state: AnyState) -> None:
    dsr = added(state, subjects=(subject("a"),))
    fixed = {"regulation", "type", "subjects"}
    kept = become(state, dsr, **{key: value for key, value in FULL.items() if key not in fixed})
    assert state.dsr.get(dsr.id, ALL) == kept


def test_a_change_of_an_older_version_is_refused_and_not_told_of(state: AnyState) -> None:
    dsr = added(state)
    become(state, dsr, status=DsrStatus.SUBMITTED)
    late = replace(dsr, status=DsrStatus.CANCELLED)
    assert state.dsr.change(late, draft_of(dsr)) is None
    assert there(state.dsr.get(dsr.id, ALL)).status is DsrStatus.SUBMITTED
    assert state.audit.head().sequence == len(events_of(state, "dsr")) == 2


def test_a_status_that_may_not_become_another_is_refused(state: AnyState) -> None:
    for before in DsrStatus:
        dsr = added(state, status=before)
        for after in DsrStatus:
            if after is not before and not before.may_become(after):
                assert state.dsr.change(replace(dsr, status=after), draft_of(dsr)) is None
        assert state.dsr.get(dsr.id, ALL) == dsr


def test_a_change_of_an_unknown_request_is_refused(state: AnyState) -> None:
    dsr = a_request()
    assert state.dsr.change(dsr, draft_of(dsr)) is None
    assert state.audit.head().sequence == 0


def test_a_minimised_request_is_found_by_its_subjects_no_more(state: AnyState) -> None:
    dsr = added(state, status=DsrStatus.COMPLETED, closed_at=later(days=1))
    bare = become(state, dsr, subjects=(), sealed=b"", minimised_at=later(days=2))
    assert state.dsr.get(dsr.id, ALL) == bare
    assert state.dsr.find(DsrQuery(dsr.subjects[0]), ALL) == []
    assert state.dsr.find(DsrQuery(), ALL) == [bare]


def test_requests_are_found_newest_first(state: AnyState) -> None:
    requests = [added(state, received_at=later(hours=hour)) for hour in (2, 1, 3)]
    assert state.dsr.find(DsrQuery(), ALL) == [requests[2], requests[0], requests[1]]


def test_requests_of_one_time_are_in_order_of_their_ids(state: AnyState) -> None:
    ids = [added(state).id for _ in range(4)]
    assert [dsr.id for dsr in state.dsr.find(DsrQuery(), ALL)] == sorted(ids, reverse=True)


def test_requests_are_found_by_each_of_their_subjects(state: AnyState) -> None:
    dsr = added(state, subjects=(subject("a"), subject("b")))
    added(state, subjects=(subject("c"),))
    assert [state.dsr.find(DsrQuery(subject(letter)), ORG) for letter in "ab"] == [[dsr], [dsr]]


def test_requests_of_a_subject_are_found_newest_first_and_within_reach(state: AnyState) -> None:
    kinds = {"regulation": Regulation.CCPA}
    old = added(state, subjects=(subject("a"),))
    new = added(state, subjects=(subject("a"),), received_at=later(hours=1), **kinds)
    added(state, subjects=(subject("a"),), organization="org-2")
    assert state.dsr.find(DsrQuery(subject("a")), ORG) == [new, old]
    assert state.dsr.find(DsrQuery(subject("a")), Reach("org-1", "user-2")) == []


def test_requests_are_found_by_status(state: AnyState) -> None:
    held, queued = (added(state, status=status) for status in list(DsrStatus)[:2])
    assert state.dsr.find(DsrQuery(status=DsrStatus.HELD), ORG) == [held]
    of_subject = DsrQuery(queued.subjects[0], DsrStatus.HELD)
    assert state.dsr.find(of_subject, ORG) == []


def test_lists_stay_within_reach(state: AnyState) -> None:
    mine = added(state)
    its = added(state, owner="user-2")
    added(state, organization="org-2")
    assert {dsr.id for dsr in state.dsr.find(DsrQuery(), ORG)} == {mine.id, its.id}
    assert state.dsr.find(DsrQuery(), Reach("org-1", "user-2")) == [its]


def test_a_cursor_goes_on_although_others_are_added(state: AnyState) -> None:
    old = [added(state, received_at=later(hours=hour)) for hour in range(4)]
    first = state.dsr.find(DsrQuery(limit=2), ALL)
    added(state, received_at=later(hours=9))
    after = DsrCursor(first[-1].received_at, first[-1].id)
    assert [*first, *state.dsr.find(DsrQuery(after=after), ALL)] == old[::-1]


def test_queued_requests_wait_oldest_first(state: AnyState) -> None:
    new, old = (added(state, received_at=later(hours=hour)) for hour in (2, 1))
    for status in set(DsrStatus) - {DsrStatus.QUEUED}:
        added(state, status=status)
    assert state.dsr.waiting(RECEIVED, 9) == [old, new]
    assert state.dsr.waiting(RECEIVED, 1) == [old]


def test_a_request_waits_until_its_next_try_is_due(state: AnyState) -> None:
    dsr = become(state, added(state), forwarding=Forwarding(next_try_at=later(hours=1)))
    assert state.dsr.waiting(later(minutes=59), 9) == []
    assert state.dsr.waiting(later(hours=1), 9) == [dsr]


def test_a_parked_request_does_not_wait(state: AnyState) -> None:
    become(state, added(state), parked_reason="no answer")
    assert state.dsr.waiting(later(days=1), 9) == []


def test_a_request_that_left_the_queue_does_not_wait(state: AnyState) -> None:
    become(state, added(state), status=DsrStatus.SUBMITTED)
    assert state.dsr.waiting(RECEIVED, 9) == []


def test_an_approved_request_waits(state: AnyState) -> None:
    dsr = become(state, added(state, status=DsrStatus.HELD), status=DsrStatus.QUEUED)
    assert state.dsr.waiting(RECEIVED, 9) == [dsr]


def test_of_a_subject_only_the_oldest_waits(state: AnyState) -> None:
    shared = {"subjects": (subject("a"), subject("b"))}
    old = added(state, **shared)
    new = added(state, **shared, type=RequestType.ACCESS, received_at=later(hours=1))
    assert state.dsr.waiting(later(days=1), 9) == [old]
    become(state, old, status=DsrStatus.SUBMITTED)
    assert state.dsr.waiting(later(days=1), 9) == [new]


def test_a_request_waits_for_an_older_one_that_is_not_due(state: AnyState) -> None:
    old = become(
        state,
        added(state, subjects=(subject("a"), subject("b"))),
        forwarding=Forwarding(next_try_at=later(hours=9)),
    )
    of_other = {"subjects": (subject("b"),), "type": RequestType.ACCESS}
    added(state, received_at=later(hours=1), **of_other)
    assert state.dsr.waiting(later(hours=2), 9) == []
    assert state.dsr.waiting(later(hours=9), 9) == [old]


def test_a_parked_request_holds_up_no_other(state: AnyState) -> None:
    become(state, added(state, subjects=(subject("a"),)), parked_reason="no answer")
    new = added(state, subjects=(subject("a"),), type=RequestType.ACCESS)
    assert state.dsr.waiting(RECEIVED, 9) == [new]


def test_requests_of_other_organizations_do_not_wait_for_each_other(state: AnyState) -> None:
    one = added(state, subjects=(subject("a"),))
    other = added(state, subjects=(subject("a"),), organization="org-2")
    assert {dsr.id for dsr in state.dsr.waiting(RECEIVED, 9)} == {one.id, other.id}


def test_submitted_requests_are_to_be_cancelled_when_asked_and_due(state: AnyState) -> None:
    asked = {"cancel_requested_at": later(hours=1)}
    for status in set(DsrStatus) - {DsrStatus.SUBMITTED}:
        added(state, status=status, **asked)
    submitted = {"status": DsrStatus.SUBMITTED, **asked}
    dsr = added(state, **submitted, forwarding=Forwarding(next_try_at=later(hours=2)))
    added(state, **submitted, parked_reason="no answer")
    added(state, status=DsrStatus.SUBMITTED)
    assert state.dsr.to_cancel(later(hours=1), 9) == []
    assert state.dsr.to_cancel(later(hours=2), 9) == [dsr]


def test_a_request_whose_cancellation_is_asked_for_is_to_be_cancelled(state: AnyState) -> None:
    dsr = added(state, status=DsrStatus.SUBMITTED)
    asked = become(state, dsr, cancel_requested_at=later(hours=1))
    assert state.dsr.to_cancel(later(hours=1), 9) == [asked]
    become(state, asked, status=DsrStatus.CANCELLED, closed_at=later(hours=2))
    assert state.dsr.to_cancel(later(hours=9), 9) == []


def test_requests_at_a_processor_are_to_be_asked_about_the_longest_due_first(
    state: AnyState,
) -> None:
    asked = {"forwarding": Forwarding("one", next_try_at=later(hours=2))}
    last = added(state, status=DsrStatus.SUBMITTED, **asked)
    first = Forwarding("one", next_try_at=later(hours=1))
    begun = added(state, status=DsrStatus.IN_PROGRESS, forwarding=first)
    for status in set(DsrStatus) - {DsrStatus.SUBMITTED, DsrStatus.IN_PROGRESS}:
        added(state, status=status, **asked)
    assert state.dsr.to_ask_about(later(minutes=59), 9) == []
    assert state.dsr.to_ask_about(later(hours=1), 9) == [begun]
    assert state.dsr.to_ask_about(later(hours=2), 9) == [begun, last]
    assert state.dsr.to_ask_about(later(hours=2), 1) == [begun]


def test_request_that_is_parked_or_to_be_cancelled_or_nobodys_is_not_asked_about(
    state: AnyState,
) -> None:
    due = Forwarding("one", next_try_at=RECEIVED)
    asked = {"status": DsrStatus.SUBMITTED, "forwarding": due}
    added(state, **asked, cancel_requested_at=RECEIVED)
    added(state, **asked, parked_reason="its processor is gone")
    added(state, status=DsrStatus.SUBMITTED, forwarding=Forwarding("one"))
    begun = {"status": DsrStatus.IN_PROGRESS, "forwarding": due}
    dsr = added(state, **begun, cancel_requested_at=RECEIVED)
    assert state.dsr.to_ask_about(later(days=1), 9) == [dsr]


def test_request_is_asked_about_again_when_its_next_try_is_due_again(state: AnyState) -> None:
    dsr = added(state, status=DsrStatus.SUBMITTED, forwarding=Forwarding(next_try_at=RECEIVED))
    put_off = become(state, dsr, forwarding=Forwarding(next_try_at=later(hours=1)))
    assert state.dsr.to_ask_about(later(minutes=59), 9) == []
    assert state.dsr.to_ask_about(later(hours=1), 9) == [put_off]
    become(state, put_off, status=DsrStatus.COMPLETED, closed_at=later(hours=2))
    assert state.dsr.to_ask_about(later(days=1), 9) == []


def test_open_requests_are_found_by_their_deadline_the_soonest_first(state: AnyState) -> None:
    late, soon, after = (added(state, due_at=later(days=day)) for day in (9, 3, 10))
    added(state, due_at=later(days=1), status=DsrStatus.COMPLETED)
    beyond = added(state, due_at=later(days=2), organization="org-2")
    assert state.dsr.due_before(after.due_at, ORG, 9) == [soon, late]
    assert state.dsr.due_before(after.due_at, ALL, 2) == [beyond, soon]


def test_a_deadline_that_was_moved_is_found_there(state: AnyState) -> None:
    dsr = added(state, due_at=later(days=3))
    moved = become(state, dsr, due_at=later(days=60))
    assert state.dsr.due_before(later(days=30), ORG, 9) == []
    assert state.dsr.due_before(later(days=61), ORG, 9) == [moved]


def test_a_cursor_by_deadline_passes_none_over_and_gives_none_twice(state: AnyState) -> None:
    ids = [f"{n}d" for n in range(5)]
    days = (3, 1, 3, 2, 3)
    made = [
        added(state, id=one, due_at=later(days=day)) for one, day in zip(ids, days, strict=True)
    ]
    found: list[Dsr] = []
    while page := state.dsr.due_before(later(days=4), ALL, 2, _last(found)):
        found += page
    assert found == sorted(made, key=lambda dsr: (dsr.due_at, dsr.id))


def _last(found: list[Dsr]) -> DueCursor | None:
    return DueCursor(found[-1].due_at, found[-1].id) if found else None


def test_open_requests_are_counted_by_what_they_wait_for_and_by_deadline(state: AnyState) -> None:
    for status in DsrStatus:
        added(state, status=status, due_at=later(days=2))
    parked = become(state, added(state), parked_reason="no answer")
    assert state.dsr.tally(later(days=1)) == OpenTally(held=1, queued=1, parked=1, due=0)
    assert state.dsr.tally(later(days=3)).due == 4
    become(state, parked, parked_reason=None)
    assert state.dsr.tally(later(days=1)) == OpenTally(held=1, queued=2)


def test_requests_of_a_group_are_found_newest_first_page_by_page(state: AnyState) -> None:
    group = subject("f")
    hours = [1, 3, 2]
    made = [added(state, group_hash=group, received_at=later(hours=hour)) for hour in hours]
    added(state, group_hash=subject("e"))
    added(state)
    query = DsrQuery(group_hash=group, limit=2)
    first = state.dsr.find(query, ORG)
    assert first == [made[1], made[2]]
    after = DsrCursor(first[-1].received_at, first[-1].id)
    assert state.dsr.find(replace(query, after=after), ORG) == [made[0]]
    assert state.dsr.find(query, Reach("org-2")) == []
    assert state.dsr.find(replace(query, status=DsrStatus.COMPLETED), ORG) == []


def test_request_stays_in_its_group_when_it_has_ended_and_is_minimised(state: AnyState) -> None:
    dsr = added(state, group_hash=subject("f"))
    done = become(state, dsr, status=DsrStatus.COMPLETED, closed_at=later(days=1))
    bare = become(state, done, subjects=(), sealed=b"", minimised_at=later(days=90))
    assert state.dsr.find(DsrQuery(group_hash=subject("f")), ORG) == [bare]


@pytest.mark.parametrize("status", ["queued", "submitted", "in_progress"])
def test_parked_request_is_counted_wherever_it_was_until_it_ends(
    state: AnyState, status: str
) -> None:
    dsr = become(state, added(state, status=DsrStatus(status)), parked_reason="gone")
    assert state.dsr.tally(RECEIVED).parked == 1
    become(state, dsr, status=DsrStatus.COMPLETED, closed_at=RECEIVED)
    assert state.dsr.tally(RECEIVED).parked == 0


def test_a_notice_of_a_deadline_is_kept_and_is_in_its_event_alone(state: AnyState) -> None:
    dsr = added(state)
    told = become(state, dsr, due_notice=DueNotice(7, 2))
    assert state.dsr.get(dsr.id, ALL) == told
    become(state, told, status=DsrStatus.SUBMITTED)
    notices = [stored.event.payload.get("notice") for stored in events_of(state, "dsr")]
    assert notices == [None, {"kind": "deadline_approaching", "days": 7}, None]


def test_requests_closed_for_long_are_to_be_minimised_until_they_are(state: AnyState) -> None:
    closed = {"status": DsrStatus.COMPLETED}
    old = added(state, **closed, closed_at=later(days=1))
    new = added(state, **closed, closed_at=later(days=2))
    added(state)
    assert state.dsr.to_minimise(new.closed_at or RECEIVED, 9) == [old]
    become(state, old, subjects=(), sealed=b"", minimised_at=later(days=9))
    assert state.dsr.to_minimise(later(days=9), 9) == [new]


WAITING = LakeWork()


def at_lake(state: AnyState, *states: LakeState) -> list[Dsr]:
    return state.dsr.at_lake(states or (LakeState.WAITING,), 9)


def test_what_waits_for_the_lake_comes_oldest_first(state: AnyState) -> None:
    younger, older = (
        added(state, lake=WAITING, received_at=later(hours=hours)) for hours in (2, 1)
    )
    added(state)
    assert at_lake(state) == [older, younger]
    assert state.dsr.at_lake({LakeState.WAITING}, 1) == [older]


def test_what_the_lake_is_at_is_found_until_it_is_done(state: AnyState) -> None:
    dsr = added(state, lake=WAITING)
    dsr = become(state, dsr, lake=LakeWork(LakeState.COUNTING, job_id="j1"))
    assert (at_lake(state), at_lake(state, *UNDER_WAY)) == ([], [dsr])
    dsr = become(state, dsr, lake=LakeWork(LakeState.RUNNING, job_id="j1"))
    assert at_lake(state, *UNDER_WAY) == [dsr]
    become(state, dsr, lake=LakeWork(LakeState.DONE))
    assert at_lake(state, *UNDER_WAY) == []


def test_what_is_held_closed_or_to_be_cancelled_does_not_wait_for_the_lake(
    state: AnyState,
) -> None:
    held = added(state, lake=WAITING, status=DsrStatus.HELD)
    added(state, lake=WAITING, status=DsrStatus.CANCELLED, closed_at=later(hours=1))
    added(state, lake=WAITING, status=DsrStatus.SUBMITTED, cancel_requested_at=later(hours=1))
    assert at_lake(state) == []
    let_go = become(state, held, status=DsrStatus.SUBMITTED)
    assert at_lake(state) == [let_go]
