"""The guide ``docs/schemas.md`` says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from schemas.arrow import arrow_schema
from schemas.compatibility import AVRO_RULES, LETHE_RULES
from schemas.ddl import athena_ddl
from schemas.json_schema import json_schema
from schemas.registry import ATTRIBUTES, LAKE_FIELDS, build_record_type

GUIDE = (Path(__file__).parents[3] / "docs" / "schemas.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]
EXAMPLE = build_record_type(BLOCKS[0])


@pytest.mark.parametrize(
    "name", sorted({*ATTRIBUTES, *AVRO_RULES, *LETHE_RULES, *(f["name"] for f in LAKE_FIELDS)})
)
def test_guide_explains(name: str) -> None:
    assert f"`{name}`" in GUIDE


def test_guide_shows_the_ddl_of_its_example() -> None:
    assert athena_ddl(EXAMPLE, "s3://acme-lake/lethe") in GUIDE


def test_guide_shows_the_arrow_schema_of_its_example() -> None:
    assert arrow_schema(EXAMPLE).to_string(truncate_metadata=False) in GUIDE


def test_guide_shows_the_json_schema_of_its_example() -> None:
    assert json_schema(EXAMPLE)["properties"]["contact"] == BLOCKS[1]["contact"]
