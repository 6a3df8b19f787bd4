"""gunicorn's settings, from ours. Read by gunicorn as ``python:service.gunicorn_settings``."""

from __future__ import annotations

from typing import Any

from config.settings import load_settings
from runners.logs import configure_logs
from service import background

_JOIN_SECONDS = 5.0

_settings = load_settings()
_service = _settings.service
configure_logs(_settings.log_level)

worker_class = "service.worker.Worker"
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


def worker_exit(server: Any, worker: Any) -> None:
    """Have a worker's threads end what they are at."""
    del server
    app = getattr(worker, "wsgi", None)
    if app is not None:
        background.join(app.extensions["lethe"].threads, _JOIN_SECONDS)
