"""The application, assembled in one function from what ``Wiring`` holds; nothing is global.

How a feature plugs in:

- **Routes**: ``blueprint(wiring)`` in ``service/routes/<feature>.py``, listed in ``FEATURES``. It
  begins with ``service.openapi.feature(...)``, and its views take flask-openapi's ``path``,
  ``query`` and ``body`` models (``service.answers``), call, and return ``answer(model, status)``.
- **Hooks** around every request: ``install(app, wiring)``, listed in ``HOOKS``. Functions before a
  request run in the order of that list, those after it in the reverse one.
- **Objects** they need: a field of ``service.bootstrap.Wiring``, made in ``wire``.
- **Threads** of a worker process: ``run(wiring)``, listed in ``service.background.TASKS``.
- **Who asks**: every view is for known principals only, unless it is ``@public``;
  ``context.reach(resource, action)`` gives what to hand to a repository, or raises.
- **Bodies** are JSON by a ``body`` model; a view that reads bytes is ``@bodies.streamed``.
- **Errors**: raise a ``RequestError`` of ``schemas.errors``; ``service.errors`` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask
from flask_openapi.blueprint import APIBlueprint
from werkzeug.routing import BaseConverter

from service import bodies, context, correlation, errors, flags, headers
from service.answers import JsonProvider
from service.bootstrap import Wiring
from service.limits import enforce
from service.live import sockets
from service.observe import requests
from service.openapi import Api
from service.routes import (
    docs,
    dsr,
    enrichment,
    graphql,
    health,
    metrics,
    opendsr_callbacks,
    opendsr_processor,
    runs,
    uploads,
    webhooks,
)

HOOKS: tuple[Callable[[Flask, Wiring], None], ...] = (
    correlation.install,
    requests.install,
    headers.install,
    errors.install,
    enforce.admit_by_address,
    flags.install,
    context.install,
    enforce.count_requests,
    bodies.install,
)

FEATURES: tuple[Callable[[Wiring], APIBlueprint | Blueprint], ...] = (
    health.blueprint,
    docs.blueprint,
    metrics.blueprint,
    runs.blueprint,
    enrichment.blueprint,
    uploads.blueprint,
    webhooks.blueprint,
    dsr.blueprint,
    graphql.blueprint,
    opendsr_callbacks.blueprint,
    opendsr_processor.blueprint,
    sockets.blueprint,
)


class IdConverter(BaseConverter):
    """An id of ours in a path, ``<id:run_id>``: what can be none is no address."""

    regex = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def create_app(wiring: Wiring) -> Api:
    """The application. Does no I/O. Raises ``UsageError`` for a limit of no endpoint."""
    app = Api()
    app.json = JsonProvider(app)
    app.url_map.converters["id"] = IdConverter
    # A redirect of the framework names the host that the request named, whoever wrote that.
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    for install in HOOKS:
        install(app, wiring)
    for blueprint in FEATURES:
        _register(app, blueprint(wiring))
    enforce.check_endpoints(app, wiring.policy)
    return app


def _register(app: Api, feature: APIBlueprint | Blueprint) -> None:
    if isinstance(feature, APIBlueprint):
        app.register_api(feature)
    else:
        app.register_blueprint(feature)
