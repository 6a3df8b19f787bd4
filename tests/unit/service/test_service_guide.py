"""The guide to the service speaks of what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from config.settings import ServiceSection
from service.errors import _TYPES

GUIDE = (Path(__file__).parents[3] / "docs" / "service.md").read_text("utf-8")
SETTINGS = [
    name
    for name, field in ServiceSection.model_fields.items()
    if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel))
]


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_in_the_guide(name: str) -> None:
    assert f"`service.{name}`" in GUIDE


@pytest.mark.parametrize("status", _TYPES)
def test_type_of_error_is_in_the_guide(status: int) -> None:
    assert f"`{_TYPES[status]}`" in GUIDE
