"""Every error that the service answers has one shape, on every route but those of OpenDSR's own."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from service.app import create_app
from service.bootstrap import Wiring
from tests.integration.service.principals import Client, somebody

FIELDS = {"type", "code", "message", "correlationId", "timestamp"}
NOBODYS_RIGHTS = somebody()
OPEN = {"/healthz", "/readyz", "/opendsr/v3/discovery", "/opendsr/v3/certificate"}


def check(answer: TestResponse) -> None:
    body: Any = answer.get_json(force=True)
    error = body["error"]
    assert set(body) == {"error"}
    assert FIELDS <= set(error) <= FIELDS | {"details"}
    assert error["correlationId"] == answer.headers["X-Correlation-ID"]
    assert datetime.fromisoformat(error["timestamp"]).tzinfo is not None
    assert answer.mimetype == "application/json"


def check_opendsr(answer: TestResponse) -> None:
    """The shape of the specification 2.0."""
    assert set(answer.get_json(force=True)["error"]) == {"code", "message", "errors"}


def speaks_opendsr(rule: Rule) -> bool:
    return rule.rule.startswith(("/opendsr/", "/opengdpr_requests"))


def address(rule: Rule) -> str:
    return re.sub("<[^>]*>", "some-id", rule.rule)


@pytest.fixture
def rules(wiring: Wiring) -> list[Rule]:
    return list(create_app(wiring).url_map.iter_rules())


def ask_all(client: FlaskClient, rules: list[Rule]) -> list[tuple[Rule, str, TestResponse]]:
    return [
        (rule, method, client.open(address(rule), method=method))
        for rule in rules
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})
        if "docs." not in rule.endpoint
    ]


def test_routes_say_so_to_whom_they_do_not_know(client: Client, rules: list[Rule]) -> None:
    for rule, method, answer in ask_all(client(None), rules):
        if answer.status_code >= 400:
            (check_opendsr if speaks_opendsr(rule) else check)(answer)
        elif rule.rule not in OPEN:
            pytest.fail(f"{method} {rule.rule} is open to everybody")


def test_routes_refuse_those_without_rights(client: Client, rules: list[Rule]) -> None:
    for rule, method, answer in ask_all(client(NOBODYS_RIGHTS), rules):
        if rule.rule.startswith("/v1/"):
            assert 400 <= answer.status_code < 500, f"{method} {rule.rule}"
            check(answer)


def test_routes_refuse_methods_they_do_not_take(client: Client, rules: list[Rule]) -> None:
    for rule in (rule for rule in rules if rule.endpoint != "docs.asset"):
        answer = client(None).open(address(rule), method="PROPFIND")
        assert answer.status_code == 405
        assert "Allow" in answer.headers
        check(answer)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/runs/", "/v1/runs/%00", "/v1/runs/..%2f", "/x"])
def test_address_of_nothing_is_answered_in_shape(client: Client, path: str) -> None:
    answer = client(None).get(path)
    assert answer.status_code == 404
    check(answer)


def test_mistake_is_answered_in_shape_and_says_nothing(
    wiring: Wiring, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(wiring)
    app.view_functions["health.is_alive"] = fail
    fail.lethe_public = True  # type: ignore[attr-defined]
    answer = app.test_client().get("/healthz?email=bob@example.com")
    check(answer)
    assert answer.status_code == 500
    assert "bob@example.com" not in answer.text + "".join(capsys.readouterr())


def fail() -> None:
    raise KeyError("bob@example.com")
