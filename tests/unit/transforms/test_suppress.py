"""Rows and dead letters of suppressed subjects are kept out, others never; files get an index."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.changes import ErrorCode, Fault, Position, Reject, Stage
from schemas.delivery import Counts, Partition, dead_letter, encode_dead_letter
from schemas.dsr import Identity, IdentityType
from schemas.erasure import FileKind, Suppressed, SuppressionRef
from schemas.errors import LakeError
from stores.lake_files import LakeFile
from stores.log import DataFile
from stores.objects.local import LocalObjectStore
from stores.subject_index import INDEXES, IndexWriter, may_hold
from stores.suppression import load_suppressions, save_suppressions
from tests.unit.transforms.batches import REGISTRY, batch, event, sale
from transforms.index import probes_for, stamp_of
from transforms.index_file import index_file
from transforms.partition import Gathering, Partitioning, Piece
from transforms.scrub import Scrubber
from transforms.subject_hashes import SubjectHasher
from transforms.suppress import SubjectSieve, SubjectWriter
from transforms.write import FileFormat, LakeWriter, Output, Rotation, write_partition

HASHER = SubjectHasher(b"k" * 32)
EMAIL, USER = IdentityType.EMAIL, IdentityType.CONTROLLER_CUSTOMER_ID
SALE, NOTIFICATION = REGISTRY["sale"], REGISTRY["notification"]
DAY = Partition("sale", "2026-01-02")
NOW = datetime(2026, 2, 1, tzinfo=UTC)


def _suppressed(*values: str, plus: bool = False) -> tuple[Suppressed, ...]:
    hasher = replace(HASHER, plus_addressing=plus)
    return tuple(
        hasher.suppressed(Identity(EMAIL if "@" in value else USER, value)) for value in values
    )


def _rows(emails: list[str | None], users: list[str] | None = None) -> pa.Table:
    """Rows of sales, with no more than what identifies."""
    users = users or [f"u{n}" for n in range(len(emails))]
    return pa.table(
        {"user_id": pa.array(users, pa.string()), "email": pa.array(emails, pa.string())}
    )


def _kept(rows: pa.Table, *suppressed: str, plus: bool = False) -> list[str | None]:
    sifted = SubjectSieve(HASHER, _suppressed(*suppressed, plus=plus)).sift(SALE, rows)
    assert len(sifted.rows) + sifted.dropped == len(rows)
    kept: list[str | None] = sifted.rows["email"].to_pylist()
    return kept


@given(st.lists(st.sampled_from(["a@b.c", "A@b.C", "d@e.f", "g@h.i"]), max_size=30))
def test_rows_of_suppressed_subjects_are_dropped_and_no_others(emails: list[str]) -> None:
    expected = [email for email in emails if email == "g@h.i"]
    assert _kept(_rows([*emails]), "a@b.c", "d@e.f") == expected


def test_a_row_is_dropped_for_any_of_its_identities() -> None:
    assert _kept(_rows(["a@b.c", "d@e.f"], ["x", "y"]), "y") == ["a@b.c"]


def test_an_identity_of_another_type_drops_nothing() -> None:
    assert _kept(_rows(["a@b.c", None], ["a@b.c", "y"]), "d@e.f") == ["a@b.c", None]


def test_a_value_that_is_stored_as_a_hash_is_dropped() -> None:
    (known,) = _suppressed("a@b.c")
    assert _kept(_rows([known.stored, "d@e.f"]), "a@b.c") == ["d@e.f"]


def test_a_stored_address_without_its_tag_is_dropped_if_tags_make_no_difference() -> None:
    stored = [Scrubber(HASHER.key).hash(value) for value in ("me@b.c", "me+other@b.c", "you@b.c")]
    assert _kept(_rows([*stored]), "me+other@b.c", plus=True) == [stored[2]]
    assert _kept(_rows([*stored]), "me+other@b.c") == [stored[0], stored[2]]


def test_tags_make_no_difference_only_if_they_made_none_to_the_erasure() -> None:
    rows = _rows(["me+shop@b.c", "me@b.c", "you@b.c"])
    assert _kept(rows, "me@b.c") == ["me+shop@b.c", "you@b.c"]
    assert _kept(rows, "me+other@b.c", plus=True) == ["you@b.c"]


def test_a_near_hash_alone_drops_nothing() -> None:
    (known,) = _suppressed("a@b.c")
    near = replace(known, exact="0" * 64, stored="")
    assert SubjectSieve(HASHER, (near,)).sift(SALE, _rows(["a@b.c"])).dropped == 0


def test_a_condition_decides_whether_an_address_identifies() -> None:
    rows = pa.table({"user_id": ["x", "y"], "channel": ["email", "sms"], "address": ["a@b.c"] * 2})
    sifted = SubjectSieve(HASHER, _suppressed("a@b.c")).sift(NOTIFICATION, rows)
    assert sifted.rows["channel"].to_pylist() == ["sms"]


def _letter(original: bytes) -> Reject:
    fault = Fault(ErrorCode.MISSING_FIELD, "id")
    return Reject(fault, Stage.VALIDATE, Position("file", 0, 0), original, SALE)


def test_dead_letters_of_suppressed_subjects_are_dropped_and_counted() -> None:
    made = batch([event(1, "2026-01-01T10:00:00Z")])
    rejects = (_letter(b'{"email":"a@b.c"}'), _letter(b'{"email":"d@e.f"}'), _letter(b"{ a@b.c ,"))
    carried = encode_dead_letter(dead_letter(rejects[0], NOW))
    made = replace(made, rejects=rejects, block=replace(made.block, carried=(carried,)), read=4)
    sifted = SubjectSieve(HASHER, _suppressed("a@b.c")).sift_rejects(made)
    assert [reject.original for reject in sifted.rejects] == [b'{"email":"d@e.f"}']
    assert (sifted.suppressed, sifted.block.carried) == (2, ())


def test_a_batch_is_left_as_it_is_if_nobody_is_suppressed() -> None:
    made = batch([event(1, "2026-01-01T10:00:00Z")])
    assert SubjectSieve(HASHER).sift_rejects(made) is made


# --- Files -------------------------------------------------------------------------------------


def _pieces(folder: Path, emails: list[str]) -> list[Piece]:
    gathering = Gathering(folder, Partitioning(), NOW)
    gathering.add(batch([sale(number, email) for number, email in enumerate(emails)]))
    return gathering.finish()[0][DAY]


def _written(
    folder: Path, emails: list[str], output: Output, *suppressed: str
) -> tuple[LocalObjectStore, list[DataFile], Counts]:
    """The files of some sales, published with their indexes; and what was counted."""
    store = LocalObjectStore(folder / "lake")
    lake = LakeWriter(store, REGISTRY, output, "run")
    pieces = _pieces(folder, emails)
    with SubjectWriter(SubjectSieve(HASHER, _suppressed(*suppressed)), store, "run") as subjects:
        files = list(write_partition(DAY, pieces, lake, subjects))
        indexed = subjects.finish()
        store.publish([*indexed.containers, *(file.staged for file in files)])
        return store, [*indexed.described(files)], subjects.counts


def _may_hold(store: LocalObjectStore, file: DataFile, value: str) -> bool:
    probes = probes_for([Identity(EMAIL, value)], REGISTRY, HASHER)
    info = store.head(file.path)
    assert probes is not None
    assert info is not None
    found = LakeFile(info, FileKind.DATA, "sale", "2026-01-02", file, info.modified)
    ((_, answer),) = may_hold(store, [found], probes)
    return answer


@pytest.mark.parametrize("fmt", [FileFormat.PARQUET, FileFormat.AVRO])
def test_each_file_gets_the_index_of_its_own_subjects(tmp_path: Path, fmt: FileFormat) -> None:
    output = Output(fmt, "snappy", Rotation(rows=2))
    emails = ["a@b.c", "B@b.c", "c@b.c", "d+tag@b.c"]
    store, (first, second), _ = _written(tmp_path, emails, output)
    looked_for = ["A@B.c", "b@b.c", "c@b.c", "d+tag@b.c", "d@b.c"]
    assert [_may_hold(store, first, one) for one in looked_for] == [True, True] + [False] * 3
    assert [_may_hold(store, second, one) for one in looked_for] == [False, False] + [True] * 3


@pytest.mark.parametrize("fmt", [FileFormat.PARQUET, FileFormat.AVRO])
def test_a_set_made_of_a_file_is_that_made_as_it_was_written(
    tmp_path: Path, fmt: FileFormat
) -> None:
    emails = [f"user{number}+x@b.c" for number in range(500)]
    store, (file,), _ = _written(tmp_path, emails, Output(fmt, "snappy"))
    assert file.index is not None
    indexes = IndexWriter(store, "again")
    info = store.head(file.path)
    assert info is not None
    found = LakeFile(info, FileKind.DATA, "sale", None)
    index_file(file.path, [found], store, SALE, HASHER, indexes)
    store.publish(indexes.finish().containers)
    sets = [store.read(info.key) for info in store.list(INDEXES)]
    assert len(sets) == 2
    assert sets[0] == sets[1]


def test_a_suppressed_row_is_neither_in_the_file_nor_in_its_index(tmp_path: Path) -> None:
    store, (file,), counts = _written(tmp_path, ["a@b.c", "b@b.c"], Output(), "a@b.c")
    assert pq.read_table(tmp_path / "lake" / file.path, partitioning=None)["email"].to_pylist() == [
        "b@b.c"
    ]
    assert not _may_hold(store, file, "a@b.c")
    assert (file.rows, counts.delivered, counts.suppressed) == (1, -1, 1)
    assert (counts.by_type["sale"], counts.by_date["2026-01-02"]) == (-1, -1)


def test_no_file_is_made_if_all_rows_are_suppressed(tmp_path: Path) -> None:
    store, files, counts = _written(tmp_path, ["a@b.c"] * 3, Output(), "a@b.c")
    assert (files, counts.suppressed) == ([], 3)
    assert list(store.list_staged("run")) == []


def test_a_file_rotates_as_it_would_without_the_suppressed_rows(tmp_path: Path) -> None:
    emails = ["a@b.c", "b@b.c"] * 5
    _, files, counts = _written(tmp_path, emails, Output(rotation=Rotation(rows=4)), "a@b.c")
    assert sum(file.rows for file in files) == 5
    assert counts.suppressed == 5


def test_a_stamp_changes_with_the_fields_that_identify() -> None:
    fields = tuple(f for f in SALE.fields if f.name != "user_id")
    assert stamp_of(replace(SALE, fields=fields), HASHER) != stamp_of(SALE, HASHER)
    other = replace(SALE, fields=tuple(f for f in SALE.fields if f.name != "currency"))
    assert stamp_of(other, HASHER) == stamp_of(SALE, HASHER)


# --- Lists -------------------------------------------------------------------------------------


def test_lists_are_read_as_they_were_written_less_what_has_expired(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    forever, expired = _suppressed("a@b.c", "d@e.f")
    expired = replace(expired, expires_at=NOW)
    refs = [save_suppressions(store, "one", [forever]), save_suppressions(store, "two", [expired])]
    assert load_suppressions(store, refs, NOW) == (forever,)
    assert load_suppressions(store, refs, NOW - timedelta(seconds=1)) == (forever, expired)


def test_a_list_from_before_is_heeded_for_what_it_says(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    (known,) = _suppressed("me+other@b.c", plus=True)
    older = {k: v for k, v in msgspec.to_builtins(known).items() if k != "stored_untagged"}
    content = msgspec.json.encode([older])
    store.put("older.json", content)
    ref = SuppressionRef("older.json", hashlib.sha256(content).hexdigest())
    (loaded,) = load_suppressions(store, [ref], NOW)
    assert (loaded.exact, loaded.stored_forms) == (known.exact, (known.stored,))


def test_a_list_that_is_gone_or_damaged_stops_who_needs_it(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    ref = save_suppressions(store, "one", _suppressed("a@b.c"))
    store.put(ref.key, b"[]")
    with pytest.raises(LakeError, match="not what the delivery log says"):
        load_suppressions(store, [ref], NOW)
    store.delete(ref.key)
    with pytest.raises(LakeError, match="is gone"):
        load_suppressions(store, [ref], NOW)
