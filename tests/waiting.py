"""Waiting for what comes sooner or later, as fast as the machine happens to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

PATIENCE = 300.0
"""Seconds after which nothing is waited for any more: only a fault takes so long."""

_EVERY = 0.05


def wait_until(
    reached: Callable[[], Value], what: object = "it", seconds: float = PATIENCE
) -> Value:
    """Wait for something to become true; its value."""
    end = time.monotonic() + seconds
    while not (value := reached()):
        assert time.monotonic() < end, f"{what} does not come"
        time.sleep(_EVERY)
    return value
