"""Who makes a request, by ``Authorization: Bearer`` or ``X-Api-Key``.

To the outside all refusals are one, so that nobody learns from them; the log has the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from time import monotonic

import structlog
from flask import Request

from config.service import AuthSection
from schemas.access import Principal
from schemas.errors import NotAuthenticated
from service.security.api_keys import ApiKeys
from service.security.jwks import Jwks, fetch_from
from service.security.tokens import (
    Identity,
    Refused,
    SharedKeySource,
    TokenVerifier,
    TrustedIssuer,
)
from stores.parameters import ParameterStore
from stores.state.service_port import ApiKeyStore
from stores.tokens import is_api_key, shared_keys

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750, 2.1
IN_QUERY = ("access_token", "token", "api_key", "apikey", "jwt")
"""Names under which credentials come in addresses, where they are refused."""

_MESSAGE = "a valid token or API key is needed: send it as Authorization: Bearer ..."

_log = structlog.get_logger()


class Authenticator:
    """Says who makes a request, or whom a credential stands for. For any number of threads."""

    def __init__(self, tokens: TokenVerifier, api_keys: ApiKeys) -> None:
        self._tokens = tokens
        self._api_keys = api_keys

    def __call__(self, request: Request) -> Principal:
        """Raises ``NotAuthenticated``; ``Unavailable`` and ``StoreError`` if it cannot be known."""
        try:
            return self._identify(credential_of(request)).principal
        except Refused as refused:
            raise _not_authenticated(refused) from None

    def identify(self, credential: str) -> Identity:
        """Whoever a token or an API key stands for, and until when. Raises as the call does."""
        try:
            return self._identify(credential)
        except Refused as refused:
            raise _not_authenticated(refused) from None

    def _identify(self, credential: str) -> Identity:
        if is_api_key(credential):
            return self._api_keys.identify(credential)
        return self._tokens.identify(credential)


def _not_authenticated(refused: Refused) -> NotAuthenticated:
    _log.info("credentials refused", cause=refused.cause)
    return NotAuthenticated(_MESSAGE)


def credential_of(request: Request) -> str:
    """The one credential of a request. Raises ``Refused`` for none, several, or one in the URL.

    URLs stand in logs and histories, so that a credential in one is not taken even beside a good
    one.
    """
    if any(name in request.args for name in IN_QUERY):
        raise Refused("in the query string")
    found = [*_credentials(request)]
    if len(found) != 1:
        raise Refused("several" if found else "none")
    return found[0]


def _credentials(request: Request) -> Iterator[str]:
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise Refused("no bearer token")
        yield bearer[1]
    key = request.headers.get("X-Api-Key")
    if key is not None:
        if not is_api_key(key):
            raise Refused("no API key")
        yield key


def build_authenticator(
    auth: AuthSection,
    parameters: ParameterStore,
    keys: ApiKeyStore,
    now: Callable[[], datetime],
) -> Authenticator:
    """As the settings say. Raises ``UsageError`` for keys or an address that cannot be used."""
    tokens = TokenVerifier([*_issuers(auth, parameters)], auth.audience, auth.leeway_seconds)
    return Authenticator(tokens, ApiKeys(keys, now, monotonic))


def _issuers(auth: AuthSection, parameters: ParameterStore) -> Iterator[TrustedIssuer]:
    if auth.takes_shared_keys:
        keys = shared_keys(auth, parameters)
        keys.all()  # A service that could let nobody in does not start.
        yield TrustedIssuer(auth.issuer, SharedKeySource(keys))
    if auth.jwks_url is not None and auth.jwks_issuer is not None:
        jwks = Jwks(fetch_from(auth.jwks_url), auth.jwks_algorithms)
        yield TrustedIssuer(auth.jwks_issuer, jwks)
