"""Which files a compaction puts together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runners.commands.compact import parse_size
from schemas.delivery import Partition
from schemas.erasure import FileKind
from schemas.errors import UsageError
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.port import ObjectInfo, StagedObject
from transforms.compact import CompactionRules, Merge, plan_merges

MOMENT = datetime(2026, 1, 20, tzinfo=UTC)
RULES = CompactionRules(1_000, MOMENT)


def a_file(
    name: str, size: int = 100, partition: Partition | None = None, age: int = 1
) -> LakeFile:
    where = partition or Partition("sale", "2026-01-02")
    key = f"{where.folder}/{name}.parquet"
    when = MOMENT - timedelta(days=age)
    logged = DataFile(
        where, "parquet", "zstd", 10, 5, 9, "f" * 16, StagedObject(key, "run", "token", size, "0")
    )
    info = ObjectInfo(key, size, "etag", when)
    return LakeFile(info, FileKind.DATA, where.name, where.date, logged, when)


def planned(*files: LakeFile) -> list[list[str]]:
    return [[path.rpartition("/")[2] for path in m.paths] for m in plan_merges(files, RULES)]


def with_logged(file: LakeFile, **changes: Any) -> LakeFile:
    assert file.logged is not None
    return replace(file, logged=replace(file.logged, **changes))


def test_small_files_of_a_partition_become_one() -> None:
    assert planned(a_file("b"), a_file("a")) == [["a.parquet", "b.parquet"]]


def test_files_are_put_together_in_the_order_of_their_times() -> None:
    late, early = with_logged(a_file("a"), earliest=7), with_logged(a_file("b"), earliest=3)
    assert planned(late, early) == [["b.parquet", "a.parquet"]]


def test_merged_file_is_about_as_large_as_the_target() -> None:
    files = [a_file(str(n), 400) for n in range(5)]
    assert [len(merge) for merge in planned(*files)] == [2, 2]


def test_file_of_half_the_target_is_left_as_it_is() -> None:
    assert planned(a_file("a", 500), a_file("b"), a_file("c")) == [["b.parquet", "c.parquet"]]


def test_single_file_is_left_alone() -> None:
    assert planned(a_file("a")) == []


def test_partition_that_something_joined_lately_is_open() -> None:
    assert planned(a_file("a"), a_file("b"), a_file("new", 900, age=0)) == []


@pytest.mark.parametrize(
    "changes",
    [{"fingerprint": "e" * 16}, {"codec": "snappy"}, {"format": "avro"}],
    ids=lambda changes: next(iter(changes)),
)
def test_files_that_differ_in_form_are_not_mixed(changes: dict[str, str]) -> None:
    assert planned(a_file("a"), with_logged(a_file("b"), **changes)) == []


def test_windows_are_not_mixed() -> None:
    windows = [Partition("sale", "2026-01-02", start) for start in (0, 3600)]
    assert planned(*(a_file(str(w.window), partition=w) for w in windows)) == []


def test_files_that_the_log_does_not_know_are_left_alone() -> None:
    unknown = replace(a_file("b"), logged=None, committed_at=None)
    assert planned(a_file("a"), unknown) == []


def test_file_of_another_size_than_logged_is_left_alone() -> None:
    other = a_file("b")
    assert planned(a_file("a"), replace(other, info=replace(other.info, size=99))) == []


def test_dead_letters_are_left_alone() -> None:
    letters = [replace(a_file(name), kind=FileKind.DEAD_LETTERS) for name in "ab"]
    assert planned(*letters) == []


def test_name_depends_on_the_inputs_alone() -> None:
    first, second, third = a_file("a"), a_file("b"), a_file("c")
    assert Merge((first, second)).key == Merge((first, second)).key
    assert Merge((first, second)).key != Merge((first, third)).key


@pytest.mark.parametrize(("text", "size"), [("64MB", 64_000_000), ("1GB", 10**9), ("5KB", 5_000)])
def test_sizes_are_written_with_their_units(text: str, size: int) -> None:
    assert parse_size("--target-size", text) == size


@pytest.mark.parametrize("text", ["", "64", "0MB", "-1MB", "1.5GB", "64 MB", "many"])
def test_size_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--target-size"):
        parse_size("--target-size", text)
