"""When the drain's task looks again: at once, or when something has happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from dsr.forwarding import Outcome
from service.dispatch.drain_task import look
from service.rounds import Look

DONE = Counter({Outcome.FORWARDED: 1})


@dataclass
class OneRound:
    """A drain whose round goes as it is told."""

    done: Counter[Outcome] | None
    has_waited: bool = False

    def round(self) -> Counter[Outcome] | None:
        return self.done


@pytest.mark.parametrize(
    ("drain", "seen"),
    [
        (OneRound(None), Look(leads=False, is_idle=True)),
        (OneRound(Counter()), Look(leads=True, is_idle=True)),
        (OneRound(DONE), Look(leads=True, is_idle=False)),
        (OneRound(Counter(), has_waited=True), Look(leads=True, is_idle=False)),
    ],
)
def test_task_waits_for_news_unless_the_queue_has_waited(drain: Any, seen: Look) -> None:
    assert look(drain) == seen
