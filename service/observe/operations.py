"""The operations monitor: how long each operation takes, and what it spends its time on.

    with operations.measure("enrichment.submit") as operation:
        with operation.external("uploads"):
            ...

Statements of SQL count for the operation under way without anybody's doing (``database``). One
operation within another counts for both. What was measured goes to sinks: metrics, the log of slow
operations, CloudWatch. Names are constants of the code; no value of a request is in anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from config.service import ObserveSection
from schemas.errors import LetheError
from stores.tracing import NoTracer, SpanKind, Tracer

_log = structlog.get_logger()

Clock = Callable[[], float]
"""Gives seconds that only grow."""


@dataclass
class Spent:
    """Calls, and the seconds that they took together."""

    calls: int = 0
    seconds: float = 0.0

    def add(self, calls: int, seconds: float) -> None:
        self.calls += calls
        self.seconds += seconds


@dataclass(frozen=True)
class Measured:
    """An operation that is over. ``error`` is the code or the type of what ended it, or None.

    Sizes are in bytes, of the bodies.
    """

    name: str
    seconds: float
    request_bytes: int
    response_bytes: int
    database: Spent
    external: Mapping[str, Spent]
    error: str | None


Sink = Callable[[Measured], None]


@dataclass
class Operation:
    """An operation under way; for one thread."""

    name: str
    clock: Clock
    tracer: Tracer
    parent: Operation | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    database: Spent = field(default_factory=Spent)
    error: str | None = None
    _external: dict[str, Spent] = field(default_factory=dict)

    @contextmanager
    def external(self, service: str) -> Iterator[None]:
        """Count what is done within as a call to another service, which is named so in the code."""
        began = self.clock()
        try:
            with self.tracer.span(service, SpanKind.CLIENT, peer__service=service):
                yield
        finally:
            self.add_external(service, 1, self.clock() - began)

    def add_statement(self, system: str, seconds: float) -> None:
        """Count a call to the database that is over now."""
        self.database.add(1, seconds)
        self.tracer.record(system, SpanKind.CLIENT, seconds, db__system__name=system)

    def add_external(self, service: str, calls: int, seconds: float) -> None:
        """Count calls to another service."""
        self._external.setdefault(service, Spent()).add(calls, seconds)

    def over(self, seconds: float) -> Measured:
        """What it came to, which then counts for the operation around it, too."""
        if self.parent is not None:
            self.parent.database.add(self.database.calls, self.database.seconds)
            for service, spent in self._external.items():
                self.parent.add_external(service, spent.calls, spent.seconds)
        return Measured(
            self.name,
            seconds,
            self.request_bytes,
            self.response_bytes,
            self.database,
            dict(self._external),
            self.error,
        )


_current: ContextVar[Operation | None] = ContextVar("lethe_operation", default=None)


def current() -> Operation | None:
    """The operation that this thread is at."""
    return _current.get()


class Operations:
    """Measures operations and tells the sinks."""

    def __init__(self, sinks: Sequence[Sink], clock: Clock, tracer: Tracer | None = None) -> None:
        self._sinks = sinks
        self._clock = clock
        self._tracer = tracer or NoTracer()

    @contextmanager
    def measure(self, name: str) -> Iterator[Operation]:
        """Measure what is done within; an exception ends it with an error, and goes on."""
        operation = Operation(name, self._clock, self._tracer, current())
        token = _current.set(operation)
        began = self._clock()
        try:
            yield operation
        except Exception as error:
            operation.error = error_type(error)
            raise
        finally:
            _current.reset(token)
            self._tell(operation.over(self._clock() - began))

    def _tell(self, measured: Measured) -> None:
        for sink in self._sinks:
            sink(measured)


def error_type(error: BaseException) -> str:
    """What metrics call an error: the code of one of ours, the type of any other."""
    return error.code if isinstance(error, LetheError) else type(error).__name__


class Severity(StrEnum):
    """How slow an operation was."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Thresholds:
    """From how many seconds on an operation is slow, and far too slow."""

    warning: float
    critical: float

    def judge(self, seconds: float) -> Severity | None:
        if seconds >= self.critical:
            return Severity.CRITICAL
        return Severity.WARNING if seconds >= self.warning else None


class SlowOperations:
    """The sink that logs slow operations; ``count`` is told of each by name and severity."""

    def __init__(self, settings: ObserveSection, count: Callable[[str, Severity], None]) -> None:
        self._default = Thresholds(settings.warning_seconds, settings.critical_seconds)
        self._own = {
            name: Thresholds(own.warning_seconds, own.critical_seconds)
            for name, own in settings.operations.items()
        }
        self._count = count

    def __call__(self, measured: Measured) -> None:
        severity = self._own.get(measured.name, self._default).judge(measured.seconds)
        if severity is None:
            return
        self._count(measured.name, severity)
        write = _log.error if severity is Severity.CRITICAL else _log.warning
        write("slow operation", severity=severity.value, **described(measured))


def described(measured: Measured) -> dict[str, str | int | float | None]:
    """The operation as fields of a log line."""
    external = measured.external.values()
    return {
        "operation": measured.name,
        "seconds": round(measured.seconds, 6),
        "request_bytes": measured.request_bytes,
        "response_bytes": measured.response_bytes,
        "database_calls": measured.database.calls,
        "database_seconds": round(measured.database.seconds, 6),
        "external_calls": sum(spent.calls for spent in external),
        "external_seconds": round(sum(spent.seconds for spent in external), 6),
        "error": measured.error,
    }
