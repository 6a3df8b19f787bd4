"""The service says whether it lives, and whether it can work."""

from __future__ import annotations

from tests.integration.service.principals import Client


def test_living_process_says_so_to_anybody(client: Client) -> None:
    answer = client(None).get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_service_with_database_and_files_is_ready(client: Client) -> None:
    answer = client(None).get("/readyz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert {check["name"] for check in answer.json["checks"]} == {"database", "files"}
