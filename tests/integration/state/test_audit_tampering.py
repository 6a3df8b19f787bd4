"""Whoever changes the tables of the audit log is found out, and what they changed is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from schemas.audit_check import Fault, Flaw, Whole
from stores.checkpoints import AuditBroken, check_store, checkpoint
from stores.state.database import Database
from stores.state.sql import SqlState, open_state
from tests.audit_logs import KEYS, draft
from tests.integration.state.records import START


@pytest.fixture
def state(sql_url: str) -> Iterator[SqlState]:
    """A store with six entries, of which the first four are signed for."""
    state = open_state(sql_url)
    for number in range(6):
        if number == 4:
            checkpoint(state.audit, KEYS, START)
        state.audit.append(draft(number, note="as it was"))
    yield state
    state.close()


def after(state: SqlState, *statements: str) -> Whole | Flaw:
    """What is found when these were done to the database."""
    database: Database = state.database
    for statement in statements:
        database.write(lambda c, text=statement: c.execute(sa.text(text)))  # type: ignore[misc]
    return check_store(state.audit, KEYS.public.is_signed)


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'nobody'",
        "organization = 'org-2'",
        "action = 'dsr.approved'",
        "resource = 'dsr:9'",
        "at = at + 1",
        "detail = '{}'",
        "detail = 'no JSON'",
        "previous = hash",
        "hash = previous",
    ],
)
def test_a_changed_entry_is_named(state: SqlState, change: str) -> None:
    found = after(state, f"UPDATE audit_entries SET {change} WHERE sequence = 3")
    assert found == Flaw(Fault.CHANGED, 3)


def test_a_deleted_entry_is_named(state: SqlState) -> None:
    assert after(state, "DELETE FROM audit_entries WHERE sequence = 2") == Flaw(Fault.MISSING, 2)


def test_entries_that_swapped_numbers_are_named(state: SqlState) -> None:
    swap = [(2, 99), (3, 2), (99, 3)]
    moves = [f"UPDATE audit_entries SET sequence = {to} WHERE sequence = {was}" for was, to in swap]
    assert after(state, *moves) == Flaw(Fault.CHANGED, 2)


def test_a_tail_cut_off_before_the_checkpoint_is_found(state: SqlState) -> None:
    found = after(state, "DELETE FROM audit_entries WHERE sequence >= 3")
    assert found == Flaw(Fault.CUT_OFF, 3, 4)


def test_a_changed_checkpoint_is_found(state: SqlState) -> None:
    found = after(state, "UPDATE audit_checkpoints SET at = at + 1")
    assert found == Flaw(Fault.BAD_SIGNATURE, 4)


def test_what_was_changed_since_the_last_checkpoint_is_not_signed_for(state: SqlState) -> None:
    after(state, "UPDATE audit_entries SET actor = 'nobody' WHERE sequence = 5")
    with pytest.raises(AuditBroken, match="entry 5 was changed"):
        checkpoint(state.audit, KEYS, START)
