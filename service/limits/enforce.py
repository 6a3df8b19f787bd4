"""Requests are counted and, beyond their limits, refused with 429.

    admit (by address, from memory) ──> who is it? ──> count (one round trip) ──> view

A request that is refused before it is counted, such as one without a token, is counted by its
address. Where the counters cannot be reached, requests pass (fail open).
"""

from __future__ import annotations

import math

from flask import Flask, Response, g, request

from schemas.access import Principal
from schemas.errors import RateLimited, UsageError
from service.bootstrap import Wiring
from service.limits.limiter import Limiter
from service.limits.policy import Policy, endpoint_name
from service.limits.sliding_window import Standing

EXEMPT = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is asked by machines that watch the service, and never counted."""


def admit_by_address(app: Flask, wiring: Wiring) -> None:
    """Turn away addresses that are over their limit. To be installed before authentication."""
    limiter, policy = wiring.limiter, wiring.policy

    @app.before_request
    def admit() -> None:
        if request.path not in EXEMPT:
            _refuse_if_over(limiter.remembered(policy.of_address(_address())))


def count_requests(app: Flask, wiring: Wiring) -> None:
    """Count all others, and refuse those beyond a limit. To be installed after authentication."""
    limiter, policy = wiring.limiter, wiring.policy

    @app.before_request
    def count() -> None:
        if request.path in EXEMPT:
            return
        count_as(limiter, policy, _endpoint())

    @app.after_request
    def tell(response: Response) -> Response:
        if "standing" not in g and request.path not in EXEMPT:
            g.standing = limiter.count(policy.of_address(_address()))
        if g.get("standing") is not None:
            response.headers.update(headers_of(g.standing))
        return response


def count_as(limiter: Limiter, policy: Policy, endpoint: str | None) -> None:
    """Count the request, or a part of it, as one to this endpoint. Raises ``RateLimited``."""
    rules = policy.of_request(_address(), _principal(), endpoint)
    _refuse_if_over(limiter.remembered(rules))
    g.standing = limiter.count(rules)
    _refuse_if_over(g.standing)


def headers_of(place: Standing) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers-06."""
    return {
        "RateLimit-Limit": str(place.rate.limit),
        "RateLimit-Policy": f"{place.rate.limit};w={place.rate.seconds}",
        "RateLimit-Remaining": str(place.remaining),
        "RateLimit-Reset": str(place.retry_after if place.is_over else math.ceil(place.reset)),
    }


def check_endpoints(app: Flask, policy: Policy) -> None:
    """Raises ``UsageError`` if a limit names an endpoint that there is not."""
    known = {
        endpoint_name(method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for name in sorted(policy.endpoints.keys() - known):
        raise UsageError(
            f"service.limits.endpoints: there is no {name!r}: write one as POST /v1/enrichment"
        )


def _refuse_if_over(place: Standing | None) -> None:
    if place is not None and place.is_over:
        g.standing = place
        limit, seconds, wait = place.rate.limit, place.rate.seconds, place.retry_after
        message = f"too many requests: {limit} are taken in {seconds} s; come back in {wait} s"
        raise RateLimited(message, retry_after=wait)


def _address() -> str:
    return request.remote_addr or ""


def _principal() -> Principal | None:
    found: Principal | None = g.get("principal")
    return found


def _endpoint() -> str | None:
    rule = request.url_rule
    return None if rule is None else endpoint_name(request.method, rule.rule)
