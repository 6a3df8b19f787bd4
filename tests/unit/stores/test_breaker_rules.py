"""The circuit breaker against a plain model of its rules, and what it offers to callers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stores.resilience.breaker import (
    BreakerOpen,
    BreakerRules,
    BreakerState,
    CircuitBreaker,
    Permit,
)

RULES = BreakerRules(window=8, minimum=4, slow_seconds=1.0, open_seconds=5.0, trials=3)


class FakeTime:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Model:
    """The rules, told as plainly as can be: every outcome kept, all counted anew each time."""

    rules: BreakerRules
    state: BreakerState = BreakerState.CLOSED
    outcomes: list[tuple[float, bool, bool]] = field(default_factory=list)
    opened_at: float = 0.0

    def seen(self, now: float) -> list[tuple[float, bool, bool]]:
        if self.state is BreakerState.HALF_OPEN:
            return self.outcomes
        if self.rules.window_seconds is None:
            return self.outcomes[-self.rules.window :]
        return [o for o in self.outcomes if int(o[0]) > int(now) - self.rules.window_seconds]

    def judge(self, now: float, failed: bool, slow: bool) -> None:
        self.outcomes.append((now, failed, slow))
        seen = self.seen(now)
        size = self.rules.trials if self.state is BreakerState.HALF_OPEN else len(seen)
        bad = (
            sum(o[1] for o in seen) >= self.rules.failure_rate * size
            or sum(o[2] for o in seen) >= self.rules.slow_rate * size
        )
        if self.state is BreakerState.HALF_OPEN:
            if bad:
                self.become(BreakerState.OPEN, now)
            elif len(self.outcomes) == self.rules.trials:
                self.become(BreakerState.CLOSED, now)
        elif len(seen) >= self.rules.needed and bad:
            self.become(BreakerState.OPEN, now)

    def become(self, state: BreakerState, now: float) -> None:
        self.state, self.outcomes, self.opened_at = state, [], now


class BreakerMachine(RuleBasedStateMachine):
    """Calls that overlap, fail, are slow or are given up, while time goes on."""

    @initialize(seconds=st.sampled_from([None, 1, 10]))
    def begin(self, seconds: int | None) -> None:
        rules = BreakerRules(8, seconds, 4, 0.5, 0.75, 1.0, 5.0, 3)
        self.time = FakeTime()
        self.told: list[BreakerState] = []
        self.breaker = CircuitBreaker(rules, self.time, self.told.append)
        self.model = Model(rules)
        self.epoch = 0
        self.under_way: list[tuple[int, Permit]] = []

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.time.now += seconds

    @rule()
    def admit(self) -> None:
        if (
            self.model.state is BreakerState.OPEN
            and self.time.now - self.model.opened_at >= self.model.rules.open_seconds
        ):
            self.become(BreakerState.HALF_OPEN)
        try:
            permit = self.breaker.admit()
        except BreakerOpen as refused:
            expected = self.model.state is not BreakerState.CLOSED and refused.seconds > 0
            assert expected
            return
        assert self.model.state is not BreakerState.OPEN
        assert permit.trial == (self.model.state is BreakerState.HALF_OPEN)
        self.under_way.append((self.epoch, permit))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failed=st.booleans(), slow=st.booleans())
    def end(self, data: Any, failed: bool, slow: bool) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        epoch, permit = self.under_way.pop(index)
        (self.breaker.failed if failed else self.breaker.succeeded)(permit, 1.0 if slow else 0.5)
        if epoch == self.epoch:
            before = self.model.state
            self.model.judge(self.time.now, failed, slow)
            self.epoch += self.model.state is not before

    @precondition(lambda self: self.under_way)
    @rule()
    def give_up(self) -> None:
        self.breaker.ignored(self.under_way.pop()[1])

    def become(self, state: BreakerState) -> None:
        self.model.become(state, self.time.now)
        self.epoch += 1

    @invariant()
    def agrees_with_the_model(self) -> None:
        if hasattr(self, "model"):
            assert self.breaker.statistics().state is self.model.state

    @invariant()
    def lets_no_more_trials_through_than_it_may(self) -> None:
        if hasattr(self, "model") and self.model.state is BreakerState.HALF_OPEN:
            on_trial = sum(epoch == self.epoch for epoch, _ in self.under_way)
            assert on_trial + len(self.model.outcomes) <= self.model.rules.trials

    @invariant()
    def tells_each_change_once(self) -> None:
        if hasattr(self, "model"):
            assert len(self.told) == self.epoch
            assert all(a is not b for a, b in zip(self.told, self.told[1:], strict=False))


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def breaker(time: FakeTime) -> CircuitBreaker:
    return CircuitBreaker(RULES, time)


def fail() -> str:
    raise ConnectionError


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    for _ in range(4):
        breaker.failed(breaker.admit(), 0.0)
    return breaker


def test_a_call_gives_what_the_work_gives(breaker: CircuitBreaker) -> None:
    assert breaker.call(lambda: "fresh") == "fresh"


def test_a_call_that_fails_falls_back(breaker: CircuitBreaker) -> None:
    assert breaker.call(fail, fallback=lambda error: type(error).__name__) == "ConnectionError"


def test_an_open_breaker_falls_back_without_calling(breaker: CircuitBreaker) -> None:
    called: list[int] = []
    opened(breaker).call(lambda: called.append(1), fallback=lambda _: None)
    assert called == []


def test_without_a_fallback_a_refusal_is_raised(breaker: CircuitBreaker) -> None:
    with pytest.raises(BreakerOpen):
        opened(breaker).call(lambda: "fresh")


def test_an_exception_that_does_not_speak_against_the_service_is_not_counted(
    breaker: CircuitBreaker,
) -> None:
    with pytest.raises(ConnectionError):
        breaker.call(fail, blames=lambda error: not isinstance(error, ConnectionError))
    assert breaker.statistics().calls == 0


def test_a_call_that_is_interrupted_leaves_room_for_another(
    breaker: CircuitBreaker, time: FakeTime
) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    opened(breaker)
    time.now = 5.0
    for _ in range(RULES.trials + 1):
        with pytest.raises(KeyboardInterrupt):
            breaker.call(interrupt)


def test_refused_calls_are_counted(breaker: CircuitBreaker) -> None:
    opened(breaker)
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            breaker.admit()
    assert breaker.statistics().refused == 3


def test_failures_of_long_ago_do_not_count_by_time(time: FakeTime) -> None:
    breaker = CircuitBreaker(BreakerRules(window_seconds=10, minimum=4), time)
    for _ in range(3):
        breaker.failed(breaker.admit(), 0.0)
    time.now = 10.0
    breaker.failed(breaker.admit(), 0.0)
    assert breaker.statistics().calls == 1


def test_a_window_of_time_holds_any_number_of_calls_in_little(time: FakeTime) -> None:
    breaker = CircuitBreaker(BreakerRules(window_seconds=10), time)
    for _ in range(10_000):
        breaker.succeeded(breaker.admit(), 0.0)
    assert breaker.statistics().calls == 10_000
    assert len(breaker._window._sums) == 1  # type: ignore[attr-defined]


def test_threads_lose_no_outcome(time: FakeTime) -> None:
    breaker = CircuitBreaker(BreakerRules(window=10_000, minimum=10_000), time)

    def call() -> None:
        for number in range(500):
            permit = breaker.admit()
            (breaker.failed if number % 4 == 0 else breaker.succeeded)(permit, 0.0)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = breaker.statistics()
    assert (found.calls, found.failures) == (4000, 1000)
