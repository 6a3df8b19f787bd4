"""Rate limits of the whole application, and of several processes together."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from schemas.access import Principal
from schemas.errors import StoreUnavailable, UsageError
from service.app import create_app
from service.bootstrap import Wiring
from service.limits.limiter import Limiter
from service.limits.policy import Rule, policy_of
from service.limits.sliding_window import Rate
from service.security.pseudonyms import Pseudonyms
from stores.state.sql import open_state
from tests.integration.service.principals import OPERATOR, STRANGER, VIEWER

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATH = "/v1/runs"
Limited = Callable[..., Callable[[Principal], FlaskClient]]


def still(wiring: Wiring) -> Limiter:
    """At the beginning of an hour, for ever: both periods count in full."""
    return Limiter(wiring.state.counters, lambda: NOW, lambda: 0.0)


@pytest.fixture
def limited(wiring: Wiring) -> Limited:
    """Clients of one application with these limits."""

    def make(**limits: Any) -> Callable[[Principal], FlaskClient]:
        none = {"address": "none", "principal": "none", "everything": "none"}
        section = wiring.settings.service.limits.model_copy(update={**none, **limits})
        who: list[Principal] = []
        changed = replace(
            wiring,
            authenticate=lambda _: who[-1],
            limiter=still(wiring),
            policy=policy_of(section, Pseudonyms(b"k" * 32)),
        )
        app = create_app(changed)

        def client(principal: Principal) -> FlaskClient:
            who.append(principal)
            return app.test_client()

        return client

    return make


def statuses(client: FlaskClient, times: int, path: str = PATH) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def test_ten_an_hour_is_ten(limited: Limited) -> None:
    assert statuses(limited(principal="10/h")(VIEWER), 13) == [200] * 10 + [429] * 3


def test_answer_tells_what_is_left(limited: Limited) -> None:
    answer = limited(principal="10/h")(VIEWER).get(PATH)
    assert answer.headers["RateLimit-Limit"] == "10"
    assert answer.headers["RateLimit-Remaining"] == "9"
    assert answer.headers["RateLimit-Policy"] == "10;w=3600"
    assert 0 < int(answer.headers["RateLimit-Reset"]) <= 3600


def test_refusal_tells_when_to_come_again(limited: Limited) -> None:
    client = limited(principal="1/h")(VIEWER)
    client.get(PATH)
    answer = client.get(PATH)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == answer.headers["RateLimit-Reset"]
    assert answer.headers["RateLimit-Remaining"] == "0"


def test_principals_limit_is_their_own(limited: Limited) -> None:
    client = limited(principal="1/h")
    assert statuses(client(VIEWER), 2) == [200, 429]
    assert statuses(client(STRANGER), 2) == [200, 429]


def test_addresses_limit_is_everybodys_behind_it(limited: Limited) -> None:
    client = limited(address="2/h")
    seen = [statuses(client(who), 1) for who in (VIEWER, STRANGER, OPERATOR)]
    assert seen == [[200], [200], [429]]


def test_global_limit_is_for_all(limited: Limited) -> None:
    client = limited(everything="2/h")
    seen = [statuses(client(who), 1) for who in (VIEWER, STRANGER, OPERATOR)]
    assert seen == [[200], [200], [429]]


def test_endpoints_limit_leaves_other_endpoints_alone(limited: Limited) -> None:
    client = limited(endpoints={f"GET {PATH}": "1/h"})(VIEWER)
    assert statuses(client, 2) == [200, 429]
    assert statuses(client, 2, f"{PATH}/none") == [404, 404]


def test_limit_of_an_endpoint_that_there_is_not_is_refused(limited: Limited) -> None:
    with pytest.raises(UsageError, match=r"POST /v1/unknown"):
        limited(endpoints={"POST /v1/unknown": "1/h"})


def test_address_in_a_header_is_not_believed(limited: Limited) -> None:
    client = limited(address="1/h")(VIEWER)
    seen = [
        client.get(PATH, headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(3)
    ]
    assert seen == [200, 429, 429]


def test_address_that_a_trusted_proxy_writes_is_the_one_that_counts(wiring: Wiring) -> None:
    """Whatever the client wrote before it."""
    service = wiring.settings.service
    limits = service.limits.model_copy(update={"address": "1/h"})
    behind = service.model_copy(update={"trusted_proxies": 1, "limits": limits})
    changed = replace(
        wiring,
        settings=wiring.settings.model_copy(update={"service": behind}),
        authenticate=lambda _: VIEWER,
        limiter=still(wiring),
        policy=policy_of(limits, Pseudonyms(b"k" * 32)),
    )
    client = create_app(changed).test_client()
    written = ["192.0.2.1", "198.51.100.7, 192.0.2.1", "192.0.2.2"]
    seen = [client.get(PATH, headers={"X-Forwarded-For": each}).status_code for each in written]
    assert seen == [200, 429, 200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_never_refused(limited: Limited, path: str) -> None:
    client = limited(address="1/h", everything="1/h")(VIEWER)
    statuses(client, 3)
    assert set(statuses(client, 3, path)) == {200}


def test_strangers_at_the_door_are_counted_and_turned_away(wiring: Wiring) -> None:
    """Guessing of tokens is limited by address; from then on no token is even looked at."""
    section = wiring.settings.service.limits.model_copy(update={"address": "5/h"})
    policy = policy_of(section, Pseudonyms(b"k" * 32))
    changed = replace(wiring, limiter=still(wiring), policy=policy)
    client = create_app(changed).test_client()
    guess = {"Authorization": "Bearer lk_" + "a" * 43}
    seen = [client.get(PATH, headers=guess).status_code for _ in range(6)]
    with capture_logs() as lines:
        seen += [client.get(PATH, headers=guess).status_code for _ in range(3)]
    assert seen == [401] * 5 + [429] * 4
    assert not [line for line in lines if line["event"] == "credentials refused"]


def test_paths_that_lead_nowhere_are_counted(limited: Limited) -> None:
    assert statuses(limited(address="2/h")(VIEWER), 3, "/nothing") == [404, 404, 429]


class Out:
    """Counters that nobody reaches."""

    def count(self, counted: Any) -> Any:
        raise StoreUnavailable("out")

    def prune(self) -> int:
        raise StoreUnavailable("out")


def test_requests_pass_when_counters_are_out(wiring: Wiring) -> None:
    changed = replace(
        wiring,
        authenticate=lambda _: VIEWER,
        limiter=Limiter(Out(), lambda: NOW, lambda: 0.0),
    )
    answer = create_app(changed).test_client().get(PATH)
    assert (answer.status_code, "RateLimit-Limit" in answer.headers) == (200, False)


def _ask(url: str, start: Any, answers: Any) -> None:
    state = open_state(url, lambda: NOW)
    limiter, rules = Limiter(state.counters, lambda: NOW, lambda: 0.0), [Rule("x", Rate(10, 3600))]
    start.wait()
    places = [limiter.remembered(rules) or limiter.count(rules) for _ in range(20)]
    answers.put(sum(place is not None and not place.is_over for place in places))
    state.close()


def test_processes_share_one_limit(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    open_state(url).close()
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_ask, args=(url, start, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    let_through = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert sum(let_through) == 10
