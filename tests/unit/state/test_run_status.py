"""The statuses of a run never go back."""

from __future__ import annotations

import pytest

from schemas.runs import RunStatus

FINAL = [status for status in RunStatus if status.is_final]


def test_four_statuses_are_final() -> None:
    assert {*FINAL} == {"succeeded", "failed", "cancelled", "lost"}


@pytest.mark.parametrize("status", FINAL)
def test_a_final_status_becomes_nothing(status: RunStatus) -> None:
    assert not any(status.may_become(other) for other in RunStatus)


@pytest.mark.parametrize("status", RunStatus)
def test_nothing_becomes_queued_or_what_it_is(status: RunStatus) -> None:
    assert not status.may_become(RunStatus.QUEUED)
    assert not status.may_become(status)


def test_a_run_may_end_without_having_run() -> None:
    assert RunStatus.QUEUED.may_become(RunStatus.LOST)
    assert RunStatus.RUNNING.may_become(RunStatus.LOST)
