"""Headers: what keeps browsers safe, the correlation id, and other origins."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from config.settings import Settings
from service.app import create_app
from service.bootstrap import wire
from tests.integration.service.principals import Client

ORIGIN = "https://console.example"


@pytest.fixture
def asker(client: Client) -> FlaskClient:
    return client(None)


def with_service(settings: Settings, **changes: object) -> FlaskClient:
    service = settings.service.model_copy(update=changes)
    return create_app(wire(settings.model_copy(update={"service": service}))).test_client()


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/v1/runs", "/openapi/"])
def test_every_answer_is_safe_for_browsers(asker: FlaskClient, path: str) -> None:
    headers = asker.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_tls_is_insisted_on_where_it_is_used(asker: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in asker.get("/healthz").headers
    answer = asker.get("/healthz", base_url="https://lethe.example")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_proxies_are_believed_only_if_there_are_any(settings: Settings) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    for proxies, believed in ((0, False), (1, True)):
        answer = with_service(settings, trusted_proxies=proxies).get("/healthz", headers=forwarded)
        assert ("Strict-Transport-Security" in answer.headers) is believed


def test_correlation_id_is_given_back(asker: FlaskClient) -> None:
    answer = asker.get("/healthz", headers={"X-Correlation-ID": "req-42"})
    assert answer.headers["X-Correlation-ID"] == "req-42"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "\x1b[31m", "a;b", "%0d%0aSet-Cookie:x"])
def test_harmful_correlation_id_is_replaced(asker: FlaskClient, given: str) -> None:
    answer = asker.get("/healthz", headers={"X-Correlation-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Correlation-ID"])


def test_other_origins_are_not_allowed_unless_set(asker: FlaskClient) -> None:
    answer = asker.options("/v1/runs", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_set_origin_may_ask(settings: Settings) -> None:
    client = with_service(settings, cors_origins=(ORIGIN,))
    preflight = client.options("/v1/runs", headers={"Origin": ORIGIN})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers


def test_page_of_a_set_origin_sees_what_is_left_of_its_limit(settings: Settings) -> None:
    answer = with_service(settings, cors_origins=(ORIGIN,)).get("/", headers={"Origin": ORIGIN})
    told = {name for name, _ in answer.headers if name.startswith("RateLimit-")}
    assert told
    assert told <= {*answer.headers["Access-Control-Expose-Headers"].split(", ")}


@pytest.mark.parametrize("other", ["https://evil.example", "null", ORIGIN + ".evil.example"])
def test_any_other_origin_may_not(settings: Settings, other: str) -> None:
    answer = with_service(settings, cors_origins=(ORIGIN,)).get("/", headers={"Origin": other})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
