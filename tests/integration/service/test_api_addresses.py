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
    return {re.sub(r"\{\w+\}", "{}", address) for address in found}


def served(client: Client) -> set[str]:
    paths = json.loads(client(None).get("/openapi/openapi.json").data)["paths"]
    told = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    return {re.sub(r"\{\w+\}", "{}", address) for address in told}


def test_every_address_is_told_of_in_some_guide(client: Client) -> None:
    told = {address for doc in DOCS.glob("*.md") for address in addresses(doc.read_text("utf-8"))}
    assert served(client) - told == set()


def test_every_address_of_the_guide_is_served(client: Client) -> None:
    table = (DOCS / "api.md").read_text("utf-8").partition("## All addresses")[2]
    listed = addresses(table)
    assert listed > APART
    assert listed - APART <= served(client)
