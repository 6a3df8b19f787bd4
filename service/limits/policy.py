"""Which limits a request falls under, and the names that it is counted by.

No name has personal data: addresses and people are there as pseudonyms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from config.service import LimitsSection
from schemas.access import Principal
from schemas.errors import UsageError
from schemas.requests import Counted
from service.limits.sliding_window import Rate
from service.security.pseudonyms import Pseudonyms

_VARIABLE = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")


@dataclass(frozen=True)
class Rule:
    """One limit that a request falls under."""

    name: str
    rate: Rate

    @property
    def counted(self) -> Counted:
        return Counted(self.name, self.rate.seconds)


@dataclass(frozen=True)
class Policy:
    """The limits; None is none. Those of ``endpoints`` hold for each principal, or address."""

    pseudonyms: Pseudonyms
    address: Rate | None
    principal: Rate | None
    everything: Rate | None
    endpoints: Mapping[str, Rate]

    def of_address(self, address: str) -> list[Rule]:
        """What anybody at this address falls under, before it is known who it is."""
        rules = [("all", self.everything), (f"ip:{self._address(address)}", self.address)]
        return [Rule(name, rate) for name, rate in rules if rate is not None]

    def of_request(
        self, address: str, principal: Principal | None, endpoint: str | None
    ) -> list[Rule]:
        """All that a request falls under. ``endpoint`` is one as ``endpoint_name`` gives it."""
        who = self._address(address) if principal is None else self._person(principal)
        rules = self.of_address(address)
        if principal is not None and self.principal is not None:
            rules.append(Rule(f"principal:{who}", self.principal))
        if endpoint is not None and endpoint in self.endpoints:
            rules.append(Rule(f"endpoint:{endpoint}:{who}", self.endpoints[endpoint]))
        return rules

    def _address(self, address: str) -> str:
        return self.pseudonyms.of("address", client_network(address))

    def _person(self, principal: Principal) -> str:
        return self.pseudonyms.of("principal", principal.organization, principal.subject)


def policy_of(limits: LimitsSection, pseudonyms: Pseudonyms) -> Policy:
    """As the settings say. Raises ``UsageError`` naming the setting that is wrong."""
    return Policy(
        pseudonyms=pseudonyms,
        address=_rate("address", limits.address),
        principal=_rate("principal", limits.principal),
        everything=_rate("everything", limits.everything),
        endpoints=_rates("endpoints", limits.endpoints),
    )


def _rates(setting: str, texts: Mapping[str, str]) -> dict[str, Rate]:
    found = {name: _rate(f"{setting}.{name}", text) for name, text in texts.items()}
    return {name: rate for name, rate in found.items() if rate is not None}


def _rate(setting: str, text: str) -> Rate | None:
    try:
        return None if text == "none" else Rate.parse(text)
    except UsageError as error:
        raise UsageError(f"service.limits.{setting}: {error.message}, or none") from None


def client_network(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 that one has of IPv6."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def endpoint_name(method: str, rule: str) -> str:
    """An endpoint as settings name it: ``GET /v1/enrichment/{id}``."""
    path = _VARIABLE.sub(r"{\1}", rule)
    return f"{method} {path}"
