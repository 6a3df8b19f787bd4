"""The guide to the HTTP API knows every error that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import RequestError
from service.errors import _TYPES

GUIDE = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")


def refusals(kind: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from refusals(inner)


@pytest.mark.parametrize("kind", [*refusals()], ids=lambda kind: kind.__name__)
def test_error_code_is_explained(kind: type[RequestError]) -> None:
    row = rf"^\| `{kind.code}` \| {kind.http_status} \| .+ \|$"
    assert re.search(row, GUIDE, re.MULTILINE)


@pytest.mark.parametrize("status", _TYPES)
def test_type_of_error_is_explained(status: int) -> None:
    assert re.search(rf"^\| `{_TYPES[status]}` \| .*\b{status}\b", GUIDE, re.MULTILINE)
