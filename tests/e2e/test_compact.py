"""``lethe compact``: fewer files, the same rows, whatever happens meanwhile."""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest

from config.settings import load_settings
from runners.commands.options import build_registry
from runners.compact import Compaction, CompactionReport, run_compaction
from runners.direct import DirectRunner
from schemas.dsr import Identity, IdentityType
from stores.lake_files import lake_files
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore
from stores.parameters import EnvironmentParameters
from stores.subject_index import may_hold
from tests.e2e.harness import SCRUB_KEY, Lake, deliver, dying, generated, in_child, lethe
from transforms.compact import CompactionRules
from transforms.index import probes_for
from transforms.merge import merge_files
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher

DELIVERIES, DAYS = 3, 2


@pytest.fixture(scope="module", params=["parquet", "avro"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(autouse=True)
def scrub_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_SCRUB_KEY", SCRUB_KEY)


@pytest.fixture(scope="module")
def of_parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return delivered(tmp_path_factory.mktemp("kills"), "parquet")


def delivered(folder: Path, fmt: str) -> Path:
    for number in range(DELIVERIES):
        source = generated(folder / f"{number}.ndjson", 600, seed=number, days=DAYS)
        assert deliver(folder / "lake", source, "--format", fmt).status == 0
    return folder / "lake"


def copied(original: Path, to: Path) -> Lake:
    shutil.copytree(original, to / "lake", copy_function=shutil.copy2)
    return Lake.at(to / "lake")


def compacted(lake: Lake, older: float = 0.0) -> CompactionReport:
    key = ScrubKey.of(EnvironmentParameters())
    rules = CompactionRules(10**8, datetime.now(UTC) - timedelta(seconds=older))
    compaction = Compaction(lake.store, build_registry(load_settings(), None), key, rules)
    with DirectRunner(1) as runner:
        return run_compaction(compaction, runner)


def shared_folders(lake: Lake) -> Counter[str]:
    """Folders with more than one file, and how many they have."""
    found = Counter(key.rpartition("/")[0] for key in lake.files())
    return Counter({folder: count for folder, count in found.items() if count > 1})


def rows_of(lake: Lake, path: str) -> list[dict[str, Any]]:
    content = io.BytesIO(lake.store.read(path))
    if path.endswith(".avro"):
        return [dict(row) for row in fastavro.reader(content)]
    return list(pq.ParquetFile(content).read(use_threads=False).to_pylist())


def rows(lake: Lake) -> list[dict[str, Any]]:
    """All rows of all types, sorted by change, whichever format they are in."""
    found = (row for path in lake.files() for row in rows_of(lake, path))
    return sorted(found, key=lambda row: str(row["change_id"]))


def test_every_partition_is_one_file_with_the_same_rows(original: Path, tmp_path: Path) -> None:
    lake = copied(original, tmp_path)
    before, folders = rows(lake), shared_folders(lake)
    done = compacted(lake)
    assert (done.merged, done.into) == (sum(folders.values()), len(folders))
    assert len(lake.files()) == len({key.rpartition("/")[0] for key in lake.files()})
    assert rows(lake) == before


def test_log_describes_the_merged_files(original: Path, tmp_path: Path) -> None:
    lake = copied(original, tmp_path)
    folders = shared_folders(lake)
    compacted(lake)
    newest = lake.commits()[-1]
    assert (newest.kind, len(newest.removed)) == ("compact", sum(folders.values()))
    for file in newest.files:
        assert len(lake.store.read(file.path)) == file.staged.size
        assert file.rows == len(rows_of(lake, file.path))


def suspects(lake: Lake, customer: str) -> set[str]:
    """Files of sales that may hold this customer, by their indexes."""
    asked = [Identity(IdentityType.CONTROLLER_CUSTOMER_ID, customer)]
    hasher = SubjectHasher(SCRUB_KEY.encode())
    probes = probes_for(asked, build_registry(load_settings(), None), hasher)
    assert probes is not None
    sales = [f for f in lake_files(lake.store, DeliveryLog(lake.store)) if f.type == "sale"]
    return {file.path for file, may in may_hold(lake.store, sales, probes) if may}


def test_merged_files_have_an_index_of_their_subjects(original: Path, tmp_path: Path) -> None:
    lake = copied(original, tmp_path)
    compacted(lake)
    merged = {file.path for file in lake.commits()[-1].files if "type=sale" in file.path}
    assert merged
    assert not merged & suspects(lake, "nobody")
    for path in merged:
        assert path in suspects(lake, rows_of(lake, path)[0]["user_id"])


def test_second_compaction_finds_nothing_to_do(of_parquet: Path, tmp_path: Path) -> None:
    lake = copied(of_parquet, tmp_path)
    compacted(lake)
    files = lake.snapshot()
    assert compacted(lake).commits == ()
    assert lake.snapshot() == files


def test_partitions_are_left_open_for_as_long_as_is_said(of_parquet: Path, tmp_path: Path) -> None:
    lake = copied(of_parquet, tmp_path)
    assert compacted(lake, older=3600).merged == 0


def test_delivery_goes_on_where_it_was_after_a_compaction(of_parquet: Path, tmp_path: Path) -> None:
    lake = copied(of_parquet, tmp_path)
    compacted(lake)
    again = deliver(lake.store.uri, of_parquet.parent / "0.ndjson")
    assert (again.status, again.report["read"]) == (0, 0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("stage", 2),
        ("put_if_absent", 1),
        ("publish", 1),
        ("delete", 1),
        ("delete", 9),
    ],
)
def test_kill_at_a_call_of_the_store_loses_nothing_and_is_made_good(
    of_parquet: Path, tmp_path: Path, method: str, call: int, after: bool
) -> None:
    lake = copied(of_parquet, tmp_path)
    before = rows(lake)

    def die() -> None:
        dying(LocalObjectStore, method, call, after)
        compacted(lake)

    assert in_child(die) == -signal.SIGKILL
    assert {row["change_id"] for row in rows(lake)} >= {row["change_id"] for row in before}
    compacted(lake)
    assert rows(lake) == before
    assert len(lake.files()) == len({key.rpartition("/")[0] for key in lake.files()})


@pytest.mark.parametrize("when", ["before it is read", "before it is replaced"])
def test_merge_of_a_file_that_changes_meanwhile_is_left(
    of_parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    lake = copied(of_parquet, tmp_path)
    victim = Path(lake.store.uri) / lake.files()[0]

    def late(merge: Any, *more: Any) -> Any:
        is_hit = lake.files()[0] in merge.paths
        if is_hit and when == "before it is read":
            os.utime(victim)
        made = merge_files(merge, *more)
        if is_hit:
            os.utime(victim)
        return made

    monkeypatch.setattr("transforms.compact_stages.merge_files", late)
    before = rows(lake)
    assert compacted(lake).left == 1
    assert victim.exists()
    assert rows(lake) == before


def test_damaged_file_is_left_alone_and_the_others_are_merged(
    original: Path, tmp_path: Path
) -> None:
    lake = copied(original, tmp_path)
    folder = next(folder for folder, count in shared_folders(lake).items() if count == DELIVERIES)
    victim = next(path for path in lake.files() if path.startswith(folder))
    whole = lake.store.read(victim)
    middle = len(whole) // 2
    damaged = whole[:middle] + b"\xff" * (len(whole) - middle - 24) + whole[-24:]
    Path(lake.store.uri, victim).write_bytes(damaged)
    assert compacted(lake).unreadable == 1
    left = [path for path in lake.files() if path.startswith(folder)]
    assert (len(left), lake.store.read(victim)) == (2, damaged)


def test_command_tells_what_it_did(of_parquet: Path, tmp_path: Path) -> None:
    lake = copied(of_parquet, tmp_path)
    folders = shared_folders(lake)
    done = lethe("compact", "--lake", lake.store.uri, "--older-than", "1s", "--workers", 1)
    assert done.status == 0
    assert f"{sum(folders.values())} files" in done.out
    assert f"{len(folders)} files" in done.out


def test_bad_size_ends_with_what_to_write(tmp_path: Path) -> None:
    done = lethe("compact", "--lake", tmp_path, "--target-size", "big")
    assert (done.status, "--target-size 'big': write a size as 64MB" in done.err) == (2, True)


def test_lake_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    done = lethe("compact", "--lake", tmp_path / "lake")
    assert (done.status, "there is no lake" in done.err) == (2, True)
    assert not (tmp_path / "lake").exists()
