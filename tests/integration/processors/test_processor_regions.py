"""Two regions that fail in turn, and many threads: each request is in one of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from random import Random

import pytest

from config.dsr import ProcessorSection, RegionSection
from schemas.dsr import Identity, IdentityType, Regulation, RequestType
from schemas.opendsr.model import Dialect, SubjectRequest
from stores.parameters import EnvironmentParameters
from stores.processors.client import ProcessorClient
from stores.processors.errors import Garbled, Unreachable, Unsettled
from stores.processors.opening import open_processor
from stores.processors.port import Accepted, Earlier
from stores.streams.backoff import SystemClock
from tests.mock_processor import RunningProcessor, running_processor
from tests.waiting import PATIENCE

REQUESTS = 100
THREADS = 8


@pytest.fixture
def regions() -> Iterator[tuple[RunningProcessor, RunningProcessor]]:
    with running_processor(step=None) as first, running_processor(step=None) as second:
        yield first, second


def client(regions: tuple[RunningProcessor, ...]) -> ProcessorClient:
    """One for which nothing is on its way after an answer: the mocks have it at once."""
    section = ProcessorSection(
        dialect=Dialect.MPARTICLE_3,
        regions=tuple(RegionSection(name=f"r{n}", url=one.url) for n, one in enumerate(regions)),
        timeout_seconds=1, budget_seconds=0.5, settle_seconds=0,
    )  # fmt: skip
    return open_processor("chaos", section, EnvironmentParameters(), SystemClock())


def request() -> SubjectRequest:
    fresh = str(uuid.uuid4())
    identity = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, fresh)
    now = datetime.now(UTC)
    return SubjectRequest(fresh, Regulation.GDPR, RequestType.ERASURE, now, (identity,))


def forward(processor: ProcessorClient, sent: SubjectRequest, until: float) -> Accepted:
    """Submit it as the port says, until it is accepted."""
    earlier: Earlier | None = None
    while True:
        began = datetime.now(UTC)
        try:
            return processor.submit(sent, earlier)
        except Unsettled as error:
            earlier = Earlier(began, error.region)
        except (Unreachable, Garbled):
            earlier = None
        assert time.monotonic() < until
        time.sleep(0.1)


def disturb(regions: tuple[RunningProcessor, ...], random: Random) -> None:
    for region in regions:
        region.set(
            outage=random.random() < 0.3, lost=random.choice([0, 0.3]),
            error_rate=random.choice([0, 0.3]), latency=0.02,
        )  # fmt: skip


def trouble(regions: tuple[RunningProcessor, ...], stop: threading.Event) -> None:
    """Change how the regions fail, until told to stop; then they are well."""
    random = Random(7)
    while not stop.wait(0.2):
        disturb(regions, random)
    for region in regions:
        region.set(outage=False, lost=0, error_rate=0)


def test_each_request_is_in_one_region_whatever_fails(
    regions: tuple[RunningProcessor, RunningProcessor],
) -> None:
    processor, stop = client(regions), threading.Event()
    sent = [request() for _ in range(REQUESTS)]
    disturbing = threading.Thread(target=trouble, args=(regions, stop))
    regions[0].set(lost=0.5, latency=0.02)
    disturbing.start()
    threading.Timer(2.0, stop.set).start()
    until = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(THREADS) as pool:
        accepted = list(pool.map(lambda one: forward(processor, one, until), sent))
    stop.set()
    disturbing.join()
    found = {f"r{n}": set(region.received()) for n, region in enumerate(regions)}
    assert not found["r0"] & found["r1"]
    assert {one.id: answer.region for one, answer in zip(sent, accepted, strict=True)} == {
        request_id: name for name, ids in found.items() for request_id in ids
    }


def test_region_that_comes_back_is_used_again(
    regions: tuple[RunningProcessor, RunningProcessor],
) -> None:
    processor = client(regions)
    regions[0].set(outage=True)
    assert processor.submit(request()).region == "r1"
    regions[0].set(outage=False)
    assert processor.submit(request()).region == "r0"


def test_region_that_asks_for_patience_by_503_is_passed_over(
    regions: tuple[RunningProcessor, RunningProcessor],
) -> None:
    processor = client(regions)
    regions[0].set(outage=True)
    assert [processor.submit(request()).region for _ in range(8)] == ["r1"] * 8
