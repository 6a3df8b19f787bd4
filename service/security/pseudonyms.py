"""Names that stand for what must not be written down, such as an address of a client."""

from __future__ import annotations

import hmac

from stores.parameters import ParameterStore, scrub_key


class Pseudonyms:
    """HMAC-SHA256 by a key that is derived from the scrubbing key: alike in every process.

    Without the key nobody can find an address again by trying all there are.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"lethe pseudonyms", "sha256")

    @staticmethod
    def of_parameters(parameters: ParameterStore) -> Pseudonyms:
        """By the parameter ``scrub-key``. Raises ``UsageError`` if it is missing or too short."""
        return Pseudonyms(scrub_key(parameters))

    def of(self, *parts: str | bytes) -> str:
        """32 hexadecimal digits for these parts. ``("ab", "c")`` is not ``("a", "bc")``."""
        mac = hmac.new(self._key, digestmod="sha256")
        for part in parts:
            content = part.encode() if isinstance(part, str) else part
            mac.update(len(content).to_bytes(8, "big") + content)
        return mac.hexdigest()[:32]
