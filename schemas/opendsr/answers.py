"""What a processor answers, and tells by callbacks: written and read. Pure.

``encoded_request``, which repeats the request with all that is personal in it, is written and never
read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from schemas.dsr import IdentityFormat, IdentityType, RequestType
from schemas.events import shown_time
from schemas.opendsr.model import (
    Acceptance,
    Dialect,
    Discovery,
    ProcessingStatus,
    StatusReport,
    SupportedIdentity,
)
from schemas.opendsr.wire import Fields, fields_of, json_of, malformed, member

MOST_IN_GROUP = 10_000
"""Requests of one group that are read."""

_MOST_KINDS = 1000


def encode_acceptance(acceptance: Acceptance, request: bytes, received_at: datetime) -> bytes:
    """The answer to a request that is taken; ``request`` is its body as it came."""
    return _encode(
        controller_id=acceptance.controller_id,
        expected_completion_time=shown_time(acceptance.expected_completion_at),
        received_time=shown_time(received_at),
        encoded_request=base64.b64encode(request).decode(),
        subject_request_id=acceptance.request_id,
    )


def encode_cancellation(acceptance: Acceptance, received_at: datetime) -> bytes:
    """The answer to a ``DELETE``."""
    return _encode(
        controller_id=acceptance.controller_id,
        expected_completion_time=None,
        received_time=shown_time(received_at),
        subject_request_id=acceptance.request_id,
    )


def decode_acceptance(body: bytes) -> Acceptance:
    """What a processor takes a request, or its cancellation, with. Raises ``Malformed``."""
    fields = fields_of(body)
    return Acceptance(
        request_id=fields.request_id(),
        controller_id=fields.needed("controller_id", fields.text("controller_id")),
        received_at=fields.time("received_time"),
        expected_completion_at=fields.time("expected_completion_time"),
    )


def encode_report(report: StatusReport) -> bytes:
    """A status, as the answer to a question or as the body of a callback."""
    return msgspec.json.encode(_report(report))


def encode_reports(reports: list[StatusReport]) -> bytes:
    """The statuses of a group."""
    return msgspec.json.encode([_report(report) for report in reports])


def decode_report(body: bytes) -> StatusReport:
    """A status: an answer or a callback. Raises ``Malformed``.

    All but the request and its status may be missing.
    """
    return _read_report(fields_of(body))


def decode_reports(body: bytes) -> list[StatusReport]:
    """The statuses of a group. Raises ``Malformed``."""
    content = json_of(body)
    if not isinstance(content, list) or len(content) > MOST_IN_GROUP:
        raise malformed("body", f"must be a list of at most {MOST_IN_GROUP}")
    return [_read_report(Fields(one, str(number))) for number, one in enumerate(content)]


def encode_discovery(discovery: Discovery) -> bytes:
    """What a processor says of itself."""
    return _encode(
        api_version=discovery.api_version,
        supported_identities=[
            {"identity_type": one.type.value, "identity_format": one.format.value}
            for one in discovery.identities
        ],
        supported_subject_request_types=[kind.value for kind in discovery.types],
        processor_certificate=discovery.certificate,
    )


def decode_discovery(body: bytes) -> Discovery:
    """What a processor says of itself; kinds that are not known here are left out.

    Raises ``Malformed``.
    """
    fields = fields_of(body)
    types = fields.listed("supported_subject_request_types", _MOST_KINDS)
    return Discovery(
        api_version=fields.needed("api_version", fields.text("api_version")),
        identities=_supported_identities(fields),
        types=tuple(kind for kind in RequestType if kind in types),
        certificate=fields.text("processor_certificate"),
    )


def encode_error(dialect: Dialect, status: int, reason: str, message: str) -> bytes:
    """The body of an answer that refuses; ``reason`` is a word, such as ``badRequest``."""
    if dialect is Dialect.MPARTICLE_3:
        return _encode(code=status, message=message)
    errors = [{"domain": "Validation", "reason": reason, "message": message}]
    return _encode(error={"code": status, "message": message, "errors": errors})


def _supported_identities(fields: Fields) -> tuple[SupportedIdentity, ...]:
    name = "supported_identities"
    listed = fields.listed(name, _MOST_KINDS)
    found = (_supported(Fields(one, f"{name}.{number}")) for number, one in enumerate(listed))
    return tuple(one for one in found if one is not None)


def _supported(one: Fields) -> SupportedIdentity | None:
    kind = member(IdentityType, one.needed("identity_type", one.text("identity_type")))
    form = member(IdentityFormat, one.text("identity_format") or IdentityFormat.RAW)
    return None if kind is None or form is None else SupportedIdentity(kind, form)


def _report(report: StatusReport) -> dict[str, Any]:
    content = {
        "controller_id": report.controller_id,
        "expected_completion_time": shown_time(report.expected_completion_at),
        "subject_request_id": report.request_id,
        "request_status": report.status.value,
    }
    further = {
        "group_id": report.group_id,
        "api_version": report.api_version,
        "results_url": report.results_url,
        "results_count": report.results_count,
        "status_callback_url": report.callback_url,
    }
    return content | _given(further)


def _read_report(fields: Fields) -> StatusReport:
    status = fields.one_of("request_status", ProcessingStatus)
    return StatusReport(
        request_id=fields.request_id(),
        status=fields.needed("request_status", status),
        controller_id=fields.text("controller_id"),
        expected_completion_at=fields.time("expected_completion_time"),
        results_url=fields.text("results_url"),
        results_count=fields.count("results_count"),
        group_id=fields.text("group_id"),
        callback_url=fields.text("status_callback_url"),
        api_version=fields.text("api_version"),
    )


def _given(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}


def _encode(**content: Any) -> bytes:
    return msgspec.json.encode(content)
