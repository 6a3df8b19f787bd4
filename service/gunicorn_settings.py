"""gunicorn's settings, from ours. Read by gunicorn as ``python:service.gunicorn_settings``."""

from __future__ import annotations

from typing import Any

from config.settings import load_settings
from runners.logs import configure_logs
from service.observe import processes

_JOIN_SECONDS = 5.0

_settings = load_settings()
_service = _settings.service
configure_logs(_settings.log_level, libraries="WARNING", form=_settings.log_format)
# Before anything imports the metrics, as all that knows of the application does.
processes.share()

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
logger_class = "service.observe.server_log.RoutedLogger"


def worker_exit(server: Any, worker: Any) -> None:
    """Have a worker's threads end what they are at, and send the spans that are left."""
    from service import background

    del server
    app = getattr(worker, "wsgi", None)
    if app is not None:
        background.join(app.extensions["lethe"].threads, _JOIN_SECONDS)
        app.extensions["lethe"].send_spans()


def child_exit(server: Any, worker: Any) -> None:
    """Have a worker's gauges end with it, however it ended."""
    del server
    processes.forget_worker(worker.pid)


def on_exit(server: Any) -> None:
    """Remove what the workers shared."""
    del server
    processes.end()
