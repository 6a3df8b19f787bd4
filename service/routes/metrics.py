"""``/metrics``: what Prometheus scrapes, for whoever may read it."""

from __future__ import annotations

from ipaddress import ip_address

from flask import Blueprint, Response, g, request

from config.service import MetricsAccess
from schemas.access import Action, Resource
from schemas.errors import Forbidden
from service import context
from service.bootstrap import Wiring

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def blueprint(wiring: Wiring) -> Blueprint:
    """The route; it is no operation of the document, for its answer is not JSON."""
    routes = Blueprint("metrics", __name__)
    access = wiring.settings.service.observe.metrics
    exposition = wiring.observer.exposition

    @routes.get("/metrics")
    @context.public
    def metrics() -> Response:
        if access is MetricsAccess.LOOPBACK:
            _require_loopback()
        else:
            g.principal = wiring.authenticate(request)
            context.reach(Resource.METRICS, Action.READ)
        return Response(exposition.text(), content_type=exposition.content_type)

    return routes


def _require_loopback() -> None:
    """Only this machine may ask, and no proxy on it, which asks for anybody."""
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    if is_forwarded or not _is_loopback(request.remote_addr):
        raise Forbidden("metrics are shown to this machine only")


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False
