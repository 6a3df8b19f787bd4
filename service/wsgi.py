"""What gunicorn serves: ``service.wsgi:application()``, called in each worker process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from flask import Flask

from config.settings import Settings, load_settings
from schemas.errors import StoreUnavailable
from service import background
from service.app import create_app
from service.bootstrap import Wiring, wire
from service.openapi import Api

_TRIES = 20

_log = structlog.get_logger()


@dataclass(frozen=True)
class Process:
    """What gunicorn's worker and hooks need of the application."""

    closing: threading.Event
    threads: Sequence[threading.Thread]
    pause_seconds: int
    send_spans: Callable[[], None]


def application() -> Flask:
    """The application, warm: built, connected, and with its threads running."""
    settings = load_settings()
    wiring = wire_patiently(settings, wire, time.sleep)
    app = create_app(wiring)
    _warm_up(app, wiring)
    app.extensions["lethe"] = Process(
        wiring.closing,
        background.start(wiring),
        settings.service.pause_seconds,
        send_spans=wiring.observer.tracer.close,
    )
    return app


def wire_patiently(
    settings: Settings, build: Callable[[Settings], Wiring], sleep: Callable[[float], None]
) -> Wiring:
    """Build everything, and wait for a database that does not answer.

    A worker that takes the place of another one would end the whole service if it failed here;
    leaving by ``SystemExit``, it is replaced in its turn.
    """
    for _ in range(_TRIES):
        try:
            return build(settings)
        except StoreUnavailable as error:
            _log.warning("a worker waits for the database", reason=error.message)
            sleep(1.0)
    raise SystemExit(1)


def _warm_up(app: Api, wiring: Wiring) -> None:
    """Have the first request find a connection open, and the document made."""
    wiring.state.leases.current("readyz")
    assert app.field_names
