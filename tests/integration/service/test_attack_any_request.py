"""Whatever is asked by whomever, good, bad or half understood: no mistake here, and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from werkzeug.test import TestResponse

from config.settings import Settings
from schemas.access import Principal
from service.bootstrap import Wiring
from tests.integration.service.documented import (
    DOCUMENT,
    Operation,
    application,
    operations,
    wired,
    without_limits,
)
from tests.integration.service.enrichment_requests import completed
from tests.integration.service.principals import ADMIN, OPERATOR, VIEWER
from tests.integration.service.test_any_request import CHECKS

bounded = hypothesis_settings(
    max_examples=6, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
"""For the whole document together, these take a few seconds."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return without_limits(settings)


@pytest.mark.parametrize("principal", [VIEWER, None], ids=["viewer", "nobody"])
def test_those_who_may_not_are_answered_as_documented(
    wiring: Wiring, principal: Principal | None
) -> None:
    for found in schemathesis.openapi.from_wsgi(
        DOCUMENT, application(wiring, principal)
    ).get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        @bounded
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        ask()


names = st.sampled_from(
    ["contacts", "inputFileKey", "mapping", "force", "id", "size", "items", "email", "identities",
     "type", "__proto__", "", "\u202e", "contentType", "sha256", "ids", "reason", "extensions"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


def takes_json(operation: Operation) -> bool:
    body = operation.found.definition.raw.get("requestBody", {})
    return operation.is_for_principals and "application/json" in body.get("content", {})


def test_no_body_is_a_mistake_here(wiring: Wiring) -> None:
    """Bodies that no schema speaks of; ``NaN`` and infinities among them."""
    app = application(wiring, ADMIN)
    posts = [o for o in operations(app) if takes_json(o) and not o.parameter]
    asker = app.test_client()

    @given(body=st.dictionaries(names, values, max_size=5))
    @hypothesis_settings(bounded, max_examples=15)
    def ask(body: Any) -> None:
        for post in posts:
            answer = asker.post(post.found.path, data=json.dumps(body), content_type="text/json")
            assert answer.status_code == 415
            answer = asker.post(
                post.found.path, data=json.dumps(body), content_type="application/json"
            )
            assert answer.status_code < 500, post.name

    ask()


@pytest.fixture
def asker(wiring: Wiring) -> FlaskClient:
    """Somebody whom nobody asked before: for tests that look at what is left."""
    return application(wiring, OPERATOR).test_client()


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """For tests that do not."""
    with wired(tmp_path_factory.mktemp("any")) as wiring:
        yield application(wiring, OPERATOR).test_client()


SECRET = "alice@example.com"


def refused(answer: TestResponse) -> int:
    """The status of a refusal, which has to be of our shape and repeat nothing."""
    assert answer.json is not None, answer.text
    assert answer.json["error"]["correlationId"] == answer.headers["X-Correlation-ID"]
    assert SECRET not in answer.text + str(answer.headers)
    return answer.status_code


HOSTS = ["evil.example", "a/b", "[::1", "alice@example.com", "x:99999999", "a b", "\xfc", ""]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/v1/runs", "/v1//runs", "/openapi", "/openapi/", "/v1/uploads/"])
def test_host_of_a_request_is_never_repeated(http: FlaskClient, host: str, path: str) -> None:
    answer = http.get(path, headers={"Host": host})
    assert answer.status_code < 500
    assert answer.headers.get("Location", "/openapi/") == "/openapi/"
    assert not host or host not in answer.text


@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
)
def test_method_is_the_one_of_the_request(http: FlaskClient, header: str) -> None:
    made = http.post("/v1/enrichment", json={"contacts": [{"id": "1"}]}).json
    assert made is not None
    path = f"/v1/enrichment/{made['requestId']}"
    http.get(path, headers={header: "DELETE"})
    http.post(f"{path}?_method=DELETE", data={"_method": "DELETE"}, headers={header: "DELETE"})
    assert http.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/%2e%2e", "/v1/runs/..%2fruns", "/v1/runs/%252e%252e%252f", "/v1/runs/a%00.log",
        "/v1/runs/a\u2215b", "/v1/runs/a\uff0fb", "/v1/runs/\uff0e\uff0e", "/v1/runs/a%0a",
        "/v1/runs/a%0d%0aX: y", "/v1/runs/a;b", "/v1/runs/a%5cb", "/v1/runs/" + "a" * 65,
        "/v1/runs/%c0%ae%c0%ae/log", "/v1/runs/-", "/v1/enrichment/.output", "/v1/./runs",
        "/v1/enrichment/a%2foutput", "/V1/runs", "/v1/uploads/%2e%2e%2f%2e%2e",
    ],
)  # fmt: skip
def test_trick_in_a_path_leads_nowhere(http: FlaskClient, path: str) -> None:
    assert refused(http.get(path)) == 404


@pytest.mark.parametrize(
    "key",
    ["%2e%2e", "uploads/%2e%2e/x", "uploads\u2215x", "uploads//x", "\t", "C:\\x", "~/x",
     "uploads/" + "0" * 32 + "/contacts.csv/.."],
)  # fmt: skip
def test_trick_in_the_key_of_a_file_leads_nowhere(http: FlaskClient, key: str) -> None:
    assert refused(http.post("/v1/enrichment", json={"inputFileKey": key})) == 404


@pytest.mark.parametrize(
    "content_type",
    ["text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonp", "application/json, text/html", "text/plain; x=application/json", "json"],
)  # fmt: skip
def test_body_of_another_type_is_not_guessed_at(http: FlaskClient, content_type: str) -> None:
    body = b'{"contacts": [{"id": "1"}]}'
    assert refused(http.post("/v1/enrichment", data=body, content_type=content_type)) == 415


@pytest.mark.parametrize(
    "body",
    [
        b'{"contacts": [{"id": "1", "n": 1e400}]}', b'{"contacts": [{"id": "1", "n": NaN}]}',
        b'{"contacts": [{"id": "1", "n": -Infinity}]}',
        b'{"contacts": [{"id": "1", "n": ' + b"9" * 5000 + b"}]}",
        b'{"contacts": [{"id": "\xed\xa0\x80"}]}', b'{"contacts": [{"id": "\xc0\xae"}]}',
        b'{"contacts": [{"id": "\\ud800"}]}', b'{"contacts": [{"id": "a\\u0000b"}]}',
        b'{"contacts": [{"id": "a\0b"}]}', b'\xef\xbb\xbf{"contacts": [{"id": "1"}]}',
        '{"contacts": [{"id": "1"}]}'.encode("utf-16"), b'{"contacts": [{"id": 01}]}',
        b'{"contacts": [{"id": "1"}]} {}', b'{"contacts": [{"id": "1"},]}',
        b'{"contacts": [{"id": /**/ "1"}]}',
    ],
)  # fmt: skip
def test_what_only_some_take_for_json_is_taken_by_nobody(http: FlaskClient, body: bytes) -> None:
    answer = http.post("/v1/enrichment", data=body, content_type="application/json")
    assert refused(answer) == 400


def test_of_a_member_that_is_there_twice_the_last_one_counts_everywhere(
    asker: FlaskClient, wiring: Wiring
) -> None:
    """What is compared for repeats is what is kept, so that no body passes for another."""
    twice = b'{"contacts": [{"id": "1"}], "contacts": [{"id": "2", "id": "3"}]}'
    headers = {"Idempotency-Key": "twice-12345678"}
    first = asker.post("/v1/enrichment", data=twice, content_type="application/json",
                       headers=headers)  # fmt: skip
    same = asker.post("/v1/enrichment", json={"contacts": [{"id": "3"}]}, headers=headers)
    other = asker.post("/v1/enrichment", json={"contacts": [{"id": "1"}]}, headers=headers)
    assert (same.json, other.status_code) == (first.json, 409)
    [job] = wiring.state.jobs.unfinished(10)
    assert wiring.files.read(job.input_key) == b'{"id":"3"}\n'


def test_numbers_of_any_size_are_kept_as_they_are(asker: FlaskClient, wiring: Wiring) -> None:
    body = b'{"contacts": [{"id": 18446744073709551617, "n": -1000000000000000000000000000001}]}'
    asker.post("/v1/enrichment", data=body, content_type="application/json")
    [job] = wiring.state.jobs.unfinished(10)
    kept = wiring.files.read(job.input_key)
    assert kept == b'{"id":18446744073709551617,"n":-1000000000000000000000000000001}\n'


@pytest.mark.parametrize(
    "key",
    ["short", "x" * 129, "a b c d e f", "aaaaaaaa\tb", "\xfc" * 9, '"aaaaaaaa', "aaaaaaaa;b=c",
     SECRET, "../../../etc", "${jndi:ldap://x}"],
)  # fmt: skip
def test_harmful_idempotency_key_is_refused_and_not_repeated(http: FlaskClient, key: str) -> None:
    body, headers = {"contacts": [{"id": "1"}]}, {"Idempotency-Key": key}
    assert refused(http.post("/v1/enrichment", json=body, headers=headers)) == 422


@pytest.mark.parametrize("end", ["", "/output"])
def test_condition_that_is_not_met_is_an_error_and_gives_nothing_away(
    asker: FlaskClient, wiring: Wiring, end: str
) -> None:
    completed(wiring, b"{}\n")
    answer = asker.get(f"/v1/enrichment/job-0001{end}", headers={"If-Match": '"another"'})
    assert refused(answer) == 412


@pytest.mark.parametrize(
    "query",
    [f"{SECRET}=1", f"status={SECRET}", f"cursor={SECRET}", f"limit={SECRET}", "limit=1e9",
     "limit=9" + "9" * 30, "cursor=%FF%00", "limit=%D9%A3", "offset=-1", "limit[]=1"],
)  # fmt: skip
def test_harmful_query_is_refused_and_not_repeated(http: FlaskClient, query: str) -> None:
    assert refused(http.get(f"/v1/enrichment?{query}")) == 422


def test_contact_of_very_many_members_is_refused(http: FlaskClient) -> None:
    body = {"contacts": [{"id": "1"} | {str(number): 0 for number in range(100_001)}]}
    assert refused(http.post("/v1/enrichment", json=body)) == 413


def test_values_that_nest_too_deep_in_a_contact_are_refused(http: FlaskClient) -> None:
    body = b'{"contacts": [{"id": "1", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}]}"
    answer = http.post("/v1/enrichment", data=body, content_type="application/json")
    assert refused(answer) == 400


def test_brackets_and_quotes_in_texts_are_no_structure(http: FlaskClient) -> None:
    contact = {"id": "1", "x": '\\"[[[[[[[[[[{{{{{{{{{{\\\\' * 3}
    assert http.post("/v1/enrichment", json={"contacts": [contact]}).status_code == 202
