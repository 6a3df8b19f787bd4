"""Headers that keep browsers from doing what nobody meant; and CORS, off unless it is set."""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from service.bootstrap import Wiring

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_UNLESS_SET = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_HSTS = "max-age=31536000; includeSubDomains"

_METHODS = "GET, HEAD, POST, PUT, DELETE"
_TAKEN = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Range, X-Api-Key, "
    "X-Correlation-ID, traceparent"
)
_SHOWN = (
    "Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, RateLimit-Limit, "
    "RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Correlation-ID"
)
_PREFLIGHT_KEPT = "600"


def install(app: Flask, wiring: Wiring) -> None:
    """Set the headers, and believe as many proxies as the settings say there are."""
    service = wiring.settings.service
    origins = frozenset(service.cors_origins)
    if service.trusted_proxies:
        count = service.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count)  # type: ignore[method-assign]

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_ALWAYS)
        for name, value in _UNLESS_SET.items():
            response.headers.setdefault(name, value)
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = _HSTS
        if origins:
            _allow_origin(response, origins)
        return response


def _allow_origin(response: Response, origins: Collection[str]) -> None:
    """CORS of the Fetch standard. Credentials are tokens, never cookies, so none are allowed."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin not in origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Access-Control-Expose-Headers"] = _SHOWN
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = _TAKEN
        response.headers["Access-Control-Max-Age"] = _PREFLIGHT_KEPT
