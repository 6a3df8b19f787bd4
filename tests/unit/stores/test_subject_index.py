"""The sets of files: staged together, never a false no, and not trusted when something is odd."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from schemas.delivery import Partition
from schemas.erasure import FileKind, IndexRef
from schemas.errors import AccessDenied
from stores import subject_index
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.local import LocalObjectStore
from stores.objects.port import ObjectInfo, ObjectStore, StagedObject
from stores.subject_index import (
    Hashes,
    Indexed,
    IndexStamp,
    IndexWriter,
    Probes,
    may_hold,
    untrusted,
)

STAMP = IndexStamp("0123456789abcdef", "fedcba9876543210")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _hashes(values: Sequence[int]) -> Hashes:
    return np.array([value * 0x9E3779B97F4A7C15 % 2**64 for value in values], np.uint64)


def _lake_file(path: str, ref: IndexRef | None, size: int = 10) -> LakeFile:
    staged = StagedObject(path, "run", "", 10, "")
    part = Partition("sale", "2026-01-02")
    logged = DataFile(part, "parquet", "zstd", 1, None, None, None, staged, ref)
    info = ObjectInfo(path, size, "", NOW)
    return LakeFile(info, FileKind.DATA, "sale", "2026-01-02", logged, NOW)


def _path(number: int) -> str:
    return f"type=sale/date=2026-01-02/{number}.parquet"


def _written(store: ObjectStore, sets: Sequence[Sequence[int]]) -> Indexed:
    """Sets of these values, published."""
    writer = IndexWriter(store, "run")
    for number, values in enumerate(sets):
        writer.begin(_path(number), STAMP)
        for some in np.array_split(_hashes(values), 3):
            writer.add(some)
        writer.end()
    indexed = writer.finish()
    store.publish(indexed.containers)
    return indexed


def _lake(store: ObjectStore, sets: Sequence[Sequence[int]]) -> list[LakeFile]:
    """Files that hold these values."""
    refs = _written(store, sets).refs
    return [_lake_file(_path(number), refs[_path(number)]) for number in range(len(sets))]


def _pairs(count: int) -> list[list[int]]:
    return [[number, 1000 + number] for number in range(count)]


def _found(
    store: ObjectStore, files: list[LakeFile], values: Sequence[int], stamp: IndexStamp = STAMP
) -> list[str]:
    """The names of the files that may hold one of the values."""
    answers = list(may_hold(store, files, Probes(_hashes(values), {"sale": stamp})))
    assert sorted(file.path for file, _ in answers) == sorted(file.path for file in files)
    return sorted(file.path.rpartition("/")[2] for file, found in answers if found)


def test_files_that_hold_a_value_are_found_among_many(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    files = _lake(store, _pairs(40))
    assert _found(store, files, [3, 1017]) == ["17.parquet", "3.parquet"]
    assert _found(store, files[::5], [10, 11]) == ["10.parquet"]


def test_sets_of_several_sections_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_index, "SECTION_VALUES", 64)
    store = LocalObjectStore(tmp_path)
    sets = [range(10), range(1_000, 1_300), [], range(5_000, 5_030), range(9_000, 9_200)]
    files = _lake(store, sets)
    for number, values in enumerate(sets):
        for value in values[::7]:
            assert f"{number}.parquet" in _found(store, files, [value])
    assert _found(store, files, [20_000, 20_001]) == []


def test_a_section_is_not_closed_for_values_that_are_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_index, "SECTION_VALUES", 64)
    store = LocalObjectStore(tmp_path)
    twice, once = (_written(store, [list(range(20)) * times]) for times in (30, 1))
    assert twice.refs[_path(0)].length == once.refs[_path(0)].length


def test_a_section_has_no_more_files_than_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_index, "MOST_FILES", 3)
    store = LocalObjectStore(tmp_path)
    files = _lake(store, _pairs(8))
    assert len({file.logged.index for file in files if file.logged}) == 3
    assert _found(store, files, [2, 3, 1007]) == ["2.parquet", "3.parquet", "7.parquet"]


def test_a_file_that_was_not_ended_gets_no_set_and_spoils_none(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    writer = IndexWriter(store, "run")
    for number, is_whole in enumerate([True, False, True]):
        writer.begin(_path(number), STAMP)
        writer.add(_hashes([number]))
        if is_whole:
            writer.end()
    indexed = writer.finish()
    store.publish(indexed.containers)
    assert list(indexed.refs) == [_path(0), _path(2)]
    files = [_lake_file(path, ref) for path, ref in indexed.refs.items()]
    assert _found(store, files, [1, 2]) == ["2.parquet"]


def test_files_are_described_with_their_sets(tmp_path: Path) -> None:
    indexed = _written(LocalObjectStore(tmp_path), [[1]])
    known, unknown = (_lake_file(_path(number), None).logged for number in range(2))
    assert known is not None
    assert unknown is not None
    assert indexed.described([known, unknown]) == (
        replace(known, index=indexed.refs[known.path]),
        unknown,
    )


def test_a_set_of_another_file_key_or_columns_is_not_trusted(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, [[1]])
    assert file.logged is not None
    assert _found(store, [file], [5]) == []
    assert _found(store, [_lake_file(_path(7), file.logged.index)], [5]) == ["7.parquet"]
    assert _found(store, [file], [5], IndexStamp("0" * 16, STAMP.columns)) == ["0.parquet"]
    assert _found(store, [file], [5], IndexStamp(STAMP.key, "0" * 16)) == ["0.parquet"]


def test_a_file_without_a_set_or_with_other_content_has_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, [[1]])
    assert file.logged is not None
    assert _found(store, [_lake_file("type=sale/x", None)], [5]) == ["x"]
    assert _found(store, [_lake_file(file.path, file.logged.index, size=11)], [5]) == ["0.parquet"]


@pytest.mark.parametrize(("begin", "length"), [(1, 0), (0, -1), (0, 1), (0, 1000), (500, 0)])
def test_a_set_elsewhere_than_the_log_says_is_not_trusted(
    tmp_path: Path, begin: int, length: int
) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, [[1]])
    assert file.logged is not None
    assert file.logged.index is not None
    ref = file.logged.index
    moved = IndexRef(ref.key, ref.offset + begin, ref.length + length)
    assert _found(store, [_lake_file(file.path, moved)], [5]) == ["0.parquet"]


def test_a_set_of_an_earlier_version_is_not_trusted(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    store.put("_lethe/index/run/old.idx", b"LSI1" + bytes(60))
    file = _lake_file(_path(0), IndexRef("_lethe/index/run/old.idx", 0, 64))
    assert _found(store, [file], [5]) == ["0.parquet"]


def test_files_whose_container_is_gone_have_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    files = _lake(store, _pairs(2))
    (container,) = store.list(subject_index.INDEXES)
    store.delete(container.key)
    assert _found(store, files, [5]) == ["0.parquet", "1.parquet"]


class _Locked(LocalObjectStore):
    """A lake whose indexes may not be read."""

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        raise AccessDenied(f"{key}: Permission denied")


def test_files_whose_container_may_not_be_read_have_to_be_read(tmp_path: Path) -> None:
    files = _lake(LocalObjectStore(tmp_path), _pairs(2))
    assert _found(_Locked(tmp_path), files, [5]) == ["0.parquet", "1.parquet"]


def test_a_type_without_a_stamp_has_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, [[1]])
    assert [found for _, found in may_hold(store, [file], Probes(_hashes([5]), {}))] == [True]


def test_indexes_that_are_damaged_anywhere_are_named(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    files = _lake(store, [list(range(2_000)), [1]])
    assert list(untrusted(store, files, {"sale": STAMP})) == []
    (container,) = store.list(subject_index.INDEXES)
    content = bytearray(store.read(container.key))
    content[-1000] ^= 1
    store.put(container.key, bytes(content))
    assert list(untrusted(store, files, {"sale": STAMP})) == files


# --- Few bytes --------------------------------------------------------------------------------


class _Distant(io.BufferedReader):
    """A stream that only goes on, as those of a distant store."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        raise OSError("not seekable")


class _DistantStore(LocalObjectStore):
    """Counts requests."""

    requests = 0

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        self.requests += 1
        stream = super().open(key, offset, etag)
        assert isinstance(stream, io.BufferedReader)
        return _Distant(stream.detach())


@pytest.mark.parametrize(("gap", "requests"), [(1024 * 1024, 1), (0, 3)])
def test_what_lies_between_is_read_where_that_is_less_than_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: int, requests: int
) -> None:
    monkeypatch.setattr(subject_index, "_GAP", gap)
    store = _DistantStore(tmp_path)
    files = _lake(store, [list(range(1, 3_000)), [5_000]])
    assert _found(store, files, [700, 701]) == ["0.parquet"]
    assert store.requests == requests


def test_a_writer_that_is_aborted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_index, "SECTION_VALUES", 4)
    store = LocalObjectStore(tmp_path)
    writer = IndexWriter(store, "run")
    writer.begin(_path(0), STAMP)
    writer.add(_hashes(range(20)))
    assert len(list(store.list_staged("run"))) == 1
    writer.abort()
    assert list(store.list_staged("run")) == []


def test_a_writer_of_nothing_stages_nothing(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    assert IndexWriter(store, "run").finish() == Indexed({}, ())
    assert list(store.list_staged("run")) == []
