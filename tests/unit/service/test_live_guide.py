"""The guide to the WebSocket says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.settings import SocketsSection
from service.live.frames import CloseCode
from service.live.opening import MOST_MISSED, NEWEST
from service.live.requests import MOST_BYTES, parse

GUIDE = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text("utf-8")
EXAMPLES = [
    line for block in re.findall(r"```json\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_messages_of_the_guide_are_taken(example: str) -> None:
    assert parse(example, "session-1")


def test_guide_explains_every_code_of_a_close() -> None:
    assert [code for code in CloseCode if str(int(code)) not in GUIDE] == []


def test_guide_names_every_setting() -> None:
    assert [name for name in SocketsSection.model_fields if f"`{name}`" not in GUIDE] == []


def test_guide_tells_the_limits() -> None:
    for limit in (f"{MOST_BYTES:,} characters", f"newest {NEWEST}", f"more than {MOST_MISSED}"):
        assert limit in GUIDE
