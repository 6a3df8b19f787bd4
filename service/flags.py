"""Feature flags: what an operator can switch off, by ``service.flags`` in the settings.

    [service.flags]
    uploads = false

A flag that is off closes its addresses with a 503, before anything is done. A name that is no flag
is an error at the start, so that a slip of the pen does not leave open what was to be closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Flask, request

from schemas.errors import Unavailable, UsageError
from service.bootstrap import Wiring


@dataclass(frozen=True)
class Flag:
    """Something that can be switched off: ``closes`` are its methods and templates of paths."""

    about: str
    closes: frozenset[tuple[str, str]]


FLAGS: Mapping[str, Flag] = {
    "enrichment": Flag(
        "Taking new enrichment requests; those that were taken go on.",
        frozenset({("POST", "/v1/enrichment"), ("POST", "/v1/enrichment:bulk")}),
    ),
    "bulk": Flag(
        "Taking several enrichment requests in one.",
        frozenset({("POST", "/v1/enrichment:bulk")}),
    ),
    "dsr": Flag(
        "Taking new data subject requests; those that were taken go on.",
        frozenset({("POST", "/v1/dsr"), ("POST", "/v1/dsr:bulk")}),
    ),
    "uploads": Flag("Taking new uploads.", frozenset({("POST", "/v1/uploads")})),
    "sockets": Flag("WebSockets; clients can still ask.", frozenset({("GET", "/ws")})),
    "docs": Flag(
        "The OpenAPI document and its page.",
        frozenset({("GET", "/openapi/openapi.json"), ("GET", "/openapi/")}),
    ),
}
"""Every flag. All are on unless the settings say otherwise."""


class Flags:
    """The flags as they are set."""

    def __init__(self, given: Mapping[str, bool]) -> None:
        """Raises ``UsageError`` for a name that is no flag."""
        unknown = sorted(given.keys() - FLAGS.keys())
        if unknown:
            known = ", ".join(sorted(FLAGS))
            raise UsageError(f"service.flags: {unknown[0]!r} is no flag: choose from {known}")
        self._off = frozenset(name for name, is_on in given.items() if not is_on)

    def enabled(self, name: str) -> bool:
        """Whether it is on. Raises ``KeyError`` for a name that is no flag: a mistake in Lethe."""
        return FLAGS[name] is not None and name not in self._off

    def closed_by(self, method: str, rule: str) -> str | None:
        """The flag that keeps this address closed, if one does."""
        asked = ("GET" if method == "HEAD" else method, rule)
        return next((name for name in sorted(self._off) if asked in FLAGS[name].closes), None)


def install(app: Flask, wiring: Wiring) -> None:
    """Close what is switched off. Raises ``UsageError`` for a name that is no flag."""
    flags = Flags(wiring.settings.service.flags)

    @app.before_request
    def refuse_what_is_off() -> None:
        rule = request.url_rule
        off = None if rule is None else flags.closed_by(request.method, rule.rule)
        if off is not None:
            raise Unavailable(f"{off} is switched off here for now", flag=off)
