"""The client of one OpenDSR processor: the port, over HTTP.

Questions are repeated while there is time and the budget of repeats allows; what changes something
goes by ``failover``, or is told apart by a question afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import quote

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from schemas.opendsr.answers import decode_discovery, decode_reports
from schemas.opendsr.model import (
    Acceptance,
    Dialect,
    Discovery,
    ProcessingStatus,
    StatusReport,
    SubjectRequest,
)
from schemas.opendsr.requests import encode_request
from stores.processors.budget import RetryBudget, TimeBudget
from stores.processors.errors import (
    Garbled,
    Gone,
    Misconfigured,
    NotPending,
    ProcessorError,
    Throttled,
    Unreachable,
    Unsupported,
)
from stores.processors.exchange import Reply
from stores.processors.failover import (
    Absent,
    Ask,
    Found,
    NotTaken,
    Outcome,
    Rules,
    Send,
    Step,
    Submission,
    Unknown,
    Waited,
)
from stores.processors.port import Accepted, Earlier
from stores.processors.region import Region
from stores.processors.support import Supported
from stores.processors.verdict import Undelivered
from stores.streams.backoff import Clock, pause

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0

_log = structlog.get_logger()

Value = TypeVar("Value")


@dataclass(frozen=True)
class ClientRules:
    """How often and how long is tried: rounds, and seconds.

    ``settled_after`` is the time from the beginning of a submission after which nothing of it is on
    its way any more.
    """

    attempts: int
    budget: float
    settled_after: timedelta


class ProcessorClient:
    """A ``Processor`` with these regions, in the order in which they are to be tried."""

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        regions: Mapping[str, Region],
        supported: Supported,
        rules: ClientRules,
        clock: Clock,
    ) -> None:
        self._name = name
        self._dialect = dialect
        self._regions = dict(regions)
        self._supported = supported
        self._rules = rules
        self._clock = clock
        self._repeats = RetryBudget()

    @property
    def name(self) -> str:
        return self._name

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    def check(self, request: SubjectRequest) -> None:
        self._supported.check(request)

    def submit(self, request: SubjectRequest, earlier: Earlier | None = None) -> Accepted:
        if earlier is None:
            self.check(request)
        body = encode_request(request, self._dialect)
        budget = TimeBudget(self._rules.budget, self._clock)
        rules = Rules(self._rules.attempts, self._rules.settled_after)
        submission = Submission(request.id, tuple(self._regions), rules, self._clock.now, earlier)
        steps = submission.converse()
        try:
            step = next(steps)
            while True:
                step = steps.send(self._take(step, request.id, body, budget))
        except StopIteration as end:
            accepted: Accepted = end.value
            return accepted

    def status(self, request_id: str, region: str) -> StatusReport:
        budget = TimeBudget(self._rules.budget, self._clock)
        asked = self._region(region)
        return self._question(lambda: self._ask(asked, request_id, budget).report, budget)

    def by_group(self, group_id: str, region: str) -> list[StatusReport]:
        if self._dialect is not Dialect.MPARTICLE_3:
            raise Unsupported(f"{self._name}: only mParticle knows groups of requests")
        path = f"/requests?group_id={quote(group_id, safe='')}"
        return self._get(region, path, decode_reports)

    def discovery(self, region: str) -> Discovery:
        return self._get(region, "/discovery", decode_discovery)

    def cancel(self, request_id: str, region: str) -> Acceptance:
        budget = TimeBudget(self._rules.budget, self._clock)
        asked = self._region(region)
        path = f"/requests/{request_id}"
        reply = self._question(lambda: self._call(asked, "DELETE", path, budget), budget)
        if reply.is_good or reply.status in {404, 410}:
            return asked.acceptance(reply, request_id)
        return self._cancelled_before(request_id, region)

    def close(self) -> None:
        for region in self._regions.values():
            region.close()

    def _take(self, step: Step, request_id: str, body: bytes, budget: TimeBudget) -> Outcome:
        """Do what the conversation wants next."""
        if isinstance(step, Ask):
            return self._look_up(step.region, request_id, budget)
        if isinstance(step, Send):
            return self._send(step.region, request_id, body, budget)
        seconds = pause(step.failures) if step.seconds is None else step.seconds
        return Waited(self._repeats.may_repeat() and budget.pause(seconds))

    def _send(self, region: str, request_id: str, body: bytes, budget: TimeBudget) -> Outcome:
        if budget.left <= 0:  # what is sent later would be on its way for longer than is reckoned
            return NotTaken(Unreachable(f"{self._name}: there is no time left for {region}"))
        self._repeats.called()
        outcome = self._regions[region].send(request_id, body, budget.left)
        if isinstance(outcome, NotTaken):
            _log.warning(
                "request not taken", processor=self._name, region=region, error=outcome.error.code
            )
        return outcome

    def _look_up(self, region: str, request_id: str, budget: TimeBudget) -> Outcome:
        """Whether the region has the request. A 410 does not say that it never had it."""
        asked = self._regions[region]
        try:
            return self._question(lambda: self._ask(asked, request_id, budget), budget)
        except Gone as error:
            return Unknown(error) if error.had_it else Absent()
        except ProcessorError as error:
            return Unknown(error)

    def _ask(self, region: Region, request_id: str, budget: TimeBudget) -> Found:
        reply = self._call(region, "GET", f"/requests/{request_id}", budget)
        return region.found(reply, request_id)

    def _get(self, region: str, path: str, decode: Callable[[bytes], Value]) -> Value:
        budget = TimeBudget(self._rules.budget, self._clock)
        asked = self._region(region)
        return self._question(
            lambda: asked.read(self._call(asked, "GET", path, budget), decode), budget
        )

    def _call(self, region: Region, method: str, path: str, budget: TimeBudget) -> Reply:
        try:
            return region.call(method, path, budget.left)
        except Undelivered as failure:
            raise failure.error from None

    def _question(self, ask: Callable[[], Value], budget: TimeBudget) -> Value:
        """What ``ask`` gives, which may be asked again. Raises the last ``ProcessorError``."""
        self._repeats.called()
        retrying = Retrying(
            retry=retry_if_exception_type((Throttled, Unreachable, Garbled)),
            stop=lambda state: self._is_enough(state, budget),
            wait=_wait,
            sleep=self._clock.sleep,
            reraise=True,
        )
        return retrying(ask)

    def _is_enough(self, state: RetryCallState, budget: TimeBudget) -> bool:
        is_last = state.attempt_number >= self._rules.attempts
        return is_last or state.upcoming_sleep >= budget.left or not self._repeats.may_repeat()

    def _cancelled_before(self, request_id: str, region: str) -> Acceptance:
        """A refusal to cancel may be that of a repeat: the first time it went well."""
        report = self.status(request_id, region)
        if report.status is not ProcessingStatus.CANCELLED or report.controller_id is None:
            raise NotPending(f"{self._name}: the request is not pending any more")
        return Acceptance(request_id, report.controller_id)

    def _region(self, name: str) -> Region:
        region = self._regions.get(name)
        if region is None:
            raise Misconfigured(
                f"{self._name}: the settings do not name region {name!r} any more: name it again"
            )
        return region


def _wait(state: RetryCallState) -> float:
    """As long as the processor wishes; else full jitter, to a bound that doubles."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, Throttled):
        return error.retry_after
    return wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE)(state)
