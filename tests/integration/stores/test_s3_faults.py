"""An S3 that fails: results are right all the same, or the error says what to do."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from stores.objects import ObjectStore, StagedObject
from stores.objects.s3 import S3ObjectStore
from tests.faults import CutAnswer, CutRequest, Delay, Fault, LoseAnswer, Refuse
from tests.integration.stores.conftest import PART, Faulty, settings_for

RUN = "run-1"
BIG = random.Random(1).randbytes(2 * PART + 1000)
SLOW = Delay(2.5)  # seconds; the store's read timeout in these tests is 2
TEMPORARY_FAULTS = [
    Refuse(500, "InternalError"),
    Refuse(503, "SlowDown"),
    SLOW,
    CutRequest(1000),
    LoseAnswer(),
]
each_fault = pytest.mark.parametrize("fault", TEMPORARY_FAULTS, ids=str)


def stage(store: ObjectStore, key: str, data: bytes) -> StagedObject:
    writer = store.stage(key, RUN)
    writer.write(data)
    return writer.close()


# --- reading


@each_fault
def test_object_is_read_despite(fault: Fault, faulty: Faulty) -> None:
    faulty.store.put("a", BIG)
    faulty.proxy.inject(fault, method="GET")
    assert faulty.store.read("a") == BIG
    assert faulty.proxy.injected == 1


@pytest.mark.parametrize("after", [0, 1, 1_000_000])
def test_stream_goes_on_where_it_was_cut(faulty: Faulty, after: int) -> None:
    faulty.store.put("a", BIG)
    faulty.proxy.inject(CutAnswer(after), times=2, method="GET")
    with faulty.store.open("a", 5) as stream:
        assert stream.read() == BIG[5:]
    assert faulty.proxy.injected == 2


def test_stream_that_is_cut_more_often_than_there_are_attempts_ends_well(faulty: Faulty) -> None:
    faulty.store.put("a", BIG)
    faulty.proxy.inject(CutAnswer(1_000_000), times=8, method="GET")
    assert faulty.store.read("a") == BIG
    assert faulty.proxy.injected == 8


def test_stream_that_makes_no_progress_is_unavailable(faulty: Faulty) -> None:
    faulty.store.put("a", BIG)
    faulty.proxy.inject(CutAnswer(0), times=99, method="GET")
    with pytest.raises(StoreUnavailable, match="3 attempts"):
        faulty.store.read("a")


def test_object_replaced_before_a_stream_goes_on_is_object_changed(faulty: Faulty) -> None:
    faulty.store.put("a", BIG)
    faulty.proxy.inject(CutAnswer(1_000_000), method="GET")
    with faulty.store.open("a") as stream:
        stream.read(10)
        faulty.store.put("a", b"n" * len(BIG))
        with pytest.raises(ObjectChanged):
            stream.read()


@each_fault
def test_listing_is_whole_despite(fault: Fault, faulty: Faulty) -> None:
    faulty.store.put("a", b"1")
    faulty.proxy.inject(fault, method="GET", query="list-type=2")
    assert [info.key for info in faulty.store.list()] == ["a"]


# --- writing


@each_fault
def test_object_is_published_despite_a_part_met_by(fault: Fault, faulty: Faulty) -> None:
    faulty.proxy.inject(fault, times=2, method="PUT", query="partNumber=2")
    faulty.store.publish([stage(faulty.store, "a", BIG)])
    assert faulty.store.read("a") == BIG
    assert (faulty.proxy.injected, faulty.uploads()) == (2, 0)


@each_fault
def test_object_is_published_despite_a_completion_met_by(fault: Fault, faulty: Faulty) -> None:
    staged = stage(faulty.store, "a", BIG)
    faulty.proxy.inject(fault, method="POST", query="uploadId")
    faulty.store.publish([staged])
    assert faulty.store.read("a") == BIG
    assert (faulty.proxy.injected, faulty.uploads()) == (1, 0)


@each_fault
def test_nothing_is_left_when_the_creation_is_met_by(fault: Fault, faulty: Faulty) -> None:
    faulty.proxy.inject(fault, method="POST", query="uploads")
    faulty.store.publish([stage(faulty.store, "a", b"data")])
    faulty.store.clear_staging(RUN)
    assert (faulty.proxy.injected, faulty.uploads()) == (1, 0)


@each_fault
def test_put_if_absent_knows_its_own_success_despite(fault: Fault, faulty: Faulty) -> None:
    faulty.proxy.inject(fault, method="PUT", path="log/1")
    faulty.store.put_if_absent("log/1", b"mine")
    assert faulty.store.read("log/1") == b"mine"
    assert faulty.proxy.injected == 1


@each_fault
def test_put_if_match_knows_its_own_success_despite(fault: Fault, faulty: Faulty) -> None:
    etag = faulty.store.put("a", b"before").etag
    faulty.proxy.inject(fault, method="PUT", path="lake/a")
    info = faulty.store.put_if_match("a", b"after", etag)
    found = faulty.store.head("a")
    assert found is not None
    assert (faulty.store.read("a"), found.etag) == (b"after", info.etag)


@each_fault
def test_publish_if_match_knows_its_own_success_despite(fault: Fault, faulty: Faulty) -> None:
    before, staged = faulty.store.put("a", b"before"), stage(faulty.store, "a", BIG)
    faulty.proxy.inject(fault, method="POST", query="uploadId")
    faulty.store.publish_if_match(staged, before.etag)
    assert faulty.store.read("a") == BIG
    assert (faulty.proxy.injected, faulty.uploads()) == (1, 0)


@each_fault
def test_delete_if_match_knows_its_own_success_despite(fault: Fault, faulty: Faulty) -> None:
    before = faulty.store.put("a", b"before")
    faulty.proxy.inject(fault, method="DELETE", path="lake/a")
    faulty.store.delete_if_match("a", before.etag)
    assert (faulty.store.head("a"), faulty.proxy.injected) == (None, 1)


def test_own_completion_is_known_where_tags_are_no_digests(faulty: Faulty) -> None:
    before, staged = faulty.store.put("a", b"before"), stage(faulty.store, "a", b"after")
    untold = replace(staged, etag="")
    faulty.store.publish_if_match(untold, before.etag)
    faulty.store.publish_if_match(untold, before.etag)
    faulty.store.put("a", b"other")
    with pytest.raises(ObjectChanged):
        faulty.store.publish_if_match(untold, before.etag)


@pytest.mark.parametrize("code", ["PreconditionFailed", "NoSuchUpload"])
def test_a_refused_replacement_says_who_is_to_blame(faulty: Faulty, code: str) -> None:
    before, staged = faulty.store.put("a", b"before"), stage(faulty.store, "a", b"after")
    status = 412 if code == "PreconditionFailed" else 404
    faulty.proxy.inject(Refuse(status, code), method="POST", query="uploadId")
    with pytest.raises(ObjectMissing, match="staged data is gone"):
        faulty.store.publish_if_match(staged, before.etag)


def test_undecided_conditional_writes_are_tried_again(faulty: Faulty) -> None:
    faulty.proxy.inject(Refuse(409, "ConditionalRequestConflict"), times=2, method="PUT")
    faulty.store.put_if_absent("log/1", b"mine")
    assert faulty.store.read("log/1") == b"mine"


def test_writes_undecided_for_good_are_unavailable(faulty: Faulty) -> None:
    faulty.proxy.inject(Refuse(409, "ConditionalRequestConflict"), times=99, method="PUT")
    with pytest.raises(StoreUnavailable, match="try again"):
        faulty.store.put_if_absent("log/1", b"mine")
    assert faulty.proxy.injected == 3


def test_lost_race_is_told_although_the_answer_was_lost(faulty: Faulty) -> None:
    faulty.store.put("log/1", b"theirs")
    faulty.proxy.inject(LoseAnswer(), method="PUT")
    with pytest.raises(ObjectExists):
        faulty.store.put_if_absent("log/1", b"mine")


# --- for good


def test_failed_part_tells_the_writer_and_abort_leaves_no_upload(faulty: Faulty) -> None:
    writer = faulty.store.stage("a", RUN)
    faulty.proxy.inject(Refuse(500, "InternalError"), times=3, query="partNumber=2")
    writer.write(BIG)
    with pytest.raises(StoreUnavailable):
        writer.close()
    writer.abort()
    assert (faulty.uploads(), list(faulty.store.list("_lethe/"))) == (0, [])


def test_failed_part_is_told_before_more_than_a_part_is_written(faulty: Faulty) -> None:
    writer = faulty.store.stage("a", RUN)
    faulty.proxy.inject(Refuse(403, "AccessDenied"), times=99, query="partNumber=1")
    with pytest.raises(AccessDenied):
        writer.write(BIG)
    writer.abort()


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (Refuse(503, "SlowDown"), StoreUnavailable, "SlowDown.*try again"),
        (Refuse(500, "InternalError"), StoreUnavailable, "try again"),
        (CutRequest(0), StoreUnavailable, "check the endpoint"),
        (Refuse(403, "AccessDenied"), AccessDenied, "credentials"),
        (Refuse(400, "ExpiredToken"), AccessDenied, "credentials"),
        (Refuse(507, "InsufficientStorage"), StoreFull, "room"),
        (Refuse(400, "InvalidArgument"), StoreError, "InvalidArgument"),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
@pytest.mark.parametrize(
    "verb",
    [
        lambda store: store.put("a", b"data"),
        lambda store: store.read("a"),
        lambda store: store.delete("a"),
        lambda store: list(store.list()),
        lambda store: store.stage("a", RUN),
    ],
    ids=["put", "read", "delete", "list", "stage"],
)
def test_refusal_has_its_own_error(
    faulty: Faulty,
    fault: Fault,
    expected: type[StoreError],
    words: str,
    verb: Callable[[S3ObjectStore], object],
) -> None:
    faulty.proxy.inject(fault, times=99)
    with pytest.raises(StoreError, match=words) as caught:
        verb(faulty.store)
    assert type(caught.value) is expected
    assert "testing" not in str(caught.value)  # neither the access key nor the secret


def test_only_unavailable_is_retryable(faulty: Faulty) -> None:
    faulty.proxy.inject(Refuse(403, "AccessDenied"), times=99)
    with pytest.raises(AccessDenied) as caught:
        faulty.store.head("a")
    assert (caught.value.retryable, faulty.proxy.injected) == (False, 1)


def test_missing_bucket_is_named(faulty: Faulty) -> None:
    store = S3ObjectStore("no-such-bucket", settings=settings_for(faulty.direct_url))
    with pytest.raises(StoreError, match="bucket no-such-bucket does not exist: create it"):
        store.check_writable()


def test_store_that_is_not_there_is_unavailable() -> None:
    store = S3ObjectStore("bucket", settings=settings_for("http://127.0.0.1:9"))
    with pytest.raises(StoreUnavailable, match="check the endpoint"):
        store.read("a")


def test_store_that_ignores_if_none_match_is_refused(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faulty.store, "put_if_absent", faulty.store.put)
    with pytest.raises(StoreError, match="If-None-Match"):
        faulty.store.check_writable()
    assert list(faulty.store.list()) == []
