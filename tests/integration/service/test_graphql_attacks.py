"""GraphQL documents made to hurt: refused, with nothing repeated and nothing done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from graphql import get_introspection_query

from service.app import create_app
from service.bootstrap import Wiring
from service.limits.policy import policy_of
from stores.state.service_port import Stores
from tests.integration.service.principals import ADMIN, Client, somebody

PRIVACY = somebody("privacy", subject="privacy-1")


@pytest.fixture
def privacy(client: Client) -> FlaskClient:
    return client(PRIVACY)


def with_settings(wiring: Wiring, **service: Any) -> Wiring:
    changed = wiring.settings.service.model_copy(update=service)
    settings = wiring.settings.model_copy(update={"service": changed})
    policy = policy_of(changed.limits, wiring.policy.pseudonyms)
    return replace(wiring, settings=settings, policy=policy, authenticate=lambda _: PRIVACY)


def codes(asker: FlaskClient, query: str, **variables: Any) -> list[str]:
    answer = asker.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200
    assert "canary" not in answer.text.lower()
    assert "Traceback" not in answer.text
    return [error["extensions"]["code"] for error in answer.get_json()["errors"]]


@pytest.mark.parametrize(
    "query",
    [
        "{ a " * 50 + "}" * 50,
        "{ a " * 400,
        "{" + " ".join(f"a{n}: dsrRequest(id: 1) {{ id }}" for n in range(1000)) + "}",
        "{ __typename" + " @canary" * 300 + "}",
        "{" + " canary" * 100_000 + "}",
        "{ ...A } " + " ".join(f"fragment A{n} on Query {{ ...A }}" for n in range(300)),
    ],
    ids=["depth", "brackets", "aliases", "directives", "size", "fragments"],
)
def test_document_beyond_a_limit_is_too_large(privacy: FlaskClient, query: str) -> None:
    assert codes(privacy, query) == ["too_large"]


def test_fragments_that_hold_themselves_are_refused(privacy: FlaskClient) -> None:
    bomb = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    assert codes(privacy, bomb) == ["invalid"]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ canary }", {}),
        ('{ dsrRequest(canary: "canary") { id } }', {}),
        ('{ dsrRequest(id: "1") { canary } }', {}),
        ("{ dsrRequest(id: {canary: 1}) { id } }", {}),
        ("query($i: Int!) { dsrRequest(id: $i) { id } }", {"i": "canary"}),
        ("query($id: ID!) { dsrRequest(id: $id) { id } }", {"id": {"canary": 1}}),
        ("query($id: ID!) { dsrRequest(id: $id) { id } }", {}),
        ("mutation($i: SubmitDSRInput!) { submitDSR(input: $i) { id } }", {"i": {"canary": 1}}),
        ("{ ...Canary }", {}),
        ("{ __typename @canary }", {}),
        ("subscription { canary }", {}),
    ],
)
def test_messages_of_graphql_repeat_nothing(
    privacy: FlaskClient, capsys: pytest.CaptureFixture[str], query: str, variables: Any
) -> None:
    assert set(codes(privacy, query, **variables)) == {"invalid"}
    assert "canary" not in "".join(capsys.readouterr()).lower()


def test_flood_of_errors_is_cut_off(privacy: FlaskClient) -> None:
    assert len(codes(privacy, "{" + " ".join(f"c{n}" for n in range(500)) + "}")) == 20


def test_malformed_document_is_told_by_its_place(privacy: FlaskClient) -> None:
    assert codes(privacy, '{ dsrRequest(id: "canary') == ["bad_request"]


def test_operation_has_to_be_named_if_there_are_several(privacy: FlaskClient) -> None:
    assert codes(privacy, "query A { __typename } query Canary { __typename }") == ["invalid"]


@pytest.mark.parametrize("query", ["{ __schema { types { name } } }", get_introspection_query()])
def test_schema_is_not_told_unless_it_is_allowed(privacy: FlaskClient, query: str) -> None:
    assert set(codes(privacy, query)) == {"invalid"}


def test_schema_is_told_where_it_is_allowed(wiring: Wiring) -> None:
    graphql = wiring.settings.service.graphql.model_copy(update={"introspection": True})
    asker = create_app(with_settings(wiring, graphql=graphql)).test_client()
    answer = asker.post("/graphql", json={"query": get_introspection_query()}).get_json()
    assert "errors" not in answer
    assert {"name": "Mutation"}.items() <= answer["data"]["__schema"]["mutationType"].items()


def test_batches_are_refused(privacy: FlaskClient) -> None:
    answer = privacy.post("/graphql", json=[{"query": "{ __typename }"}] * 2)
    assert answer.status_code == 422
    assert answer.get_json()["error"]["code"] == "invalid"


@pytest.mark.parametrize("media_type", ["text/plain", "application/graphql", "application/a+json"])
def test_other_media_types_are_refused(privacy: FlaskClient, media_type: str) -> None:
    body = '{"query": "{ __typename }"}'
    assert privacy.post("/graphql", data=body, content_type=media_type).status_code == 415


def test_get_is_refused(privacy: FlaskClient) -> None:
    assert privacy.get("/graphql?query={__typename}").status_code == 405


def test_each_root_field_counts_for_the_limit_of_rest(wiring: Wiring) -> None:
    limits = wiring.settings.service.limits.model_copy(
        update={"endpoints": {"GET /v1/dsr/{request_id}": "2/m"}}
    )
    asker = create_app(with_settings(wiring, limits=limits)).test_client()
    query = "{" + " ".join(f"a{n}: dsrRequest(id: 1) {{ id }}" for n in range(4)) + "}"
    assert codes(asker, query) == ["rate_limited"] * 2


def test_names_that_clients_give_are_in_no_metric_or_log(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    query = "query Canary { canary: dsrRequest(id: 1) { id } }"
    assert client(PRIVACY).post("/graphql", json={"query": query}).status_code == 200
    metrics = client(ADMIN).get("/metrics").text
    assert "graphql.dsrRequest" in metrics
    assert "canary" not in (metrics + "".join(capsys.readouterr())).lower()


def test_mistake_of_ours_says_nothing(wiring: Wiring, capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(with_settings(wiring), state=cast(Stores, Broken(wiring.state)))
    assert codes(create_app(broken).test_client(), "{ dsrRequest(id: 1) { id } }") == ["internal"]
    assert "canary" not in "".join(capsys.readouterr())


class Broken:
    """A state that makes a mistake when requests are looked up."""

    def __init__(self, state: Stores) -> None:
        self._state = state

    @property
    def dsr(self) -> Broken:
        return self

    def get(self, *_: Any) -> None:
        raise KeyError("canary")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)
