"""What can become of a call to a processor, other than its answer.

    LetheError
    └── ProcessorError
        ├── Refused           it does not take the request, and never will
        │   └── Unsupported   nor need it be asked: its settings say so
        ├── Gone              it has no request of this id (any more)
        ├── NotPending        it is too late to cancel
        ├── Duplicate         the same identities are in another request (``retryable``)
        ├── Throttled         it wants fewer calls (``retryable``)
        ├── Garbled           it answered what cannot be understood (``retryable``)
        ├── Misconfigured     it does not know us, or we are wrong there (``retryable``)
        └── Unreachable       it does not answer now (``retryable``)
            └── Unsettled     and may have the request that was sent to it

``retryable`` says that the same call may go well later. What a processor writes in an error is in
none of these: it may repeat the request.
"""

from __future__ import annotations

from schemas.errors import LetheError

_NO_MORE = 410


class ProcessorError(LetheError):
    """A call to a processor brought no answer that was hoped for."""

    code = "processor_error"
    http_status = 502


class Refused(ProcessorError):
    """The processor does not take this request; ``details["status"]`` is the HTTP status."""

    code = "processor_refused"


class Unsupported(Refused):
    """The processor's settings say that it does not take such a request: it was not asked."""

    code = "processor_unsupported"


class Gone(ProcessorError):
    """The processor has no request of this id (404), or not any more (410)."""

    code = "processor_gone"

    @property
    def had_it(self) -> bool:
        """Whether it says that it had the request: then it may have worked it off."""
        return self.details.get("status") == _NO_MORE


class NotPending(ProcessorError):
    """The processor has begun with the request, or ended it: it is too late to cancel."""

    code = "processor_not_pending"
    http_status = 409


class Duplicate(ProcessorError):
    """Another request of the same identities is in progress at the processor (409)."""

    code = "processor_duplicate"
    retryable = True


class Throttled(ProcessorError):
    """The processor wants fewer calls; ask again in ``retry_after`` seconds."""

    code = "processor_throttled"
    http_status = 503
    retryable = True

    @property
    def retry_after(self) -> float:
        return float(self.details["retry_after"])


class Garbled(ProcessorError):
    """The processor's answer cannot be understood, is too long, or is about another request."""

    code = "processor_garbled"
    retryable = True


class Misconfigured(ProcessorError):
    """Somebody has to look at the settings: credentials, address or certificate do not hold.

    It says nothing against the request, which can be sent when that is put right.
    """

    code = "processor_misconfigured"
    retryable = True


class Unreachable(ProcessorError):
    """The processor does not answer now, in none of its regions that may be asked."""

    code = "processor_unreachable"
    http_status = 503
    retryable = True


class Unsettled(Unreachable):
    """A region may have the request: it has to be asked before the request is sent again.

    ``region`` is its name, None if it may be any.
    """

    code = "processor_unsettled"

    @property
    def region(self) -> str | None:
        region = self.details.get("region")
        return None if region is None else str(region)
