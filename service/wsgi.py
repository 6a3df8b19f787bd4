"""What gunicorn serves: ``service.wsgi:application()``, called in each worker process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Flask

from config.settings import load_settings
from service import background
from service.app import create_app
from service.bootstrap import wire


@dataclass(frozen=True)
class Process:
    """What gunicorn's hooks need of a worker's application."""

    closing: threading.Event
    threads: Sequence[threading.Thread]


def application() -> Flask:
    """The application, warm: built, connected, and with its threads running."""
    wiring = wire(load_settings())
    app = create_app(wiring)
    _warm_up(app)
    app.extensions["lethe"] = Process(wiring.closing, background.start(wiring))
    return app


def _warm_up(app: Flask) -> None:
    """Have the first request find connections open and the document made."""
    with app.test_client() as client:
        for path in ("/readyz", "/openapi/openapi.json"):
            client.get(path)
