"""The guide to operating the service speaks of what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from config.service import ServiceSection
from service.observe.metrics import Metrics

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "service.md").read_text("utf-8")
SOURCES = [
    path
    for room in ("service", "stores", "runners", "config")
    for path in (ROOT / room).rglob("*.py")
]
CODE = "".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8")) for path in SOURCES)
"""With texts in one piece that stand on several lines."""

SETTINGS = [
    name
    for name, field in ServiceSection.model_fields.items()
    if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
]
RUNBOOK = GUIDE.partition("## When something is wrong")[2]


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_in_the_guide(name: str) -> None:
    assert f"`service.{name}`" in GUIDE


def test_metrics_to_be_watched_are_there() -> None:
    told = {name.removesuffix("_total") for name in re.findall(r"`(lethe_\w+)", GUIDE)}
    counted = {metric.name for metric in Metrics().registry.collect()}
    computed = {name for name in told - counted if f'"{name}"' in CODE}
    assert told
    assert told == computed | (told & counted)


def lines_of_the_log() -> list[str]:
    """What the runbook quotes, without what stands in for a value."""
    quoted = re.findall(r"`([a-z][a-z ,'.:\[\]_-]* [^`]*)`", RUNBOOK)
    return [text.split(" ...")[0].split("... ")[-1] for text in quoted]


@pytest.mark.parametrize("line", lines_of_the_log())
def test_message_of_the_runbook_is_one_of_the_program(line: str) -> None:
    assert line.partition(" 'lethe")[0] in CODE
