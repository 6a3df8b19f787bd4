"""The port of OpenDSR processors: whom requests are forwarded to.

A request reaches a processor once. What makes that hold is what the caller remembers:

    1. keep the time, durably; after a crash Earlier(that time) is what is known
    2. processor.submit(request, earlier), where ``earlier`` is what was known before step 1
    3. Accepted      keep region and controller_id; done
       Unsettled     keep the time and the error's region: next time Earlier(time, region)
       any other     nothing was taken: forget the time, next time there is no ``earlier``
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from schemas.opendsr.model import (
    Acceptance,
    Dialect,
    Discovery,
    ProcessingStatus,
    StatusReport,
    SubjectRequest,
)


@dataclass(frozen=True)
class Earlier:
    """A submission whose outcome is not known, begun ``at`` that time.

    ``region`` is the one region that may have the request; None if any may.
    """

    at: datetime
    region: str | None = None


@dataclass(frozen=True)
class Accepted:
    """The processor has the request, in this region.

    ``is_late`` says that it had it from an earlier submission; then ``received_at`` is not known,
    and ``status`` may be beyond pending.
    """

    region: str
    controller_id: str
    received_at: datetime | None
    expected_completion_at: datetime | None
    status: ProcessingStatus = ProcessingStatus.PENDING
    is_late: bool = False
    results_url: str | None = field(default=None, repr=False)
    results_count: int | None = None


class Processor(Protocol):
    """One processor. For any number of threads.

    ``region`` is where the request was accepted. Every method but ``check`` may raise any
    ``ProcessorError``; none takes much longer than the settings' budget.
    """

    @property
    def name(self) -> str:
        """As the settings name it."""

    @property
    def dialect(self) -> Dialect: ...

    def check(self, request: SubjectRequest) -> None:
        """Raises ``Unsupported`` if this request need not be sent. Asks nobody."""

    def submit(self, request: SubjectRequest, earlier: Earlier | None = None) -> Accepted:
        """Have the processor take the request, in the first region that does.

        A region that may have it is asked first. Raises ``Unsettled`` if one may have it and does
        not say; for all other errors no region has it.
        """

    def status(self, request_id: str, region: str) -> StatusReport:
        """Where the request is. Raises ``Gone``."""

    def by_group(self, group_id: str, region: str) -> list[StatusReport]:
        """Where all requests of a group are. Raises ``Unsupported`` but for mParticle."""

    def cancel(self, request_id: str, region: str) -> Acceptance:
        """Have the request cancelled. Raises ``Gone``, ``NotPending``."""

    def discovery(self, region: str) -> Discovery:
        """What the processor says that it does."""

    def close(self) -> None:
        """Let go of connections."""
