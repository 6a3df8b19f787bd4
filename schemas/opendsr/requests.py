"""Requests as they are written, by a controller, and read, by a processor. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.dsr import Regulation, RequestType
from schemas.events import shown_time
from schemas.opendsr.identities import decode_identities, encode_identities
from schemas.opendsr.model import Dialect, SubjectRequest
from schemas.opendsr.wire import LONGEST_TEXT, Fields, fields_of, malformed

MOST_CALLBACKS = 10
"""Addresses that a request may want to be told at."""


def encode_request(request: SubjectRequest, dialect: Dialect) -> bytes:
    """The body of ``POST /requests``. Holds personal data."""
    content: dict[str, Any] = {
        "regulation": request.regulation.value,
        "subject_request_id": request.id,
        "subject_request_type": request.type.value,
        "submitted_time": shown_time(request.submitted_at),
        "subject_identities": encode_identities(request.identities, dialect),
    }
    if dialect is Dialect.MPARTICLE_3:
        content["group_id"] = request.group_id
    content["api_version"] = request.api_version
    content["status_callback_urls"] = [*request.callback_urls] or None
    content["extensions"] = dict(request.extensions) or None
    return msgspec.json.encode({key: value for key, value in content.items() if value is not None})


def decode_request(body: bytes) -> SubjectRequest:
    """What a controller asks for, in whichever dialect. Raises ``Malformed``."""
    fields = fields_of(body)
    return SubjectRequest(
        id=fields.request_id(),
        regulation=fields.needed("regulation", fields.one_of("regulation", Regulation)),
        type=fields.needed(
            "subject_request_type", fields.one_of("subject_request_type", RequestType)
        ),
        submitted_at=fields.needed("submitted_time", fields.time("submitted_time")),
        identities=decode_identities(fields),
        callback_urls=_callback_urls(fields),
        extensions=_extensions(fields),
        group_id=fields.text("group_id"),
        api_version=fields.text("api_version"),
    )


def _callback_urls(fields: Fields) -> tuple[str, ...]:
    urls = fields.listed("status_callback_urls", MOST_CALLBACKS)
    for number, url in enumerate(urls):
        if not isinstance(url, str) or not 0 < len(url) <= LONGEST_TEXT:
            raise malformed(f"status_callback_urls.{number}", "must be an address")
    return tuple(urls)


def _extensions(fields: Fields) -> dict[str, Any]:
    extensions = fields.within("extensions")
    for number, domain in enumerate(extensions.names()):
        if not isinstance(extensions.raw(domain), dict):
            raise malformed(f"extensions.{number}", "must be a JSON object, named by a domain")
    return {domain: extensions.raw(domain) for domain in extensions.names()}
