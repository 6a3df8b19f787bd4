"""What a bucket keeps of files as they were: removed if asked, and named where it cannot be."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from runners.erase import run_erasure
from runners.export import run_export
from schemas.erasure import OldVersionsRule
from stores.objects import S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, s3_client
from tests.erasing import EMAIL, OTHER, erase, put_visits, runner, site
from tests.erasing import order as erasure_of
from tests.exporting import order


@pytest.fixture
def client(moto_url: str) -> Any:
    return s3_client(moto_url)


@pytest.fixture
def kept(moto_url: str, client: Any) -> S3ObjectStore:
    """A store over a bucket with versions and locks."""
    bucket = f"kept-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    settings = S3Settings(
        endpoint_url=moto_url, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    return S3ObjectStore(bucket, "lake", settings)


def versions(client: Any, store: S3ObjectStore, key: str) -> list[str]:
    bucket = store.uri.removeprefix("s3://").partition("/")[0]
    answer = client.list_object_versions(Bucket=bucket, Prefix=f"lake/{key}")
    return [one["VersionId"] for one in answer.get("Versions", [])]


def test_older_versions_go_if_asked(kept: S3ObjectStore, client: Any) -> None:
    mixed, hers = put_visits(kept, "mixed", EMAIL, OTHER), put_visits(kept, "hers", EMAIL)
    done = erase(kept, old_versions=OldVersionsRule.REMOVE)
    assert done.is_complete
    assert [len(versions(client, kept, key)) for key in (mixed, hers)] == [1, 0]


def test_older_versions_stay_unless_asked(kept: S3ObjectStore, client: Any) -> None:
    mixed = put_visits(kept, "mixed", EMAIL, OTHER)
    erase(kept)
    assert len(versions(client, kept, mixed)) == 2


def test_older_versions_are_named_if_asked(kept: S3ObjectStore, client: Any) -> None:
    mixed = put_visits(kept, "mixed", EMAIL, OTHER)
    done = erase(kept, old_versions=OldVersionsRule.REPORT)
    assert not done.is_complete
    line = f"{mixed}: an older version is kept: nobody asked for its removal"
    assert done.certificate.unreachable == (line,)
    assert len(versions(client, kept, mixed)) == 2


def test_versions_of_what_an_earlier_erasure_removed_go_too(
    kept: S3ObjectStore, client: Any
) -> None:
    hers = put_visits(kept, "hers", EMAIL)
    erase(kept)
    assert len(versions(client, kept, hers)) == 1
    erase(kept, old_versions=OldVersionsRule.REMOVE)
    assert versions(client, kept, hers) == []


def test_version_under_legal_hold_is_named(kept: S3ObjectStore, client: Any) -> None:
    key = put_visits(kept, "mixed", EMAIL, OTHER)
    (held,) = versions(client, kept, key)
    bucket = kept.uri.removeprefix("s3://").partition("/")[0]
    client.put_object_legal_hold(
        Bucket=bucket, Key=f"lake/{key}", VersionId=held, LegalHold={"Status": "ON"}
    )
    done = erase(kept, old_versions=OldVersionsRule.REMOVE)
    assert not done.is_complete
    assert done.certificate.unreachable[0].startswith(f"{key}: an older version is kept")


@pytest.mark.parametrize("rule", [OldVersionsRule.REMOVE, OldVersionsRule.REPORT])
def test_versions_of_archives_are_treated_as_those_of_files(
    kept: S3ObjectStore, client: Any, moto_url: str, rule: OldVersionsRule
) -> None:
    put_visits(kept, "mixed", EMAIL, OTHER)
    settings, bucket = kept._place.settings, kept.uri.removeprefix("s3://").partition("/")[0]
    here = replace(site(kept), s3=settings)
    archive = run_export(order(f"s3://{bucket}/archives"), here, runner()).record
    done = run_erasure(erasure_of(EMAIL, old_versions=rule), here, runner())
    answer = client.list_object_versions(Bucket=bucket, Prefix=f"archives/{archive.archive}")
    left = [one for one in answer.get("Versions", []) if not one["Key"].endswith(".sha256")]
    named = [line for line in done.certificate.unreachable if archive.address in line]
    is_removed = rule is OldVersionsRule.REMOVE
    assert (len(left), len(named)) == ((0, 0) if is_removed else (1, 1))
