"""An export that is killed, wherever that is, leaves an archive that is whole, or none."""

from __future__ import annotations

import signal
import uuid
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runners.export import run_export
from stores.exports import sweep_archives
from stores.objects import LocalObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.e2e.harness import Lake, deliver, dying, generated, in_child, lethe, start
from tests.e2e.test_erase_killed import SECRETS, kill_after
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url, s3_client
from tests.erasing import EMAIL, OTHER, put_visits, runner, site
from tests.exporting import export, opened, order, rows_in, visible

__all__ = ["moto_url"]

DEATHS = [
    ("put", 2, True),  # the note is there
    ("stage", 1, True),
    ("settle", 1, True),  # all but the archive is in its place
    ("publish", 1, True),
]
ID = "1" * 32


@pytest.fixture
def lake(tmp_path: Path) -> LocalObjectStore:
    store = LocalObjectStore(tmp_path / "lake")
    put_visits(store, "a", EMAIL, OTHER)
    return store


def die(lake: LocalObjectStore, out: Path, method: str, call: int, after: bool) -> None:
    def work() -> None:
        dying(LocalObjectStore, method, call, after)
        export(lake, out, id=ID)

    assert in_child(work) == -signal.SIGKILL


def archives(out: Path) -> list[str]:
    return [key for key in visible(out) if key.endswith(".zip")]


@pytest.mark.parametrize(("method", "call", "after"), DEATHS)
def test_killed_export_is_made_by_the_next_try(
    lake: LocalObjectStore, tmp_path: Path, method: str, call: int, after: bool
) -> None:
    die(lake, tmp_path / "out", method, call, after)
    assert len(archives(tmp_path / "out")) == (method == "publish")
    done = export(lake, tmp_path / "out", id=ID)
    assert len(rows_in(opened(done, tmp_path / "out"))) == 1
    assert len(visible(tmp_path / "out")) == 3


@pytest.mark.parametrize(("method", "call", "after"), DEATHS[:-1])
def test_what_a_killed_export_leaves_is_swept_at_once(
    lake: LocalObjectStore, tmp_path: Path, method: str, call: int, after: bool
) -> None:
    die(lake, tmp_path / "out", method, call, after)
    swept = sweep_archives(LocalObjectStore(tmp_path / "out"), datetime.now(UTC))
    assert (swept.archives, swept.beginnings) == (0, 1)
    assert visible(tmp_path / "out") == []


@pytest.mark.parametrize(("method", "after"), [("settle", True), ("publish", True)])
def test_killed_export_leaves_nothing_unfinished_on_s3(
    lake: LocalObjectStore, moto_url: str, method: str, after: bool
) -> None:
    bucket = f"exports-{uuid.uuid4().hex}"
    make_bucket(moto_url, bucket)
    s3 = S3Settings(
        endpoint_url=moto_url, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    place, asked = replace(site(lake), s3=s3), order(f"s3://{bucket}/out", id=ID)

    def work() -> None:
        dying(S3ObjectStore, method, 1, after)
        run_export(asked, place, runner())

    assert in_child(work) == -signal.SIGKILL
    out = S3ObjectStore(bucket, "out", s3)
    assert len(rows_in(opened(run_export(asked, place, runner()), out))) == 1
    assert len(visible(out)) == 3
    assert "Uploads" not in s3_client(moto_url).list_multipart_uploads(Bucket=bucket)


def test_command_killed_at_any_instant_leaves_no_half_archive(tmp_path: Path) -> None:
    lake, out = tmp_path / "lake", tmp_path / "out"
    assert deliver(lake, generated(tmp_path / "changes", 2_000)).status == 0
    user = Lake.at(lake).rows()["notification"].column("user_id")[0].as_py()
    asked = (
        "export", "--lake", lake, "--subject", f"controller_customer_id={user}", "--out", out,
        "--workers", 1,
    )  # fmt: skip
    for seconds in (0.8, 1.4):
        kill_after(seconds, start(*asked, env=SECRETS))
    done = lethe(*asked, env=SECRETS)
    assert done.status == 0, done.err
    assert all(zipfile.ZipFile(out / name).testzip() is None for name in archives(out))
    assert len(visible(out)) == 3 * len(archives(out))
