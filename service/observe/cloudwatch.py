"""Metrics for CloudWatch without an agent: log lines in the embedded metric format.

CloudWatch Logs makes metrics of what such a line says. See
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from service.observe.operations import Measured

_log = structlog.get_logger()

_UNITS = {
    "Duration": "Seconds",
    "Errors": "Count",
    "RequestSize": "Bytes",
    "ResponseSize": "Bytes",
    "DatabaseCalls": "Count",
    "DatabaseTime": "Seconds",
    "ExternalCalls": "Count",
    "ExternalTime": "Seconds",
}


class CloudWatch:
    """The sink that writes a line an operation, with the operation's name as the one dimension."""

    def __init__(self, namespace: str, now: Callable[[], datetime]) -> None:
        self._namespace = namespace
        self._now = now

    def __call__(self, measured: Measured) -> None:
        _log.info("operation", **embedded(measured, self._namespace, self._now()))


def embedded(measured: Measured, namespace: str, at: datetime) -> dict[str, Any]:
    """The members of the line's JSON object."""
    metrics = [{"Name": name, "Unit": unit} for name, unit in _UNITS.items()]
    return {
        "_aws": {
            "Timestamp": int(at.timestamp() * 1000),
            "CloudWatchMetrics": [
                {"Namespace": namespace, "Dimensions": [["Operation"]], "Metrics": metrics}
            ],
        },
        "Operation": measured.name,
        **_values(measured),
    }


def _values(measured: Measured) -> dict[str, float]:
    external = measured.external.values()
    return {
        "Duration": measured.seconds,
        "Errors": int(measured.error is not None),
        "RequestSize": measured.request_bytes,
        "ResponseSize": measured.response_bytes,
        "DatabaseCalls": measured.database.calls,
        "DatabaseTime": measured.database.seconds,
        "ExternalCalls": sum(spent.calls for spent in external),
        "ExternalTime": sum(spent.seconds for spent in external),
    }
