"""``/healthz`` says that the process lives, ``/readyz`` that it can do its work."""

from __future__ import annotations

from typing import Literal

from flask import Response
from flask_openapi.blueprint import APIBlueprint

from service.answers import AnswerModel, answer
from service.bootstrap import Wiring
from service.context import public
from service.openapi import feature
from service.readiness import Check, Readiness
from stores.parameters import scrub_key


class Alive(AnswerModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class CheckShown(AnswerModel):
    """What one check found."""

    name: str
    status: Literal["ok", "failed", "late"]
    critical: bool


class Ready(AnswerModel):
    """Whether requests can be served, and what was looked at."""

    status: Literal["ok", "degraded", "unavailable", "closing"]
    checks: list[CheckShown]


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature("health", "Health", "Whether the service lives and works.", secured=False)
    readiness = Readiness(_checks(wiring), wiring.settings.service.check_seconds)

    @api.get("/healthz", responses={200: Alive})
    @public
    def is_alive() -> Response:
        """Say that this process answers requests."""
        return answer(Alive())

    @api.get("/readyz", responses={200: Ready, 503: Ready})
    @public
    def is_ready() -> Response:
        """Say whether what requests need is there: 503 if something critical is not."""
        found = [CheckShown(name=r.name, status=r.status, critical=r.critical) for r in readiness()]
        if wiring.closing.is_set():
            return answer(Ready(status="closing", checks=found), 503)
        if any(check.critical and check.status != "ok" for check in found):
            return answer(Ready(status="unavailable", checks=found), 503)
        well = all(check.status == "ok" for check in found)
        return answer(Ready(status="ok" if well else "degraded", checks=found))

    return api


def _checks(wiring: Wiring) -> list[Check]:
    """Parameters are cached: most requests do well for a while without the place they come from."""
    return [
        Check("database", lambda: wiring.state.leases.current("readyz")),
        Check("files", wiring.files.check_writable),
        Check("parameters", lambda: scrub_key(wiring.parameters), critical=False),
    ]
