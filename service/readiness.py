"""Checks of what the service needs, each bounded in time, whoever asks and however often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any, Literal

import structlog

_log = structlog.get_logger()


@dataclass(frozen=True)
class Check:
    """Something to look at: ``run`` raises if it is not well. Critical: no service without it."""

    name: str
    run: Callable[[], Any]
    critical: bool = True


@dataclass(frozen=True)
class CheckResult:
    """What a check found; ``late`` is one that did not answer in time."""

    name: str
    status: Literal["ok", "failed", "late"]
    critical: bool


class Readiness:
    """Runs checks side by side. One that hangs holds one thread, and is not begun again."""

    def __init__(self, checks: Sequence[Check], seconds: float) -> None:
        self._checks = checks
        self._seconds = seconds
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max(len(checks), 1), thread_name_prefix="readiness")
        self._under_way: dict[str, Future[Any]] = {}

    def __call__(self) -> list[CheckResult]:
        """What each check finds, or that it has not found anything in time."""
        begun = [(check, self._begin(check)) for check in self._checks]
        return [self._result(check, future) for check, future in begun]

    def _begin(self, check: Check) -> Future[Any]:
        """The check that is under way, or else a new one."""
        with self._lock:
            future = self._under_way.get(check.name)
            if future is None or future.done():
                future = self._under_way[check.name] = self._pool.submit(check.run)
            return future

    def _result(self, check: Check, future: Future[Any]) -> CheckResult:
        try:
            future.result(self._seconds)
        except Late:
            return CheckResult(check.name, "late", check.critical)
        except Exception as error:
            _log.warning("a readiness check failed", check=check.name, error=type(error).__name__)
            return CheckResult(check.name, "failed", check.critical)
        return CheckResult(check.name, "ok", check.critical)
