"""What docs/webhooks.md says of settings, alerts and signatures is so."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from config.dsr import AlertsSection, DrainSection, OutboundSection, WebhooksSection
from schemas.alerts import AlertKind
from stores.webhooks.keys import WebhookKeys
from tests.dsr_memory import MadeKeys

GUIDE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("drain", DrainSection),
        ("alerts", AlertsSection),
        ("webhooks", WebhooksSection),
        ("outbound", OutboundSection),
    ],
)
def test_every_setting_is_explained(name: str, section: type[BaseModel]) -> None:
    for setting in section.model_fields:
        assert f"| `{name}.{setting}` |" in GUIDE


def test_every_alert_is_explained() -> None:
    for kind in AlertKind:
        assert f"| `{kind}` |" in GUIDE


def test_signature_is_checked_as_the_guide_says() -> None:
    namespace: dict[str, Any] = {}
    found = re.search(r"```python\n(.*?)```", GUIDE, re.S)
    assert found is not None
    exec(found[1], namespace)
    keys, now, body = WebhookKeys(MadeKeys()), int(time.time()), b'{"id":"dsr:a:1"}'
    headers = keys.headers("hook", (2, 1), now, body)
    given = (headers["X-Lethe-Timestamp"], headers["X-Lethe-Signature"])
    is_genuine = namespace["is_genuine"]
    assert all(is_genuine(keys.secret("hook", number), *given, body) for number in (1, 2))
    assert not is_genuine(keys.secret("hook", 3), *given, body)
    assert not is_genuine(keys.secret("other", 2), *given, body)
    assert not is_genuine(keys.secret("hook", 2), *given, body + b" ")
    assert not is_genuine(keys.secret("hook", 2), str(now - 900), given[1], body)
