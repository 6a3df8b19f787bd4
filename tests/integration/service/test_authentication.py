"""Who is let in, asked as attackers ask: through the whole application, with real keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from service.app import create_app
from service.bootstrap import Wiring
from stores.tokens import Grant, SharedKey, SharedKeys, new_api_key, sign_token

GRANT = Grant("me", "org-1", ("operator",))
HOUR = timedelta(hours=1)
PATH = "/v1/runs"


@pytest.fixture
def http(wiring: Wiring) -> FlaskClient:
    return create_app(wiring).test_client()


@pytest.fixture
def key(wiring: Wiring) -> SharedKey:
    return SharedKeys(wiring.parameters).all()[0]


@pytest.fixture
def token(key: SharedKey) -> str:
    return sign_token(GRANT, key, "lethe", "lethe", datetime.now(UTC), HOUR)


@pytest.fixture
def api_key(wiring: Wiring) -> str:
    secret, kept = new_api_key(GRANT, datetime.now(UTC), HOUR)
    wiring.state.api_keys.add(kept)
    return secret


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def assert_unknown(answer: TestResponse) -> None:
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_token_lets_in(http: FlaskClient, token: str) -> None:
    assert http.get(PATH, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_api_key_lets_in(http: FlaskClient, api_key: str, header: str) -> None:
    value = api_key if header == "X-Api-Key" else f"Bearer {api_key}"
    assert http.get(PATH, headers={header: value}).status_code == 200


def test_scheme_is_read_without_regard_to_case(http: FlaskClient, token: str) -> None:
    assert http.get(PATH, headers={"Authorization": f"bearer {token}"}).status_code == 200


def forged(key: SharedKey) -> list[dict[str, str]]:
    """Headers that let nobody in."""
    now = int(datetime.now(UTC).timestamp())
    good: dict[str, Any] = {"iss": "lethe", "aud": "lethe", "iat": now, "exp": now + 60}
    good |= {"sub": "me", "org": "org-1", "roles": ["admin"]}
    changes: list[dict[str, Any]] = [
        {"exp": now - 99},
        {"aud": "x"},
        {"iss": "x"},
        {"org": "a/b"},
        {"sub": "a@b.c"},
    ]
    made = [
        jwt.encode({**good, **change}, key.secret, "HS256", headers={"kid": key.id})
        for change in changes
    ]
    made += [
        jwt.encode(good, "", "none", headers={"kid": key.id}),
        jwt.encode(good, b"x" * 32, "HS256", headers={"kid": key.id}),
        jwt.encode(good, key.secret, "HS256", headers={"kid": "unknown"}),
        jwt.encode(good, key.secret, "HS512", headers={"kid": key.id}),
        "lk_" + "a" * 43,
        "x",
    ]
    return [bearer(each) for each in made]


def test_forged_credentials_are_all_refused_in_the_same_words(
    http: FlaskClient, key: SharedKey
) -> None:
    answers = [http.get(PATH, headers=headers) for headers in [{}, *forged(key)]]
    for answer in answers:
        assert_unknown(answer)
    assert len({answer.get_json()["error"]["message"] for answer in answers}) == 1


def test_log_has_the_cause_and_never_the_token(http: FlaskClient, key: SharedKey) -> None:
    with capture_logs() as lines:
        for headers in forged(key):
            http.get(PATH, headers=headers)
    causes = {line["cause"] for line in lines if "cause" in line}
    assert {"ExpiredSignatureError", "InvalidAudienceError", "unknown key"} <= causes
    tokens = [headers["Authorization"].split()[1] for headers in forged(key)[:-1]]
    assert not any(token in f"{lines}" for token in tokens)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer a b"},
        {"Authorization": "Bearer a,Bearer b"},
        {"X-Api-Key": "key"},
        {"X-Api-Key": ""},
        {"Cookie": "token=x"},
    ],
)
def test_header_of_another_form_lets_nobody_in(http: FlaskClient, headers: dict[str, str]) -> None:
    assert_unknown(http.get(PATH, headers=headers))


def test_two_credentials_at_once_are_refused(http: FlaskClient, token: str, api_key: str) -> None:
    assert_unknown(http.get(PATH, headers={**bearer(token), "X-Api-Key": api_key}))


@pytest.mark.parametrize("name", ["access_token", "token", "api_key", "jwt"])
def test_token_in_the_address_is_refused(http: FlaskClient, token: str, name: str) -> None:
    assert_unknown(http.get(f"{PATH}?{name}={token}"))
    assert_unknown(http.get(f"{PATH}?{name}={token}", headers=bearer(token)))


def test_revoked_key_lets_nobody_in(http: FlaskClient, wiring: Wiring, api_key: str) -> None:
    wiring.state.api_keys.revoke(wiring.state.api_keys.all()[0].id)
    assert_unknown(http.get(PATH, headers={"X-Api-Key": api_key}))


def test_role_that_may_not_is_forbidden(http: FlaskClient, key: SharedKey) -> None:
    grant = Grant("me", "org-1", ("submitter",))
    mine = sign_token(grant, key, "lethe", "lethe", datetime.now(UTC), HOUR)
    answer = http.get(PATH, headers=bearer(mine))
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_anybody(http: FlaskClient, path: str) -> None:
    assert http.get(path).status_code == 200
