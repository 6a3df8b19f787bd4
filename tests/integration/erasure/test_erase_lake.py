"""Erasing from a lake: what leaves, what stays, what is refused, and what the certificate says."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.commands.erase import rows_in_words
from runners.erase import ErasureDone, approved, close_erasure, preview_erasure, run_erasure
from runners.erase_preview import MatchShareExceeded
from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import ErasureMode
from schemas.errors import AccessDenied, UsageError
from stores.erasure_certificates import decode_certificate, encode_certificate
from stores.erasures import ERASURES, ErasureRecord, keep_record
from stores.lake_files import lake_files
from stores.log import Commit, DeliveryLog, Owner
from stores.objects import LocalObjectStore, ObjectStore
from stores.objects.port import ObjectInfo
from stores.previews import PREVIEWS, load_preview
from tests.erasing import (
    EMAIL,
    OTHER,
    Meanwhile,
    deliver,
    emails_in,
    erase,
    order,
    paths,
    put_visits,
    runner,
    site,
)
from transforms.compact import CompactionRules, plan_merges


def test_rows_of_the_subject_leave_and_others_stay(store: ObjectStore) -> None:
    mixed = put_visits(store, "mixed", EMAIL, OTHER, None, EMAIL.upper())
    clean = put_visits(store, "clean", OTHER)
    before = store.read(clean)
    erase(store)
    assert emails_in(store, mixed) == [OTHER, None]
    assert store.read(clean) == before


def test_file_of_nobody_else_is_removed(lake: ObjectStore) -> None:
    key = put_visits(lake, "hers", EMAIL, EMAIL)
    done = erase(lake)
    assert key not in paths(lake)
    assert done.certificate.files[0].sha256_after is None


def test_certificate_says_what_was_done(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER, OTHER)
    before = hashlib.sha256(lake.read(key)).hexdigest()
    made = erase(lake).certificate
    (file,) = made.files
    assert (made.rows_before, made.matched, made.rows_after, made.verified_rows) == (3, 1, 2, 2)
    assert (file.path, file.sha256_before) == (key, before)
    assert file.sha256_after == hashlib.sha256(lake.read(key)).hexdigest()


def test_certificate_is_kept_signed_and_names_nobody(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    made = erase(lake).certificate
    kept = lake.read(f"_lethe/certificates/{made.id}.json")
    assert decode_certificate(kept, site(lake).keys.public) == made
    assert EMAIL.encode() not in kept


def test_dead_letters_leave_parked_ones_too(lake: ObjectStore) -> None:
    folders = ("errors/date=2026-01-02", "errors/parked/date=2026-01-02")
    for folder in folders:
        lake.put(f"{folder}/a.ndjson", f'{{"to": "{EMAIL}"}}\n{{"to": "{OTHER}"}}\n'.encode())
    erase(lake)
    left = [lake.read(f"{folder}/a.ndjson") for folder in folders]
    assert left == [f'{{"to": "{OTHER}"}}\n'.encode()] * 2


def test_many_subjects_leave_in_one_entry(lake: ObjectStore) -> None:
    emails = [f"subject-{n}@acme.example" for n in range(10_000)]
    key = put_visits(lake, "many", *emails[::100], OTHER)
    made = erase(lake, *emails).certificate
    assert emails_in(lake, key) == [OTHER]
    assert (len(made.subjects), made.matched) == (10_000, 100)


def test_digest_of_an_identity_finds_it_and_is_said_to_keep_nothing_out(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER)
    digest = hashlib.sha256(EMAIL.encode()).hexdigest()
    given = Identity(IdentityType.EMAIL, digest, IdentityFormat.SHA256)
    asked = order()
    done = run_erasure(type(asked)(((given,),), max_match_share=1), site(lake), runner())
    assert emails_in(lake, key) == [OTHER]
    assert "digests" in done.certificate.unreachable[0]


def test_redaction_keeps_rows_without_what_is_personal(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER)
    made = erase(lake, mode=ErasureMode.REDACT).certificate
    assert emails_in(lake, key) == [None, OTHER]
    assert (made.matched, made.rows_after) == (1, 2)
    assert rows_in_words(made) == "1 redacted, 0 erased, 1 beside them kept"


def test_type_that_no_schema_names_is_looked_through(lake: ObjectStore) -> None:
    key = "type=old_thing/date=2026-01-02/a.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [1, 2], "contact": [{"mail": EMAIL}, {"mail": OTHER}]}), sink)
    lake.put(key, sink.getvalue().to_pybytes())
    erase(lake)
    assert pq.read_table(pa.BufferReader(lake.read(key)))["n"].to_pylist() == [2]


def test_file_that_cannot_be_read_is_named(lake: ObjectStore) -> None:
    lake.put("type=visit/date=2026-01-02/broken.parquet", b"PAR1 and nothing else PAR1")
    lake.put("type=visit/date=2026-01-02/other.xlsx", b"PK")
    done = erase(lake)
    assert not done.is_complete
    named = [line.partition(":")[0].rpartition("/")[2] for line in done.certificate.unreachable]
    assert named == ["broken.parquet", "other.xlsx"]


class WithLockedFile(LocalObjectStore):
    """A lake of which one file may not be read."""

    def open(self, key: str, offset: int = 0, etag: str | None = None) -> BinaryIO:
        if key.endswith("/locked.parquet"):
            raise AccessDenied(f"{self.uri}/{key}: Permission denied: check the permissions")
        return super().open(key, offset, etag)


def test_file_that_may_not_be_read_is_named_and_the_others_are_erased(lake: ObjectStore) -> None:
    locked, mixed = put_visits(lake, "locked", EMAIL), put_visits(lake, "mixed", EMAIL, OTHER)
    done = erase(WithLockedFile(lake.uri))
    assert emails_in(lake, mixed) == [OTHER]
    assert done.certificate.unreachable == (f"{locked}: Permission denied: check the permissions",)


def test_too_large_a_share_is_refused_and_nothing_changed(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER)
    with pytest.raises(MatchShareExceeded, match=r"1 of 2 rows \(50.0%\)"):
        erase(lake, max_match_share=0.4)
    assert emails_in(lake, key) == [EMAIL, OTHER]
    assert DeliveryLog(lake).last_number() == 0


def test_preview_counts_and_changes_nothing(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER, EMAIL)
    lake.put("errors/date=2026-01-05/a.ndjson", f'{{"to": "{EMAIL}"}}\n'.encode())
    before = {path: lake.read(path) for path in paths(lake)}
    preview = preview_erasure(order(), site(lake), runner())
    assert (preview.matched, preview.rows) == (3, 4)
    assert preview.by_type == {"dead_letters": 1, "visit": 2}
    assert preview.by_date == {"2026-01-02": 2, "2026-01-05": 1}
    assert {path: lake.read(path) for path in paths(lake)} == before


def test_approved_preview_is_run_whatever_its_share(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER)
    here = site(lake)
    preview_id = preview_erasure(order(), here, runner()).id
    kept = load_preview(lake, preview_id, here.clock())
    put_visits(lake, "more", EMAIL)
    done = run_erasure(approved(kept, here), here, runner())
    assert emails_in(lake, key) == [OTHER]
    assert done.drift == "previewed were 1 rows in 1 files, now there are 2 in 2"


def test_expired_preview_is_refused(lake: ObjectStore) -> None:
    here = site(lake)
    preview = preview_erasure(order(), here, runner())
    with pytest.raises(UsageError, match="has expired"):
        load_preview(lake, preview.id, here.clock() + timedelta(days=8))


def test_previews_of_the_subjects_are_removed(lake: ObjectStore) -> None:
    here = site(lake)
    preview_erasure(order(EMAIL.upper()), here, runner())
    others = preview_erasure(order(OTHER), here, runner())
    erase(lake)
    assert [info.key for info in lake.list(PREVIEWS)] == [f"{PREVIEWS}{others.id}.json"]


def test_erasing_again_finds_nothing(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    erase(lake)
    made = erase(lake).certificate
    assert (made.files, made.matched, made.entries) == ((), 0, ())


def test_delivery_under_way_is_named_if_it_does_not_end(lake: ObjectStore) -> None:
    log = DeliveryLog(lake)
    log.begin("slow-delivery", 0)
    done = erase(lake)
    assert done.certificate.open_runs == ("slow-delivery",)
    assert not done.is_complete


def test_what_is_delivered_meanwhile_is_erased_too(lake: ObjectStore) -> None:
    put_visits(lake, "before", EMAIL, OTHER)
    made: list[Commit] = []
    erase(lake, by=Meanwhile(lambda: made.append(deliver(lake, "meanwhile", EMAIL, OTHER))))
    assert emails_in(lake, made[0].files[0].path) == [OTHER]


def test_file_that_others_rewrite_meanwhile_is_read_anew(store: ObjectStore) -> None:
    key = put_visits(store, "mixed", EMAIL, OTHER)
    by = Meanwhile(lambda: put_visits(store, "mixed", OTHER, OTHER, EMAIL))
    made = erase(store, by=by).certificate
    assert emails_in(store, key) == [OTHER, OTHER]
    assert made.files[0].rows_before == 3


def test_two_erasures_of_one_file_both_count(store: ObjectStore) -> None:
    third = "cy@acme.example"
    key = put_visits(store, "mixed", EMAIL, OTHER, third)
    erase(store, by=Meanwhile(lambda: erase(store, OTHER)))
    assert emails_in(store, key) == [third]


def test_erasure_whose_process_is_gone_is_gone_on_with(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    here = site(lake)
    gone = Owner(Owner.this_process().host, 1, "long ago")
    subjects = order().hashes(here)
    keep_record(lake, ErasureRecord("half", gone, here.clock(), ErasureMode.DELETE, subjects))
    assert erase(lake).certificate.id == "half"


@pytest.mark.parametrize(("minutes", "is_gone_on_with"), [(14, False), (16, True)])
def test_erasure_of_another_machine_is_gone_on_with_once_it_is_silent(
    lake: ObjectStore, minutes: int, is_gone_on_with: bool
) -> None:
    later = site(lake, clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    record = ErasureRecord(
        "half",
        Owner.elsewhere("a pod"),
        datetime.now(UTC),
        ErasureMode.DELETE,
        order().hashes(later),
    )
    keep_record(lake, record)
    made = run_erasure(order(), later, runner()).certificate
    assert (made.id == "half") is is_gone_on_with


def test_another_erasure_under_way_is_no_delivery_that_is_waited_for(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    inner: list[ErasureDone] = []
    erase(lake, by=Meanwhile(lambda: inner.append(erase(lake, OTHER))))
    assert [done.certificate.open_runs for done in inner] == [()]


class Overtaken(LocalObjectStore):
    """A lake in which another process takes an erasure over just before us."""

    def put_if_match(self, key: str, data: bytes, etag: str) -> ObjectInfo:
        self.put(key, self.read(key))
        return super().put_if_match(key, data, etag)


def test_of_two_who_go_on_with_an_erasure_one_begins_another(lake: ObjectStore) -> None:
    here = site(lake)
    gone = Owner(Owner.this_process().host, 1, "long ago")
    subjects = order().hashes(here)
    keep_record(lake, ErasureRecord("half", gone, here.clock(), ErasureMode.DELETE, subjects))
    assert erase(Overtaken(lake.uri)).certificate.id != "half"


def test_erasure_that_took_no_tags_is_not_gone_on_with_by_one_that_does(lake: ObjectStore) -> None:
    here = site(lake)
    gone = Owner(Owner.this_process().host, 1, "long ago")
    subjects = order().hashes(here)
    keep_record(lake, ErasureRecord("half", gone, here.clock(), ErasureMode.DELETE, subjects))
    assert erase(lake, plus_addressing=True).certificate.id != "half"


def test_erasure_that_nobody_goes_on_with_is_forgotten_in_the_end(lake: ObjectStore) -> None:
    here = site(lake)
    elsewhere = Owner.elsewhere("another machine")
    for name, days in (("old", 31), ("young", 29)):
        began = here.clock() - timedelta(days=days)
        keep_record(lake, ErasureRecord(name, elsewhere, began, ErasureMode.DELETE, ()))
    close_erasure(here, erase(lake))
    assert [info.key for info in lake.list(ERASURES)] == [f"{ERASURES}young.json"]


def test_certificate_of_a_killed_erasure_has_all_of_it(lake: ObjectStore) -> None:
    key = put_visits(lake, "mixed", EMAIL, OTHER)

    def die() -> None:
        raise KeyboardInterrupt("killed")

    with pytest.raises(KeyboardInterrupt):
        erase(lake, id="mine", by=Meanwhile(lambda: None, die))
    assert emails_in(lake, key) == [OTHER]
    made = erase(lake, id="mine").certificate
    assert [file.path for file in made.files] == [key]


def test_certificate_text_is_stable(lake: ObjectStore) -> None:
    made = erase(lake).certificate
    line = encode_certificate(made)
    assert encode_certificate(decode_certificate(line, site(lake).keys.public)) == line


def test_rewritten_files_of_others_are_not_compacted(lake: ObjectStore) -> None:
    put_visits(lake, "a", EMAIL, OTHER)
    put_visits(lake, "b", EMAIL, OTHER)
    erase(lake)
    later = datetime.now(UTC) + timedelta(days=2)
    found = plan_merges(lake_files(lake, DeliveryLog(lake)), CompactionRules(10**9, later))
    assert list(found) == []
