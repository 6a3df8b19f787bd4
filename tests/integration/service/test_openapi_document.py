"""The OpenAPI document is valid, complete, and can be read where it is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.integration.service.principals import Client

METHODS = {"get", "post", "put", "delete", "patch"}
SIGNED = {"/v1/dsr/callbacks/opendsr", "/opengdpr_callbacks"}
OPEN = {
    "/healthz",
    "/readyz",
    "/v1/uploads/{upload_id}",
    "/opendsr/v3/discovery",
    "/opendsr/v3/certificate",
    *SIGNED,
}
OPENDSR = ("/opendsr/", "/opengdpr_requests")


@pytest.fixture
def document(client: Client) -> Any:
    return client(None).get("/openapi/openapi.json").json


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    for path, item in document["paths"].items():
        yield from ((path, item[method]) for method in METHODS & set(item))


def test_document_is_valid(document: Any) -> None:
    validate(document)


def test_operations_are_named_once(document: Any) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names) > 3


def test_operations_say_what_they_do_and_answer(document: Any) -> None:
    for path, operation in operations(document):
        assert operation["summary"].endswith("."), path
        assert operation["tags"] != ["default"], path
        assert any(status.startswith("2") for status in operation["responses"]), path


def test_operations_need_a_token_or_a_key(document: Any) -> None:
    for path, operation in operations(document):
        if path not in OPEN:
            basic = [{"basic": []}] if path.startswith(OPENDSR) else []
            assert operation["security"] == [*basic, {"bearer": []}, {"apiKey": []}], path


def test_errors_are_declared_in_one_shape(document: Any) -> None:
    for path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("4"):
                schema = response["content"]["application/json"]["schema"]
                # The framework refuses a method before it knows whose address that is.
                is_opendsr = path.startswith(OPENDSR) and status != "405"
                shape = "OpendsrError" if is_opendsr else "ErrorBody"
                assert schema == {"$ref": f"#/components/schemas/{shape}"}, (path, status)


def test_parameters_of_paths_are_declared(document: Any) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path)), path


def test_page_and_all_it_needs_are_served_from_here(client: Client) -> None:
    asker = client(None)
    page = asker.get("/openapi/")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "http" not in page.text.replace("<!doctype html>", "")
    assert [asker.get(f"/openapi/{link}").status_code for link in links] == [200] * 3


def test_page_runs_only_scripts_of_its_own(client: Client) -> None:
    page = client(None).get("/openapi/")
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script>|onload=", page.text)
