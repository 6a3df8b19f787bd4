"""The guide to processors says what the program does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from config.dsr import ProcessorSection
from runners.mock_processor.settings import ProcessorSettings, Signing
from stores.processors.errors import ProcessorError

TESTS = Path(__file__).parents[2]
GUIDE = (TESTS.parent / "docs" / "processors.md").read_text("utf-8")
WRITTEN = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    part = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def kinds(kind: type[ProcessorError]) -> Iterator[type[ProcessorError]]:
    for one in kind.__subclasses__():
        if one.__module__.startswith("stores.processors"):
            yield one
            yield from kinds(one)


@pytest.mark.parametrize("row", rows("Conformance"), ids=lambda row: row[0])
def test_each_clause_is_held_by_a_test(row: list[str]) -> None:
    assert re.search(rf"^def {row[2].strip('`')}\(", WRITTEN, re.MULTILINE)


def test_settings_are_those_of_the_program() -> None:
    named = [row[0].strip("`") for row in rows("Settings")]
    assert sorted(named) == sorted(ProcessorSection.model_fields)


def test_settings_of_the_mock_are_those_of_the_program() -> None:
    named = {name for row in rows("The mock processor") for name in re.findall(r"`(\w+)`", row[1])}
    assert named == {field.name for field in fields(ProcessorSettings)}


@pytest.mark.parametrize("signing", [*Signing])
def test_ways_to_sign_are_named(signing: Signing) -> None:
    assert any(f"`{signing}`" in row[2] for row in rows("The mock processor"))


def test_codes_are_those_of_the_program() -> None:
    named = [row[0].strip("`") for row in rows("When it goes wrong")]
    assert sorted(named) == sorted(kind.code for kind in kinds(ProcessorError))
