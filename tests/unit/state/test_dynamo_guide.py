"""The guide to DynamoDB says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from stores.state import dynamo
from stores.state.dynamo.jobs import MOST_AT_ONCE
from stores.state.dynamo.layout import EXPIRES, create_table_request

GUIDE = (Path(__file__).parents[3] / "docs" / "dynamodb.md").read_text("utf-8")


def test_the_guides_table_is_the_one_that_is_looked_for() -> None:
    shown = re.search(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert shown is not None
    assert json.loads(shown[1]) == create_table_request("lethe")


def test_the_guide_lets_the_right_attribute_expire() -> None:
    assert f"AttributeName={EXPIRES}" in GUIDE


def test_the_guide_shows_the_keys_that_the_package_does() -> None:
    keys = re.findall(r"`([a-z-]+#[A-Z#]+|unfinished|outbox)`", GUIDE.partition("## What is")[2])
    assert len(keys) > 10
    assert all(key in (dynamo.__doc__ or "") for key in keys)


def test_the_guide_says_how_many_jobs_are_added_at_once() -> None:
    assert f"**{MOST_AT_ONCE} jobs**" in GUIDE
