"""What may be done to a run, as pure functions say, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from schemas import run_changes
from schemas.runs import RunEnd, RunOwner, RunRecord, RunStatus, event_of_run, shown_run

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
OWNER = RunOwner("a-host", 4711, "99")
QUEUED = RunRecord("r1", "deliver", RunStatus.QUEUED, OWNER, NOW, NOW)
FINAL = [status for status in RunStatus if status.is_final]


def test_a_mere_sign_of_life_is_not_told() -> None:
    after = run_changes.seen(QUEUED, None, LATER)
    assert after is not None
    assert after.seen_at == LATER
    assert not run_changes.is_told(QUEUED, after)


def test_counts_are_told_when_they_have_changed() -> None:
    known = replace(QUEUED, counts={"read": 3})
    same, more = (run_changes.seen(known, {"read": read}, LATER) for read in (3, 4))
    assert same is not None
    assert more is not None
    assert (run_changes.is_told(known, same), run_changes.is_told(known, more)) == (False, True)


@pytest.mark.parametrize("status", FINAL)
def test_nothing_becomes_of_a_run_that_has_ended(status: RunStatus) -> None:
    over = replace(QUEUED, status=status)
    assert run_changes.begun(over, OWNER, LATER) is None
    assert run_changes.seen(over, {"read": 1}, LATER) is None
    assert run_changes.ended(over, RunEnd(RunStatus.FAILED), None, LATER) is None
    assert run_changes.asked_to_end(over, LATER) is None


def test_a_run_is_shown_without_its_process_and_its_log() -> None:
    shown = shown_run(replace(QUEUED, log_path="/var/log/r1.log"))
    assert (shown["runId"], shown["status"]) == ("r1", "queued")
    assert not any(word in str(shown) for word in ("a-host", "4711", "/var/log"))


def test_an_event_is_of_whoever_asked_for_the_run() -> None:
    asked = replace(QUEUED, organization="org-1", requested_by="ana", version=3)
    told = event_of_run(asked, LATER)
    assert (str(told.topic), told.version, told.at) == ("run:r1", 3, LATER)
    assert (told.organization, told.owner) == ("org-1", "ana")
