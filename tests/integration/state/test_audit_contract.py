"""The audit log, on every kind of state store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from schemas.access import Reach
from schemas.audit import GENESIS, AuditDraft, AuditEntry, AuditHead, chained
from schemas.audit_check import Fault, Flaw, Whole
from stores.checkpoints import (
    SIGNED_AFTER,
    AuditBroken,
    check_store,
    checkpoint,
    checkpoint_if_due,
    exported,
)
from tests.audit_logs import KEYS, STRANGER, checked, draft
from tests.integration.state.records import ALL, START, AnyState, Clock

SAID = AuditDraft(
    "user-1",
    "org-1",
    "dsr.submitted",
    "dsr:1/#",
    {"subjects": ["f" * 64], "n": 1, "score": 0.25, "no": None, "deep": {"\u00e4": [True]}},
)


def grown(state: AnyState, length: int) -> list[AuditEntry]:
    return [state.audit.append(draft(number)) for number in range(length)]


def found(state: AnyState) -> Whole | Flaw:
    return check_store(state.audit, KEYS.public.is_signed)


def test_an_empty_log_has_no_head(state: AnyState) -> None:
    assert state.audit.head() == AuditHead(0, GENESIS)
    assert state.audit.entries(0, 9) == []


def test_an_entry_is_kept_as_it_was_said(state: AnyState) -> None:
    entry = state.audit.append(SAID)
    assert entry == chained(SAID, START, AuditHead())
    assert state.audit.entries(0, 9) == [entry]


def test_entries_hang_together(state: AnyState) -> None:
    entries = grown(state, 5)
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5]
    assert all(after.previous == before.hash for before, after in pairwise(entries))
    assert state.audit.head() == entries[-1].head


def test_entries_come_a_page_at_a_time(state: AnyState) -> None:
    entries = grown(state, 5)
    assert state.audit.entries(1, 2) == entries[1:3]
    assert state.audit.entries(4, 9) == entries[4:]


def test_the_entries_of_a_resource_come_in_order_and_within_reach(state: AnyState) -> None:
    mine = [state.audit.append(SAID) for _ in range(3)]
    state.audit.append(replace(SAID, resource="dsr:1"))
    its = state.audit.append(replace(SAID, organization="org-2", actor="user-2"))
    assert [*state.audit.of(SAID.resource, ALL)] == [*mine, its]
    assert [*state.audit.of(SAID.resource, Reach("org-1"))] == mine
    assert [*state.audit.of(SAID.resource, Reach("org-2", "user-1"))] == []


def test_a_checkpoint_is_kept_once(state: AnyState) -> None:
    entries = grown(state, 3)
    first, second = (KEYS.sign(entries[place].head, START) for place in (0, 2))
    for one in (second, first, replace(first, at=START + timedelta(hours=1))):
        state.audit.keep_checkpoint(one)
    assert state.audit.checkpoints(-1, 9) == [first, second]
    assert state.audit.checkpoints(1, 9) == [second]
    assert state.audit.newest_checkpoint() == second


def test_a_log_without_a_checkpoint_has_no_newest_one(state: AnyState) -> None:
    assert state.audit.newest_checkpoint() is None


def test_a_signed_log_is_whole(state: AnyState, clock: Clock) -> None:
    entries = grown(state, 3)
    checkpoint(state.audit, KEYS, clock())
    more = grown(state, 1)
    assert found(state) == Whole(more[0].head, entries[-1].head)


def test_a_checkpoint_of_what_is_not_there_shows_a_tail_cut_off(state: AnyState) -> None:
    entries = grown(state, 2)
    state.audit.keep_checkpoint(KEYS.sign(AuditHead(4, "f" * 64), START))
    assert found(state) == Flaw(Fault.CUT_OFF, 3, 4)
    assert entries


def test_a_checkpoint_by_a_stranger_is_found_and_not_built_on(state: AnyState) -> None:
    grown(state, 2)
    checkpoint(state.audit, STRANGER, START)
    assert found(state) == Flaw(Fault.BAD_SIGNATURE, 2)
    with pytest.raises(AuditBroken):
        checkpoint(state.audit, KEYS, START)


def test_an_export_is_whole_by_itself(state: AnyState, clock: Clock) -> None:
    grown(state, 3)
    signed = checkpoint(state.audit, KEYS, clock())
    grown(state, 1)
    lines = [*exported(state.audit, signed)]
    assert len(lines) == 4
    assert checked(lines) == Whole(AuditHead(3, signed.hash), AuditHead(3, signed.hash))


def test_a_checkpoint_is_due_some_time_after_an_entry(state: AnyState, clock: Clock) -> None:
    assert checkpoint_if_due(state.audit, lambda: KEYS, clock()) is None
    grown(state, 1)
    assert checkpoint_if_due(state.audit, lambda: KEYS, clock()) is not None
    grown(state, 1)
    assert checkpoint_if_due(state.audit, lambda: KEYS, clock()) is None
    clock.pass_by(SIGNED_AFTER.total_seconds())
    assert checkpoint_if_due(state.audit, lambda: KEYS, clock()) is not None
    clock.pass_by(SIGNED_AFTER.total_seconds())
    assert checkpoint_if_due(state.audit, lambda: KEYS, clock()) is None
