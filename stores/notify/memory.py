"""What alerts have been told of, so that each is told once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class AlertMemory(Protocol):
    """Keys of alerts, and when each was remembered. Raises ``StoreError``."""

    def since(self, key: str) -> datetime | None:
        """When it was remembered; None if it is not."""

    def known(self, keys: Sequence[str]) -> frozenset[str]:
        """Those of these keys, 100 at most, that are remembered."""

    def remember(self, key: str, at: datetime) -> datetime:
        """Remember it, if it is not yet; the time that is kept."""

    def forget(self, key: str) -> None:
        """Remember it no more."""

    def prune(self, before: datetime) -> int:
        """Forget what was remembered before this time; how many."""
