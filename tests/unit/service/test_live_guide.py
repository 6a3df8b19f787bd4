"""The guide to the WebSocket says what the code does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config.service import SocketsSection
from schemas.events import Event
from service.live import messages
from service.live.frames import CloseCode
from service.live.messages import State, Update, Watched
from service.live.opening import MOST_MISSED, NEWEST
from service.live.requests import _FIELDS, MOST_BYTES, parse

GUIDE = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text("utf-8")
JOB = State(Watched("job", "4f2a"), 7, {})
EVENT = Event(JOB.watched.topic, 8, "org-1", "ana", datetime(2026, 11, 21, tzinfo=UTC), {})
SENT = [
    messages.authenticated("ana", "session-1", None),
    messages.snapshot(JOB),
    messages.snapshot_of_all(Watched("job"), 1204, [JOB]),
    messages.resumed(JOB.watched, 8),
    Update(EVENT, 1205).text,
    messages.unsubscribed(JOB.watched),
    messages.pong(),
]
"""One of each kind."""

EXAMPLES = [
    line for block in re.findall(r"```json\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_messages_of_the_guide_are_taken(example: str) -> None:
    assert parse(example, "session-1")


def test_guide_explains_every_code_of_a_close() -> None:
    assert [code for code in CloseCode if str(int(code)) not in GUIDE] == []


def test_guide_names_every_setting() -> None:
    assert [
        name for name in SocketsSection.model_fields if f"`service.sockets.{name}`" not in GUIDE
    ] == []


@pytest.mark.parametrize(("kind", "action"), _FIELDS)
def test_guide_has_every_message_that_a_client_may_send(kind: str, action: str | None) -> None:
    shown = "none" if action is None else f"`{action}`"
    assert f"\n| `{kind}` | {shown} |" in GUIDE


@pytest.mark.parametrize("message", SENT)
def test_guide_has_every_message_that_a_client_is_sent(message: bytes) -> None:
    told = json.loads(message)
    action = told["data"].pop("action", "")
    table = GUIDE.partition("## What a client is sent")[2].partition("\n\n`state`")[0]
    rows = [row for row in table.splitlines() if row.startswith(f"| `{told['type']}` | ")]
    assert any(action in row and all(f"`{name}`" in row for name in told["data"]) for row in rows)


def test_guide_tells_the_limits() -> None:
    for limit in (f"{MOST_BYTES:,} characters", f"newest {NEWEST}", f"more than {MOST_MISSED}"):
        assert limit in GUIDE
