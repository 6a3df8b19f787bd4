"""Lethe as an OpenDSR processor: other controllers' requests, by their protocol.

The lake answers them; they are forwarded to no other processor.

Answers have the shapes of OpenDSR, errors too, and are signed. A controller is whoever has an API
key; it sends the key as HTTP Basic's password, under the subject that the key was made for, or as
everywhere else. Discovery and the certificate are for anybody.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Response, g, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import BaseModel, Field, RootModel
from werkzeug.exceptions import HTTPException

from dsr.answers import Signer, Signers, discovery_of, report_of
from dsr.cancel import cancel
from dsr.changing import found
from dsr.desk import Desk, open_desk
from dsr.lake import NotSupported, offer_of
from dsr.requests import particulars
from dsr.signing import OPENDSR, OPENGDPR
from dsr.submit import Order, Submitter, group_hash_of, submit
from schemas.access import Action, Principal, Reach, Resource
from schemas.dsr import Dsr, DsrQuery
from schemas.errors import NotAuthenticated, NotFound, RequestError
from schemas.opendsr.answers import (
    MOST_IN_GROUP,
    encode_acceptance,
    encode_cancellation,
    encode_discovery,
    encode_error,
    encode_report,
    encode_reports,
)
from schemas.opendsr.model import Acceptance, Dialect, SubjectRequest
from schemas.opendsr.requests import decode_request
from service.bodies import raw_body, streamed
from service.bootstrap import Wiring
from service.context import public
from service.errors import tell_of
from service.openapi import SECURITY, feature
from service.security.authenticate import IN_QUERY
from service.webhooks.callbacks import Addresses
from stores.notify.opening import rules_of
from stores.outbound import Outbound
from stores.tokens import is_api_key

PREFIX = "/opendsr/v3"
LEGACY_PREFIX = "/opengdpr_requests"
LARGEST = 256 * 1024
"""Bytes of a request's body that are taken."""

_CHALLENGE = 'Basic realm="opendsr", charset="UTF-8"'


class Repeated(RequestError):
    """There is a request of this id already."""

    code = "repeated_request"


class OpendsrPath(BaseModel):
    """Which request."""

    request_id: str = Field(description="The `subject_request_id`.", max_length=64)


class OpendsrGroup(BaseModel):
    """Which requests."""

    group_id: str = Field(
        description="The `group_id` that they were sent with.", min_length=1, max_length=256
    )


class OpendsrReason(BaseModel):
    """One reason of an error."""

    domain: str
    reason: str
    message: str


class OpendsrErrorDetail(BaseModel):
    """What went wrong."""

    code: int
    message: str
    errors: list[OpendsrReason]


class OpendsrError(BaseModel):
    """An error as OpenDSR 2.0 has it."""

    error: OpendsrErrorDetail


class OpendsrIdentity(BaseModel):
    """A kind of identity that subjects are found by."""

    identity_type: str
    identity_format: str


class OpendsrDiscovery(BaseModel):
    """What this processor does; what is not listed is not supported."""

    api_version: str
    supported_identities: list[OpendsrIdentity]
    supported_subject_request_types: list[str]
    processor_certificate: str


class OpendsrAcceptance(BaseModel):
    """A request that is taken, or that will be cancelled."""

    controller_id: str
    subject_request_id: str
    received_time: str
    expected_completion_time: str | None
    encoded_request: str | None = Field(default=None, description="The request, in base64.")


class OpendsrStatus(BaseModel):
    """Where a request is."""

    controller_id: str
    subject_request_id: str
    request_status: str
    expected_completion_time: str | None
    group_id: str | None = Field(default=None, description="In a group's list.")
    results_count: int | None = Field(default=None, description="When it is completed.")


class OpendsrStatuses(RootModel[list[OpendsrStatus]]):
    """Where the requests of a group are."""


_ERRORS: dict[int | str, Any] = dict.fromkeys(
    (400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 501, 503), OpendsrError
)
_TAKEN: dict[int | str, Any] = {201: OpendsrAcceptance, **_ERRORS}
_SHOWN: dict[int | str, Any] = {200: OpendsrStatus, **_ERRORS}
_LISTED: dict[int | str, Any] = {200: OpendsrStatuses, **_ERRORS}
_CANCELLED: dict[int | str, Any] = {202: OpendsrAcceptance, **_ERRORS}
_CONTROLLERS: list[dict[str, list[str]]] = [{"basic": []}, *SECURITY]
_BODY: dict[str, Any] = {
    "description": "A request of OpenDSR, identities in either form.",
    "required": True,
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_PEM: dict[str, Any] = {
    "description": "In PEM, followed by the intermediate certificates.",
    "content": {"application/x-pem-file": {"schema": {"type": "string"}}},
}


class _Desks:
    """What is done with a controller's requests: it sees those of its own alone."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        settings, outbound = wiring.settings, wiring.settings.outbound
        known = (wiring.parameters, wiring.clock, wiring.model, offer_of(settings))
        self.desk: Desk = open_desk(settings.dsr, wiring.state, *known)
        self._addresses = Addresses(
            wiring.state.webhooks,
            wiring.state.outbox,
            Outbound(rules_of(outbound)),
            self.desk.subjects,
            settings.webhooks.max_per_organization,
            wiring.clock,
        )

    def submit(self) -> Response:
        """The answer to a new request."""
        who = _controller(self._wiring)
        who.reach(Resource.DSR, Action.CREATE)
        body = raw_body(LARGEST)
        asked = decode_request(body)
        dsr = self._taken(asked, who)
        due = dsr.forwarding.expected_completion_at or dsr.due_at
        accepted = Acceptance(dsr.id, dsr.owner, expected_completion_at=due)
        return _json(encode_acceptance(accepted, body, dsr.received_at), 201)

    def show(self, request_id: str) -> Response:
        """Where a request is."""
        within = _own(_controller(self._wiring), Action.READ)
        dsr = found(self.desk, request_id, within)
        is_exported = dsr.lake is not None and dsr.lake.export is not None
        about = particulars(self.desk, dsr) if is_exported else None
        return _json(encode_report(report_of(dsr, about, self.desk.clock())), 200)

    def cancel(self, request_id: str) -> Response:
        """The answer to a request that is pending, and now cancelled."""
        who = _controller(self._wiring)
        dsr = cancel(self.desk, request_id, _own(who, Action.CANCEL), who.subject)
        return _json(encode_cancellation(Acceptance(dsr.id, dsr.owner), self.desk.clock()), 202)

    def _taken(self, asked: SubjectRequest, who: Principal) -> Dsr:
        """The request, kept, and whom it concerns told of it."""
        if self.desk.lake is None or asked.type not in self.desk.lake.types:
            raise NotSupported(f"{asked.type} is not supported here: discovery lists what is")
        if self.desk.requests.get(asked.id, Reach(None)) is not None:
            raise Repeated("subject_request_id: there is a request of this id: choose another one")
        told = who.organization, who.subject, asked.callback_urls
        expect = partial(self._addresses.expect, *told) if asked.callback_urls else None
        submitter = Submitter(who.subject, who.organization, None, request.remote_addr)
        return submit(self.desk, _order(asked), submitter, asked.id, expect)


def _order(asked: SubjectRequest) -> Order:
    return Order(
        kind=asked.type.value,
        identities=asked.identities,
        regulation=asked.regulation,
        extensions=asked.extensions,
        callback_urls=asked.callback_urls,
        group_id=asked.group_id,
        lake_only=True,
    )


def _own(who: Principal, action: Action) -> Reach:
    """A controller's own requests, if it has the right. Raises ``Forbidden``."""
    who.reach(Resource.DSR, action)
    return Reach(who.organization, who.subject)


def blueprint(wiring: Wiring) -> APIBlueprint:
    """The routes."""
    api = feature(
        "opendsr_processor", "OpenDSR processor", "Requests of other controllers.", secured=False
    )
    desks = _Desks(wiring)
    desk = desks.desk
    _speak_opendsr(api, Signers(wiring.settings.opendsr, wiring.parameters))

    @api.post(
        f"{PREFIX}/requests",
        request_body=_BODY,
        responses=_TAKEN,
        security=_CONTROLLERS,
    )
    @public
    @streamed
    def submit_opendsr() -> Response:
        """Have a request answered by the lake; what it does not support is refused by 501."""
        return desks.submit()

    @api.post(
        LEGACY_PREFIX,
        request_body=_BODY,
        responses=_TAKEN,
        security=_CONTROLLERS,
    )
    @public
    @streamed
    def submit_opengdpr() -> Response:
        """As `POST /opendsr/v3/requests`, under the name that OpenGDPR had for it."""
        return desks.submit()

    @api.get(f"{PREFIX}/requests", responses=_LISTED, security=_CONTROLLERS)
    @public
    def list_opendsr(query: OpendsrGroup) -> Response:
        """Show where the requests of a group are, as mParticle has it; none if it has none."""
        within = _own(_controller(wiring), Action.READ)
        asked = DsrQuery(limit=MOST_IN_GROUP, group_hash=group_hash_of(desk, query.group_id))
        reports = map(report_of, desk.requests.find(asked, within))
        grouped = [replace(report, group_id=query.group_id) for report in reports]
        return _json(encode_reports(grouped), 200)

    @api.get(f"{PREFIX}/requests/<request_id>", responses=_SHOWN, security=_CONTROLLERS)
    @public
    def get_opendsr(path: OpendsrPath) -> Response:
        """Show where a request is."""
        return desks.show(path.request_id)

    @api.get(f"{LEGACY_PREFIX}/<request_id>", responses=_SHOWN, security=_CONTROLLERS)
    @public
    def get_opengdpr(path: OpendsrPath) -> Response:
        """As `GET /opendsr/v3/requests/{id}`, under the name that OpenGDPR had for it."""
        return desks.show(path.request_id)

    @api.delete(f"{PREFIX}/requests/<request_id>", responses=_CANCELLED, security=_CONTROLLERS)
    @public
    def cancel_opendsr(path: OpendsrPath) -> Response:
        """Cancel a request that is pending."""
        return desks.cancel(path.request_id)

    @api.delete(f"{LEGACY_PREFIX}/<request_id>", responses=_CANCELLED, security=_CONTROLLERS)
    @public
    def cancel_opengdpr(path: OpendsrPath) -> Response:
        """As `DELETE /opendsr/v3/requests/{id}`, under the name that OpenGDPR had for it."""
        return desks.cancel(path.request_id)

    @api.get(f"{PREFIX}/discovery", responses={200: OpendsrDiscovery, **_ERRORS})
    @public
    def discover_opendsr() -> Response:
        """Say what this processor supports, and where its certificate is."""
        url = f"{wiring.settings.opendsr.url}/certificate"
        return _json(encode_discovery(discovery_of(url, desk.lake)), 200)

    @api.get(f"{PREFIX}/certificate", responses={200: _PEM, **_ERRORS})
    @public
    def get_opendsr_certificate() -> Response:
        """Give the certificate that answers are signed by."""
        return Response(_signer().certificate, mimetype="application/x-pem-file")

    return api


def _speak_opendsr(api: APIBlueprint, signers: Signers) -> None:
    """Have errors told in OpenDSR's shape, and answers signed."""

    @api.before_request
    def prepare() -> None:
        g.opendsr_signer = signers.current()
        if g.opendsr_signer is None:
            raise NotFound("there is no OpenDSR processor at this address")

    def tell(error: Exception) -> Response:
        fault = tell_of(error)
        status = fault.status if fault.status != 422 else 400
        body = encode_error(Dialect.SPECIFICATION_2, status, fault.code, fault.message)
        headers = {**fault.headers}
        if status == 401:
            headers["WWW-Authenticate"] = _CHALLENGE
        return _json(body, status, headers)

    @api.after_request
    def sign(response: Response) -> Response:
        signer: Signer | None = g.get("opendsr_signer")
        if signer is not None:
            names = OPENGDPR if request.path.startswith(LEGACY_PREFIX) else OPENDSR
            response.headers.update(signer.headers(response.get_data(), names))
        return response

    api.register_error_handler(Exception, tell)
    api.register_error_handler(HTTPException, tell)


def _controller(wiring: Wiring) -> Principal:
    """Who asks. Raises ``NotAuthenticated``."""
    given = request.authorization
    if given is None or given.type != "basic":
        return wiring.authenticate(request)
    subject, secret = given.username or "", given.password or ""
    several = "X-Api-Key" in request.headers or any(name in request.args for name in IN_QUERY)
    if several or not is_api_key(secret):
        raise _unknown()
    found = wiring.identify(secret).principal
    if not hmac.compare_digest(found.subject.encode(), subject.encode()):
        raise _unknown()
    return found


def _unknown() -> NotAuthenticated:
    return NotAuthenticated("a valid API key is needed: send it as the password of HTTP Basic")


def _signer() -> Signer:
    signer: Signer = g.opendsr_signer
    return signer


def _json(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, mimetype="application/json")
