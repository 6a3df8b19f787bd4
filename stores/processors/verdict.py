"""What an answer, or none, says: of the region itself, or of the request. Pure.

408, 500, 502, 504, silence   nobody knows what became of it        Unreachable, perhaps arrived
503, no connection            it was not taken (RFC 9110, 15.6.4)   Unreachable
429                           it was not taken                      Throttled
401, 403, 405, 3xx, TLS       it was not taken, nor will be         Misconfigured
all else                      it is about the request
"""

from __future__ import annotations

from schemas.errors import LetheError, StoreUnavailable
from stores.processors.errors import (
    Duplicate,
    Gone,
    Misconfigured,
    ProcessorError,
    Refused,
    Throttled,
    Unreachable,
)
from stores.processors.exchange import NoAnswer, Reply

USUAL_WAIT = 60.0
"""Seconds to leave a processor alone that wants fewer calls and does not say for how long."""

BUSY = 429
_AWAY = 503
_NOT_US = {401, 403, 405, 407}


class Undelivered(Exception):
    """A call brought no answer. ``may_have_arrived`` says whether it may have done something."""

    def __init__(self, error: ProcessorError, may_have_arrived: bool = False) -> None:
        super().__init__(error, may_have_arrived)
        self.error = error
        self.may_have_arrived = may_have_arrived


def about_request(label: str, reply: Reply) -> Reply:
    """The reply, if it says something of the request. Raises ``Undelivered``."""
    status = reply.status
    if status == BUSY:
        raise Undelivered(throttled(label, reply.retry_after or USUAL_WAIT))
    if status >= 500 or status == 408:
        error = Unreachable(f"{label}: answers with status {status}", status=status)
        raise Undelivered(error, may_have_arrived=status != _AWAY)
    if status in _NOT_US:
        raise Undelivered(misconfigured(label, f"answers {status}: look at its credentials"))
    if status < 200 or 300 <= status < 400:
        raise Undelivered(misconfigured(label, f"answers {status}: look at its url"))
    return reply


def refusal(label: str, status: int) -> ProcessorError:
    """What an answer of 4xx says of a request."""
    if status in {404, 410}:
        return Gone(f"{label}: has no such request", status=status)
    if status == 409:
        return Duplicate(
            f"{label}: another request of the same identities is in progress", status=status
        )
    return Refused(f"{label}: refuses the request with status {status}", status=status)


def no_answer(label: str, failure: NoAnswer) -> Undelivered:
    """What it means that a call was not answered."""
    if failure.is_untrusted:
        return Undelivered(misconfigured(label, failure.kind))
    error = Unreachable(f"{label}: does not answer: {failure.kind}")
    return Undelivered(error, failure.may_have_arrived)


def no_credentials(label: str, error: LetheError) -> Undelivered:
    """What it means that the parameter store does not give the credentials."""
    if isinstance(error, StoreUnavailable):
        return Undelivered(Unreachable(f"{label}: {error.message}"))
    return Undelivered(misconfigured(label, error.message))


def left_alone(label: str, seconds: float) -> Undelivered:
    """The circuit breaker lets no call through for so long."""
    message = f"{label}: failed too often, and is left alone for a while"
    return Undelivered(Unreachable(message, retry_after=seconds))


def throttled(label: str, seconds: float) -> Throttled:
    return Throttled(f"{label}: wants fewer calls", retry_after=seconds)


def misconfigured(label: str, fault: str) -> Misconfigured:
    return Misconfigured(f"{label}: {fault}")
