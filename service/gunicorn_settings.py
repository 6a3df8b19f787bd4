"""gunicorn's settings, from ours. Read by gunicorn as ``python:service.gunicorn_settings``."""

from __future__ import annotations

import signal
from typing import Any

from config.settings import load_settings
from runners.logs import configure_logs

_settings = load_settings()
_service = _settings.service
configure_logs(_settings.log_level)

worker_class = "gthread"
workers = _service.workers
threads = _service.threads
worker_connections = 4 * _service.threads
graceful_timeout = _service.shutdown_seconds
timeout = 60
keepalive = 15
control_socket_disable = True
forwarded_allow_ips = ""
proc_name = "lethe"
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """Have a worker that is asked to end tell its threads, before gunicorn waits for requests."""
    wiring = worker.wsgi.extensions["lethe"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        _set_before(number, wiring.closing.set)


def _set_before(number: signal.Signals, tell: Any) -> None:
    proceed: Any = signal.getsignal(number)

    def handle(*arguments: Any) -> None:
        tell()
        proceed(*arguments)

    signal.signal(number, handle)
