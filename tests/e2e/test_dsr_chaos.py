"""Misfortunes of all kinds at once, at random; in the end every request is where it should be.

A small number of requests, or as many as ``LETHE_CHAOS`` says; on PostgreSQL among the slow tests.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from schemas.access import Reach
from schemas.audit import AuditEntry
from schemas.dsr import Dsr, DsrQuery, DsrStatus
from schemas.events import Topic
from stores.state.opening import open_stores
from stores.state.service_port import Stores
from tests.e2e.dsr_clients import Clients
from tests.e2e.misfortunes import (
    Misfortune,
    change_mood,
    cut_connections,
    disturb,
    go_on,
    kill_workers,
    lock_file,
    striking,
)
from tests.faults import FaultProxy
from tests.integration.state.conftest import empty_database, postgres_url
from tests.mock_processor import DOMAIN, RunningProcessor, running_processor
from tests.service_process import Service, running_service
from tests.waiting import PATIENCE

__all__ = ["postgres_url"]  # a fixture: pytest finds it here

COUNT = int(os.environ.get("LETHE_CHAOS", "150"))
THREADS = 20
SEED = 20261121
GOES_ON = 5.0 + COUNT / 100
"""Seconds of misfortune after the last client has gone."""

SETTLES_WITHIN = PATIENCE + COUNT / 10
EVERYWHERE = Reach(None)


@dataclass(frozen=True)
class Database:
    """Where the state is, and what befalls it."""

    url: str
    misfortune: Misfortune


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "postgresql":
        url = empty_database(request.getfixturevalue("postgres_url"))
        return Database(url, cut_connections(url))
    file = tmp_path / "state.db"
    return Database(f"sqlite:///{file}", lock_file(file))


@dataclass(frozen=True)
class Scene:
    """A service, and the two regions of the one processor that it forwards to."""

    database: Database
    service: Service
    regions: tuple[RunningProcessor, ...]
    networks: tuple[FaultProxy, ...]


@contextmanager
def scene(folder: Path, database: Database) -> Iterator[Scene]:
    """The regions answer under the certificate of the first, which is the one that calls back."""
    with ExitStack() as stack:
        regions = tuple(
            stack.enter_context(running_processor("--seed", str(n), step=None)) for n in range(2)
        )
        networks = tuple(stack.enter_context(FaultProxy(each.address)) for each in regions)
        port = free_port()
        env = {**settings(folder, port, regions, networks), "LETHE_STATE__URL": database.url}
        service = running_service(folder, "--port", port, "--workers", 2, env=env)
        yield Scene(database, stack.enter_context(service), regions, networks)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def settings(
    folder: Path, port: int, regions: tuple[RunningProcessor, ...], networks: tuple[FaultProxy, ...]
) -> Mapping[str, str]:
    (folder / "roots.pem").write_bytes(b"".join(each.root for each in regions))
    one = {
        "dialect": "opendsr-2.0",
        "regions": [{"name": f"r{n}", "url": f"{p.url}/v2"} for n, p in enumerate(networks)],
        "timeout_seconds": 1.0,
        "budget_seconds": 3.0,
        "settle_seconds": 2.0,
        "requests_per_minute": 100_000,
    }
    callbacks = {
        "urls": [f"http://127.0.0.1:{port}/v1/dsr/callbacks/opendsr"],
        "roots": str(folder / "roots.pem"),
        "processors": {"one": {"domain": DOMAIN, "certificate_url": regions[0].certificate_url}},
    }
    sections: Mapping[str, Any] = {
        "PROCESSORS": {"one": one},
        "CALLBACKS": callbacks,
        "OUTBOUND": {"plain_http": True, "networks": ["127.0.0.0/8"]},
        "DRAIN": {
            "first_pause_seconds": 0.1,
            "longest_pause_seconds": 1.0,
            "max_attempts": 100_000,
        },
        "DSR": {"risk": {"submitter_per_day": 10**9, "source_per_day": 10**9}},
    }
    return {
        "LETHE_SERVICE__IDEMPOTENCY__LOCK_SECONDS": "5",
        "LETHE_SERVICE__LIMITS__ADDRESS": "none",
        "LETHE_SERVICE__LIMITS__PRINCIPAL": "none",
        "LETHE_SERVICE__LIMITS__EVERYTHING": "none",
        **{f"LETHE_{name}": json.dumps(section) for name, section in sections.items()},
    }


def settled(state: Stores) -> list[Dsr]:
    """All requests, as soon as there is nothing left to be done about any of them."""
    until = time.monotonic() + SETTLES_WITHIN
    while True:
        found = everything(state)
        left = [dsr for dsr in found if is_left(dsr)]
        if not left:
            return found
        assert time.monotonic() < until, left[:5]
        time.sleep(0.3)


def everything(state: Stores) -> list[Dsr]:
    return state.dsr.find(DsrQuery(limit=10**6), EVERYWHERE)


def is_left(dsr: Dsr) -> bool:
    is_to_cancel = dsr.cancel_requested_at is not None and not dsr.status.is_final
    return dsr.status is DsrStatus.QUEUED or is_to_cancel


def at_processors(scene: Scene) -> dict[str, list[str]]:
    """The status of each request in each region that has it."""
    found: dict[str, list[str]] = defaultdict(list)
    for region in scene.regions:
        for request_id in region.received():
            with urlopen(f"{region.specification_url}/requests/{request_id}") as answer:
                found[request_id].append(json.load(answer)["request_status"])
    return found


def is_right(dsr: Dsr, there: list[str]) -> bool:
    """Whether it is as its processor says, or behind for want of a callback; never ahead."""
    if not there:
        return dsr.status is DsrStatus.CANCELLED
    known = DsrStatus.SUBMITTED if there == ["pending"] else DsrStatus(there[0])
    return dsr.status is known or dsr.status.may_become(known)


def flaws(state: Stores, dsr: Dsr, trail: list[AuditEntry]) -> list[str]:
    """What the audit log and the events say of a request that cannot be."""
    actions = Counter(entry.draft.action for entry in trail)
    statuses = [DsrStatus(entry.draft.detail["status"]) for entry in trail]
    steps = pairwise(statuses)
    versions = [each.version for each in state.outbox.of(Topic("dsr", dsr.id), 0, 10**6)]
    wrong = {
        "it was not submitted once": actions["dsr.submitted"] != 1,
        "a change is not in the log": len(trail) != dsr.version,
        "its status is not the log's": statuses[-1] is not dsr.status,
        "a status went back": any(a is not b and not a.may_become(b) for a, b in steps),
        "its events have gaps": versions != [*range(1, dsr.version + 1)],
    }
    return [f"{dsr.id}: {what}" for what, is_so in wrong.items() if is_so]


def trails(state: Stores) -> dict[str, list[AuditEntry]]:
    """All entries of the audit log, by what they are about."""
    found: dict[str, list[AuditEntry]] = defaultdict(list)
    after, page = 0, state.audit.entries(0, 1000)
    while page:
        for entry in page:
            found[entry.draft.resource].append(entry)
        after = page[-1].sequence
        page = state.audit.entries(after, 1000)
    return found


def live(scene: Scene) -> Clients:
    """All clients' stories, amid misfortunes."""
    clients = Clients(scene.service, scene.service.token("privacy"))
    with ExitStack() as stack:
        for seed, (misfortune, every) in enumerate(misfortunes(scene)):
            stack.enter_context(striking(misfortune, every=every, seed=SEED + seed))
        clients.run(COUNT, THREADS, SEED)
        time.sleep(GOES_ON)
    return clients


def misfortunes(scene: Scene) -> Iterator[tuple[Misfortune, float]]:
    """Each, and the seconds between two of it."""
    for region, network in zip(scene.regions, scene.networks, strict=True):
        yield change_mood(region), 2.5
        yield disturb(network), 0.2
        yield go_on(region), 1.5
    yield scene.database.misfortune, 2.0
    yield kill_workers(scene.service), 6.0


def test_every_request_is_forwarded_once_and_in_a_right_state_whatever_befalls_it(
    tmp_path: Path, database: Database
) -> None:
    with scene(tmp_path, database) as stage:
        clients = live(stage)
        with closing(open_stores(database.url)) as state:
            found, there = settled(state), at_processors(stage)
            log = trails(state)
            assert {dsr.id for dsr in found} == clients.taken
            assert [one for one, places in there.items() if len(places) > 1] == []
            assert there.keys() <= clients.taken
            assert clients.cancelled <= {d.id for d in found if d.status is DsrStatus.CANCELLED}
            assert [dsr for dsr in found if not is_right(dsr, there.get(dsr.id, []))] == []
            assert [f for dsr in found for f in flaws(state, dsr, log[f"dsr:{dsr.id}"])] == []
        assert "the audit log is whole" in stage.service.lethe("audit", "verify")
        assert "Traceback" not in stage.service.logged()
        assert "canary" not in stage.service.logged()
