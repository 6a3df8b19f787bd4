"""The guide to secrets names every parameter that Lethe asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.dsr import OpendsrSection
from stores.audit_keys import AUDIT_KEYS
from stores.parameters import SCRUB_KEY
from stores.subjects import SEAL_KEYS, SUBJECT_KEY
from stores.tokens import TOKEN_KEYS
from stores.webhooks.keys import PARAMETER as WEBHOOK_KEY

GUIDE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
ASKED_FOR = (
    SCRUB_KEY,
    TOKEN_KEYS,
    SUBJECT_KEY,
    SEAL_KEYS,
    AUDIT_KEYS,
    WEBHOOK_KEY,
    OpendsrSection().key_parameter,
)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_parameter_is_explained(name: str) -> None:
    assert re.search(rf"^\| `{name}` \| .+ \| .+ \|$", GUIDE, re.MULTILINE)
