"""What belongs to the request that is being answered: its correlation id, and who makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from schemas.access import Action, Principal, Reach, Resource
from schemas.errors import NotAuthenticated
from service.bootstrap import Wiring

View = TypeVar("View", bound=Callable[..., Any])

_PUBLIC = "lethe_public"


def public(view: View) -> View:
    """Mark a view that anybody may ask; every other one is only for those who are known."""
    setattr(view, _PUBLIC, True)
    return view


def install(app: Flask, wiring: Wiring) -> None:
    """Have every request to a view that is not public say who makes it."""

    @app.before_request
    def identify() -> None:
        if _needs_principal():
            g.principal = wiring.authenticate(request)


def principal() -> Principal:
    """Who makes this request. Raises ``NotAuthenticated``."""
    found: Principal | None = g.get("principal")
    if found is None:
        raise NotAuthenticated("a token or an API key is needed")
    return found


def reach(resource: Resource, action: Action) -> Reach:
    """How far a right of theirs reaches. Raises ``NotAuthenticated`` and ``Forbidden``."""
    return principal().reach(resource, action)


def correlation_id() -> str:
    """The id that ties this request to its log lines and to those of other systems."""
    return str(g.correlation_id)


def traceparent() -> str | None:
    """The W3C trace context that the request came with, if it is well formed."""
    found: str | None = g.get("traceparent")
    return found


def _needs_principal() -> bool:
    """Nobody needs to be known to be told that there is nothing here, or what methods there are."""
    if request.endpoint is None or request.method == "OPTIONS":
        return False
    return not getattr(current_app.view_functions[request.endpoint], _PUBLIC, False)
