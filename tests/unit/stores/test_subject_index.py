"""A file's set of subject hashes: small, never a false no, and never trusted when it is odd."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.delivery import Partition
from schemas.erasure import FileKind, IndexRef
from stores import subject_index
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.local import LocalObjectStore
from stores.objects.port import ObjectInfo, StagedObject
from stores.subject_index import (
    Hashes,
    IndexBuilder,
    IndexStamp,
    IndexWriter,
    Probes,
    holds_any,
    may_hold,
)

STAMP = IndexStamp("0123456789abcdef", "fedcba9876543210")
PATH = "type=sale/date=2026-01-02/a.parquet"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=300)


def _hashes(values: Sequence[int]) -> Hashes:
    return np.array(values, np.uint64)


def _set_of(values: Sequence[int], path: str = PATH) -> bytes:
    builder = IndexBuilder(path, STAMP)
    for value in np.array_split(_hashes(values), 3):
        builder.add(value)
    return builder.finish()


def _random(count: int, seed: int = 7) -> Hashes:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


@given(HASHES)
def test_every_value_of_a_file_is_found(values: list[int]) -> None:
    content = _set_of(values)
    assert all(holds_any(content, PATH, STAMP, _hashes([value])) for value in values)


@given(HASHES)
def test_no_value_is_found_in_a_file_without_subjects(values: list[int]) -> None:
    assert not holds_any(_set_of([]), PATH, STAMP, _hashes(values))


def test_values_that_are_not_there_are_hardly_ever_found() -> None:
    content = _set_of(_random(50_000).tolist())
    found = sum(holds_any(content, PATH, STAMP, _hashes([one])) for one in _random(3_000, 8))
    assert found <= 3  # one in 30,000 is expected


def test_a_value_takes_about_two_bytes() -> None:
    assert 2.1 < len(_set_of(_random(100_000).tolist())) / 100_000 < 2.4


def test_repeated_values_take_no_room() -> None:
    values = _random(1_000).tolist()
    assert len(_set_of(values * 5)) == len(_set_of(values))


def test_a_set_of_several_parts_holds_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject_index, "PART_VALUES", 64)
    values = _random(1_000).tolist()
    content = _set_of(values)
    assert all(holds_any(content, PATH, STAMP, _hashes([value])) for value in values)
    assert not any(holds_any(content, PATH, STAMP, _hashes([v])) for v in _random(100, 9))


@given(st.data())
def test_a_damaged_set_is_not_trusted(data: st.DataObject) -> None:
    content = bytearray(_set_of([1, 2, 3]))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert holds_any(bytes(content), PATH, STAMP, _hashes([2**63]))


@given(st.integers(0, 50))
def test_a_set_that_was_cut_off_is_not_trusted(length: int) -> None:
    content = _set_of([1, 2, 3])[:length]
    assert holds_any(content, PATH, STAMP, _hashes([2**63]))


def test_a_set_of_another_file_key_or_columns_is_not_trusted() -> None:
    content, sought = _set_of([1]), _hashes([2**63])
    assert not holds_any(content, PATH, STAMP, sought)
    assert holds_any(content, PATH + "x", STAMP, sought)
    assert holds_any(content, PATH, IndexStamp("0" * 16, STAMP.columns), sought)
    assert holds_any(content, PATH, IndexStamp(STAMP.key, "0" * 16), sought)


def _lake_file(path: str, ref: IndexRef | None, size: int = 10) -> LakeFile:
    staged = StagedObject(path, "run", "", 10, "")
    part = Partition("sale", "2026-01-02")
    logged = DataFile(part, "parquet", "zstd", 1, None, None, None, staged, ref)
    info = ObjectInfo(path, size, "", NOW)
    return LakeFile(info, FileKind.DATA, "sale", "2026-01-02", logged, NOW)


def _lake(store: LocalObjectStore, count: int) -> list[LakeFile]:
    """Files of which the n-th holds the values n and 1000 + n."""
    writer = IndexWriter(store, "run")
    paths = [f"type=sale/date=2026-01-02/{n}.parquet" for n in range(count)]
    sets = (_set_of(_spread([n, 1000 + n]), path) for n, path in enumerate(paths))
    files = [_lake_file(path, writer.add(one)) for path, one in zip(paths, sets, strict=True)]
    store.publish(writer.finish())
    return files


def _spread(values: Sequence[int]) -> list[int]:
    return [value * 0x9E3779B97F4A7C15 % 2**64 for value in values]


def _found(store: LocalObjectStore, files: list[LakeFile], values: Sequence[int]) -> list[str]:
    probes = Probes(_hashes(_spread(values)), {"sale": STAMP})
    answers = {file.path: found for file, found in may_hold(store, files, probes)}
    assert len(answers) == len(files)
    return sorted(path.rpartition("/")[2] for path, found in answers.items() if found)


@pytest.mark.parametrize("container", [100, 8 * 1024 * 1024])
@pytest.mark.parametrize("gap", [0, 64 * 1024])
def test_files_that_hold_a_value_are_found_among_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: int, gap: int
) -> None:
    monkeypatch.setattr(subject_index, "CONTAINER_BYTES", container)
    monkeypatch.setattr(subject_index, "_GAP", gap)
    store = LocalObjectStore(tmp_path)
    files = _lake(store, 40)
    assert _found(store, files, [3, 1017]) == ["17.parquet", "3.parquet"]
    assert _found(store, files[::5], [10, 11]) == ["10.parquet"]


def test_a_file_without_a_set_or_with_other_content_has_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, 1)
    assert file.logged is not None
    assert _found(store, [_lake_file("type=sale/x", None)], [5]) == ["x"]
    assert _found(store, [_lake_file(file.path, file.logged.index, size=11)], [5]) == ["0.parquet"]
    assert _found(store, [file], [5]) == []


def test_files_whose_container_is_gone_have_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    files = _lake(store, 2)
    (container,) = store.list(subject_index.INDEXES)
    store.delete(container.key)
    assert _found(store, files, [5]) == ["0.parquet", "1.parquet"]


def test_a_type_without_a_stamp_has_to_be_read(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (file,) = _lake(store, 1)
    assert [found for _, found in may_hold(store, [file], Probes(_hashes([5]), {}))] == [True]


def test_a_writer_that_is_aborted_leaves_nothing(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    writer = IndexWriter(store, "run")
    writer.add(_set_of([1]))
    writer.abort()
    assert list(store.list_staged("run")) == []
