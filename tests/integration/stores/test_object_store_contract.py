"""What every object store promises (stores/objects/port.py), asked of every adapter."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from schemas.errors import ObjectChanged, ObjectExists, ObjectMissing, UsageError
from stores.objects import ObjectStore, StagedObject
from stores.objects.port import OldVersions
from stores.objects.seekable import open_seekable

RUN, OTHER_RUN = "run-1", "run-2"
RACERS = 8
ODD_KEYS = [
    "type=demand/date=2026-01-02/part 0.parquet",
    "100%/50%25/a+b&c?d#e.json",
    "città/データ/🎟️.avro",
    "_hidden/~tilde'quote\"double*star.json",
    "a/" + "n" * 200,
]


def stage(store: ObjectStore, key: str, data: bytes, run_id: str = RUN) -> StagedObject:
    writer = store.stage(key, run_id)
    writer.write(data)
    return writer.close()


def keys(store: ObjectStore, prefix: str = "", start_after: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, start_after=start_after)]


def data_keys(store: ObjectStore) -> list[str]:
    return [key for key in keys(store) if not key.startswith("_lethe/")]


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def race(attempt: Callable[[int], object], refusal: type[Exception]) -> list[int]:
    """Let all racers try at once; the numbers of those who were not refused."""
    start = Barrier(RACERS)

    def run(number: int) -> int | None:
        start.wait()
        try:
            attempt(number)
        except refusal:
            return None
        return number

    with ThreadPoolExecutor(RACERS) as pool:
        return [number for number in pool.map(run, range(RACERS)) if number is not None]


@pytest.fixture
def forgets_uploads(request: pytest.FixtureRequest) -> None:
    """For tests that complete an upload which is gone."""
    if request.node.callspec.params["store"] == "moto":
        pytest.skip("moto answers 500, not NoSuchUpload, when an aborted upload is completed")


@pytest.fixture
def compares_completions(request: pytest.FixtureRequest) -> None:
    """For tests that complete several uploads under one condition at the same moment."""
    if request.node.callspec.params["store"] == "moto":
        pytest.skip("moto passes If-Match of CompleteMultipartUpload over")


# --- reading and writing


def test_put_object_is_read_back(store: ObjectStore) -> None:
    store.put("a/b.json", b"one")
    assert store.read("a/b.json") == b"one"


def test_put_replaces(store: ObjectStore) -> None:
    store.put("a", b"one")
    store.put("a", b"three")
    assert store.read("a") == b"three"


def test_put_returns_what_head_says(store: ObjectStore) -> None:
    info = store.put("a", b"one")
    found = store.head("a")
    assert found is not None
    assert (found.key, found.size, found.etag) == (info.key, info.size, info.etag)


def test_modified_is_now_in_utc(store: ObjectStore) -> None:
    info = store.put("a", b"one")
    assert info.modified.tzinfo == UTC
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)


def test_head_of_nothing_is_none(store: ObjectStore) -> None:
    store.put("a", b"one")
    assert store.head("b") is None


def test_head_of_a_key_below_an_object_is_none(store: ObjectStore) -> None:
    store.put("a", b"one")
    assert store.head("a/b") is None


def test_head_of_a_folder_is_none(store: ObjectStore) -> None:
    store.put("a/b", b"one")
    assert store.head("a") is None


@pytest.mark.parametrize("key", ["gone", "folder", "folder/file/below"])
def test_opening_nothing_is_object_missing(store: ObjectStore, key: str) -> None:
    store.put("folder/file", b"one")
    with pytest.raises(ObjectMissing):
        store.open(key)


def test_reading_nothing_is_object_missing(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissing):
        store.read("gone")


def test_many_are_read_in_the_order_of_their_keys(store: ObjectStore) -> None:
    keys = [f"log/{number:02d}" for number in range(40)]
    for key in keys:
        store.put(key, key.encode())
    assert list(store.read_each(keys)) == [(key, key.encode()) for key in keys]


def test_nothing_among_many_is_object_missing(store: ObjectStore) -> None:
    store.put("a", b"")
    with pytest.raises(ObjectMissing):
        list(store.read_each(["a", "b"]))


def test_zero_bytes_are_an_object(store: ObjectStore) -> None:
    assert store.put("empty", b"").size == 0
    assert store.read("empty") == b""


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_key_is_written_listed_and_read(store: ObjectStore, key: str) -> None:
    store.put(key, b"odd")
    assert keys(store, key) == [key]
    assert store.read(key) == b"odd"


@pytest.mark.parametrize("key", ["", "/a", "../a", "a/../b", "a/./b", "a//b", "a/", "a\\b", "a\0b"])
def test_key_that_could_leave_its_place_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(UsageError):
        store.put(key, b"")


def test_open_starts_at_the_offset(store: ObjectStore) -> None:
    store.put("a", b"0123456789")
    with store.open("a", 4) as stream:
        assert stream.read() == b"456789"


@pytest.mark.parametrize("offset", [10, 11])
def test_open_at_or_beyond_the_end_is_an_empty_stream(store: ObjectStore, offset: int) -> None:
    store.put("a", b"0123456789")
    with store.open("a", offset) as stream:
        assert stream.read() == b""


def test_content_that_was_replaced_is_not_opened_as_the_old_one(store: ObjectStore) -> None:
    old = store.put("a", b"old")
    new = store.put("a", b"new and longer")
    with pytest.raises(ObjectChanged), store.open("a", etag=old.etag) as stream:
        stream.read()
    with store.open("a", etag=new.etag) as stream:
        assert stream.read() == b"new and longer"


def test_seekable_file_reads_from_anywhere(store: ObjectStore) -> None:
    content = bytes(range(256)) * 1000
    with open_seekable(store, store.put("a", content)) as file:
        assert file.seek(-6, io.SEEK_END) == len(content) - 6
        assert file.read() == content[-6:]
        file.seek(100_000)
        assert (file.read(70_000), file.tell()) == (content[100_000:170_000], 170_000)
        file.seek(5)
        assert file.read(3) == content[5:8]


def test_stream_reads_lines_and_pieces(store: ObjectStore) -> None:
    store.put("a", b"first\nsecond\nrest")
    with store.open("a") as stream:
        assert stream.readline() == b"first\n"
        assert stream.read(3) == b"sec"


def test_reader_never_sees_two_versions_mixed(store: ObjectStore) -> None:
    old, new = b"o" * 3_000_000, b"n" * 3_000_000
    store.put("a", old)
    with store.open("a") as stream:
        begun = stream.read(10)
        store.put("a", new)
        try:
            content = begun + stream.read()
        except ObjectChanged:
            return
    assert content == old


def test_delete_removes(store: ObjectStore) -> None:
    store.put("a/b", b"one")
    store.delete("a/b")
    assert data_keys(store) == []


def test_delete_of_nothing_is_no_error(store: ObjectStore) -> None:
    store.delete("gone")
    store.put("a", b"one")
    store.delete("a/b")
    assert store.read("a") == b"one"


# --- listing


def test_list_sorts_whole_keys_by_code_point(store: ObjectStore) -> None:
    unsorted = ["a/b", "a-b", "a.b", "a0", "b", "a/é", "a/z", "a/c/d", "a/c-d", "Z", "_log/1"]
    for key in unsorted:
        store.put(key, b"")
    found = [key for key in keys(store) if key in unsorted]
    assert found == sorted(unsorted)


def test_list_of_an_empty_store_is_empty(store: ObjectStore) -> None:
    assert keys(store) == []


def test_list_takes_a_prefix_that_ends_within_a_name(store: ObjectStore) -> None:
    for key in ["date=1/a", "date=10/a", "date=2/a", "dat"]:
        store.put(key, b"")
    assert keys(store, "date=1") == ["date=1/a", "date=10/a"]


def test_list_starts_after_a_key(store: ObjectStore) -> None:
    for key in ["log/1", "log/2", "log/3", "mog"]:
        store.put(key, b"")
    assert keys(store, "log/", "log/1") == ["log/2", "log/3"]


def test_list_starts_after_a_key_that_is_not_there(store: ObjectStore) -> None:
    for key in ["a/1", "a/c/1", "a/c/2", "b"]:
        store.put(key, b"")
    assert [key for key in keys(store, "", "a/c/1x") if key[0] != "_"] == ["a/c/2", "b"]


def test_list_goes_on_beyond_a_page(store: ObjectStore) -> None:
    expected = [f"many/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(lambda key: store.put(key, b""), expected))
    assert keys(store, "many/") == expected


def test_listed_facts_are_those_of_head(store: ObjectStore) -> None:
    store.put("a", b"four")
    (listed,) = store.list("a")
    found = store.head("a")
    assert found is not None
    assert (listed.size, listed.etag) == (found.size, found.etag)


# --- conditional writes


def test_put_if_absent_creates(store: ObjectStore) -> None:
    info = store.put_if_absent("log/1", b"mine")
    assert store.head("log/1") is not None
    assert (info.size, store.read("log/1")) == (4, b"mine")


def test_put_if_absent_leaves_what_is_there(store: ObjectStore) -> None:
    store.put("log/1", b"theirs")
    with pytest.raises(ObjectExists):
        store.put_if_absent("log/1", b"mine!!")
    assert store.read("log/1") == b"theirs"


def test_put_if_absent_of_what_is_there_already_is_a_success(store: ObjectStore) -> None:
    first = store.put_if_absent("log/1", b"mine")
    assert store.put_if_absent("log/1", b"mine").etag == first.etag


def test_put_if_absent_has_one_winner(store: ObjectStore) -> None:
    winners = race(lambda n: store.put_if_absent("log/1", b"racer %d" % n), ObjectExists)
    assert len(winners) == 1
    assert store.read("log/1") == b"racer %d" % winners[0]


def test_put_if_match_replaces_the_version_it_names(store: ObjectStore) -> None:
    before = store.put("a", b"before")
    after = store.put_if_match("a", b"after", before.etag)
    assert store.read("a") == b"after"
    assert after.etag != before.etag


def test_put_if_match_takes_the_etag_of_a_listing(store: ObjectStore) -> None:
    store.put("a", b"before")
    (listed,) = store.list("a")
    store.put_if_match("a", b"after", listed.etag)
    assert store.read("a") == b"after"


def test_put_if_match_refuses_another_version(store: ObjectStore) -> None:
    before = store.put("a", b"before")
    store.put("a", b"theirs")
    with pytest.raises(ObjectChanged):
        store.put_if_match("a", b"mine", before.etag)
    assert store.read("a") == b"theirs"


def test_put_if_match_of_a_deleted_object_is_object_changed(store: ObjectStore) -> None:
    before = store.put("a", b"before")
    store.delete("a")
    with pytest.raises(ObjectChanged):
        store.put_if_match("a", b"mine", before.etag)


def test_put_if_match_has_one_winner(store: ObjectStore) -> None:
    etag = store.put("a", b"before").etag
    winners = race(lambda n: store.put_if_match("a", b"racer %d" % n, etag), ObjectChanged)
    assert len(winners) == 1
    assert store.read("a") == b"racer %d" % winners[0]


def test_etag_changes_with_the_content_however_fast(store: ObjectStore) -> None:
    etags = {store.put("a", b"%02d" % number).etag for number in range(50)}
    assert len(etags) == 50


def test_delete_if_match_removes_the_version_it_names(store: ObjectStore) -> None:
    store.delete_if_match("a", store.put("a", b"mine").etag)
    assert store.head("a") is None


def test_delete_if_match_refuses_another_version(store: ObjectStore) -> None:
    before = store.put("a", b"before")
    store.put("a", b"theirs")
    with pytest.raises(ObjectChanged):
        store.delete_if_match("a", before.etag)
    assert store.read("a") == b"theirs"


def test_delete_if_match_of_nothing_is_no_error(store: ObjectStore) -> None:
    etag = store.put("a", b"before").etag
    store.delete("a")
    store.delete_if_match("a", etag)
    assert store.head("a") is None


def test_an_object_without_versions_has_no_old_ones(store: ObjectStore) -> None:
    store.put("a", b"before")
    store.put("a", b"after")
    assert store.old_versions("a") == ()
    assert store.remove_old_versions("a") == OldVersions()
    assert store.read("a") == b"after"


# --- staging and publishing


def test_staged_object_is_invisible(store: ObjectStore) -> None:
    stage(store, "type=a/1", b"data")
    assert store.head("type=a/1") is None
    assert data_keys(store) == []


def test_published_object_is_whole(store: ObjectStore) -> None:
    store.publish([stage(store, "type=a/1", b"data")])
    assert store.read("type=a/1") == b"data"


def test_staged_object_knows_its_size_and_digest(store: ObjectStore) -> None:
    staged = stage(store, "type=a/1", b"data")
    assert (staged.key, staged.run_id, staged.size) == ("type=a/1", RUN, 4)
    assert staged.sha256 == hashlib.sha256(b"data").hexdigest()


def test_zero_bytes_are_published(store: ObjectStore) -> None:
    store.publish([stage(store, "empty", b"")])
    assert store.read("empty") == b""


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_key_is_staged_and_published(store: ObjectStore, key: str) -> None:
    staged = stage(store, key, b"odd")
    assert [left.key for left in store.list_staged(RUN)] == [key]
    store.publish([staged])
    assert store.read(key) == b"odd"


def test_twenty_megabytes_in_uneven_writes_arrive_whole(store: ObjectStore) -> None:
    data, writer, start = noise(20_000_000), store.stage("big", RUN), 0
    for size in [1, 7_000_000, 5 * 1024 * 1024, 0, 12_999_999]:
        start += writer.write(memoryview(data)[start : start + size])
    staged = writer.close()
    store.publish([staged])
    assert hashlib.sha256(store.read("big")).hexdigest() == staged.sha256
    assert staged.sha256 == hashlib.sha256(data).hexdigest()


def test_size_of_exactly_two_parts_arrives_whole(store: ObjectStore) -> None:
    data = noise(10 * 1024 * 1024)
    store.publish([stage(store, "even", data)])
    assert store.read("even") == data


def test_write_counts_bytes_not_items(store: ObjectStore) -> None:
    writer = store.stage("a", RUN)
    assert writer.write(memoryview(b"12345678").cast("I")) == 8
    assert writer.close().size == 8


def test_publishing_twice_changes_nothing(store: ObjectStore) -> None:
    staged = stage(store, "a", b"data")
    store.publish([staged])
    store.publish([staged])
    assert store.read("a") == b"data"
    assert keys(store, "_lethe/staging/") == []


def test_staged_object_knows_the_etag_it_will_have(store: ObjectStore) -> None:
    staged = stage(store, "a", noise(6_000_000))
    store.publish([staged])
    found = store.head("a")
    assert found is not None
    assert found.etag == staged.etag


def test_publishing_if_match_replaces_the_version_it_names(store: ObjectStore) -> None:
    before = store.put("a", b"before")
    store.publish_if_match(stage(store, "a", b"after"), before.etag)
    assert store.read("a") == b"after"
    assert keys(store, "_lethe/staging/") == []


def test_publishing_if_match_twice_changes_nothing(store: ObjectStore) -> None:
    before, staged = store.put("a", b"before"), stage(store, "a", b"after")
    store.publish_if_match(staged, before.etag)
    pickle.loads(pickle.dumps(store)).publish_if_match(staged, before.etag)
    assert store.read("a") == b"after"


def test_publishing_if_match_refuses_another_version(store: ObjectStore) -> None:
    before, staged = store.put("a", b"before"), stage(store, "a", b"after")
    store.put("a", b"theirs")
    with pytest.raises(ObjectChanged):
        store.publish_if_match(staged, before.etag)
    assert store.read("a") == b"theirs"


def test_publishing_if_match_in_the_place_of_a_deleted_object_is_object_changed(
    store: ObjectStore,
) -> None:
    before, staged = store.put("a", b"before"), stage(store, "a", b"after")
    store.delete("a")
    with pytest.raises(ObjectChanged):
        store.publish_if_match(staged, before.etag)
    assert store.head("a") is None


def test_published_again_it_does_not_take_the_place_of_what_followed(store: ObjectStore) -> None:
    before, staged = store.put("a", b"before"), stage(store, "a", b"after")
    store.publish_if_match(staged, before.etag)
    store.put("a", b"newest")
    with pytest.raises(ObjectChanged):
        store.publish_if_match(staged, before.etag)
    assert store.read("a") == b"newest"


@pytest.mark.usefixtures("forgets_uploads")
def test_publishing_if_match_what_was_discarded_is_object_missing(store: ObjectStore) -> None:
    before, staged = store.put("a", b"before"), stage(store, "a", b"after")
    store.discard(staged)
    with pytest.raises(ObjectMissing):
        store.publish_if_match(staged, before.etag)
    assert store.read("a") == b"before"


@pytest.mark.usefixtures("compares_completions")
def test_publishing_if_match_has_one_winner(store: ObjectStore) -> None:
    etag = store.put("a", b"before").etag
    staged = [stage(store, "a", b"racer %d" % number) for number in range(RACERS)]
    winners = race(lambda n: store.publish_if_match(staged[n], etag), ObjectChanged)
    assert len(winners) == 1
    assert store.read("a") == b"racer %d" % winners[0]


def test_another_process_publishes_from_the_log(store: ObjectStore) -> None:
    staged = pickle.loads(pickle.dumps(stage(store, "a", b"data")))
    pickle.loads(pickle.dumps(store)).publish([staged])
    assert store.read("a") == b"data"


@pytest.mark.usefixtures("forgets_uploads")
def test_publishing_what_was_discarded_is_object_missing(store: ObjectStore) -> None:
    staged = stage(store, "a", b"data")
    store.discard(staged)
    with pytest.raises(ObjectMissing):
        store.publish([staged])


@pytest.mark.usefixtures("forgets_uploads")
def test_object_of_another_size_is_not_taken_for_the_published_one(store: ObjectStore) -> None:
    staged = stage(store, "a", b"data")
    store.discard(staged)
    store.put("a", b"something else")
    with pytest.raises(ObjectMissing):
        store.publish([staged])


def test_two_attempts_at_one_key_are_told_apart(store: ObjectStore) -> None:
    first, second = stage(store, "a", b"first"), stage(store, "a", b"second")
    store.discard(second)
    store.publish([first])
    assert store.read("a") == b"first"


def test_list_staged_names_what_waits(store: ObjectStore) -> None:
    published, waiting = stage(store, "a", b"1"), stage(store, "b/c", b"2")
    store.publish([published])
    (left,) = store.list_staged(RUN)
    assert (left.key, left.run_id, left.token) == ("b/c", RUN, waiting.token)
    assert (left.size, left.sha256) == (0, "")


def test_list_staged_finds_a_writer_that_died(store: ObjectStore) -> None:
    store.stage("a", RUN).write(b"some")
    assert [left.key for left in store.list_staged(RUN)] == ["a"]


def test_run_that_left_something_is_found_in_the_staging_area(store: ObjectStore) -> None:
    stage(store, "a/b", b"1")
    (left,) = keys(store, "_lethe/staging/")
    assert left.split("/")[2] == RUN


def test_discarding_twice_is_no_error(store: ObjectStore) -> None:
    staged = stage(store, "a", b"1")
    store.discard(staged)
    store.discard(staged)
    assert list(store.list_staged(RUN)) == []


@pytest.mark.usefixtures("forgets_uploads")
def test_discarding_what_list_staged_found_is_for_good(store: ObjectStore) -> None:
    staged = stage(store, "a", b"1")
    for left in store.list_staged(RUN):
        store.discard(left)
    with pytest.raises(ObjectMissing):
        store.publish([staged])


def test_discarding_after_publishing_leaves_the_object(store: ObjectStore) -> None:
    staged = stage(store, "a", b"1")
    store.publish([staged])
    store.discard(staged)
    assert store.read("a") == b"1"


def test_clear_staging_leaves_nothing_of_the_run(store: ObjectStore) -> None:
    stage(store, "a", b"1")
    store.stage("b/c", RUN).write(b"2")
    store.clear_staging(RUN)
    assert keys(store, "_lethe/staging/") == []


@pytest.mark.usefixtures("forgets_uploads")
def test_what_clear_staging_removed_cannot_be_published(store: ObjectStore) -> None:
    staged = stage(store, "a", b"1")
    store.clear_staging(RUN)
    with pytest.raises(ObjectMissing):
        store.publish([staged])


def test_clear_staging_leaves_other_runs_alone(store: ObjectStore) -> None:
    stage(store, "a", b"mine", RUN)
    theirs = stage(store, "a", b"theirs", OTHER_RUN)
    store.clear_staging(RUN)
    store.publish([theirs])
    assert store.read("a") == b"theirs"


def test_clear_staging_of_an_unknown_run_is_no_error(store: ObjectStore) -> None:
    store.clear_staging("never-seen")
    assert keys(store) == []


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "a\\b"])
def test_run_id_that_is_no_name_is_refused(store: ObjectStore, run_id: str) -> None:
    with pytest.raises(UsageError):
        store.clear_staging(run_id)


def test_aborted_writer_leaves_nothing(store: ObjectStore) -> None:
    writer = store.stage("a", RUN)
    writer.write(noise(6_000_000))
    writer.abort()
    writer.abort()
    assert keys(store, "_lethe/staging/") == []
    assert store.head("a") is None


@pytest.mark.usefixtures("forgets_uploads")
def test_abort_after_close_drops_the_staged_object(store: ObjectStore) -> None:
    writer = store.stage("a", RUN)
    staged = writer.close()
    writer.abort()
    with pytest.raises(ObjectMissing):
        store.publish([staged])


def test_many_threads_publish_through_one_store(store: ObjectStore) -> None:
    names = [f"t/{number}" for number in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(lambda key: store.publish([stage(store, key, key.encode())]), names))
    assert [store.read(key) for key in names] == [key.encode() for key in names]
    assert keys(store, "_lethe/staging/") == []


# --- the store itself


def test_check_writable_leaves_nothing(store: ObjectStore) -> None:
    store.check_writable()
    assert keys(store) == []


def test_store_survives_pickling(store: ObjectStore) -> None:
    store.put("a", b"one")
    copy = pickle.loads(pickle.dumps(store))
    assert (copy.uri, copy.read("a")) == (store.uri, b"one")
