"""Logs go to what is standard error when a line is written."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog

from runners.logs import configure_logs
from schemas.errors import UsageError


def test_a_line_goes_to_the_standard_error_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    configure_logs()
    before.close()
    monkeypatch.setattr(sys, "stderr", now)
    structlog.get_logger().info("delivered", files=3)
    line = json.loads(now.getvalue())
    assert (line["event"], line["files"]) == ("delivered", 3)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged since, as JSON."""
    configure_logs("INFO", "INFO", "json")
    with structlog.contextvars.bound_contextvars(correlation_id="c-1"):
        yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    configure_logs()


Lines = Callable[[], list[dict[str, Any]]]


def test_a_library_s_line_is_one_of_ours(lines: Lines) -> None:
    logging.getLogger("gunicorn.error").info("Booting worker with pid: %s", 7)
    (line,) = lines()
    assert (line["event"], line["logger"]) == ("Booting worker with pid: 7", "gunicorn.error")
    assert (line["level"], line["correlation_id"]) == ("info", "c-1")


def test_a_library_s_line_is_redacted(lines: Lines) -> None:
    logging.getLogger("urllib3").warning("no answer for %s", "ana@example.com")
    assert lines()[0]["event"] == "no answer for [email]"


def test_an_exception_is_shown_by_type_and_place_only(lines: Lines) -> None:
    try:
        raise ValueError("Ana Silva, 12 Main Street")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines()
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["places"][-1]
    assert "Ana" not in json.dumps(line)


def test_an_error_of_ours_is_shown_with_its_message(lines: Lines) -> None:
    structlog.get_logger().error("failed", exc_info=UsageError("choose another port"))
    assert lines()[0]["reason"] == "choose another port"


def test_a_line_that_cannot_be_formatted_shows_no_values(lines: Lines) -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 1, "%s %s", ("ana@example.com",), None)
    logging.getLogger().handlers[0].handle(record)
    assert lines() == []


def test_the_form_of_lines_is_a_setting(lines: Lines) -> None:
    configure_logs("INFO", "INFO", "console")
    structlog.get_logger().info("delivered")
    with pytest.raises(json.JSONDecodeError):
        lines()


@pytest.mark.parametrize(("error", "told"), [(ValueError, True), (grpc.RpcError, False)])
def test_a_thread_s_failure_is_told_unless_a_worker_has_merely_left(
    lines: Lines, error: type[Exception], told: bool
) -> None:
    failure = threading.ExceptHookArgs([error, error("Ana Silva"), None, None])
    threading.excepthook(failure)
    assert [line["event"] for line in lines()] == ["a thread failed"] * told
