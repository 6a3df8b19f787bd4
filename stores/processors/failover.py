"""The conversation that has one processor of several regions take a request once. No I/O in here.

    earlier? ──Ask those that may have it──> found ────────────────────────────> Accepted (late)
       │            │ absent for good            │ cannot be known ────────────> Unsettled
       v            v
    Send region 1 ──> taken ───────────────────────────────────────────────────> Accepted
       │    │ └─lost, contested──> Ask it ──> found ───────────────────────────> Accepted (late)
       │    │                        └─absent, no answer──> Send it again, and no other region
       │    └─not taken──> Send region 2 ...                   └─to the end ───> Unsettled
       └─throttled──> Pause, Send it again

A region tells a repeat by its id, so that sending it the same again is safe; sending it to another
one is not, unless the first does not have it and will not get it any more. A region that answers
"absent" may yet get what is on its way, which is why that counts only a while after it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.opendsr.model import Acceptance, StatusReport
from stores.processors.errors import ProcessorError, Throttled, Unreachable, Unsettled
from stores.processors.port import Accepted, Earlier


@dataclass(frozen=True)
class Ask:
    """Ask the region whether it has the request: ``Found``, ``Absent`` or ``Unknown``."""

    region: str


@dataclass(frozen=True)
class Send:
    """Send it: ``Taken``, ``NotTaken``, ``Contested`` or ``Lost``."""

    region: str


@dataclass(frozen=True)
class Pause:
    """Wait for so long, or as long as is usual after so many failures: ``Waited``."""

    seconds: float | None = None
    failures: int = 1


@dataclass(frozen=True)
class Found:
    report: StatusReport
    controller_id: str


@dataclass(frozen=True)
class Absent:
    """It has no such request, now."""


@dataclass(frozen=True)
class Unknown:
    """It did not say."""

    error: ProcessorError


@dataclass(frozen=True)
class Taken:
    acceptance: Acceptance


@dataclass(frozen=True)
class NotTaken:
    """It does not have it by this, for sure."""

    error: ProcessorError


@dataclass(frozen=True)
class Contested:
    """It says no, perhaps because it has it."""

    error: ProcessorError


@dataclass(frozen=True)
class Lost:
    """It was sent, and what became of it is not known."""

    error: ProcessorError


@dataclass(frozen=True)
class Waited:
    """Whether there was time to wait."""

    done: bool


Step = Ask | Send | Pause
Outcome = Found | Absent | Unknown | Taken | NotTaken | Contested | Lost | Waited
Talk = Generator[Step, Outcome, Accepted | None]


@dataclass(frozen=True)
class Rules:
    """``attempts`` are rounds through the regions.

    ``settled_after`` is the time from the beginning of a submission after which nothing of it is on
    its way any more.
    """

    attempts: int
    settled_after: timedelta


class Submission:
    """One submission of one request. ``converse`` yields steps, is sent outcomes, and may raise.

    It raises ``Unsettled`` if a region may have the request; for all other errors none has it.
    """

    def __init__(
        self,
        request_id: str,
        regions: Sequence[str],
        rules: Rules,
        now: Callable[[], datetime],
        earlier: Earlier | None = None,
    ) -> None:
        self._request_id = request_id
        self._regions = tuple(regions)
        self._rules = rules
        self._now = now
        self._earlier = earlier
        self._in_doubt: str | None = None
        self._errors: list[ProcessorError] = []

    def converse(self) -> Generator[Step, Outcome, Accepted]:
        """All that has to be said, until a region has the request."""
        if self._earlier is not None:
            accepted = yield from self._settle(self._earlier)
            if accepted is not None:
                return accepted
        for round_ in range(self._rules.attempts):
            if round_ > 0 and not (yield from self._pause(round_)):
                break
            accepted = yield from self._go_round()
            if accepted is not None:
                return accepted
        raise self._failure()

    def _settle(self, earlier: Earlier) -> Talk:
        """Find out which regions may have it from before."""
        doubtful = []
        for region in self._asked_about(earlier):
            outcome = yield Ask(region)
            if isinstance(outcome, Found):
                return _late(region, outcome)
            if not (isinstance(outcome, Absent) and self._is_settled(earlier)):
                doubtful.append((region, outcome))
        if not doubtful:
            return None
        self._in_doubt = doubtful[0][0] if len(doubtful) == 1 else None
        if len(doubtful) > 1 or isinstance(doubtful[0][1], Unknown):
            raise self._unsettled()
        return None

    def _asked_about(self, earlier: Earlier) -> tuple[str, ...]:
        if earlier.region is None:
            return self._regions
        if earlier.region not in self._regions:
            raise Unsettled(
                f"request {self._request_id} may be in region {earlier.region!r}, which the "
                "settings do not name any more: name it again, or look there",
                region=earlier.region,
            )
        return (earlier.region,)

    def _is_settled(self, earlier: Earlier) -> bool:
        return self._now() - earlier.at >= self._rules.settled_after

    def _go_round(self) -> Talk:
        """Try each region that may be tried, until one has it, or may have it."""
        self._errors = []
        for region in self._regions if self._in_doubt is None else (self._in_doubt,):
            accepted = yield from self._try(region)
            if accepted is not None:
                return accepted
            if self._in_doubt is not None or isinstance(self._errors[-1], Throttled):
                break
        return None

    def _try(self, region: str) -> Talk:
        outcome = yield Send(region)
        match outcome:
            case Taken(acceptance):
                return _accepted(region, acceptance)
            case NotTaken(error):
                self._errors.append(error)
            case Contested(error):
                return (yield from self._ask_after_no(region, error))
            case Lost(error):
                return (yield from self._ask_after_loss(region, error))
        return None

    def _ask_after_no(self, region: str, error: ProcessorError) -> Talk:
        outcome = yield Ask(region)
        if isinstance(outcome, Found):
            return _late(region, outcome)
        if isinstance(outcome, Absent) and self._in_doubt is None:
            raise error
        self._in_doubt = region
        self._errors.append(error)
        return None

    def _ask_after_loss(self, region: str, error: ProcessorError) -> Talk:
        self._in_doubt = region
        self._errors.append(error)
        outcome = yield Ask(region)
        return _late(region, outcome) if isinstance(outcome, Found) else None

    def _pause(self, failures: int) -> Generator[Step, Outcome, bool]:
        """Whether it makes sense to go round again, and there was time to wait before."""
        transient = any(isinstance(error, Unreachable | Throttled) for error in self._errors)
        if self._in_doubt is None and not transient:
            return False
        return (yield Pause(self._wish(), failures)) == Waited(True)

    def _wish(self) -> float | None:
        last = self._errors[-1]
        return last.retry_after if isinstance(last, Throttled) else None

    def _failure(self) -> ProcessorError:
        """The error to end with: of several the one that time may mend."""
        if self._in_doubt is not None:
            return self._unsettled()
        transient = [e for e in self._errors if isinstance(e, Unreachable | Throttled)]
        return [*self._errors, *transient][-1]

    def _unsettled(self) -> Unsettled:
        where = "a region" if self._in_doubt is None else f"region {self._in_doubt!r}"
        return Unsettled(
            f"request {self._request_id} may have reached {where}, which does not say: it is asked "
            "again before the request is sent again",
            region=self._in_doubt,
        )


def _accepted(region: str, acceptance: Acceptance) -> Accepted:
    return Accepted(
        region=region,
        controller_id=acceptance.controller_id,
        received_at=acceptance.received_at,
        expected_completion_at=acceptance.expected_completion_at,
    )


def _late(region: str, found: Found) -> Accepted:
    report = found.report
    return Accepted(
        region=region,
        controller_id=found.controller_id,
        received_at=None,
        expected_completion_at=report.expected_completion_at,
        status=report.status,
        is_late=True,
        results_url=report.results_url,
        results_count=report.results_count,
    )
