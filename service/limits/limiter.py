"""Counts requests, and remembers who has used a limit up until they may come again.

So a flood is turned away from memory. A process counts a refused request only where others let the
last one through; who comes again when they are told loses nothing by that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from cachetools import TLRUCache

from schemas.errors import StoreError
from service.limits.policy import Rule
from service.limits.sliding_window import Standing, standing
from stores.state.service_port import RequestCounters

_PAUSE = 5.0
"""Seconds without counting after the counters failed, so that requests do not wait for them."""

_SAID_EVERY = 60.0
_MOST_REMEMBERED = 10_000

_log = structlog.get_logger()


class Limiter:
    """Counts requests for all rules at once. For any number of threads.

    ``told`` is given each decision: ``allowed``, ``limited``, or ``unchecked`` where the counters
    could not be reached.
    """

    def __init__(
        self,
        counters: RequestCounters,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._counters = counters
        self._now = now
        self._monotonic = monotonic
        self._told = told
        self._lock = threading.Lock()
        self._over: TLRUCache[str, tuple[float, Standing]] = TLRUCache(
            _MOST_REMEMBERED, _until, monotonic
        )
        self._paused_until = self._silent_until = float("-inf")

    def remembered(self, rules: Sequence[Rule]) -> Standing | None:
        """Where one stands who is known to be over one of these; asks nobody."""
        with self._lock, self._over.timer as now:  # the time stands still: none runs out meanwhile
            over = [self._over[rule.name] for rule in rules if rule.name in self._over]
        if not over:
            return None
        self._told("limited")
        until, found = max(over, key=lambda entry: entry[0])
        return replace(found, is_over=True, wait=until - now, reset=until - now)

    def count(self, rules: Sequence[Rule]) -> Standing | None:
        """Count a request; where it stands by the rule that leaves it least.

        None if there is no rule, or nothing can be counted now.
        """
        if not rules:
            return None
        found = self._counted(rules)
        if found is None:
            self._told("unchecked")
            return None
        self._remember(rules, found)
        least = min(found, key=lambda place: (not place.is_over, place.remaining, -place.wait))
        self._told("limited" if least.is_over else "allowed")
        return least

    def _counted(self, rules: Sequence[Rule]) -> list[Standing] | None:
        if self._monotonic() < self._paused_until:
            return None
        # Before the count: a period that begins in between is the next request's affair.
        now = self._now().timestamp()
        try:
            tallies = self._counters.count([rule.counted for rule in rules])
        except StoreError as error:
            self._pause(error)
            return None
        return [standing(rule.rate, tally, now) for rule, tally in zip(rules, tallies, strict=True)]

    def _remember(self, rules: Sequence[Rule], found: Sequence[Standing]) -> None:
        for rule, place in zip(rules, found, strict=True):
            if not place.remaining:
                with self._lock:
                    self._over[rule.name] = (self._monotonic() + place.wait, place)

    def _pause(self, error: StoreError) -> None:
        now = self._monotonic()
        self._paused_until = now + _PAUSE
        if now >= self._silent_until:
            self._silent_until = now + _SAID_EVERY
            _log.warning("requests are not counted and pass unlimited", code=error.code)


def _until(_name: str, entry: tuple[float, Standing], _now: float) -> float:
    return entry[0]
