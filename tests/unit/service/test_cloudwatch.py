"""Lines in CloudWatch's embedded metric format have the shape that its specification asks for."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema
import pytest

from runners.logs import configure_logs
from service.observe.cloudwatch import CloudWatch
from service.observe.operations import Measured, Spent

AT = datetime(2026, 11, 21, tzinfo=UTC)
MEASURED = Measured(
    "enrichment.submit", 0.25, 1200, 300, Spent(3, 0.01), {"s3": Spent(1, 0.02)}, "conflict"
)

SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 30},
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "required": ["Name"],
                                    "properties": {"Unit": {"enum": ["Seconds", "Bytes", "Count"]}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
"""The part of Amazon's schema that we make use of."""


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    configure_logs("INFO", "ERROR", "json")
    CloudWatch("Lethe", lambda: AT)(MEASURED)
    configure_logs()
    found: dict[str, object] = json.loads(capsys.readouterr().err)
    return found


def test_the_line_is_of_the_format(line: dict[str, object]) -> None:
    jsonschema.validate(line, SCHEMA)


def test_all_that_is_named_is_there(line: dict[str, object]) -> None:
    (directive,) = line["_aws"]["CloudWatchMetrics"]  # type: ignore[index]
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert all(isinstance(line[name], int | float) for name in names)
    assert [line[name] for name in directive["Dimensions"][0]] == ["enrichment.submit"]


def test_the_time_is_in_milliseconds(line: dict[str, object]) -> None:
    assert line["_aws"]["Timestamp"] == int(AT.timestamp() * 1000)  # type: ignore[index]


def test_an_operation_that_failed_counts_as_an_error(line: dict[str, object]) -> None:
    assert line["Errors"] == 1
