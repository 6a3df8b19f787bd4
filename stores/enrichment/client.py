"""The enrichment client: calls repeated with patience, none too many, and few while it is down.

What is the API's own trouble is waited for and never laid to a contact's charge: no connection,
429 and 503 are tried again for as long as patience lasts, and while the circuit breaker is open
nothing is sent but, now and then, a batch of no contacts, to see whether the API is well again.
What may be the contacts' doing is tried ``attempts`` times; after that, if the API answers a batch
of no contacts, the batch is given back.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from stores.enrichment.api import EnrichmentApi, Wire
from stores.enrichment.errors import (
    ApiUnavailable,
    BadCall,
    BatchNotEnriched,
    CallFailed,
    Unreachable,
)
from stores.resilience.breaker import BreakerOpen, BreakerRules, CircuitBreaker, Permit
from stores.resilience.breaker_metrics import breaker_listener
from stores.resilience.bucket import TokenBucket
from stores.streams.backoff import Clock

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
_BURST_SECONDS = 0.1


@dataclass(frozen=True)
class ApiSettings:
    """How the API is called. ``rate`` is calls a second, None for no limit.

    ``timeout`` is of a call and ``patience`` of a batch while the API cannot be had, in seconds.
    ``attempts`` are for a batch that the API fails over.
    """

    url: str
    concurrency: int = 32
    timeout: float = 10.0
    rate: float | None = None
    attempts: int = 3
    patience: float = 300.0
    first_pause: float = FIRST_PAUSE


@dataclass(frozen=True)
class ClientCounts:
    """Requests sent, and how many of them were repeats."""

    calls: int = 0
    retries: int = 0


class EnrichmentClient:
    """Calls the API for any number of threads. ``clock.sleep`` may raise, to end all waiting."""

    def __init__(self, settings: ApiSettings, api: EnrichmentApi, clock: Clock) -> None:
        self._settings = settings
        self._api = api
        self._clock = clock
        now = clock.monotonic
        rules = BreakerRules(slow_seconds=settings.timeout * 0.8)
        self._breaker = CircuitBreaker(rules, now, breaker_listener("enrichment"))
        self._bucket = _bucket(settings.rate, clock)
        self._lock = threading.Lock()
        self._calls = self._retries = 0
        self._pause_until = 0.0
        self._succeeded_at = now()

    @property
    def counts(self) -> ClientCounts:
        with self._lock:
            return ClientCounts(self._calls, self._retries)

    def enrich(self, contacts: Sequence[msgspec.Raw]) -> list[Wire]:
        """What the API says of these contacts: in any order, some perhaps missing.

        Raises ``BatchNotEnriched``; and ``ApiUnavailable`` or ``ApiMisused``, after which it makes
        no sense to go on.
        """
        began = self._clock.monotonic()
        patience = _Patience(self, began)
        retrying = Retrying(
            retry=retry_if_exception_type(CallFailed),
            stop=patience,
            wait=self._pause,
            sleep=self._clock.sleep,
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            return retrying(self._attempt, contacts, began)
        except CallFailed as error:
            if patience.blames_contacts and isinstance(error, BadCall):
                raise BatchNotEnriched(error.reason) from None
            raise self._unavailable() from None

    def is_out_of_patience(self, since: float) -> bool:
        """Whether no call has succeeded for too long, for one who began at ``since``."""
        waited = self._clock.monotonic() - max(since, self._succeeded_at)
        return waited > self._settings.patience

    def is_well(self) -> bool:
        """Whether the API answers a call that no contact can spoil."""
        self._count_call()
        try:
            self._api.call(())
        except BatchNotEnriched:
            return True
        except CallFailed:
            return False
        return True

    @property
    def attempts(self) -> int:
        return self._settings.attempts

    def _attempt(self, contacts: Sequence[msgspec.Raw], began: float) -> list[Wire]:
        permit = self._admitted(began)
        try:
            self._wait_for_turn()
        except BaseException:
            self._breaker.ignored(permit)
            raise
        return self._call(contacts, permit)

    def _admitted(self, began: float) -> Permit:
        """Wait until the breaker lets calls through; it may fall to this thread to find out."""
        while True:
            try:
                permit = self._breaker.admit()
            except BreakerOpen as closed:
                if self.is_out_of_patience(began):
                    raise self._unavailable() from None
                self._clock.sleep(closed.seconds)
                continue
            if not permit.trial:
                return permit
            self._probe(permit)

    def _probe(self, permit: Permit) -> None:
        """Try the breaker with a batch that no contact can spoil."""
        try:
            self._call((), permit)
        except (CallFailed, BatchNotEnriched):
            return

    def _call(self, contacts: Sequence[msgspec.Raw], permit: Permit) -> list[Wire]:
        began = self._clock.monotonic()
        self._count_call()
        try:
            results = self._api.call(contacts)
        except Unreachable as error:
            self._note(error, permit, began)
            raise
        except BadCall:
            self._breaker.failed(permit, self._clock.monotonic() - began)
            raise
        except BatchNotEnriched:
            self._breaker.succeeded(permit, self._clock.monotonic() - began)
            raise
        except BaseException:
            self._breaker.ignored(permit)
            raise
        now = self._clock.monotonic()
        self._breaker.succeeded(permit, now - began)
        if contacts:  # patience is with an API that does its work, not with one that only answers
            self._succeeded_at = now
        return results

    def _count_call(self) -> None:
        with self._lock:
            self._calls += 1

    def _note(self, error: Unreachable, permit: Permit, began: float) -> None:
        """Hold back all threads if the API says so; being throttled is no failure of it."""
        now = self._clock.monotonic()
        if error.retry_after is not None:
            with self._lock:
                self._pause_until = max(self._pause_until, now + error.retry_after)
        if error.throttled:
            self._breaker.succeeded(permit, 0.0)
        else:
            self._breaker.failed(permit, now - began)

    def _wait_for_turn(self) -> None:
        if self._bucket is not None and (seconds := self._bucket.reserve()) > 0:
            self._clock.sleep(seconds)
        while (seconds := self._pause_until - self._clock.monotonic()) > 0:
            if seconds > self._settings.patience:
                raise self._unavailable()
            # Spread, so that all who were told to wait do not come back together.
            self._clock.sleep(seconds + random.uniform(0, self._settings.first_pause))

    def _pause(self, state: RetryCallState) -> float:
        """Full jitter, from zero to a bound that doubles."""
        return wait_random_exponential(self._settings.first_pause, LONGEST_PAUSE)(state)

    def _count_retry(self, state: RetryCallState) -> None:
        del state
        with self._lock:
            self._retries += 1

    def _unavailable(self) -> ApiUnavailable:
        seconds = self._settings.patience
        return ApiUnavailable(
            f"the API takes no calls, and {seconds:g} s of patience do not suffice: when it is "
            "well again, go on with --resume"
        )


class _Patience:
    """When a batch is given up: after bad calls by their number, else by time.

    Contacts are blamed only while the API is well otherwise.
    """

    def __init__(self, client: EnrichmentClient, began: float) -> None:
        self._client = client
        self._began = began
        self._bad_calls = 0
        self.blames_contacts = False

    def __call__(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        self._bad_calls += isinstance(error, BadCall)
        if self._bad_calls >= self._client.attempts:
            self._bad_calls = 0
            self.blames_contacts = self._client.is_well()
        return self.blames_contacts or self._client.is_out_of_patience(self._began)


def _bucket(rate: float | None, clock: Clock) -> TokenBucket | None:
    if rate is None:
        return None
    return TokenBucket(rate, rate * _BURST_SECONDS, clock.monotonic)
