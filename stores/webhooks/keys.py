"""How what webhooks are sent is signed: HMAC-SHA-256 (RFC 2104) over ``TIMESTAMP.BODY``.

Each webhook has keys of its own, numbered from 1. They are derived from the parameter
``webhook-key``, so that no store holds them.

    X-Lethe-Timestamp: 1795251600
    X-Lethe-Signature: k2=<hexadecimal>,k1=<hexadecimal>      the newest key first
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from stores.parameters import ParameterStore, too_short

PARAMETER = "webhook-key"

_SHORTEST_KEY = 32


class WebhookKeys:
    """The keys of all webhooks. Does no I/O until it is used. For any number of threads.

    Every method may raise ``SecretUnusable`` for a parameter that is missing or too short.
    """

    def __init__(self, parameters: ParameterStore) -> None:
        self._parameters = parameters

    def secret(self, webhook_id: str, number: int) -> str:
        """The key of this number, as its owner is told it; its bytes in ASCII are what signs."""
        return (
            "whk_"
            + hmac.digest(self._master(), f"webhook/{webhook_id}/{number}".encode(), "sha256").hex()
        )

    def headers(
        self, webhook_id: str, numbers: Sequence[int], timestamp: int, body: bytes
    ) -> Mapping[str, str]:
        """The headers that prove who sends this body, and when; signed by each of these keys."""
        signatures = (
            f"k{number}={signature(self.secret(webhook_id, number), timestamp, body)}"
            for number in numbers
        )
        return {
            "X-Lethe-Timestamp": str(timestamp),
            "X-Lethe-Signature": ",".join(signatures),
        }

    def _master(self) -> bytes:
        key = self._parameters.get(PARAMETER).encode()
        if len(key) < _SHORTEST_KEY:
            raise too_short(PARAMETER, _SHORTEST_KEY)
        return key


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The signature of a body that is sent at this time, in hexadecimal."""
    return hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()
