"""The metrics of a process, as Prometheus counts them: seconds, bytes, ``_total``.

Labels take few values: a route is the template of its path, an operation a constant of the code, an
error a code or a type. With several worker processes, ``processes`` has them share a folder, and
``exposition`` adds them up. Breakers, which are in the processes of runs too, have their metrics in
``stores.resilience.breaker_metrics``.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.observe.operations import Measured, Severity

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Bounds of durations; 0.05 is one, so that it can be said which share was faster than 50 ms."""

CHECK_SECONDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0,
)  # fmt: skip
"""Bounds of checks of callbacks, which take less than a millisecond, or a fetch of certificates."""

BYTES = tuple(float(4**power) for power in range(4, 16))
"""Bounds of sizes, from 256 bytes to 1 GiB."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """All metrics of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._make_request_metrics()
        self._make_operation_metrics()
        self._make_resilience_metrics()
        self.sockets = self._gauge("lethe_sockets_open", "WebSockets that are open.")

    def _make_request_metrics(self) -> None:
        by_route = ["method", "route"]
        self.requests = self._counter(
            "lethe_http_requests_total", "Requests answered.", [*by_route, "status"]
        )
        self.request_seconds = self._histogram(
            "lethe_http_request_duration_seconds", "Time to answer a request.", by_route, SECONDS
        )
        self.request_bytes = self._histogram(
            "lethe_http_request_size_bytes", "Size of requests' bodies.", ["method"], BYTES
        )
        self.response_bytes = self._histogram(
            "lethe_http_response_size_bytes", "Size of answers' bodies.", ["method"], BYTES
        )
        self.in_progress = self._gauge(
            "lethe_http_requests_in_progress", "Requests that are being answered."
        )

    def _make_operation_metrics(self) -> None:
        by_name = ["operation"]
        self._operations = self._histogram(
            "lethe_operation_duration_seconds", "Time that an operation took.", by_name, SECONDS
        )
        self._errors = self._counter(
            "lethe_operation_errors_total", "Operations that failed, by code.", [*by_name, "error"]
        )
        self._slow = self._counter(
            "lethe_operation_slow_total", "Slow operations.", [*by_name, "severity"]
        )
        self._statements = self._counter(
            "lethe_operation_database_calls_total", "Calls to the database.", by_name
        )
        self._statement_seconds = self._counter(
            "lethe_operation_database_seconds_total", "Time in calls to the database.", by_name
        )
        self._calls = self._counter(
            "lethe_operation_external_calls_total", "Calls elsewhere.", [*by_name, "service"]
        )
        self._call_seconds = self._counter(
            "lethe_operation_external_seconds_total", "Time elsewhere.", [*by_name, "service"]
        )

    def _make_resilience_metrics(self) -> None:
        self._cache = self._counter(
            "lethe_cache_requests_total", "Look-ups in a cache.", ["cache", "result"]
        )
        self._limits = self._counter(
            "lethe_rate_limit_decisions_total", "What rate limits decided.", ["decision"]
        )
        self._callbacks = self._counter(
            "lethe_dsr_callbacks_total", "Callbacks of processors, by outcome.", ["outcome"]
        )
        self._checks = self._histogram(
            "lethe_dsr_certificate_check_duration_seconds",
            "Time to check a callback's domain, certificate and signature, by result.",
            ["result"],
            CHECK_SECONDS,
        )
        self._submission_seconds = self._histogram(
            "lethe_dsr_submission_duration_seconds",
            "Time to take a data subject request in, by type.",
            ["type"],
            SECONDS,
        )
        self._submissions = self._counter(
            "lethe_dsr_submissions_total",
            "Data subject requests submitted, by type and result.",
            ["type", "result"],
        )

    def count_operation(self, measured: Measured) -> None:
        """The sink of the operations monitor."""
        name = measured.name
        self._operations.labels(name).observe(measured.seconds)
        if measured.error is not None:
            self._errors.labels(name, measured.error).inc()
        self._statements.labels(name).inc(measured.database.calls)
        self._statement_seconds.labels(name).inc(measured.database.seconds)
        for service, spent in measured.external.items():
            self._calls.labels(name, service).inc(spent.calls)
            self._call_seconds.labels(name, service).inc(spent.seconds)

    def count_slow(self, operation: str, severity: Severity) -> None:
        self._slow.labels(operation, severity.value).inc()

    def count_limit(self, decision: str) -> None:
        """What a rate limit decided: ``allowed``, ``limited`` or ``unchecked``."""
        self._limits.labels(decision).inc()

    def count_callback(self, outcome: str) -> None:
        """What became of a processor's callback: an ``Outcome``, or the check that it failed."""
        self._callbacks.labels(outcome).inc()

    def count_check(self, result: str, seconds: float) -> None:
        """How the checks of a callback went: ``good``, or the one that it failed."""
        self._checks.labels(result).observe(seconds)

    def count_submission(self, kind: str, result: str, seconds: float) -> None:
        """What became of a data subject request: its status, or the code of an error."""
        self._submissions.labels(kind, result).inc()
        self._submission_seconds.labels(kind).observe(seconds)

    def cache_listener(self, cache: str) -> Callable[[str], None]:
        """What a cache of this name tells of its look-ups."""
        return lambda result: self._cache.labels(cache, result).inc()

    def _counter(self, name: str, about: str, labels: list[str]) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self.registry, multiprocess_mode="livesum")

    def _histogram(
        self, name: str, about: str, labels: list[str], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, about, labels, registry=self.registry, buckets=buckets)
