"""Logs go to what is standard error when a line is written."""

from __future__ import annotations

import io
import json
import sys

import pytest
import structlog

from runners.logs import configure_logs


def test_a_line_goes_to_the_standard_error_of_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    configure_logs()
    before.close()
    monkeypatch.setattr(sys, "stderr", now)
    structlog.get_logger().info("delivered", files=3)
    line = json.loads(now.getvalue())
    assert (line["event"], line["files"]) == ("delivered", 3)
