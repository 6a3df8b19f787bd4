"""A circuit breaker: it stops calls to a service that fails or is slow, and tries it now and then.

    CLOSED ──too many failures or slow calls──> OPEN ──after a while──> HALF_OPEN
       ^                                          ^                        │ │
       └────────────────the trials went well──────┼────────────────────────┘ │
                                                  └──too many went badly─────┘

    permit = breaker.admit()            # raises BreakerOpen
    ...                                 # the call
    breaker.succeeded(permit, seconds)  # or failed, or ignored

or all of it in one: ``breaker.call(fetch, fallback=last_known)``.

The rules are those of resilience4j's CircuitBreaker, but for two: it opens at ``slow_seconds``
itself, not only beyond, and half open it does not wait for trials that can change nothing any more.
One breaker serves any number of threads. The outcome of a call that was admitted before the last
change of state says nothing about the service as it is now, and is passed over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

T = TypeVar("T")


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

    It looks at the last ``window`` calls, or, with ``window_seconds``, at all calls of the last so
    many whole seconds; once there are ``minimum`` of them. A share of ``failure_rate`` (0 to 1) of
    failures opens it, and so does one of ``slow_rate`` of calls that took ``slow_seconds`` or
    longer. After ``open_seconds`` it lets ``trials`` calls through, and judges them by the same
    rates.
    """

    window: int = 100
    window_seconds: int | None = None
    minimum: int = 20
    failure_rate: float = 0.5
    slow_rate: float = 0.9
    slow_seconds: float = 5.0
    open_seconds: float = 2.0
    trials: int = 1

    @property
    def needed(self) -> int:
        """How many calls there must be to be judged by: no more than it looks at."""
        return self.minimum if self.window_seconds else min(self.minimum, self.window)

    def are_broken_by(self, tally: Tally) -> bool:
        """Whether so many failures or slow calls are too many."""
        too_many_fail = tally.failures >= self.failure_rate * tally.calls
        return too_many_fail or tally.slow >= self.slow_rate * tally.calls


@dataclass(frozen=True)
class Tally:
    """Calls, and how many of them failed or were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.calls + other.calls, self.failures + other.failures, self.slow + other.slow
        )

    def __sub__(self, other: Tally) -> Tally:
        return Tally(
            self.calls - other.calls, self.failures - other.failures, self.slow - other.slow
        )


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
    refused: int
    """How many calls it has not let through so far."""


class CircuitBreaker:
    """A breaker by these rules; ``clock`` gives seconds that only grow.

    ``changed`` is told of each new state, in order, by the thread that brought it about. It must be
    quick, must not raise, and must not ask this breaker for anything.
    """

    def __init__(
        self,
        rules: BreakerRules,
        clock: Callable[[], float],
        changed: Callable[[BreakerState], None] = lambda _: None,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._window = _window_of(rules, clock)
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._opened_at = 0.0
        self._opened = self._refused = 0
        self._on_trial = 0
        self._tried = Tally()

    def call(
        self,
        work: Callable[[], T],
        fallback: Callable[[Exception], T] | None = None,
        blames: Callable[[Exception], bool] = lambda _: True,
    ) -> T:
        """What ``work`` gives, if it may be called now and succeeds.

        Otherwise what ``fallback`` gives, which is handed ``BreakerOpen`` or what ``work`` raised;
        without one that is raised. ``blames`` says whether an exception speaks against the service.
        """
        try:
            return self._attempt(work, blames)
        except Exception as error:
            if fallback is None:
                raise
            return fallback(error)

    def admit(self) -> Permit:
        """Leave to call now. Raises ``BreakerOpen``. Give the permit back, whatever happens."""
        with self._lock:
            if self._state is BreakerState.OPEN:
                self._half_open_in_time()
            if self._state is BreakerState.CLOSED:
                return Permit(self._generation)
            if self._on_trial + self._tried.calls >= self._rules.trials:
                raise self._refusal(self._rules.open_seconds)
            self._on_trial += 1
            return Permit(self._generation, trial=True)

    def succeeded(self, permit: Permit, seconds: float) -> None:
        """The call was answered, after ``seconds``."""
        self._judge(permit, Tally(1, 0, int(seconds >= self._rules.slow_seconds)))

    def failed(self, permit: Permit, seconds: float) -> None:
        """The call failed, after ``seconds``, in a way that speaks against the service."""
        self._judge(permit, Tally(1, 1, int(seconds >= self._rules.slow_seconds)))

    def ignored(self, permit: Permit) -> None:
        """The call's outcome says nothing about the service, or it was never made."""
        with self._lock:
            if permit.generation == self._generation and permit.trial:
                self._on_trial -= 1

    def statistics(self) -> BreakerStatistics:
        with self._lock:
            tally = self._window.tally()
            return BreakerStatistics(
                self._state, tally.calls, tally.failures, tally.slow, self._opened, self._refused
            )

    def _attempt(self, work: Callable[[], T], blames: Callable[[Exception], bool]) -> T:
        permit, began = self.admit(), self._clock()
        try:
            result = work()
        except Exception as error:
            if blames(error):
                self.failed(permit, self._clock() - began)
            else:
                self.ignored(permit)
            raise
        except BaseException:
            self.ignored(permit)
            raise
        self.succeeded(permit, self._clock() - began)
        return result

    def _half_open_in_time(self) -> None:
        left = self._opened_at + self._rules.open_seconds - self._clock()
        if left > 0:
            raise self._refusal(left)
        self._become(BreakerState.HALF_OPEN)

    def _refusal(self, seconds: float) -> BreakerOpen:
        self._refused += 1
        return BreakerOpen(seconds)

    def _judge(self, permit: Permit, outcome: Tally) -> None:
        with self._lock:
            if permit.generation != self._generation:
                return
            if permit.trial:
                self._judge_trial(outcome)
                return
            self._window.add(outcome)
            tally = self._window.tally()
            if tally.calls >= self._rules.needed and self._rules.are_broken_by(tally):
                self._become(BreakerState.OPEN)

    def _judge_trial(self, outcome: Tally) -> None:
        self._on_trial -= 1
        self._tried += outcome
        # Were all that are left to succeed: would it be too much even so?
        at_best = Tally(self._rules.trials, self._tried.failures, self._tried.slow)
        if self._rules.are_broken_by(at_best):
            self._become(BreakerState.OPEN)
        elif self._tried.calls == self._rules.trials:
            self._become(BreakerState.CLOSED)

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._on_trial = 0
        self._tried = Tally()
        self._window.clear()
        if state is BreakerState.OPEN:
            self._opened_at = self._clock()
            self._opened += 1
        self._changed(state)


class _Window(Protocol):
    """The outcomes that a breaker looks at."""

    def add(self, outcome: Tally) -> None: ...

    def tally(self) -> Tally: ...

    def clear(self) -> None: ...


def _window_of(rules: BreakerRules, clock: Callable[[], float]) -> _Window:
    if rules.window_seconds is None:
        return _LastCalls(rules.window)
    return _LastSeconds(rules.window_seconds, clock)


class _LastCalls:
    """So many calls, added up as they come and go."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def add(self, outcome: Tally) -> None:
        if len(self._outcomes) == self._size:
            self._total -= self._outcomes.popleft()
        self._outcomes.append(outcome)
        self._total += outcome

    def tally(self) -> Tally:
        return self._total

    def clear(self) -> None:
        self._outcomes: deque[Tally] = deque()
        self._total = Tally()


class _LastSeconds:
    """All calls of this second and of those before it, a sum a second."""

    def __init__(self, seconds: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self.clear()

    def add(self, outcome: Tally) -> None:
        now = self._drop_old()
        if not self._sums or self._sums[-1][0] != now:
            self._sums.append((now, Tally()))
        self._sums[-1] = (now, self._sums[-1][1] + outcome)
        self._total += outcome

    def tally(self) -> Tally:
        self._drop_old()
        return self._total

    def clear(self) -> None:
        self._sums: deque[tuple[int, Tally]] = deque()
        self._total = Tally()

    def _drop_old(self) -> int:
        now = int(self._clock())
        while self._sums and self._sums[0][0] <= now - self._seconds:
            self._total -= self._sums.popleft()[1]
        return now
