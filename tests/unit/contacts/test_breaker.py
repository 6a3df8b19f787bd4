"""The circuit breaker, by a clock that stands still unless it is told."""

from __future__ import annotations

import threading

import pytest

from stores.resilience.breaker import (
    BreakerOpen,
    BreakerRules,
    BreakerState,
    CircuitBreaker,
    Permit,
)

RULES = BreakerRules(window=10, minimum=4, slow_seconds=1.0, open_seconds=5.0)


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def breaker(time: FakeTime) -> CircuitBreaker:
    return CircuitBreaker(RULES, time)


def call(breaker: CircuitBreaker, fails: bool, seconds: float = 0.0) -> None:
    permit = breaker.admit()
    (breaker.failed if fails else breaker.succeeded)(permit, seconds)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    for _ in range(4):
        call(breaker, fails=True)
    return breaker


def half_opened(breaker: CircuitBreaker, time: FakeTime) -> Permit:
    opened(breaker)
    time.now += 5.0
    return breaker.admit()


def state(breaker: CircuitBreaker) -> BreakerState:
    return breaker.statistics().state


def test_too_few_calls_open_nothing(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        call(breaker, fails=True)
    assert state(breaker) is BreakerState.CLOSED


def test_failures_at_the_rate_open_it(breaker: CircuitBreaker) -> None:
    for fails in (False, True, False, True):
        call(breaker, fails)
    assert state(breaker) is BreakerState.OPEN


def test_failures_below_the_rate_open_nothing(breaker: CircuitBreaker) -> None:
    for number in range(30):
        call(breaker, fails=number % 3 == 2)
    assert state(breaker) is BreakerState.CLOSED


def test_only_the_last_calls_count(breaker: CircuitBreaker) -> None:
    for number in range(14):
        call(breaker, fails=number >= 10)
    assert breaker.statistics().failures == 4
    assert state(breaker) is BreakerState.CLOSED


def test_slow_calls_open_it(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        call(breaker, fails=False, seconds=1.0)
    assert state(breaker) is BreakerState.OPEN


def test_an_open_one_says_how_long_to_wait(breaker: CircuitBreaker, time: FakeTime) -> None:
    opened(breaker)
    time.now = 2.0
    with pytest.raises(BreakerOpen) as raised:
        breaker.admit()
    assert raised.value.seconds == 3.0


def test_after_a_while_one_trial_is_let_through(breaker: CircuitBreaker, time: FakeTime) -> None:
    assert half_opened(breaker, time).trial
    with pytest.raises(BreakerOpen):
        breaker.admit()


def test_a_trial_that_succeeds_closes_it(breaker: CircuitBreaker, time: FakeTime) -> None:
    breaker.succeeded(half_opened(breaker, time), 0.0)
    assert not breaker.admit().trial
    assert breaker.statistics().calls == 0


def test_a_trial_that_fails_opens_it_again(breaker: CircuitBreaker, time: FakeTime) -> None:
    breaker.failed(half_opened(breaker, time), 0.0)
    assert state(breaker) is BreakerState.OPEN
    assert breaker.statistics().opened == 2


def test_a_trial_that_was_never_made_leaves_room_for_another(
    breaker: CircuitBreaker, time: FakeTime
) -> None:
    breaker.ignored(half_opened(breaker, time))
    assert breaker.admit().trial


def test_calls_from_before_it_opened_say_nothing_about_now(
    breaker: CircuitBreaker, time: FakeTime
) -> None:
    old = breaker.admit()
    half_opened(breaker, time)
    breaker.succeeded(old, 0.0)
    assert state(breaker) is BreakerState.HALF_OPEN


def test_many_threads_get_one_trial(breaker: CircuitBreaker, time: FakeTime) -> None:
    opened(breaker)
    time.now = 5.0
    permits: list[Permit] = []

    def admit() -> None:
        try:
            permits.append(breaker.admit())
        except BreakerOpen:
            return

    threads = [threading.Thread(target=admit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(permits) == 1
