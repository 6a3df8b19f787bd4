"""The mock API's answers, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runners.mock_api.answers import MockApi, Reply
from runners.mock_api.settings import MockSettings


def mock(seed: int = 0, **settings: Any) -> MockApi:
    return MockApi(MockSettings(**settings), seed, lambda: 0.0)


def ask(api: MockApi, *ids: str) -> Reply:
    body = json.dumps({"contacts": [{"id": each} for each in ids]}).encode()
    return api.reply("POST", "/v1/enrich", body)


def test_the_seed_decides_what_is_known_of_a_contact() -> None:
    assert ask(mock(), "1").body == ask(mock(), "1").body
    assert ask(mock(), "1").body != ask(mock(seed=1), "1").body


def test_results_are_those_of_the_contacts() -> None:
    results = json.loads(ask(mock(), "1", "2").body)["results"]
    assert [result["id"] for result in results] == ["1", "2"]


@pytest.mark.parametrize(
    ("settings", "status"),
    [({"error_rate": 1.0}, 500), ({"outage": True}, 503), ({"rejected": ("1",)}, 422),
     ({"breaking": ("1",)}, 500), ({"breaking": ("2",)}, 200)],
)  # fmt: skip
def test_it_fails_as_it_is_told(settings: dict[str, Any], status: int) -> None:
    assert ask(mock(**settings), "1").status == status


def test_beyond_the_throttle_it_says_when_to_come_again() -> None:
    api = mock(throttle=1.0)
    first, second = ask(api, "1"), ask(api, "1")
    assert (first.status, second.status) == (200, 429)
    assert second.headers == {"Retry-After": "1"}


def test_an_error_rate_is_met() -> None:
    api = mock(error_rate=0.2)
    failed = sum(ask(api, "1").status == 500 for _ in range(1000))
    assert 150 < failed < 250


def test_settings_change_while_it_runs() -> None:
    api = mock()
    answer = api.reply("PUT", "/settings", b'{"latency": 0.5, "breaking": ["1"]}')
    assert json.loads(answer.body)["latency"] == 0.5
    assert ask(api, "2").delay == 0.5
    assert ask(api, "1").status == 500


@pytest.mark.parametrize(
    "change",
    [b"", b"[]", b'{"latency": "x"}', b'{"laten": 1}', b'{"error_rate": 2}', b'{"throttle": 0}'],
)
def test_bad_settings_change_nothing(change: bytes) -> None:
    api = mock(latency=0.25)
    assert api.reply("PUT", "/settings", change).status == 400
    assert json.loads(api.reply("GET", "/settings", b"").body)["latency"] == 0.25


def test_it_counts_what_it_answers() -> None:
    api = mock(rejected=("3",))
    ask(api, "1", "2")
    ask(api, "3")
    stats = json.loads(api.reply("GET", "/stats", b"").body)
    assert stats == {"calls": 2, "contacts": 2, "answered": 1, "rejected": 1}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"contacts": [1]}', b'{"contacts": [{"id": 1}]}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert mock().reply("POST", "/v1/enrich", body).status == 400


def test_elsewhere_there_is_nothing() -> None:
    assert mock().reply("GET", "/v1/enrich", b"").status == 404
