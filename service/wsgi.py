"""What gunicorn serves: ``service.wsgi:application()``, called in each worker process."""

from __future__ import annotations

from flask import Flask

from config.settings import load_settings
from service import background
from service.app import create_app
from service.bootstrap import wire


def application() -> Flask:
    """The application, warm: built, connected, and with its threads running."""
    wiring = wire(load_settings())
    app = create_app(wiring)
    app.extensions["lethe"] = wiring
    _warm_up(app)
    background.start(wiring)
    return app


def _warm_up(app: Flask) -> None:
    """Have the first request find connections open and the document made."""
    with app.test_client() as client:
        for path in ("/readyz", "/openapi/openapi.json"):
            client.get(path)
