"""Processors, built from the settings. Nobody is called, and no secret is read yet."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import timedelta

from config.dsr import ProcessorSection
from schemas.errors import UsageError
from stores.parameters import ParameterStore
from stores.processors.client import ClientRules, ProcessorClient
from stores.processors.exchange import Exchange
from stores.processors.pace import Pace
from stores.processors.region import Manners, Region
from stores.processors.support import Supported
from stores.resilience.breaker import BreakerRules, CircuitBreaker
from stores.resilience.breaker_metrics import breaker_listener
from stores.streams.backoff import Clock, SystemClock

_WINDOW = 20
_OPEN_SECONDS = 5.0


def open_processors(
    sections: Mapping[str, ProcessorSection],
    parameters: ParameterStore,
    clock: Clock | None = None,
) -> dict[str, ProcessorClient]:
    """The processors by name, in the settings' order.

    Raises ``UsageError`` for an address, or a file of certificates, that cannot be used.
    """
    now = clock or SystemClock()
    return {name: open_processor(name, one, parameters, now) for name, one in sections.items()}


def open_processor(
    name: str, section: ProcessorSection, parameters: ParameterStore, clock: Clock
) -> ProcessorClient:
    """One processor. Raises ``UsageError``."""
    authorization = _authorization(section.credentials_parameter, parameters)
    regions = {
        region.name: Region(
            f"{name}, region {region.name}",
            Exchange(region.url, section.connections, section.timeout_seconds, section.ca_file),
            _manners(f"{name}-{region.name}", section, clock),
            authorization,
        )
        for region in section.regions
    }
    supported = Supported(
        name, section.dialect, frozenset(section.identities), frozenset(section.types)
    )
    rules = ClientRules(
        section.attempts, section.budget_seconds, timedelta(seconds=section.settled_after_seconds)
    )
    return ProcessorClient(name, section.dialect, regions, supported, rules, clock)


def _manners(label: str, section: ProcessorSection, clock: Clock) -> Manners:
    rules = BreakerRules(
        window=_WINDOW,
        minimum=_WINDOW // 4,
        slow_seconds=section.timeout_seconds * 0.8,
        open_seconds=_OPEN_SECONDS,
    )
    breaker = CircuitBreaker(rules, clock.monotonic, breaker_listener(f"processor-{label}"))
    return Manners(breaker, Pace(section.requests_per_minute, clock.monotonic), clock)


def _authorization(name: str | None, parameters: ParameterStore) -> Callable[[], str | None]:
    """The ``Authorization`` header (RFC 7617), from a parameter that may change meanwhile."""

    def header() -> str | None:
        if name is None:
            return None
        credentials = parameters.get(name)
        if ":" not in credentials:
            raise UsageError(f"the parameter {name!r} must hold KEY:SECRET")
        return "Basic " + base64.b64encode(credentials.encode()).decode()

    return header
