"""One region of a processor: calls that are admitted and paced, and answers that are understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.errors import StoreError, UsageError
from schemas.opendsr.answers import decode_acceptance, decode_report
from schemas.opendsr.model import Acceptance
from schemas.opendsr.wire import Malformed
from stores.processors import verdict
from stores.processors.errors import Garbled
from stores.processors.exchange import Exchange, NoAnswer, Reply
from stores.processors.failover import Contested, Found, Lost, NotTaken, Taken
from stores.processors.pace import Pace
from stores.processors.verdict import Undelivered
from stores.resilience.breaker import BreakerOpen, CircuitBreaker, Permit
from stores.streams.backoff import Clock

SendOutcome = Taken | NotTaken | Contested | Lost
Value = TypeVar("Value")


@dataclass(frozen=True)
class Manners:
    """How calls to a region are held back."""

    breaker: CircuitBreaker
    pace: Pace
    clock: Clock


class Region:
    """A region; ``authorization`` gives the header that says who we are. For any thread.

    ``label`` names it in errors. ``patience`` is how many seconds a turn may be waited for.
    """

    def __init__(
        self,
        label: str,
        exchange: Exchange,
        manners: Manners,
        authorization: Callable[[], str | None],
    ) -> None:
        self._label = label
        self._exchange = exchange
        self._manners = manners
        self._authorization = authorization

    def send(self, request_id: str, body: bytes, patience: float) -> SendOutcome:
        """Have the request taken."""
        try:
            reply = self.call("POST", "/requests", patience, body)
        except Undelivered as failure:
            return (Lost if failure.may_have_arrived else NotTaken)(failure.error)
        if reply.status == 404:
            fault = "there is nothing at its address: look at its url"
            return NotTaken(verdict.misconfigured(self._label, fault))
        if not reply.is_good:
            return Contested(verdict.refusal(self._label, reply.status))
        try:
            return Taken(self.acceptance(reply, request_id))
        except Garbled as error:
            return Lost(error)

    def call(self, method: str, path: str, patience: float, body: bytes | None = None) -> Reply:
        """An answer, good or bad, that says something of the request. Raises ``Undelivered``."""
        authorization = self._credentials()
        permit = self._admitted()
        try:
            self._take_turn(patience)
        except BaseException:
            self._manners.breaker.ignored(permit)
            raise
        reply = self._exchanged(method, path, authorization, body, permit)
        return verdict.about_request(self._label, reply)

    def found(self, reply: Reply, request_id: str) -> Found:
        """The request as the region has it. Raises ``Garbled``."""
        report = self.read(reply, decode_report)
        if report.controller_id is None:
            raise self.garbled("controller_id: is missing")
        if report.request_id != request_id:
            raise self.garbled("it is about another request")
        return Found(report, report.controller_id)

    def acceptance(self, reply: Reply, request_id: str) -> Acceptance:
        """Its word that it takes this request, or its cancellation. Raises ``Garbled``."""
        acceptance = self.read(reply, decode_acceptance)
        if acceptance.request_id != request_id:
            raise self.garbled("it is about another request")
        return acceptance

    def read(self, reply: Reply, decode: Callable[[bytes], Value]) -> Value:
        """What a good answer says. Raises ``Garbled``, or what a bad one means."""
        if not reply.is_good:
            raise verdict.refusal(self._label, reply.status)
        try:
            return decode(reply.body)
        except Malformed as error:
            raise self.garbled(error.message) from None

    def garbled(self, fault: str) -> Garbled:
        return Garbled(f"{self._label}: the answer cannot be understood: {fault}")

    def close(self) -> None:
        self._exchange.close()

    def _credentials(self) -> str | None:
        try:
            return self._authorization()
        except (UsageError, StoreError) as error:
            raise verdict.no_credentials(self._label, error) from None

    def _admitted(self) -> Permit:
        try:
            return self._manners.breaker.admit()
        except BreakerOpen as closed:
            raise verdict.left_alone(self._label, closed.seconds) from None

    def _take_turn(self, patience: float) -> None:
        wait = self._manners.pace.reserve(patience)
        if wait > patience:
            raise Undelivered(verdict.throttled(self._label, wait))
        if wait > 0:
            self._manners.clock.sleep(wait)

    def _exchanged(
        self, method: str, path: str, authorization: str | None, body: bytes | None, permit: Permit
    ) -> Reply:
        began = self._manners.clock.monotonic()
        try:
            reply = self._exchange.call(method, path, authorization, body)
        except NoAnswer as failure:
            self._manners.breaker.failed(permit, self._manners.clock.monotonic() - began)
            raise verdict.no_answer(self._label, failure) from None
        except BaseException:
            self._manners.breaker.ignored(permit)
            raise
        self._note(reply, permit, self._manners.clock.monotonic() - began)
        return reply

    def _note(self, reply: Reply, permit: Permit, seconds: float) -> None:
        """Remember what an answer says of the region: of its health, and of its limit."""
        if reply.status >= 500:
            self._manners.breaker.failed(permit, seconds)
        else:
            self._manners.breaker.succeeded(permit, seconds)
        if reply.used_percent is not None and reply.is_good:
            self._manners.pace.note(reply.used_percent)
        if reply.status == verdict.BUSY:
            self._manners.pace.hold(reply.retry_after or verdict.USUAL_WAIT)
