"""The guide to the HTTP API lists the addresses that the service answers at, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.integration.service.principals import Client

DOCS = Path(__file__).parents[3] / "docs"
APART = {"GET /metrics", "GET /openapi/", "WS /ws"}
"""What the OpenAPI document does not describe."""


def addresses(text: str) -> set[str]:
    found = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE|WS) /[^`?]*)", text)
    return {unnamed(address) for address in found}


def unnamed(address: str) -> str:
    """Without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", address)


def listed() -> set[str]:
    guide = (DOCS / "api.md").read_text("utf-8")
    return addresses(guide.partition("## All addresses")[2])


def served(client: Client) -> set[str]:
    paths = json.loads(client(None).get("/openapi/openapi.json").data)["paths"]
    told = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    return {unnamed(address) for address in told}


def test_every_address_is_in_the_guide(client: Client) -> None:
    assert served(client) - listed() == set()


def test_every_address_of_the_guide_is_served(client: Client) -> None:
    assert listed() > APART
    assert listed() - APART <= served(client)
