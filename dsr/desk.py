"""What requests are worked on with; made once a process, and handed to every function here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from config.dsr import DsrSection
from stores.parameters import ParameterStore
from stores.queues.opening import open_queue
from stores.queues.port import RequestQueue
from stores.state.dsr_port import AuditLog, DsrStore
from stores.state.service_port import RequestCounters
from stores.subjects import Subjects

if TYPE_CHECKING:
    from dsr.lake import LakeOffer
    from schemas.risk_model import RiskModel


class DsrState(Protocol):
    """What of the state requests need."""

    @property
    def dsr(self) -> DsrStore: ...

    @property
    def audit(self) -> AuditLog: ...

    @property
    def counters(self) -> RequestCounters: ...


@dataclass(frozen=True)
class Desk:
    """State, keys and rules. ``clock`` gives UTC. For any number of threads.

    ``queue`` is told of requests that are queued. ``model`` is what was learned of past requests;
    without one, rules alone judge. ``lake`` is what the lake can do for new requests, if anything.
    """

    section: DsrSection
    state: DsrState
    subjects: Subjects
    clock: Callable[[], datetime]
    queue: RequestQueue
    model: RiskModel | None = None
    lake: LakeOffer | None = None

    @property
    def requests(self) -> DsrStore:
        return self.state.dsr

    @property
    def audit(self) -> AuditLog:
        return self.state.audit

    @property
    def counters(self) -> RequestCounters:
        return self.state.counters


def open_desk(
    section: DsrSection,
    state: DsrState,
    parameters: ParameterStore,
    clock: Callable[[], datetime],
    model: RiskModel | None = None,
    lake: LakeOffer | None = None,
) -> Desk:
    """The desk of these settings. Does no I/O. Whoever submits gives ``lake``."""
    subjects = Subjects(parameters, section.plus_addressing)
    return Desk(section, state, subjects, clock, open_queue(section, state.dsr), model, lake)
