"""Every setting is in a table of some guide, with the default that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from config.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
TOLD = Settings.model_fields.keys() - {"env", "processors"}
"""All but the name of the file, and processors, whose guide has a test of its own."""


def settings(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Names and defaults of all settings, sections taken apart."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{path}{name}.")
        else:
            yield path + name, field.get_default(call_default_factory=False)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Headers and rows."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *rows = table.splitlines()
        yield cells(head), [cells(row) for row in rows]


def whole(name: str) -> str:
    """Of a table whose names are the user's, that of the table."""
    return name.removesuffix(".NAME")


def shown_defaults() -> Iterator[tuple[str, str]]:
    """What tables say of settings. A row may hold several, their defaults apart by commas."""
    for doc in sorted(DOCS.glob("*.md")):
        for head, rows in tables(doc.read_text("utf-8")):
            if head[0] == "setting" and "default" in head:
                for row in rows:
                    names = [whole(name) for name in re.findall(r"`([\w.]+)`", row[0])]
                    told = row[head.index("default")].split(", ")
                    yield from zip(names, told + [""] * len(names), strict=False)


SHOWN = [*shown_defaults()]
"""Of a setting that is in two guides, both."""

NAMES = {name for name, _ in SHOWN}
ALL = [(name, default) for name, default in settings(Settings) if name.split(".")[0] in TOLD]
NUMBERS = [(name, default) for name, default in ALL if type(default) in {int, float}]


@pytest.mark.parametrize("name", [name for name, _ in ALL])
def test_setting_is_in_a_table(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize(("name", "default"), NUMBERS)
def test_default_of_the_table_is_the_programs(name: str, default: float) -> None:
    said = [re.match(r"[\d.]+", told) for shown, told in SHOWN if shown == name]
    assert said
    assert all(one is not None and float(one[0]) == default for one in said)


def test_table_has_no_setting_that_is_not_there() -> None:
    there = {name for name, _ in settings(Settings)}
    assert {name for name in NAMES if name.split(".")[0] in TOLD} <= there
