"""What the service is made of, built once a process from the settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Request

from config.settings import Settings
from dsr.answers import Signers
from dsr.callbacks import roots_of
from dsr.risk_model import open_model
from runners.runs import state_folder, state_of
from schemas.access import Principal
from service.idempotency import Idempotency
from service.limits.limiter import Limiter
from service.limits.policy import Policy, policy_of
from service.observe.dsr_gauges import DsrCollector
from service.observe.observer import Observer
from service.security.authenticate import build_authenticator
from service.security.pseudonyms import Pseudonyms
from service.security.tokens import Identity
from stores.audit_keys import audit_keys
from stores.objects import LocalObjectStore, ObjectStore, S3Settings, open_store
from stores.parameters import ParameterStore, open_parameters, scrub_key
from stores.state.service_port import Stores

if TYPE_CHECKING:
    from schemas.risk_model import RiskModel

Authenticator = Callable[[Request], Principal]
"""Says who makes a request. Raises ``NotAuthenticated``."""


@dataclass(frozen=True)
class Wiring:
    """The objects that routes and hooks are given; a test replaces those it wants to.

    ``files`` is where uploads and results are, ``clock`` gives UTC. ``closing`` is set when the
    process is asked to end: threads that wait should wait for it, too. ``identify`` says whom a
    token or an API key stands for, and raises ``NotAuthenticated``. ``model`` is what was learned
    of past data subject requests, if anything was.
    """

    settings: Settings
    state: Stores
    files: ObjectStore
    parameters: ParameterStore
    clock: Callable[[], datetime]
    authenticate: Authenticator
    identify: Callable[[str], Identity]
    limiter: Limiter
    policy: Policy
    idempotency: Idempotency
    observer: Observer
    closing: threading.Event = field(default_factory=threading.Event)
    model: RiskModel | None = None


def wire(settings: Settings) -> Wiring:
    """Build everything. Raises ``UsageError``, ``StoreUnavailable`` and ``StoreError``."""
    settings.service.require_keys()
    service = settings.service
    parameters = open_parameters(settings.parameters)
    check_keys(settings, parameters)
    model = open_model(settings.dsr.risk.model, S3Settings.of(settings.s3))
    pseudonyms = Pseudonyms.of_parameters(parameters)
    state = state_of(settings)
    requests = DsrCollector(state.dsr, settings.dsr.at_risk_days, utc_now, time.monotonic)
    observer = Observer.of(service.observe, state.jobs, utc_now, [requests])
    authenticator = build_authenticator(service.auth, parameters, state.api_keys, utc_now)
    files = file_store(settings)
    _keep_to_ourselves(files)
    parameters.tell_of_lookups(observer.metrics.cache_listener("parameters"))
    return Wiring(
        settings=settings,
        state=state,
        files=files,
        parameters=parameters,
        clock=utc_now,
        authenticate=authenticator,
        identify=authenticator.identify,
        limiter=Limiter(state.counters, utc_now, time.monotonic, observer.metrics.count_limit),
        policy=policy_of(service.limits, pseudonyms),
        idempotency=Idempotency(state.idempotency, pseudonyms, service.idempotency),
        observer=observer,
        model=model,
    )


def check_keys(settings: Settings, parameters: ParameterStore) -> None:
    """Raise ``UsageError`` if answers could not be signed, or no callback could be believed.

    A service that could not is not to start. Nor is one whose lake has no keys.
    """
    Signers(settings.opendsr, parameters).current()
    if settings.callbacks.processors:
        roots_of(settings.callbacks)
    if settings.dsr.lake.uri is not None:
        scrub_key(parameters)
        audit_keys(parameters)


def utc_now() -> datetime:
    return datetime.now(UTC)


def file_store(settings: Settings) -> ObjectStore:
    """Where uploads and results are kept. Does no I/O. Raises ``UsageError``."""
    place = settings.service.files or str(state_folder(settings) / "files")
    return open_store(place, S3Settings.of(settings.s3))


def _keep_to_ourselves(files: ObjectStore) -> None:
    """A folder that is made for files full of contacts is its owner's alone."""
    if isinstance(files, LocalObjectStore):
        with suppress(OSError):  # ``/readyz`` says what is wrong with the folder.
            Path(files.uri).mkdir(mode=0o700, parents=True)
