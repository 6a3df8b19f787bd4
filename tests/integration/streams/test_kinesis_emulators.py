"""Streams as emulators have them: answers, starts, reshards and faults over real HTTP.

What cannot be seen here, for none of the emulators does it: the service's own limits (5 reads a
second, 2 MB a second), iterators that expire, records that expire and shards with them, empty
answers in the middle of a shard, encryption. Tests with a stream in memory show these.
"""

from __future__ import annotations

import pytest

from schemas.errors import AccessDenied, InputError, StoreUnavailable
from schemas.streams import Start, StartKind, StreamAddress
from stores.streams.kinesis import KinesisClient
from tests.emulators import REGION
from tests.faults import CutAnswer, CutRequest, Fault, LoseAnswer, Refuse
from tests.integration.streams.emulated import (
    Emulated,
    KinesisFaultProxy,
    Producer,
    Rounds,
    Streaming,
    check_each_once_and_in_order,
    data_of,
)

THROTTLED = Refuse(400, "ProvisionedThroughputExceededException")
FAULTS = [
    THROTTLED,
    Refuse(400, "LimitExceededException"),
    Refuse(400, "KMSThrottlingException"),
    Refuse(500, "InternalFailure"),
    Refuse(503, "ServiceUnavailable"),
    CutRequest(10),
    CutAnswer(0),
    CutAnswer(100),
    LoseAnswer(),
]

Faulty = tuple[Emulated, KinesisFaultProxy]


# --- every emulator


def test_all_shards_are_read_once(any_stream: Emulated) -> None:
    written = [b"%d" % number for number in range(100)]
    any_stream.put(*written)
    check_each_once_and_in_order(Rounds(any_stream).go(), written)


def test_second_round_reads_only_what_came_since(any_stream: Emulated) -> None:
    rounds = Rounds(any_stream)
    any_stream.put(b"1", b"2", b"3")
    rounds.go()
    any_stream.put(b"4", b"5")
    assert sorted(data_of(rounds.go())) == [b"4", b"5"]


def test_block_has_the_sequence_numbers_that_the_service_gave(any_stream: Emulated) -> None:
    numbers = any_stream.put(b"1", b"2", b"3")
    read = {number for block in Rounds(any_stream).go() for number in block.sequences or ()}
    assert read == set(numbers)


def test_latest_round_reads_nothing_and_the_next_what_came_after_it(any_stream: Emulated) -> None:
    # The service's clock is known by the second, so what came just before may come again: a record
    # that is older than that does not.
    rounds = Rounds(any_stream, Start(StartKind.LATEST))
    assert data_of(rounds.go()) == []
    any_stream.put(b"1", b"2", b"3")
    assert sorted(data_of(rounds.go())) == [b"1", b"2", b"3"]


def test_retention_is_a_day_unless_changed(any_stream: Emulated) -> None:
    assert any_stream.ours.retention().days == 1


def test_missing_stream_is_named(any_stream: Emulated) -> None:
    client = KinesisClient(StreamAddress("no-such-stream", REGION, any_stream.url))
    with pytest.raises(InputError, match=r"no stream no-such-stream in us-east-1.*check"):
        client.list_shards()


def test_streaming_reader_goes_on_after_its_checkpoint(any_stream: Emulated) -> None:
    streaming = Streaming(any_stream)
    any_stream.put(b"1", b"2", b"3")
    streaming.take_until(3)
    any_stream.put(b"4", b"5")
    streaming.restart()
    streaming.take_until(5)
    streaming.close()
    assert sorted(data_of(streaming.blocks)) == [b"1", b"2", b"3", b"4", b"5"]


# --- resharding: only kinesis-local ends a closed shard's iterators, and lists the shard after


def reshard_twice(stream: Emulated) -> None:
    for _ in range(2):
        stream.split()
        stream.merge()


def test_rounds_read_each_record_once_while_shards_split_and_merge(resharding: Emulated) -> None:
    rounds = Rounds(resharding)
    with Producer(resharding) as producer:
        for change in (resharding.split, resharding.merge) * 2:
            rounds.go()
            change()
    rounds.go()
    check_each_once_and_in_order(rounds.blocks, producer.written)


def test_first_round_after_reshards_reads_parents_before_children(resharding: Emulated) -> None:
    with Producer(resharding) as producer:
        reshard_twice(resharding)
    rounds = Rounds(resharding)
    rounds.go()
    check_each_once_and_in_order(rounds.blocks, producer.written)


def test_streaming_reads_each_record_once_while_shards_split_and_merge(
    resharding: Emulated,
) -> None:
    streaming = Streaming(resharding)
    with Producer(resharding) as producer:
        for change in (resharding.split, resharding.merge) * 2:
            change()
            streaming.take(3)
            streaming.restart()
    streaming.take_until(len(producer.written))
    streaming.close()
    check_each_once_and_in_order(streaming.blocks, producer.written)


# --- faults


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_round_is_whole_despite(fault: Fault, faulty: Faulty) -> None:
    stream, proxy = faulty
    written = [b"%d" % number for number in range(50)]
    stream.put(*written)
    proxy.inject(fault, times=3)
    check_each_once_and_in_order(Rounds(stream).go(), written)
    assert proxy.injected == 3


def test_streaming_is_whole_despite_faults_while_shards_split_and_merge(faulty: Faulty) -> None:
    stream, proxy = faulty
    streaming = Streaming(stream)
    with Producer(stream) as producer:
        streaming.take_while(lambda: not streaming.blocks)
        for place, change in enumerate((stream.split, stream.merge) * 2):
            for fault in FAULTS[place::4]:
                proxy.inject(fault)
            change()
            streaming.take_while(lambda: not proxy.is_used_up())
    streaming.take_until(len(producer.written))
    streaming.close()
    check_each_once_and_in_order(streaming.blocks, producer.written)


def test_round_against_a_service_that_stays_busy_is_unavailable(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.streams.backoff.pause", lambda _: 0.0)
    stream, proxy = faulty
    proxy.inject(THROTTLED, times=1000)
    with pytest.raises(StoreUnavailable, match=r"ProvisionedThroughput.*try again later"):
        Rounds(stream).go()
    assert proxy.injected == 9  # one layer of attempts: the SDK adds none of its own


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Refuse(400, "AccessDeniedException"), AccessDenied, "check the credentials"),
        (Refuse(400, "UnrecognizedClientException"), AccessDenied, "check the credentials"),
        (Refuse(400, "ExpiredTokenException"), AccessDenied, "check the credentials"),
        (Refuse(400, "KMSDisabledException"), AccessDenied, "check the key"),
        (Refuse(400, "ResourceNotFoundException"), InputError, "no stream changes-"),
    ],
    ids=str,
)
def test_refusal_is_told_at_once(
    faulty: Faulty, fault: Fault, error: type[Exception], words: str
) -> None:
    stream, proxy = faulty
    proxy.inject(fault, times=1000)
    with pytest.raises(error, match=words):
        Rounds(stream).go()
    assert proxy.injected == 1


def test_missing_credentials_are_told(
    any_stream: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    other = StreamAddress(any_stream.name, "eu-west-3", any_stream.url)  # no client of it yet
    with pytest.raises(AccessDenied, match="no usable credentials"):
        KinesisClient(other).list_shards()
