"""The client and the mock processor, by real connections."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from config.dsr import ProcessorSection, RegionSection
from schemas.dsr import Identity, IdentityFormat, IdentityType, Regulation, RequestType
from schemas.opendsr.model import Dialect, ProcessingStatus, SubjectRequest
from stores.parameters import EnvironmentParameters
from stores.processors.client import ProcessorClient
from stores.processors.errors import (
    Duplicate,
    Gone,
    Misconfigured,
    NotPending,
    ProcessorError,
    Throttled,
    Unreachable,
    Unsettled,
    Unsupported,
)
from stores.processors.opening import open_processor
from stores.processors.port import Earlier
from stores.streams.backoff import SystemClock
from tests.mock_processor import RunningProcessor, running_processor

NOBODY = "http://127.0.0.1:9/v3"
SECRET = "us-key:a-secret-of-ours"


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningProcessor]:
    with running_processor("--credentials", SECRET, step=None) as running:
        yield running


@pytest.fixture
def processor(shared: RunningProcessor, monkeypatch: pytest.MonkeyPatch) -> RunningProcessor:
    """The processor, well again."""
    monkeypatch.setenv("LETHE_PROCESSOR", SECRET)
    shared.set(outage=False, error_rate=0, lost=0, latency=0, throttle=None, used_percent=None)
    return shared


def client(*urls: str, dialect: Dialect = Dialect.MPARTICLE_3, **settings: Any) -> ProcessorClient:
    regions = tuple(RegionSection(name=f"r{n}", url=url) for n, url in enumerate(urls))
    section = ProcessorSection(
        dialect=dialect, regions=regions, credentials_parameter="processor",
        **{"timeout_seconds": 2, "budget_seconds": 3, **settings},
    )  # fmt: skip
    return open_processor("mp", section, EnvironmentParameters(), SystemClock())


def request(**changes: Any) -> SubjectRequest:
    fresh = uuid.uuid4()
    given: dict[str, Any] = {
        "id": str(fresh),
        "regulation": Regulation.GDPR,
        "type": RequestType.ERASURE,
        "submitted_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "identities": (Identity(IdentityType.EMAIL, f"{fresh}@mail.example"),),
    }
    return SubjectRequest(**{**given, **changes})


@pytest.fixture(params=[*Dialect])
def forwarding(processor: RunningProcessor, request: pytest.FixtureRequest) -> ProcessorClient:
    """A client in each dialect."""
    is_mparticle = request.param is Dialect.MPARTICLE_3
    url = processor.url if is_mparticle else processor.specification_url
    return client(url, dialect=request.param)


def test_request_is_accepted_with_an_expected_completion(forwarding: ProcessorClient) -> None:
    accepted = forwarding.submit(request())
    assert (accepted.region, accepted.is_late) == ("r0", False)
    assert accepted.expected_completion_at is not None


def test_status_is_pending_after_submission(forwarding: ProcessorClient) -> None:
    sent = request()
    forwarding.submit(sent)
    assert forwarding.status(sent.id, "r0").status is ProcessingStatus.PENDING


def test_request_is_cancelled_while_pending(forwarding: ProcessorClient) -> None:
    sent = request()
    forwarding.submit(sent)
    assert forwarding.cancel(sent.id, "r0").request_id == sent.id
    assert forwarding.status(sent.id, "r0").status is ProcessingStatus.CANCELLED


def test_cancelling_twice_is_cancelling_once(forwarding: ProcessorClient) -> None:
    sent = request()
    forwarding.submit(sent)
    assert forwarding.cancel(sent.id, "r0") is not None
    assert forwarding.cancel(sent.id, "r0").request_id == sent.id


def test_request_in_progress_is_not_cancelled(
    processor: RunningProcessor, forwarding: ProcessorClient
) -> None:
    sent = request()
    forwarding.submit(sent)
    processor.advance()
    with pytest.raises(NotPending):
        forwarding.cancel(sent.id, "r0")


def test_unknown_request_is_gone(forwarding: ProcessorClient) -> None:
    with pytest.raises(Gone):
        forwarding.status(str(uuid.uuid4()), "r0")


def test_discovery_names_types_and_certificate(
    processor: RunningProcessor, forwarding: ProcessorClient
) -> None:
    found = forwarding.discovery("r0")
    assert set(found.types) == set(RequestType)
    assert found.certificate == processor.certificate_url


def test_group_is_found_at_mparticle(processor: RunningProcessor) -> None:
    group = str(uuid.uuid4())
    forwarding = client(processor.url)
    sent = [request(group_id=group) for _ in range(2)]
    for one in sent:
        forwarding.submit(one)
    found = forwarding.by_group(group, "r0")
    assert {report.request_id for report in found} == {one.id for one in sent}


def test_repeated_submission_finds_the_first(
    processor: RunningProcessor, forwarding: ProcessorClient
) -> None:
    sent = request()
    forwarding.submit(sent)
    before = processor.received()
    assert forwarding.submit(sent).is_late
    assert processor.received() == before


def test_same_identities_in_progress_are_a_duplicate(processor: RunningProcessor) -> None:
    forwarding = client(processor.url)
    sent = request()
    forwarding.submit(sent)
    with pytest.raises(Duplicate):
        forwarding.submit(request(identities=sent.identities))


def test_submission_whose_answer_is_lost_is_there_once(processor: RunningProcessor) -> None:
    processor.set(lost=0.5)
    sent, forwarding = request(), client(processor.url, attempts=10)
    forwarding.submit(sent)
    assert processor.received().count(sent.id) == 1


def test_answer_lost_for_good_is_unsettled_and_found_later(processor: RunningProcessor) -> None:
    sent, forwarding = request(), client(processor.url, budget_seconds=0.5)
    processor.set(lost=1)
    began = datetime.now(UTC)
    with pytest.raises(Unsettled) as raised:
        forwarding.submit(sent)
    processor.set(lost=0)
    later = client(processor.url).submit(sent, Earlier(began, raised.value.region))
    assert later.is_late


def test_region_that_is_down_is_passed_over(processor: RunningProcessor) -> None:
    assert client(NOBODY, processor.url).submit(request()).region == "r1"


def test_region_that_is_too_slow_is_not_passed_over(processor: RunningProcessor) -> None:
    with running_processor("--credentials", SECRET, latency=5) as slow:
        forwarding = client(slow.url, processor.url, timeout_seconds=0.2, budget_seconds=0.5)
        sent = request()
        with pytest.raises(Unsettled):
            forwarding.submit(sent)
        assert sent.id not in processor.received()


def test_wrong_credentials_are_a_matter_of_settings(
    processor: RunningProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_PROCESSOR", "us-key:another")
    with pytest.raises(Misconfigured, match="credentials"):
        client(processor.url).submit(request())


def test_missing_credentials_are_a_matter_of_settings(
    processor: RunningProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LETHE_PROCESSOR")
    with pytest.raises(Misconfigured, match="LETHE_PROCESSOR"):
        client(processor.url).submit(request())


def test_outage_is_unreachable_and_nothing_is_there(processor: RunningProcessor) -> None:
    processor.set(outage=True)
    sent = request()
    with pytest.raises(Unreachable) as raised:
        client(processor.url).submit(sent)
    assert not isinstance(raised.value, Unsettled)


def test_breaker_leaves_a_region_alone_that_keeps_failing(processor: RunningProcessor) -> None:
    processor.set(error_rate=1)
    forwarding = client(processor.url, budget_seconds=0.3)
    for _ in range(6):
        with pytest.raises(ProcessorError):
            forwarding.submit(request())
    with pytest.raises(Unreachable, match="left alone"):
        forwarding.status(str(uuid.uuid4()), "r0")


def test_throttling_is_told_with_the_time_to_wait(processor: RunningProcessor) -> None:
    processor.set(throttle=0.05)
    forwarding = client(processor.url)
    forwarding.submit(request())
    with pytest.raises(Throttled) as raised:
        forwarding.submit(request())
    assert raised.value.retry_after >= 10


def test_calls_slow_down_before_the_limit_is_reached(processor: RunningProcessor) -> None:
    processor.set(used_percent=100)
    forwarding = client(processor.url)
    forwarding.submit(request())
    with pytest.raises(Throttled):
        forwarding.submit(request())


def test_hashed_identities_are_not_sent_to_mparticle(processor: RunningProcessor) -> None:
    hashed = Identity(IdentityType.EMAIL, "0" * 40, IdentityFormat.SHA1)
    with pytest.raises(Unsupported, match="not hashed"):
        client(processor.url).submit(request(identities=(hashed,)))


def test_errors_hold_neither_identity_nor_secret(processor: RunningProcessor) -> None:
    processor.set(error_rate=1)
    sent = request()
    with pytest.raises(ProcessorError) as raised:
        client(processor.url, budget_seconds=0.3).submit(sent)
    told = f"{raised.value!r} {raised.value.details} {raised.value.__context__!r}"
    assert sent.identities[0].value not in told
    assert "a-secret" not in told
