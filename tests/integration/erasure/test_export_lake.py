"""Exports out of a lake: the subject's rows, each once, in an archive that is whole or absent."""

from __future__ import annotations

import hashlib
import socket
import urllib.request
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pyrage
import pytest

from runners.erase_order import ErasureSite
from runners.export import ExportOrder, SubjectErased, link_to, run_export
from schemas.delivery import Counts, summary
from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import ErasureMode
from schemas.errors import LakeError, UsageError
from stores.exports import (
    EXPORTS,
    exports_in,
    exports_of,
    forget_export,
    keep_export,
    sweep_archives,
    sweep_records,
)
from stores.log import COMPACT, Commit, DataFile, DeliveryLog
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket
from tests.erasing import (
    EMAIL,
    OTHER,
    VISIT,
    Meanwhile,
    deliver,
    erase,
    parquet_of,
    put_visits,
    runner,
    site,
)
from tests.erasing import order as erasure_of
from tests.exporting import export, index_in, opened, order, rows_in, visible
from transforms.export.encryption import Recipients


def emails(rows: list[dict[str, object]]) -> list[object]:
    return [row["email"] for row in rows]


def put_avro(store: ObjectStore, name: str, *emails: str | None) -> str:
    key = f"type=visit/date=2026-01-02/{name}.avro"
    at = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [{"id": f"v-{n}", "type": "visit", "version": 1, "at": at, "email": email}
            for n, email in enumerate(emails)]  # fmt: skip
    writer = pa.BufferOutputStream()
    fields = [field for field in VISIT.avro["fields"] if field["name"] in rows[0]]
    fastavro.writer(writer, {**VISIT.avro, "fields": fields}, rows, sync_interval=100)
    store.put(key, writer.getvalue().to_pybytes())
    return key


def test_rows_of_the_subject_alone_are_gathered(store: ObjectStore, tmp_path: Path) -> None:
    put_visits(store, "mixed", EMAIL, OTHER, None, EMAIL.upper())
    put_visits(store, "clean", OTHER)
    archive = opened(export(store, tmp_path / "out"), tmp_path / "out")
    assert emails(rows_in(archive)) == [EMAIL, EMAIL.upper()]
    assert OTHER.encode() not in b"".join(archive.read(name) for name in archive.namelist())


def test_parquet_and_avro_are_told_alike(lake: ObjectStore, tmp_path: Path) -> None:
    put_visits(lake, "a", OTHER, EMAIL)
    put_avro(lake, "b", *[OTHER] * 20, EMAIL, *[OTHER] * 20)
    rows = rows_in(opened(export(lake, tmp_path / "out"), tmp_path / "out"))
    assert sorted(emails(rows)) == [EMAIL, EMAIL]
    assert [row["at"] for row in rows if "at" in row] == ["2026-01-02T00:00:00Z"]


def test_dead_letters_are_gathered_parked_ones_too(lake: ObjectStore, tmp_path: Path) -> None:
    for folder in ("errors/date=2026-01-02", "errors/parked/date=2026-01-02"):
        lines = f'{{"to": "{EMAIL}"}}\n{{"to": "{OTHER}"}}\n'
        lake.put(f"{folder}/a.ndjson", lines.encode())
    archive = opened(export(lake, tmp_path / "out"), tmp_path / "out")
    rows = rows_in(archive, "dead_letters.json")
    assert [row["original"] for row in rows] == [f'{{"to": "{EMAIL}"}}'] * 2


def test_type_that_no_schema_names_is_gathered(lake: ObjectStore, tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [1, 2], "contact": [{"mail": EMAIL}, {"mail": OTHER}]}), sink)
    lake.put("type=old_thing/date=2026-01-02/a.parquet", sink.getvalue().to_pybytes())
    archive = opened(export(lake, tmp_path / "out"), tmp_path / "out")
    assert rows_in(archive, "data/old_thing.json") == [{"n": 1, "contact": {"mail": EMAIL}}]


def test_subject_of_whom_nothing_is_known_gets_that_in_writing(
    lake: ObjectStore, tmp_path: Path
) -> None:
    put_visits(lake, "a", OTHER)
    done = export(lake, tmp_path / "out")
    assert done.record.rows == 0
    assert b"Nothing was found" in opened(done, tmp_path / "out").read("summary.html")


def test_index_says_where_rows_are_from(lake: ObjectStore, tmp_path: Path) -> None:
    deliver(lake, "a", EMAIL, OTHER, EMAIL)
    index = index_in(opened(export(lake, tmp_path / "out"), tmp_path / "out"))
    assert (index["lake"], index["log_number"], index["rows"]) == (lake.uri, 1, 2)
    (source,) = index["sources"]
    assert (source["path"], source["rows"]) == ("type=visit/date=2026-01-03/a.parquet", 2)


def test_file_that_cannot_be_read_is_named(lake: ObjectStore, tmp_path: Path) -> None:
    lake.put("type=visit/date=2026-01-02/broken.parquet", b"PAR1 and nothing else PAR1")
    put_visits(lake, "a", EMAIL)
    done = export(lake, tmp_path / "out")
    assert not done.is_complete
    index = index_in(opened(done, tmp_path / "out"))
    assert list(index["not_looked_into"]) == ["type=visit/date=2026-01-02/broken.parquet"]
    assert index["rows"] == 1


def test_digest_beside_the_archive_is_its(lake: ObjectStore, tmp_path: Path) -> None:
    done = export(lake, tmp_path / "out")
    digest, name = (tmp_path / "out" / f"{done.record.archive}.sha256").read_text().split()
    assert name == done.record.archive
    assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest


def test_nothing_beside_the_archive_names_the_subject(lake: ObjectStore, tmp_path: Path) -> None:
    put_visits(lake, "a", EMAIL)
    key = pyrage.x25519.Identity.generate().to_public()
    done = export(lake, tmp_path / "out", encryption=Recipients((str(key),)))
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    kept = [lake.read(info.key) for info in lake.list(EXPORTS)]
    assert len(kept) == 1
    assert not any(EMAIL.encode() in text for text in [*kept, *(p.read_bytes() for p in files)])
    assert "ana" not in repr(done) + "".join(path.name for path in files)


def test_new_folder_is_for_its_owner_alone(lake: ObjectStore, tmp_path: Path) -> None:
    export(lake, tmp_path / "new" / "out")
    assert (tmp_path / "new" / "out").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", ["", "type=visit", "exports"])
def test_place_within_the_lake_is_refused(lake: ObjectStore, place: str) -> None:
    with pytest.raises(UsageError, match="a part of the lake"):
        export(lake, f"{lake.uri}/{place}")


def test_export_of_the_same_id_is_made_once(lake: ObjectStore, tmp_path: Path) -> None:
    put_visits(lake, "a", EMAIL)
    export_id = str(uuid.uuid4())
    first = export(lake, tmp_path / "out", id=export_id)
    put_visits(lake, "b", EMAIL)
    assert export(lake, tmp_path / "out", id=export_id).record == first.record


def test_id_of_another_subjects_export_is_refused(lake: ObjectStore, tmp_path: Path) -> None:
    export(lake, tmp_path / "out", id="1" * 32)
    with pytest.raises(UsageError, match="of another subject"):
        export(lake, tmp_path / "out", OTHER, id="1" * 32)


def put_together(lake: ObjectStore, *merged: DataFile) -> None:
    """What a compaction does to files with a row of the subject in each."""
    log = DeliveryLog(lake)
    run = log.begin("run-compact", log.last_number())
    writer = lake.stage("type=visit/date=2026-01-03/merged.parquet", run.run_id)
    writer.write(parquet_of([EMAIL] * len(merged)))
    file = replace(merged[0], rows=len(merged), staged=writer.close())
    removed = tuple(one.path for one in merged)
    now, nothing = datetime.now(UTC), summary(Counts())
    log.commit(run, Commit(0, run.run_id, COMPACT, now, (file,), (), nothing, removed=removed))
    log.finish(run)


def test_row_is_there_once_if_files_are_put_together_meanwhile(
    lake: ObjectStore, tmp_path: Path
) -> None:
    files = [*deliver(lake, "a", EMAIL).files, *deliver(lake, "b", EMAIL).files]
    by = Meanwhile(lambda: put_together(lake, *files))
    archive = opened(export(lake, tmp_path / "out", by=by), tmp_path / "out")
    assert emails(rows_in(archive)) == [EMAIL, EMAIL]
    index = index_in(archive)
    assert [one["path"] for one in index["sources"]] == [
        "type=visit/date=2026-01-03/merged.parquet"
    ]
    assert index["log_number"] == 3


def test_rows_of_others_may_be_erased_meanwhile(lake: ObjectStore, tmp_path: Path) -> None:
    deliver(lake, "a", EMAIL, OTHER)
    by = Meanwhile(lambda: erase(lake, OTHER, mode=ErasureMode.DELETE))
    archive = opened(export(lake, tmp_path / "out", by=by), tmp_path / "out")
    assert emails(rows_in(archive)) == [EMAIL]


def taken_out(lake: ObjectStore, path: str) -> None:
    """What a compaction does to a file that it puts together with others."""
    log = DeliveryLog(lake)
    run = log.begin(f"run-{uuid.uuid4().hex}", log.last_number())
    now, nothing = datetime.now(UTC), summary(Counts())
    log.commit(run, Commit(0, run.run_id, COMPACT, now, (), (), nothing, removed=(path,)))
    log.finish(run)


def test_lake_that_never_rests_is_not_exported(lake: ObjectStore, tmp_path: Path) -> None:
    keys = [put_visits(lake, f"{n}", EMAIL) for n in range(6)]
    by = Meanwhile(*(partial(taken_out, lake, key) for key in keys))
    with pytest.raises(LakeError, match="all the time"):
        export(lake, tmp_path / "out", by=by)
    assert visible(tmp_path / "out") == []
    assert list(lake.list(EXPORTS)) == []


def test_files_are_listed_when_a_compaction_is_in_its_place(
    lake: ObjectStore, tmp_path: Path
) -> None:
    key = put_visits(lake, "a", EMAIL)
    log = DeliveryLog(lake)
    run = log.begin("run-alive", log.last_number())
    now, nothing = datetime.now(UTC), summary(Counts())
    log.append(Commit(1, run.run_id, COMPACT, now, (), (), nothing, removed=(key,)))
    assert export(lake, tmp_path / "out").record.rows == 0


def test_export_is_not_handed_out_if_the_subject_is_erased_meanwhile(
    lake: ObjectStore, tmp_path: Path
) -> None:
    put_visits(lake, "a", EMAIL)

    def withdraw() -> None:
        for record in exports_in(lake):
            forget_export(lake, record.id)

    with pytest.raises(SubjectErased):
        export(lake, tmp_path / "out", by=Meanwhile(withdraw))
    assert visible(tmp_path / "out") == []


def test_earlier_export_goes_with_the_subject(lake: ObjectStore, tmp_path: Path) -> None:
    put_visits(lake, "a", EMAIL, OTHER)
    hers, his = export(lake, tmp_path / "out"), export(lake, tmp_path / "out", OTHER)
    made = erase(lake).certificate
    assert his.record.archive in visible(tmp_path / "out")
    assert hers.record.archive not in visible(tmp_path / "out")
    (file,) = [one for one in made.files if one.kind == "export"]
    assert (file.path, file.sha256_before) == (hers.record.address, hers.record.sha256)
    assert [record.id for record in exports_in(lake)] == [his.record.id]


def test_export_on_another_machine_is_said_to_be_out_of_reach(
    lake: ObjectStore, tmp_path: Path
) -> None:
    made = export(lake, tmp_path / "out").record
    keep_export(lake, replace(made, out=str(tmp_path / "elsewhere"), machine="far-away"))
    done = erase(lake)
    assert not done.is_complete
    assert "far-away" in done.certificate.unreachable[0]
    assert [record.id for record in exports_in(lake)] == [made.id]


def test_export_on_a_volume_of_several_machines_is_removed(
    lake: ObjectStore, tmp_path: Path
) -> None:
    made = export(lake, tmp_path / "out").record
    keep_export(lake, replace(made, machine="far-away"))
    assert erase(lake).is_complete
    assert visible(tmp_path / "out") == []


def test_export_of_too_many_to_be_listed_is_everybodys(lake: ObjectStore, tmp_path: Path) -> None:
    made = export(lake, tmp_path / "out").record
    keep_export(lake, replace(made, of_many=True))
    hashes = frozenset(erase_hashes(lake, OTHER))
    assert [record.id for record in exports_of(lake, hashes)] == [made.id]


def test_export_is_found_by_whom_its_rows_identify(lake: ObjectStore, tmp_path: Path) -> None:
    digest = hashlib.sha256(EMAIL.encode()).hexdigest()
    given = Identity(IdentityType.EMAIL, digest, IdentityFormat.SHA256)
    put_visits(lake, "a", EMAIL)
    asked = ExportOrder((given,), str(tmp_path / "out"))
    record = run_export(asked, site(lake), runner()).record
    hashes = frozenset(erase_hashes(lake, EMAIL))
    assert [one.id for one in exports_of(lake, hashes)] == [record.id]
    assert exports_of(lake, frozenset(erase_hashes(lake, OTHER))) == []


def erase_hashes(lake: ObjectStore, email: str) -> tuple[str, ...]:
    return erasure_of(email).hashes(site(lake))


def test_expired_archives_are_swept_and_others_stay(lake: ObjectStore, tmp_path: Path) -> None:
    out, now = LocalObjectStore(tmp_path / "out"), datetime.now(UTC)
    old = export(lake, out, expires=timedelta(hours=1))
    young = export(lake, out, expires=timedelta(days=1))
    out.put("lethe-export-notes.txt", b"mine")
    swept = sweep_archives(out, now + timedelta(hours=2))
    assert (swept.archives, swept.beginnings) == (1, 0)
    assert old.record.archive not in visible(out)
    assert {young.record.archive, "lethe-export-notes.txt"} < set(visible(out))


def test_next_export_sweeps_and_forgets_what_has_expired(lake: ObjectStore, tmp_path: Path) -> None:
    old = export(lake, tmp_path / "out", expires=timedelta(hours=1))
    later = datetime.now(UTC) + timedelta(hours=2)
    new = export(lake, tmp_path / "out", OTHER, clock=lambda: later)
    assert [record.id for record in exports_in(lake)] == [new.record.id]
    assert old.record.archive not in visible(tmp_path / "out")


def test_archive_elsewhere_goes_before_its_export_is_forgotten(
    lake: ObjectStore, tmp_path: Path
) -> None:
    old = export(lake, tmp_path / "case-1", expires=timedelta(hours=1))
    later = datetime.now(UTC) + timedelta(hours=2)
    export(lake, tmp_path / "case-2", OTHER, clock=lambda: later)
    assert old.record.archive not in visible(tmp_path / "case-1")
    assert old.record.id not in [record.id for record in exports_in(lake)]


def test_export_on_another_machine_is_remembered_after_its_time(
    lake: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = export(lake, tmp_path / "out", expires=timedelta(hours=1))
    (tmp_path / "out").rename(tmp_path / "not seen from here")
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    later = datetime.now(UTC) + timedelta(hours=2)
    assert sweep_records(lake, None, later) == 0
    assert [record.id for record in exports_in(lake)] == [old.record.id]


def test_note_that_was_forged_removes_nothing_else(tmp_path: Path) -> None:
    out = LocalObjectStore(tmp_path)
    out.put("precious", b"1")
    note = '{"id": "%s", "archive": "precious", "expires_at": "2020-01-01T00:00:00Z"}' % ("1" * 32)
    out.put(f"lethe-export-{'1' * 32}.json", note.encode())
    sweep_archives(out, datetime.now(UTC))
    assert out.read("precious") == b"1"


@pytest.fixture
def bucket(moto_url: str) -> S3ObjectStore:
    name = f"exports-{uuid.uuid4().hex}"
    make_bucket(moto_url, name)
    settings = S3Settings(
        endpoint_url=moto_url, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    return S3ObjectStore(name, "out", settings)


def beside(lake: ObjectStore, bucket: S3ObjectStore, now: datetime) -> ErasureSite:
    """The lake, with what reaches the bucket, at some moment."""
    return replace(site(lake, lambda: now), s3=bucket._place.settings)


def test_link_opens_the_archive_on_s3(bucket: S3ObjectStore, lake: ObjectStore) -> None:
    put_visits(lake, "a", EMAIL)
    place = beside(lake, bucket, datetime.now(UTC))
    done = run_export(order(bucket, expires=timedelta(days=30)), place, runner())
    assert f"X-Amz-Expires={7 * 86400}" in str(done.link)
    with urllib.request.urlopen(str(done.link), timeout=10) as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == done.record.sha256
    assert emails(rows_in(opened(done, bucket))) == [EMAIL]


def test_link_ends_with_the_archive(bucket: S3ObjectStore, lake: ObjectStore) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    done = run_export(order(bucket, expires=hour), beside(lake, bucket, now), runner())
    assert "X-Amz-Expires=3600" in str(done.link)
    assert link_to(done.record, beside(lake, bucket, now + hour)) is None


def test_local_archive_has_no_link(lake: ObjectStore, tmp_path: Path) -> None:
    assert export(lake, tmp_path / "out").link is None
