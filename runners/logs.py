"""Logs: one JSON or console line an event, on standard error.

Every line, those of libraries too, carries what is bound to structlog's context variables (such as
``correlation_id``), and passes ``runners.redaction`` last of all.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Any

import structlog

from runners.redaction import redact_event
from schemas.errors import LetheError


class LogFormat(StrEnum):
    """How lines are written; ``auto`` is for people at a terminal, and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


def configure_logs(
    level: str = "INFO", libraries: str = "ERROR", form: str = LogFormat.AUTO
) -> None:
    """Configure structlog, and have libraries' lines from their ``level`` on written by it.

    Threads that fail say so in a line, and not in one of their own making.
    """
    threading.excepthook = _log_thread_failure
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_failure,
        redact_event,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _renderer(form),
    ]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        # Looked up at each line: standard error may have been replaced since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(level=libraries, handlers=[_Routed()], force=True)


class _Routed(logging.Handler):
    """Writes what libraries log as an event of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        write = getattr(log, record.levelname.lower(), log.info)
        # What cannot be written has nowhere else to go: logging's own complaint shows values.
        with suppress(OSError, ValueError, TypeError):
            write(record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _add_failure(_logger: Any, _method: str, event: Any) -> Any:
    """Say what an exception is and where it came from.

    The message is left out, unless it is of a ``LetheError``: it may hold a record's values.
    """
    error = _error_of(event.pop("exc_info", None))
    if error is not None:
        event["error"] = type(error).__name__
        event["places"] = _places(error.__traceback__)
        if isinstance(error, LetheError):
            event["reason"] = error.message
    return event


def _error_of(given: Any) -> BaseException | None:
    """What ``exc_info`` speaks of: an exception, a triple of one, or True for the current one."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None


def _places(trace: TracebackType | None) -> list[str]:
    """Where it was raised and by whom, the innermost last; no more than tell a cause."""
    frames = traceback.extract_tb(trace)[-12:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Say what ended a thread; without the message, which may hold a record's values."""
    kind = failure.exc_type
    # A worker's streams break when it leaves at the end of a pipeline; one that dies is reported.
    level = logging.DEBUG if kind.__module__.startswith("grpc") else logging.WARNING
    structlog.get_logger().log(level, "a thread failed", error=kind.__name__)


def _renderer(form: str) -> structlog.typing.Processor:
    if form == LogFormat.CONSOLE or (form == LogFormat.AUTO and sys.stderr.isatty()):
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer()
