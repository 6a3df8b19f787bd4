"""Tokens of an issuer that publishes its keys, in the whole application."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.testing import FlaskClient

from config.settings import Settings
from schemas.errors import UsageError
from service.app import create_app
from service.bootstrap import wire
from stores.parameters import open_parameters
from stores.tokens import Grant, SharedKeys, shared_keys, sign_token

PRIVATE = rsa.generate_private_key(65537, 2048)
JWK = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PRIVATE.public_key()))
KEYS = json.dumps({"keys": [{**JWK, "kid": "rsa-1"}]}).encode()
ISSUER = "https://issuer.example"
PATH = "/v1/runs"


@dataclass
class Issuer:
    """An issuer's web server; counts how often its keys are fetched."""

    server: ThreadingHTTPServer = field(init=False)
    fetched: int = 0

    def __post_init__(self) -> None:
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(KEYS)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/keys"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    found = Issuer()
    yield found
    found.stop()


def with_issuer(settings: Settings, url: str, **changed: Any) -> Settings:
    values = {"jwks_url": url, "jwks_issuer": ISSUER, **changed}
    auth = settings.service.auth.model_copy(update=values)
    return settings.model_copy(
        update={"service": settings.service.model_copy(update={"auth": auth})}
    )


@pytest.fixture
def http(settings: Settings, issuer: Issuer) -> Iterator[FlaskClient]:
    wiring = wire(with_issuer(settings, issuer.url))
    yield create_app(wiring).test_client()
    wiring.state.close()


def bearer(kid: str = "rsa-1") -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": ISSUER, "aud": "lethe", "iat": now, "exp": now + 60}
    claims |= {"sub": "auth0|1", "org": "org-1", "roles": ["viewer", "offline_access"]}
    token = jwt.encode(claims, PRIVATE, "RS256", headers={"kid": kid})
    return {"Authorization": f"Bearer {token}"}


def test_token_of_the_issuer_lets_in(http: FlaskClient) -> None:
    assert http.get(PATH, headers=bearer()).status_code == 200


def test_keys_are_not_fetched_for_each_request(http: FlaskClient, issuer: Issuer) -> None:
    """Nor for each made-up key."""
    http.get(PATH, headers=bearer())
    answers = [http.get(PATH, headers=bearer(f"made-up-{n}")).status_code for n in range(20)]
    assert (set(answers), issuer.fetched) == ({401}, 1)


def test_service_goes_on_when_its_issuer_is_out(http: FlaskClient, issuer: Issuer) -> None:
    http.get(PATH, headers=bearer())
    issuer.stop()
    assert http.get(PATH, headers=bearer()).status_code == 200


def test_issuer_that_was_never_there_is_an_outage(settings: Settings) -> None:
    wiring = wire(with_issuer(settings, "http://127.0.0.1:9/keys"))
    answer = create_app(wiring).test_client().get(PATH, headers=bearer())
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    wiring.state.close()


def test_shared_keys_are_not_taken_beside_an_issuer_unless_they_are_named(
    http: FlaskClient, settings: Settings
) -> None:
    key = SharedKeys(open_parameters(settings.parameters)).all()[0]
    grant = Grant("me", "org-1", ("admin",))
    token = sign_token(grant, key, "lethe", "lethe", datetime.now(UTC), timedelta(hours=1))
    answer = http.get(PATH, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_token_is_not_made_where_none_would_be_taken(settings: Settings) -> None:
    auth = with_issuer(settings, "https://issuer.example/keys").service.auth
    with pytest.raises(UsageError, match="keys_parameter"):
        shared_keys(auth, open_parameters(settings.parameters))


def test_address_of_an_issuer_has_to_be_safe(settings: Settings) -> None:
    with pytest.raises(UsageError, match="jwks_url"):
        wire(with_issuer(settings, "http://issuer.example/keys"))
