"""The guide to the HTTP API knows every error that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas import errors
from service.errors import _TYPES, fault_of

GUIDE = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")


REFUSALS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RequestError)
]
"""Those of every address; what single ones add is in their own guides."""


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_error_code_is_explained(kind: type[errors.RequestError]) -> None:
    row = rf"^\| `{kind.code}` \| {kind.http_status} \| .+ \|$"
    assert re.search(row, GUIDE, re.MULTILINE)


def told_stores() -> list[str]:
    """Codes of what stores raise, where a client is told more than that something is wrong."""
    faults = [fault_of(kind("")) for kind in errors.StoreError.__subclasses__()]
    return [fault.code for fault in faults if fault.status == 503]


@pytest.mark.parametrize("code", told_stores())
def test_error_of_a_store_is_explained(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| 503 \| .+ \|$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("status", _TYPES)
def test_type_of_error_is_explained(status: int) -> None:
    assert re.search(rf"^\| `{_TYPES[status]}` \| .*\b{status}\b", GUIDE, re.MULTILINE)
