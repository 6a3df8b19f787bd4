"""What only a folder can do to a store: full disks, clashes of names, other processes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path, PosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import AccessDenied, ObjectChanged, ObjectMissing, StoreError, StoreFull
from stores.objects import LocalObjectStore
from stores.objects.local import _into_place, _make_folder
from stores.objects.port import StagedObject

RUN = "run-1"
LIMIT = 100_000
spawn = multiprocessing.get_context("spawn")
fork = multiprocessing.get_context("fork")


@pytest.fixture
def lake(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "lake")


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


# --- no room


def put_too_much(store: LocalObjectStore) -> None:
    store.put("a", b"x" * (LIMIT + 1))


def put_if_absent_too_much(store: LocalObjectStore) -> None:
    store.put_if_absent("a", b"x" * (LIMIT + 1))


def stage_too_much(store: LocalObjectStore) -> None:
    writer = store.stage("a", RUN)
    try:
        writer.write(b"x" * (LIMIT + 1))
        writer.close()
    finally:
        writer.abort()


def status_under_a_file_size_limit(
    verb: Callable[[LocalObjectStore], None], store: LocalObjectStore
) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    try:
        verb(store)
    except StoreFull:
        os._exit(0)
    os._exit(1)


@pytest.mark.parametrize("verb", [put_too_much, put_if_absent_too_much, stage_too_much])
def test_full_store_says_so_and_keeps_nothing(
    lake: LocalObjectStore, verb: Callable[[LocalObjectStore], None]
) -> None:
    process = fork.Process(target=status_under_a_file_size_limit, args=(verb, lake))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [name for name in files(Path(lake.uri)) if "locks" not in name] == []


@pytest.mark.parametrize(
    ("number", "expected", "words"),
    [
        (errno.ENOSPC, StoreFull, "free some room"),
        (errno.EDQUOT, StoreFull, "raise the limit"),
        (errno.EACCES, AccessDenied, "check the owner"),
        (errno.EROFS, AccessDenied, "check the owner"),
        (errno.EIO, StoreError, "check the device"),
    ],
)
def test_error_of_the_system_names_path_and_remedy(
    lake: LocalObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[StoreError],
    words: str,
) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match=words) as caught:
        lake.check_writable()
    assert type(caught.value) is expected
    assert lake.uri in caught.value.message


# --- clashes


def test_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("not a folder")
    with pytest.raises(StoreError, match="a file and a folder"):
        LocalObjectStore(tmp_path / "lake").check_writable()


def test_object_in_place_of_a_folder_is_refused(lake: LocalObjectStore) -> None:
    lake.put("a", b"")
    with pytest.raises(StoreError, match="a file and a folder"):
        lake.put("a/b", b"")


def test_folder_in_place_of_an_object_is_refused(lake: LocalObjectStore) -> None:
    lake.put("a/b", b"")
    with pytest.raises(StoreError, match="a file and a folder"):
        lake.put("a", b"")


def test_file_in_the_place_of_a_folder_is_no_object_that_exists(lake: LocalObjectStore) -> None:
    lake.put("a", b"")
    with pytest.raises(StoreError, match="a file and a folder"):
        lake.put_if_absent("a/b", b"")


def test_check_writable_makes_the_folder_and_leaves_it_empty(lake: LocalObjectStore) -> None:
    lake.check_writable()
    assert list(Path(lake.uri).iterdir()) == []


def test_symbolic_link_that_leads_back_is_named(lake: LocalObjectStore) -> None:
    lake.put("a/b.csv", b"x")
    (Path(lake.uri) / "a" / "back").symlink_to("..")
    with pytest.raises(StoreError, match="a/back: this symbolic link leads round"):
        list(lake.list())


def test_symbolic_links_are_followed(lake: LocalObjectStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(b"far")
    Path(lake.uri).mkdir()
    (Path(lake.uri) / "link").symlink_to(tmp_path / "elsewhere")
    assert [info.key for info in lake.list()] == ["link/x"]
    assert lake.read("link/x") == b"far"


# --- the disk


def staged_inode(store: LocalObjectStore, staged: StagedObject) -> int:
    return Path(store.uri, staged.token).stat().st_ino


def stage(store: LocalObjectStore, key: str) -> StagedObject:
    writer = store.stage(key, RUN)
    writer.write(key.encode())
    return writer.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: found.append(os.fstat(descriptor).st_ino))
    return found


def test_disk_has_what_was_staged_and_closed(lake: LocalObjectStore, synced: list[int]) -> None:
    assert staged_inode(lake, stage(lake, "a")) in synced


def test_disk_has_what_was_staged_without_waiting_when_it_is_synced(
    lake: LocalObjectStore, synced: list[int]
) -> None:
    staged = [stage(lake.without_syncing_staged(), key) for key in "abc"]
    inodes = {staged_inode(lake, one) for one in staged}
    assert not inodes & set(synced)
    lake.sync_staged(staged)
    assert inodes <= set(synced)


def test_what_was_staged_without_waiting_is_published_as_any(lake: LocalObjectStore) -> None:
    staged = stage(lake.without_syncing_staged(), "a")
    lake.publish([staged])
    assert lake.holds(staged, lake.head("a"))


def test_staged_file_that_was_cleared_meanwhile_is_not_synced(
    lake: LocalObjectStore, synced: list[int]
) -> None:
    gone, left = stage(lake.without_syncing_staged(), "a"), stage(lake, "b")
    lake.discard(gone)
    synced.clear()
    lake.sync_staged([gone, left])
    assert synced == [staged_inode(lake, left)]


def test_staged_file_that_the_disk_has_not_taken_is_an_error(
    lake: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    staged = stage(lake.without_syncing_staged(), "a")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="check the device"):
        lake.sync_staged([staged])


# --- what is left behind


def hold_a_temporary_file(store: LocalObjectStore, held: Event) -> None:
    def hang(_descriptor: int) -> None:
        held.set()
        time.sleep(60)

    os.fsync = hang  # type: ignore[assignment]
    store.put("a", b"never")


def test_temporary_file_lives_as_long_as_its_writer(lake: LocalObjectStore) -> None:
    lake.check_writable()
    (Path(lake.uri) / "_lethe" / "locks").mkdir(parents=True)
    (Path(lake.uri) / "_lethe" / "tmp").mkdir()
    held = spawn.Event()
    writer = spawn.Process(target=hold_a_temporary_file, args=(lake, held))
    writer.start()
    try:
        assert held.wait(30)
        lake.clear_staging(RUN)
        while_alive = [info.key for info in lake.list("_lethe/tmp/")]
    finally:
        writer.kill()
        writer.join()
    lake.clear_staging(RUN)
    assert len(while_alive) == 1
    assert [info.key for info in lake.list("_lethe/tmp/")] == []


def test_staging_folders_vanish_with_the_last_object(lake: LocalObjectStore) -> None:
    first, second = lake.stage("a/b", RUN).close(), lake.stage("a/c", RUN).close()
    lake.publish([first])
    lake.discard(second)
    assert not (Path(lake.uri) / "_lethe" / "staging").exists()


def test_folder_of_our_own_goes_with_its_last_file(lake: LocalObjectStore) -> None:
    first, last = (lake.put(f"_lethe/erasures/x/{n}.json", b"") for n in (1, 2))
    lake.delete(first.key)
    assert (Path(lake.uri) / "_lethe/erasures/x").is_dir()
    lake.delete_if_match(last.key, last.etag)
    assert not (Path(lake.uri) / "_lethe/erasures").exists()


def test_folder_of_data_stays(lake: LocalObjectStore) -> None:
    lake.put("type=visit/a.parquet", b"")
    lake.delete("type=visit/a.parquet")
    assert (Path(lake.uri) / "type=visit").is_dir()


# --- other processes


class MadeAndPruned(PosixPath):
    """A folder that a neighbour makes just before us, and has pruned when we look at it."""

    neighbours = 1

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if MadeAndPruned.neighbours:
            MadeAndPruned.neighbours -= 1
            raise FileExistsError(errno.EEXIST, "File exists", str(self))
        super().mkdir(mode, parents, exist_ok)


def test_folder_that_a_neighbour_prunes_meanwhile_is_made_again(tmp_path: Path) -> None:
    folder = MadeAndPruned(tmp_path / "run")
    _make_folder(folder)
    assert folder.is_dir()


@pytest.mark.parametrize("move", [os.replace, os.link])
def test_file_gets_its_name_though_a_neighbour_prunes_the_folder(
    tmp_path: Path, move: Callable[[Path, Path], None]
) -> None:
    neighbours = [(tmp_path / "run").rmdir]
    (tmp_path / "file").write_bytes(b"x")

    def move_late(source: Path, target: Path) -> None:
        while neighbours:
            neighbours.pop()()
        move(source, target)

    _into_place(move_late, tmp_path / "file", tmp_path / "run" / "file")
    assert (tmp_path / "run" / "file").read_bytes() == b"x"


def test_root_that_takes_no_folders_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(ObjectMissing, match="/proc/lake"):
        LocalObjectStore("/proc/lake").check_writable()


def increment(root: str, times: int) -> None:
    store = LocalObjectStore(root)
    while times:
        found = store.head("counter")
        assert found is not None
        number = int(store.read("counter"))
        try:
            store.put_if_match("counter", b"%04d" % (number + 1), found.etag)
        except ObjectChanged:
            continue
        times -= 1


def test_conditional_writes_of_several_processes_lose_no_update(lake: LocalObjectStore) -> None:
    lake.put("counter", b"0000")
    processes = [spawn.Process(target=increment, args=(lake.uri, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert lake.read("counter") == b"0060"


# --- order

PART = st.text(alphabet="ab-./0_é", min_size=1, max_size=3)
KEYS = st.sets(st.lists(PART, min_size=1, max_size=3).map("/".join), max_size=12)


def is_free(key: str, taken: list[str]) -> bool:
    """Whether a file system can hold ``key`` beside those taken."""
    parts = key.split("/")
    return not {"", ".", ".."} & set(parts) and not any(
        key.startswith(f"{other}/") or other.startswith(f"{key}/") for other in taken
    )


@settings(max_examples=60, deadline=None)
@given(wanted=KEYS, prefix=st.text("ab-/", max_size=3), start_after=st.text("ab-/", max_size=4))
def test_listing_is_the_sorted_keys_within_prefix_and_start(
    wanted: set[str], prefix: str, start_after: str
) -> None:
    keys: list[str] = []
    with TemporaryDirectory() as root:
        for key in sorted(wanted):
            if is_free(key, keys):
                keys.append(key)
                (Path(root) / key).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / key).touch()
        prefix = prefix.lstrip("/")
        listed = [i.key for i in LocalObjectStore(root).list(prefix, start_after=start_after)]
    expected = [key for key in keys if key.startswith(prefix) and key > start_after]
    assert listed == sorted(expected)
