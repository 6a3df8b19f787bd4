"""What is taken of a request's body: so many bytes, and JSON of such a depth and size.

A view with a ``body`` model gets JSON, an object, that has been looked at before it was parsed. A
view that reads ``request.stream`` itself is marked ``@streamed`` and sets
``request.max_content_length`` first. All others have no body to speak of.
"""

from __future__ import annotations

from itertools import accumulate

from flask import Flask, current_app, request
from werkzeug.exceptions import BadRequest

from config.service import LimitsSection
from schemas.errors import Invalid, RequestError, TooLarge, UnsupportedType
from service.bootstrap import Wiring
from service.context import View

_STREAMED = "lethe_streamed"
_STEPS = {ord("["): 1, ord("]"): -1}
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]"))


def streamed(view: View) -> View:
    """Mark a view that reads the body itself, and sets its own limit."""
    setattr(view, _STREAMED, True)
    return view


def install(app: Flask, wiring: Wiring) -> None:
    """Hold requests to the limits of the settings."""
    limits = wiring.settings.service.limits
    # One more than is taken: at a limit the framework cuts off a body that does not say its length.
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes + 1

    @app.before_request
    def check() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if getattr(view, _STREAMED, False):
            return
        if request.content_length is not None and request.content_length > limits.body_bytes:
            raise too_large(limits.body_bytes)
        if "body" in getattr(view, "__annotations__", {}):
            _check_json(limits)


def too_large(limit: int) -> TooLarge:
    """The error for a body of more than ``limit`` bytes."""
    return TooLarge(f"the body is larger than the {limit:,} bytes that are taken", limit=limit)


def raw_body(limit: int) -> bytes:
    """All bytes of a body as they came, for a view that is ``@streamed``. Raises ``TooLarge``."""
    request.max_content_length = limit + 1
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)
    content = request.get_data(cache=False)
    if len(content) > limit:
        raise too_large(limit)
    return content


def check_structure(body: bytes, depth: int, values: int) -> None:
    """Raise if JSON nests deeper or holds more values than this, or a NUL, which no database keeps.

    Takes no more memory than a few times the body. Of what is malformed it may raise or not.
    """
    if b"\\u0000" in body.replace(b"\\\\", b""):
        raise RequestError("the body holds a NUL character, which cannot be kept", where="body")
    if body.count(b"[") + body.count(b"{") <= depth and body.count(b",") < values:
        return
    outside = _without_strings(body).translate(_ONE_KIND)
    if outside.count(b",") + outside.count(b"[") > values:
        raise TooLarge(f"the body holds more than {values:,} values", limit=values)
    brackets = outside.translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > depth:
        raise RequestError(f"the body nests deeper than {depth} levels", limit=depth)


def _without_strings(body: bytes) -> bytes:
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(unescaped.split(b'"')[::2])


def _check_json(limits: LimitsSection) -> None:
    """Have the body parsed: the framework keeps the outcome for the view."""
    if not request.is_json:
        raise UnsupportedType("the body has to be JSON: send Content-Type: application/json")
    content = request.get_data()
    if len(content) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    check_structure(content, limits.json_depth, limits.json_values)
    try:
        body = request.get_json()
    except BadRequest:
        raise RequestError("the body is not well-formed JSON", where="body") from None
    if not isinstance(body, dict):
        raise Invalid("the body has to be a JSON object")
