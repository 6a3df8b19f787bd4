"""Inputs: what a path, a glob, a folder and an export's manifest lead to, local and on S3."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from runners.plan import Plan, plan_delivery
from schemas.errors import InputError, StoreError, StoreUnavailable, UsageError
from schemas.inputs import Compression, CoveredRange, SourcePosition
from stores.inputs import InputOpener
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url

__all__ = ["moto_url"]  # a fixture: pytest finds it here

EXAMPLES = Path(__file__).parents[2] / "examples"
FULL_EXPORT = "dynamodb-export/AWSDynamoDB/01767830400000-4e9a2b7c"
INCREMENTAL_EXPORT = "dynamodb-incremental-export/AWSDynamoDB/01767916800000-b81c6f0d"
ODD = (
    "a b.json",
    "ç-日本.json",
    "100%25.json",
    "date=1/x.json",
    "a+b&c.json",
    "q?[1].json",
    "#.json",
)
TREE = ("in/a.json", "in/b.json", "in/c.txt", "in/deep/d.json", "in/deep/er/e.json")
HIDDEN = ("in/.f.json", "in/_g.json", "in/.git/h.json", "in/_tmp/i.json", "in/a.json.checksum")


@dataclass(frozen=True)
class Place:
    """A folder or a bucket with files in it, and who opens them."""

    root: str
    store: ObjectStore
    opener: InputOpener

    def found(self, pattern: str) -> list[str]:
        """What a pattern leads to, relative to the root."""
        return [f.uri.removeprefix(self.root) for f in self.opener.find(self.root + pattern)]

    def write(self, *keys: str) -> None:
        for key in keys:
            self.store.put(key, b"{}\n")


@pytest.fixture(params=["local", "moto"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        folder = tmp_path / "_hidden" / ".too"
        return Place(f"{folder}/", LocalObjectStore(folder), InputOpener())
    url = str(request.getfixturevalue("moto_url"))
    bucket = f"lethe-{uuid.uuid4().hex}"
    make_bucket(url, bucket)
    access = S3Settings(url, REGION, ACCESS_KEY, SECRET_KEY, max_attempts=2)
    return Place(f"s3://{bucket}/", S3ObjectStore(bucket, settings=access), InputOpener(access))


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("in/a.json", "in/a.json"),
        ("in/*.json", "in/a.json in/b.json"),
        ("in/*", "in/a.json in/b.json in/c.txt"),
        ("in/?.json", "in/a.json in/b.json"),
        ("in?a.json", ""),
        ("in/[ab].json", "in/a.json in/b.json"),
        ("in/[!a].*", "in/b.json in/c.txt"),
        ("in/*/*.json", "in/deep/d.json"),
        ("in/**/*.json", "in/a.json in/b.json in/deep/d.json in/deep/er/e.json"),
        ("in/**", "in/a.json in/b.json in/c.txt in/deep/d.json in/deep/er/e.json"),
        ("**/e.json", "in/deep/er/e.json"),
        ("in/de*", ""),
        ("in/de*/**", "in/deep/d.json in/deep/er/e.json"),
        ("in", "in/a.json in/b.json in/c.txt in/deep/d.json in/deep/er/e.json"),
        ("in/deep/", "in/deep/d.json in/deep/er/e.json"),
        ("in/dee", ""),
    ],
)
def test_a_pattern_leads_to_its_files_and_to_no_hidden_one(
    place: Place, pattern: str, keys: str
) -> None:
    place.write(*TREE, *HIDDEN, "other/a.json")
    if keys:
        assert place.found(pattern) == keys.split()
    else:
        with pytest.raises(InputError, match="no such file, folder or match"):
            place.found(pattern)


def test_the_root_itself_is_a_folder(place: Place) -> None:
    place.write("a.json", "b/c.json", "_d.json")
    assert place.found("") == ["a.json", "b/c.json"]


@pytest.mark.parametrize("key", HIDDEN)
def test_a_hidden_file_is_found_where_it_is_named(place: Place, key: str) -> None:
    place.write(key)
    assert place.found(key) == [key]


@pytest.mark.parametrize("key", ODD)
def test_odd_names_are_found_by_name_and_opened(place: Place, key: str) -> None:
    place.write(key)
    (file,) = place.opener.find(place.root + key)
    with place.opener.open_file(file.uri) as stream:
        assert stream.read() == b"{}\n"


def test_odd_names_are_found_in_their_folder(place: Place) -> None:
    place.write(*(f"in/{key}" for key in ODD))
    assert sorted(place.found("in")) == sorted(f"in/{key}" for key in ODD)
    assert sorted(place.found("in/**")) == sorted(f"in/{key}" for key in ODD)


def test_what_is_no_glob_is_bad_usage(place: Place) -> None:
    place.write("a.json")
    with pytest.raises(UsageError, match="is no glob"):
        place.found("[z-a].json")


def test_a_relative_path_and_an_absolute_one_are_the_same_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_bytes(b"{}\n")
    monkeypatch.chdir(tmp_path)
    full = tmp_path / "a.json"
    plan = plan_of(InputOpener(), "a.json", "./a.json", str(full), full.as_uri())
    assert [*plan.files] == [str(full)]


def test_a_missing_bucket_is_named(moto_url: str) -> None:
    access = S3Settings(moto_url, REGION, ACCESS_KEY, SECRET_KEY)
    with pytest.raises(StoreError, match="bucket no-such-bucket does not exist"):
        InputOpener(access).find("s3://no-such-bucket/in/*.json")


def test_a_closed_endpoint_is_named() -> None:
    closed = S3Settings("http://127.0.0.1:9", REGION, ACCESS_KEY, SECRET_KEY, max_attempts=1)
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:9 gave no whole answer"):
        InputOpener(closed).find("s3://some-bucket/in/")


def test_a_file_that_vanished_since_it_was_found_is_named(place: Place) -> None:
    place.write("a.json")
    (file,) = place.opener.find(place.root + "a.json")
    place.store.delete("a.json")
    with pytest.raises(InputError, match=r"a\.json: is gone"):
        place.opener.open_file(file.uri)


def plan_of(opener: InputOpener, *inputs: str) -> Plan:
    return plan_delivery(inputs, opener, {}, workers=2)


def copy_of(place: Place, example: str) -> None:
    for file in (EXAMPLES / example).rglob("*"):
        if file.is_file():
            place.store.put(str(file.relative_to(EXAMPLES)), file.read_bytes())


@pytest.mark.parametrize("export", [FULL_EXPORT, INCREMENTAL_EXPORT])
@pytest.mark.parametrize("pattern", ["/manifest-files.json", "", "/*.json"])
def test_an_exports_manifest_leads_to_its_data_files(
    place: Place, export: str, pattern: str
) -> None:
    copy_of(place, export.partition("/")[0])
    plan = plan_of(place.opener, place.root + export + pattern)
    assert len(plan.files) == 2
    assert all(file.compression is Compression.GZIP for file in plan.files.values())


def test_data_files_that_folder_and_manifest_lead_to_are_read_once(place: Place) -> None:
    copy_of(place, "dynamodb-export")
    plan = plan_of(place.opener, place.root + "dynamodb-export")
    assert (len(plan.files), len(plan.splits), plan.skipped) == (2, 2, 0)


def test_a_manifest_of_thousands_of_files_is_read_to_its_end(place: Place) -> None:
    keys = [f"export/data/{number:04d}-{'x' * 200}.json" for number in range(1_500)]
    for key in (keys[0], keys[-1]):
        place.write(key)
    lines = "".join(f'{{"itemCount":1,"dataFileS3Key":"{key}"}}\n' for key in keys)
    place.store.put("export/manifest-files.json", lines.encode())
    with pytest.raises(InputError, match=r"0001-x+"):
        plan_of(place.opener, place.root + "export/manifest-files.json")


def test_a_manifest_that_names_a_missing_file_is_an_error(place: Place) -> None:
    copy_of(place, "dynamodb-export")
    for info in [*place.store.list(f"{FULL_EXPORT}/data/")][:1]:
        place.store.delete(info.key)
    with pytest.raises(InputError, match=r"json\.gz"):
        plan_of(place.opener, f"{place.root}{FULL_EXPORT}/manifest-files.json")


def test_a_manifest_that_is_cut_off_is_an_error(place: Place) -> None:
    copy_of(place, "dynamodb-export")
    manifest = f"{FULL_EXPORT}/manifest-files.json"
    place.store.put(manifest, place.store.read(manifest)[:-40])
    with pytest.raises(InputError, match="is no whole manifest"):
        plan_of(place.opener, place.root + manifest)


def covered(place: Place, key: str, end: int, digest: str) -> SourcePosition:
    info = place.store.head(key)
    assert info is not None
    reached = CoveredRange(0, end, digest)
    return SourcePosition(place.root + key, info.size, info.etag, end, (reached,))


def test_files_that_were_delivered_are_counted_once_as_skipped(place: Place) -> None:
    copy_of(place, "dynamodb-export")
    data = [info.key for info in place.store.list(f"{FULL_EXPORT}/data/")]
    known = {place.root + key: covered(place, key, 1, "") for key in data}
    plan = plan_delivery([place.root + "dynamodb-export"], place.opener, known, workers=2)
    assert (len(plan.splits), plan.skipped) == (0, 2)
