"""What the service is made of, built once a process from the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, cast

from flask import Request

from config.settings import Settings
from runners.runs import state_folder, state_of
from schemas.access import Principal
from schemas.errors import NotAuthenticated
from stores.objects import ObjectStore, S3Settings, open_store
from stores.parameters import ParameterStore, open_parameters
from stores.state.port import State
from stores.state.service_port import ServiceState


class Stores(State, ServiceState, Protocol):
    """All aggregates: those of runs and schedules, and those of the service."""


Authenticator = Callable[[Request], Principal]
"""Says who makes a request. Raises ``NotAuthenticated``."""


@dataclass(frozen=True)
class Wiring:
    """The objects that routes and hooks are given; a test replaces those it wants to.

    ``files`` is where uploads and results are, ``clock`` gives UTC. ``closing`` is set when the
    process is asked to end: threads that wait should wait for it, too.
    """

    settings: Settings
    state: Stores
    files: ObjectStore
    parameters: ParameterStore
    clock: Callable[[], datetime]
    authenticate: Authenticator
    closing: threading.Event = field(default_factory=threading.Event)


def wire(settings: Settings) -> Wiring:
    """Build everything. Raises ``UsageError``, ``StoreUnavailable`` and ``StoreError``."""
    settings.service.require_keys()
    return Wiring(
        settings=settings,
        state=cast(Stores, state_of(settings)),
        files=file_store(settings),
        parameters=open_parameters(settings.parameters),
        clock=utc_now,
        authenticate=refuse,
    )


def utc_now() -> datetime:
    return datetime.now(UTC)


def file_store(settings: Settings) -> ObjectStore:
    """Where uploads and results are kept. Does no I/O. Raises ``UsageError``."""
    place = settings.service.files or str(state_folder(settings) / "files")
    return open_store(place, S3Settings.of(settings.s3))


def refuse(request: Request) -> Principal:
    """Let nobody in."""
    del request
    raise NotAuthenticated("a token or an API key is needed")
