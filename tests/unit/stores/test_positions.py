"""Positions of a lake: who is suppressed since when, and which commits owe a look for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.delivery import Partition
from schemas.erasure import SuppressionRef
from stores.log_entries import COMPACT, ERASE, STREAM, SUPPRESS, Commit, DataFile
from stores.objects import StagedObject
from stores.positions import Positions, Snapshot, positions_after, snapshot_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILE = DataFile(
    Partition("sale", "2026-01-02"),
    "parquet",
    "zstd",
    1,
    0,
    0,
    "f" * 16,
    StagedObject("type=sale/a", "r", "t", 1, "0"),
)


def entry(
    kind: str, knows: int = 0, cleansed: tuple[int, ...] = (), files: tuple[DataFile, ...] = (FILE,)
) -> Commit:
    return Commit(0, "run", kind, NOW, files, (), {}, knows=knows, cleansed=cleansed)


def suppress() -> Commit:
    listed = SuppressionRef("_lethe/suppression/run.json", "0")
    return Commit(0, "run", SUPPRESS, NOW, (), (), {}, suppressed=listed)


def numbered(*entries: Commit) -> list[Commit]:
    return [replace(one, number=number) for number, one in enumerate(entries, 1)]


def after(*entries: Commit) -> Positions:
    return positions_after(None, numbered(*entries))


def test_a_suppression_holds_from_its_entry_on() -> None:
    found = after(entry("deliver"), suppress(), suppress())
    assert [listed.number for listed in found.suppressions] == [2, 3]
    assert (found.knows, after(entry("deliver")).knows) == (3, 0)


@pytest.mark.parametrize("kind", ["deliver", "replay", STREAM])
def test_a_delivery_that_did_not_know_of_a_suppression_owes(kind: str) -> None:
    assert after(suppress(), entry(kind)).owed == (2,)
    assert after(suppress(), suppress(), entry(kind, knows=1)).owed == (3,)


def test_what_was_delivered_before_or_in_knowledge_of_a_suppression_owes_nothing() -> None:
    assert after(entry("deliver"), suppress(), entry("deliver", knows=2)).owed == ()


def test_a_delivery_without_files_owes_nothing() -> None:
    assert after(suppress(), entry("deliver", files=())).owed == ()


def test_what_an_erasure_writes_owes_nothing() -> None:
    assert after(suppress(), entry(ERASE)).owed == ()


def test_a_compaction_owes_if_a_commit_before_it_does() -> None:
    assert after(suppress(), entry(COMPACT)).owed == ()
    assert after(suppress(), entry("deliver"), entry(COMPACT)).owed == (2, 3)


def test_what_was_cleansed_owes_no_more() -> None:
    found = after(suppress(), entry("deliver"), entry("deliver"), entry(ERASE, cleansed=(2,)))
    assert found.owed == (3,)


steps = st.sampled_from(
    [
        suppress(),
        entry("deliver"),
        entry("deliver", 3),
        entry(COMPACT),
        entry(ERASE, cleansed=(2, 4)),
    ]
)


@given(st.lists(steps, max_size=12), st.integers(0, 12))
def test_a_snapshot_leads_to_the_same_positions(history: list[Commit], at: int) -> None:
    entries = numbered(*history)
    written = msgspec.json.encode(snapshot_of(positions_after(None, entries[:at])))
    read = msgspec.json.decode(written, type=Snapshot)
    assert positions_after(read, entries[at:]) == positions_after(None, entries)


def test_a_snapshot_of_an_older_version_is_read() -> None:
    read = msgspec.json.decode(b'{"number": 50, "sources": []}', type=Snapshot)
    assert positions_after(read, []) == Positions(50, {})
