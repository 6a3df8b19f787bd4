"""The address of a stream: ``kinesis://NAME?region=R&endpoint=URL&start=S``."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from schemas.errors import UsageError
from schemas.streams import Start, StartKind, StreamAddress

SCHEME = "kinesis://"

_FORM = "kinesis://NAME?region=REGION&endpoint=URL&start=START"
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_OPTIONS = ("region", "endpoint", "start")


def parse_address(uri: str, region: str | None = None) -> tuple[StreamAddress, Start]:
    """The stream that ``uri`` names, and where its shards are read from at first.

    ``start`` is TRIM_HORIZON (if left out), LATEST or a time such as 2026-01-02T00:00:00Z, with a
    zone. ``region`` is for an address that names none. Raises ``UsageError`` that says which part
    of the address is wrong.
    """
    if not uri.startswith(SCHEME):
        raise UsageError(f"{uri!r} is no address of a stream: use {_FORM}")
    name, _, query = uri.removeprefix(SCHEME).partition("?")
    options = _options(uri, query)
    stream = StreamAddress(
        _name(uri, unquote(name)),
        _region(uri, options.get("region", region)),
        _endpoint(uri, options.get("endpoint")),
    )
    return stream, _start(uri, options.get("start", StartKind.TRIM_HORIZON))


def default_region() -> str | None:
    """The region that the AWS tools would use here: of the variables, or of the profile."""
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable):
            return os.environ[variable]
    import boto3

    found: str | None = boto3.session.Session().region_name
    return found


def _options(uri: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in _OPTIONS:
            raise UsageError(f"{uri!r}: unknown option {key!r}: use {', '.join(_OPTIONS)}")
        if key in options:
            raise UsageError(f"{uri!r}: {key} is given twice")
        # Not as in a form, where a plus sign is a blank: it stands in the zone of a time.
        options[key] = unquote(value)
    return options


def _name(uri: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{uri!r}: {name!r} is no name of a stream: 1 to 128 letters, digits, '_', '.' or '-'"
        )
    return name


def _region(uri: str, region: str | None) -> str:
    if not region:
        raise UsageError(f"{uri!r} names no region: add ?region=REGION, or set AWS_REGION")
    if not _REGION.fullmatch(region):
        raise UsageError(f"{uri!r}: {region!r} is no region: use one like eu-west-1")
    return region


def _endpoint(uri: str, endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    if not _is_http(endpoint):
        raise UsageError(f"{uri!r}: endpoint {endpoint!r} is no URL: use http(s)://HOST[:PORT]")
    return endpoint.rstrip("/")


def _is_http(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _start(uri: str, text: str) -> Start:
    if text in {StartKind.TRIM_HORIZON, StartKind.LATEST}:
        return Start(StartKind(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{uri!r}: start {text!r} is none of TRIM_HORIZON, LATEST, 2026-01-02T00:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise UsageError(f"{uri!r}: start {text!r} has no zone: end it with Z, or +02:00")
    return Start(StartKind.AT_TIMESTAMP, moment.astimezone(UTC))
