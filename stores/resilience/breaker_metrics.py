"""The state of circuit breakers as Prometheus metrics, beside those of the service.

The service has its workers, and the processes of runs that it starts, share a folder of metrics
(``service.observe.processes``). A process that is not the service's shares nothing, and does not
even import prometheus_client.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from stores.resilience.breaker import BreakerState

_SHARED = "PROMETHEUS_MULTIPROC_DIR"

_NUMBERS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


def breaker_listener(name: str) -> Callable[[BreakerState], None]:
    """What tells the service's metrics of each new state of a breaker that is named so.

    The folder is gone when the service was started anew while a run went on: then nobody is told.
    """
    if not Path(os.environ.get(_SHARED, "/dev/null")).is_dir():
        return lambda _: None
    state, changes = _metrics()
    state.labels(name).set(_NUMBERS[BreakerState.CLOSED])

    def changed(new: BreakerState) -> None:
        with suppress(OSError):
            state.labels(name).set(_NUMBERS[new])
            changes.labels(name, new.value).inc()

    return changed


@lru_cache(maxsize=1)
def _metrics() -> tuple[Any, Any]:
    from prometheus_client import CollectorRegistry, Counter, Gauge

    registry = CollectorRegistry()
    state = Gauge(
        "lethe_breaker_state",
        "The worst of the processes' breakers: 0 closed, 1 half open, 2 open.",
        ["breaker"],
        registry=registry,
        multiprocess_mode="livemax",
    )
    changes = Counter(
        "lethe_breaker_changes_total",
        "Changes of a breaker's state.",
        ["breaker", "state"],
        registry=registry,
    )
    return state, changes
