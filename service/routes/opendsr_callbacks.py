"""Callbacks of processors: no token, but a signature. docs/callbacks.md says what is checked."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Response, request
from flask_openapi.blueprint import APIBlueprint

from dsr.callbacks import LARGEST, Receiver
from dsr.desk import open_desk
from dsr.signing import OPENDSR, OPENGDPR
from dsr.verification import CallbackRefused
from schemas.errors import NotAuthenticated
from schemas.opendsr.wire import Malformed
from service.bodies import raw_body, streamed
from service.bootstrap import Wiring
from service.context import public
from service.errors import ErrorBody
from service.openapi import feature
from stores.notify.opening import rules_of
from stores.outbound import Outbound

PATH = "/v1/dsr/callbacks/opendsr"
LEGACY_PATH = "/opengdpr_callbacks"

_REFUSED = "the callback is not signed by a processor that is believed here"

_log = structlog.get_logger()

_BODY: dict[str, Any] = {
    "description": "A callback of OpenDSR; its bytes are what is signed.",
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(
        "opendsr_callbacks",
        "OpenDSR callbacks",
        "What processors tell of requests; signed, without a token.",
        secured=False,
    )
    desk = open_desk(wiring.settings.dsr, wiring.state, wiring.parameters, wiring.clock)
    outbound = Outbound(rules_of(wiring.settings.outbound))
    metrics = wiring.observer.metrics
    receiver = Receiver(wiring.settings.callbacks, outbound, desk, metrics.count_check)
    count = metrics.count_callback

    def receive() -> Response:
        try:
            outcome = receiver.receive(_signature(), raw_body(LARGEST))
        except CallbackRefused as error:
            count(error.check)
            _log.warning("callback refused", check=error.check.value, cause=error.cause)
            raise NotAuthenticated(_REFUSED) from None
        except Malformed as error:
            count(error.code)
            raise
        count(outcome)
        return Response(status=202)

    @api.post(PATH, request_body=_BODY, responses={202: None, 401: ErrorBody})
    @public
    @streamed
    def take_opendsr_callback() -> Response:
        """Be told by a processor where a request is; repeats change nothing."""
        return receive()

    @api.post(LEGACY_PATH, request_body=_BODY, responses={202: None, 401: ErrorBody})
    @public
    @streamed
    def take_opengdpr_callback() -> Response:
        """As `POST /v1/dsr/callbacks/opendsr`, for processors that know OpenGDPR alone."""
        return receive()

    return api


def _signature() -> dict[str, str]:
    """The headers that say who signed; one that comes twice is none that can be right."""
    names = (OPENDSR.domain, OPENDSR.signature, OPENGDPR.domain, OPENGDPR.signature)
    return {name: request.headers[name] for name in names if name in request.headers}
