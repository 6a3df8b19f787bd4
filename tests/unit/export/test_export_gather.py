"""Gathering: the rows that match, in full, from files of any writer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from schemas.erasure import FileKind
from stores.lake_files import LakeFile
from stores.objects import LocalObjectStore
from tests.erasing import EMAIL, OTHER, site
from transforms.erasure.files import Unreadable
from transforms.erasure.search import Wanted
from transforms.export.gather import Gathered, Gatherer
from transforms.subject_hashes import SubjectHasher

NOON = datetime(2026, 1, 2, 12, 0, 0, 7, UTC)
VALUES = st.sampled_from([EMAIL, EMAIL.upper(), f" {EMAIL} ", OTHER, "an@acme.example", None])
HERS = frozenset({EMAIL, EMAIL.upper(), f" {EMAIL} "})
KEY = b"only-for-tests-only-for-tests-32"


def gathered(path: Path, kind: FileKind = FileKind.DATA, of: str = "visit") -> list[Gathered]:
    """What is gathered from a file."""
    store = LocalObjectStore(path.parent)
    place = site(store)
    wanted = Wanted(place.scrub_key, place.registry, (Identity(IdentityType.EMAIL, EMAIL),))
    info = store.head(path.name)
    assert info is not None
    return list(Gatherer(wanted.search(), KEY).rows_in(LakeFile(info, kind, of, None), store))


def rows(path: Path, of: str = "visit") -> list[Mapping[str, Any]]:
    return [row for some in gathered(path, of=of) for row in some.rows]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(emails=st.lists(VALUES, max_size=30), size=st.integers(1, 7))
def test_every_row_that_matches_is_gathered_and_no_other(
    tmp_path: Path, emails: list[str | None], size: int
) -> None:
    table = pa.table({"n": range(len(emails)), "email": pa.array(emails, pa.string())})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=size)
    expected = [row for row in table.to_pylist() if row["email"] in HERS]
    assert rows(tmp_path / "a.parquet") == expected


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(emails=st.lists(VALUES, max_size=30), size=st.integers(1, 60))
def test_every_row_that_matches_is_gathered_from_avro(
    tmp_path: Path, emails: list[str | None], size: int
) -> None:
    fields = [{"name": "n", "type": "int"}, {"name": "email", "type": ["null", "string"]}]
    schema = {"type": "record", "name": "visit", "fields": fields}
    found = [{"n": n, "email": email} for n, email in enumerate(emails)]
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, found, codec="deflate", sync_interval=size)
    assert rows(tmp_path / "a.avro") == [row for row in found if row["email"] in HERS]


def test_times_and_decimals_beside_an_address_in_a_record_stop_nothing(tmp_path: Path) -> None:
    at = {"type": "long", "logicalType": "timestamp-micros"}
    price = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    kinds = {"mail": "string", "at": at, "price": price}
    members = [{"name": name, "type": kind} for name, kind in kinds.items()]
    guests = {"type": "array", "items": {"type": "record", "name": "guest", "fields": members}}
    schema = {"type": "record", "name": "old", "fields": [{"name": "guests", "type": guests}]}
    guest = {"mail": EMAIL, "at": NOON, "price": Decimal("1.50")}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"guests": [guest]}])
    (row,) = rows(tmp_path / "a.avro", of="old")
    told = {"mail": EMAIL, "at": "2026-01-02T12:00:00.000007Z", "price": "1.50"}
    assert row == {"guests": [told]}


def test_values_of_parquet_are_told_exactly(tmp_path: Path) -> None:
    table = pa.table(
        {
            "email": [EMAIL],
            "ns": pa.array([1], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("0.10")], pa.decimal128(20, 2)),
            "tags": pa.array([[("k", [1, None])]], pa.map_(pa.string(), pa.list_(pa.int8()))),
            "none": pa.array([None], pa.struct([("x", pa.int64())])),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (row,) = rows(tmp_path / "a.parquet")
    assert row == {
        "email": EMAIL,
        "ns": "1970-01-01T00:00:00.000000001Z",
        "price": "0.10",
        "tags": {"k": [1, None]},
        "none": None,
    }


def test_old_times_are_read(tmp_path: Path) -> None:
    table = pa.table({"email": [EMAIL], "at": pa.array([NOON], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert rows(tmp_path / "a.parquet")[0]["at"].startswith("2026-01-02T12:00:00.000007")


def test_values_of_avro_are_told_exactly(tmp_path: Path) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    time = {"type": "long", "logicalType": "timestamp-micros"}
    fields = [
        {"name": "email", "type": "string"},
        {"name": "price", "type": decimal},
        {"name": "at", "type": time},
        {"name": "seat", "type": {"type": "record", "name": "s", "fields": [
            {"name": "raw", "type": "bytes"}]}},
    ]  # fmt: skip
    row = {"email": EMAIL, "price": Decimal("0.10"), "at": NOON, "seat": {"raw": b"\xff"}}
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "visit", "fields": fields}, [row])
    assert rows(tmp_path / "a.avro") == [
        {"email": EMAIL, "price": "0.10", "at": "2026-01-02T12:00:00.000007Z",
         "seat": {"raw": "/w=="}}
    ]  # fmt: skip


def test_notification_is_found_by_its_address_only_if_that_is_an_email(tmp_path: Path) -> None:
    table = pa.table({"channel": ["email", "sms"], "address": [EMAIL, EMAIL]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = rows(tmp_path / "a.parquet", of="notification")
    assert [row["channel"] for row in found] == ["email"]


def test_whom_rows_identify_is_told_by_hashes(tmp_path: Path) -> None:
    table = pa.table({"user_id": ["u-1", "u-2"], "email": [EMAIL, OTHER]})
    pq.write_table(table, tmp_path / "a.parquet")
    (some,) = gathered(tmp_path / "a.parquet", of="demand")
    user = Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "u-1")
    hers = {SubjectHasher(KEY).exact(one) for one in (user, Identity(IdentityType.EMAIL, EMAIL))}
    assert some.identified.subjects == hers


@pytest.mark.parametrize("content", [b"", b"PAR1", b"Obj\x01", b"id,email\n1,ana@acme.example\n"])
def test_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(Unreadable, match=r"a\.parquet"):
        gathered(tmp_path / "a.parquet")
