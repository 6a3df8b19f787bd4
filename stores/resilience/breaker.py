"""A circuit breaker: it stops calls to a service that fails or is slow, and tries it now and then.

    CLOSED ──too many failures or slow calls──> OPEN ──after a while──> HALF_OPEN
       ^                                          ^                        │ │
       └────────────────the trial succeeded───────┼────────────────────────┘ │
                                                  └─────the trial failed─────┘

    permit = breaker.admit()            # raises BreakerOpen
    ...                                 # the call
    breaker.succeeded(permit, seconds)  # or failed, or ignored

One breaker serves any number of threads. The outcome of a call that was admitted before the last
change of state says nothing about the service as it is now, and is passed over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpen(Exception):
    """No call may be made now; ask again in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    It looks at the last ``window`` calls, once there are ``minimum`` of them. A share of
    ``failure_rate`` (0 to 1) of failures opens it, and so does one of ``slow_rate`` of calls that
    took ``slow_seconds`` or longer. After ``open_seconds`` it lets one trial through.
    """

    window: int = 100
    minimum: int = 20
    failure_rate: float = 0.5
    slow_rate: float = 0.9
    slow_seconds: float = 5.0
    open_seconds: float = 2.0


@dataclass(frozen=True)
class Permit:
    """Leave for one call, to be given back with its outcome. A ``trial`` decides on the state."""

    generation: int
    trial: bool = False


@dataclass(frozen=True)
class BreakerStatistics:
    """What a breaker knows; ``failures`` and ``slow`` are among the ``calls`` of its window."""

    state: BreakerState
    calls: int
    failures: int
    slow: int
    opened: int
    """How often it has opened so far."""


@dataclass(frozen=True)
class _Outcome:
    failed: bool
    slow: bool


class CircuitBreaker:
    """A breaker by these rules; ``clock`` gives seconds that only grow."""

    def __init__(self, rules: BreakerRules, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._outcomes: deque[_Outcome] = deque(maxlen=rules.window)
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._opened_at = 0.0
        self._opened = 0
        self._on_trial = False

    def admit(self) -> Permit:
        """Leave to call now. Raises ``BreakerOpen``. Give the permit back, whatever happens."""
        with self._lock:
            if self._state is BreakerState.OPEN:
                self._half_open_in_time()
            if self._state is BreakerState.CLOSED:
                return Permit(self._generation)
            if self._on_trial:
                raise BreakerOpen(self._rules.open_seconds)
            self._on_trial = True
            return Permit(self._generation, trial=True)

    def succeeded(self, permit: Permit, seconds: float) -> None:
        """The call was answered, after ``seconds``."""
        self._judge(permit, _Outcome(False, seconds >= self._rules.slow_seconds))

    def failed(self, permit: Permit, seconds: float) -> None:
        """The call failed, after ``seconds``, in a way that speaks against the service."""
        self._judge(permit, _Outcome(True, seconds >= self._rules.slow_seconds))

    def ignored(self, permit: Permit) -> None:
        """The call's outcome says nothing about the service, or it was never made."""
        with self._lock:
            if permit.generation == self._generation and permit.trial:
                self._on_trial = False

    def statistics(self) -> BreakerStatistics:
        with self._lock:
            failures, slow = self._counts()
            return BreakerStatistics(self._state, len(self._outcomes), failures, slow, self._opened)

    def _half_open_in_time(self) -> None:
        left = self._opened_at + self._rules.open_seconds - self._clock()
        if left > 0:
            raise BreakerOpen(left)
        self._become(BreakerState.HALF_OPEN)

    def _judge(self, permit: Permit, outcome: _Outcome) -> None:
        with self._lock:
            if permit.generation != self._generation:
                return
            if permit.trial:
                self._become(BreakerState.OPEN if outcome.failed else BreakerState.CLOSED)
                return
            self._outcomes.append(outcome)
            if self._is_too_much():
                self._become(BreakerState.OPEN)

    def _is_too_much(self) -> bool:
        calls = len(self._outcomes)
        if calls < self._rules.minimum:
            return False
        failures, slow = self._counts()
        too_many_fail = failures >= self._rules.failure_rate * calls
        return too_many_fail or slow >= self._rules.slow_rate * calls

    def _counts(self) -> tuple[int, int]:
        failures = sum(outcome.failed for outcome in self._outcomes)
        return failures, sum(outcome.slow for outcome in self._outcomes)

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._on_trial = False
        self._outcomes.clear()
        if state is BreakerState.OPEN:
            self._opened_at = self._clock()
            self._opened += 1
