"""Checks are bounded in time and in threads, whatever becomes of them."""

from __future__ import annotations

import threading

from service.readiness import Check, CheckResult, Readiness


def fail() -> None:
    raise OSError("the password is secret")


def test_check_that_raises_has_failed() -> None:
    assert Readiness([Check("database", fail)], 5)() == [CheckResult("database", "failed", True)]


def test_check_that_hangs_is_late_and_holds_up_no_other() -> None:
    hold = threading.Event()
    checks = [Check("database", hold.wait), Check("cache", lambda: None, critical=False)]
    found = Readiness(checks, 0.05)()
    hold.set()
    assert [result.status for result in found] == ["late", "ok"]


def test_check_that_hangs_is_not_begun_again() -> None:
    hold, begun = threading.Event(), []

    def hang() -> None:
        begun.append(1)
        hold.wait()

    readiness = Readiness([Check("database", hang)], 0.01)
    for _ in range(5):
        readiness()
    hold.set()
    assert len(begun) == 1


def test_check_is_done_anew_once_it_has_answered() -> None:
    answers = iter([True, False])

    def check() -> None:
        if not next(answers):
            raise OSError

    readiness = Readiness([Check("database", check)], 5)
    assert [readiness()[0].status for _ in range(2)] == ["ok", "failed"]
