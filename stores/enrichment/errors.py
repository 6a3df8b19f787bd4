"""What can become of a call to the enrichment API, other than results.

    LetheError
    ├── OutputTaken           another run is making the output (``retryable``)     (exit 2)
    ├── ApiMisused            it does not take our calls at all: 401, 404, ...     (exit 1)
    └── ApiUnavailable        it was not to be had for too long (``retryable``)    (exit 1)
    CallFailed                one call brought no results; may be tried again
    ├── Unreachable           not the contacts' doing: no connection, 429, 503
    └── BadCall               may be the contacts' doing: 500, no answer in time, garbage
    BatchNotEnriched          a batch brought no results, and will not as a whole

The last two kinds never leave a run; ``LetheError`` ends it. No message holds a value of a contact.
"""

from __future__ import annotations

from schemas.contacts import Reason
from schemas.errors import LetheError, UsageError


class OutputTaken(UsageError):
    """Another run is making the output; it may end, or turn out to be dead."""

    code = "output_taken"
    http_status = 409
    retryable = True


class ApiMisused(LetheError):
    """The API answers that calls like ours are none that it takes."""

    code = "api_misused"


class ApiUnavailable(LetheError):
    """The API could not be reached, or took no calls, for longer than patience lasts."""

    code = "api_unavailable"
    http_status = 503
    retryable = True


class CallFailed(Exception):
    """One call brought no results."""


class Unreachable(CallFailed):
    """The API took no call; ``retry_after`` seconds may pass before another, if it said so.

    ``throttled`` says that it is well and only wants fewer calls.
    """

    def __init__(self, retry_after: float | None = None, throttled: bool = False) -> None:
        super().__init__(retry_after, throttled)
        self.retry_after = retry_after
        self.throttled = throttled


class BadCall(CallFailed):
    """The API failed over a call."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class BatchNotEnriched(Exception):
    """A batch brought no results however often it was tried; fewer contacts at once may."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
