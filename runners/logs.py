"""Logs: one JSON or console line an event, on standard error."""

from __future__ import annotations

import logging
import sys
import threading

import structlog


def configure_logs(level: str = "INFO") -> None:
    """Configure structlog, and keep libraries and their threads from writing lines of their own."""
    threading.excepthook = _log_thread_failure
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _renderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        # Looked up at each line: standard error may have been replaced since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Say what ended a thread; without the message, which may hold a record's values."""
    structlog.get_logger().warning("a thread failed", error=failure.exc_type.__name__)


def _renderer() -> structlog.typing.Processor:
    if sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
