"""The limiter: shared counts, what it remembers, and what it does without a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from config.service import LimitsSection
from schemas.access import Principal
from schemas.errors import StoreUnavailable, UsageError
from schemas.requests import Counted, Tally
from service.limits.limiter import Limiter
from service.limits.policy import Policy, Rule, client_network, endpoint_name, policy_of
from service.limits.sliding_window import Rate
from service.security.pseudonyms import Pseudonyms

START = datetime(2026, 11, 21, tzinfo=UTC)
TEN = [Rule("all", Rate(10, 60))]
PSEUDONYMS = Pseudonyms(b"k" * 32)
ME = Principal("me", "org-1", frozenset(), frozenset())


class Store:
    """Counters in memory, with a clock, that may be out."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.counts: Counter[tuple[str, int]] = Counter()
        self.trips = 0
        self.is_out = False

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def count(self, counted: Sequence[Counted]) -> list[Tally]:
        self.trips += 1
        if self.is_out:
            raise StoreUnavailable("out")
        return [self._tally(each.name, each.period(self.now())) for each in counted]

    def _tally(self, name: str, period: int) -> Tally:
        self.counts[name, period] += 1
        return Tally(self.counts[name, period], self.counts[name, period - 1])

    def prune(self) -> int:
        return 0

    def limiter(self) -> Limiter:
        return Limiter(self, self.now, self.monotonic)


def ask(limiter: Limiter, rules: Sequence[Rule] = TEN) -> bool:
    """Whether a request is let through."""
    place = limiter.remembered(rules) or limiter.count(rules)
    return place is None or not place.is_over


def test_ten_a_minute_is_ten_for_all_processes_together() -> None:
    store = Store()
    processes = [store.limiter() for _ in range(4)]
    let_through = sum(ask(processes[number % 4]) for number in range(40))
    assert let_through == 10


def test_request_is_one_round_trip_whatever_its_rules() -> None:
    store = Store()
    store.limiter().count([Rule(name, Rate(10, 60)) for name in "abcd"])
    assert store.trips == 1


def test_flood_is_turned_away_from_memory() -> None:
    store = Store()
    limiter = store.limiter()
    for _ in range(1000):
        ask(limiter)
    assert store.trips == 10


def test_whoever_is_over_comes_again_when_they_were_told() -> None:
    store = Store()
    limiter = store.limiter()
    while ask(limiter):
        pass
    place = limiter.remembered(TEN)
    assert place is not None
    store.seconds += place.retry_after
    assert ask(limiter)


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_limit_may_run_out_while_it_is_looked_up(looks: int) -> None:
    store, times = Store(), [0.0]
    limiter = Limiter(store, store.now, lambda: times.pop() if len(times) > 1 else times[0])
    while ask(limiter):
        pass
    times[:] = [60.0, *([59.9] * looks)]
    place = limiter.remembered(TEN)
    assert place is None or place.wait > 0


def test_hammering_does_not_lock_anybody_out() -> None:
    """Who asks ten times as often as they may still gets what they may, over time."""
    store = Store()
    limiter = store.limiter()
    let_through = 0
    for _ in range(6000):
        store.seconds += 0.6
        let_through += ask(limiter)
    assert 0.9 * 600 <= let_through <= 610


def test_tightest_rule_is_told() -> None:
    rules = [Rule("wide", Rate(100, 60)), Rule("tight", Rate(3, 60)), Rule("mid", Rate(50, 60))]
    place = Store().limiter().count(rules)
    assert place is not None
    assert (place.rate.limit, place.remaining) == (3, 2)


def test_one_name_over_its_limit_leaves_others_alone() -> None:
    limiter = Store().limiter()
    while ask(limiter):
        pass
    assert ask(limiter, [Rule("another", Rate(10, 60))])


def test_requests_pass_while_counters_are_out() -> None:
    store = Store()
    store.is_out = True
    limiter = store.limiter()
    assert all(ask(limiter) for _ in range(100))


def test_requests_do_not_wait_for_counters_that_are_out() -> None:
    store = Store()
    store.is_out = True
    limiter = store.limiter()
    for _ in range(100):
        ask(limiter)
    assert store.trips == 1


def test_counting_goes_on_when_counters_are_back() -> None:
    store = Store()
    store.is_out = True
    limiter = store.limiter()
    ask(limiter)
    store.is_out = False
    store.seconds += 5
    assert sum(ask(limiter) for _ in range(20)) == 10


def test_outage_is_logged_once_a_minute() -> None:
    store = Store()
    store.is_out = True
    limiter = store.limiter()
    with capture_logs() as lines:
        for _ in range(120):
            store.seconds += 1
            ask(limiter)
    assert len(lines) == 2


def test_every_decision_is_told() -> None:
    store, told = Store(), Counter[str]()
    limiter = Limiter(store, store.now, store.monotonic, lambda decision: told.update([decision]))
    for _ in range(13):
        ask(limiter)
    store.is_out = True
    ask(limiter, [Rule("another", Rate(1, 60))])
    assert told == {"allowed": 10, "limited": 3, "unchecked": 1}


def policy(**limits: object) -> Policy:
    given = {"address": "10/m", "principal": "20/m", "everything": "none", **limits}
    return policy_of(LimitsSection.model_validate(given), PSEUDONYMS)


def names(rules: Sequence[Rule]) -> list[str]:
    return [rule.name.partition(":")[0] for rule in rules]


def test_request_falls_under_all_its_limits() -> None:
    limits = policy(everything="99/m", endpoints={"POST /v1/enrichment": "5/m"})
    rules = limits.of_request("192.0.2.1", ME, "POST /v1/enrichment")
    assert names(rules) == ["all", "ip", "principal", "endpoint"]


def test_endpoint_without_a_limit_of_its_own_has_none() -> None:
    limits = policy(endpoints={"POST /v1/enrichment": "5/m"})
    assert names(limits.of_request("192.0.2.1", ME, "GET /v1/runs")) == ["ip", "principal"]


def test_limit_can_be_left_out() -> None:
    assert policy(address="none", principal="none").of_request("192.0.2.1", ME, None) == []


def test_endpoints_limit_is_each_principals_own() -> None:
    limits = policy(endpoints={"GET /a": "5/m"})
    other = Principal("me", "org-2", frozenset(), frozenset())
    found = {limits.of_request("192.0.2.1", who, "GET /a")[-1].name for who in (ME, other)}
    assert len(found) == 2


def test_names_hold_neither_addresses_nor_people() -> None:
    limits = policy(endpoints={"GET /a": "5/m"})
    told = repr([rule.name for rule in limits.of_request("192.0.2.1", ME, "GET /a")])
    assert not any(known in told for known in ("192.0.2", "me", "org-1"))


def test_pseudonyms_differ_by_key() -> None:
    assert PSEUDONYMS.of("a", "b") != Pseudonyms(b"x" * 32).of("a", "b")


def test_pseudonyms_tell_where_parts_end() -> None:
    assert PSEUDONYMS.of("ab", "c") != PSEUDONYMS.of("a", "bc")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:7:1::1", "2001:db8:0:7::/64"),
        ("2001:db8:0:7:ffff::2", "2001:db8:0:7::/64"),
        ("", "unknown"),
        ("evil\r\nname", "unknown"),
    ],
)
def test_client_is_an_address_or_the_network_that_one_has(address: str, network: str) -> None:
    assert client_network(address) == network


def test_endpoint_is_named_as_in_the_document() -> None:
    assert endpoint_name("GET", "/v1/runs/<id:run_id>/log") == "GET /v1/runs/{run_id}/log"


def test_bad_rate_names_its_setting() -> None:
    with pytest.raises(UsageError, match=r"service\.limits\.address"):
        policy(address="ten")


def test_bad_rate_of_an_endpoint_names_its_setting() -> None:
    with pytest.raises(UsageError, match=r"service\.limits\.endpoints"):
        policy(endpoints={"GET /a": "ten"})
