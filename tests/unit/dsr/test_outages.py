"""How long a processor that does not answer is left alone."""

from __future__ import annotations

from dsr.outages import TOLERATED, Outages
from dsr.pauses import Pauses
from stores.processors.errors import Throttled, Unreachable
from tests.dsr_memory import SetClock

AWAY = Unreachable("does not answer")
AT_ONCE = 8


def outages(clock: SetClock) -> Outages:
    """Pauses are as long as they may be: 1, 2, 4 ... 60 seconds."""
    return Outages(Pauses(1.0, 60.0), lambda _, high: high, clock)


def pause(found: Outages, clock: SetClock) -> int:
    """Seconds until the processor may be asked again."""
    seconds = 0
    while not found.may_ask("one"):
        clock.advance(seconds=1)
        seconds += 1
    return seconds


def fail(found: Outages, times: int) -> None:
    for _ in range(times):
        found.heard("one", AWAY)


def test_a_few_failures_do_not_pause() -> None:
    found = outages(SetClock())
    fail(found, TOLERATED - 1)
    assert found.may_ask("one")


def test_failures_of_all_that_were_asked_at_once_pause_as_one() -> None:
    clock = SetClock()
    found = outages(clock)
    fail(found, AT_ONCE)
    assert pause(found, clock) == 1


def test_pauses_double_with_each_time_that_it_is_asked_in_vain() -> None:
    clock = SetClock()
    found = outages(clock)
    lengths = []
    for _ in range(8):
        fail(found, AT_ONCE)
        lengths.append(pause(found, clock))
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


def test_wish_to_be_left_alone_counts_though_it_is_paused() -> None:
    clock = SetClock()
    found = outages(clock)
    fail(found, AT_ONCE)
    found.heard("one", Throttled("wants fewer calls", retry_after=30.0))
    assert pause(found, clock) == 30


def test_answer_ends_it_all() -> None:
    clock = SetClock()
    found = outages(clock)
    fail(found, AT_ONCE)
    found.heard("one", None)
    assert (found.may_ask("one"), found.since("one")) == (True, None)
