"""Every kind of store, each test with an empty one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    make_bucket,
    ministack_url,
    moto_url,
    s3_client,
)
from tests.faults import FaultProxy

__all__ = ["ministack_url", "moto_url"]  # fixtures: pytest finds them here

PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class Faulty:
    """A store that is reached through a proxy, and the bucket behind it."""

    store: S3ObjectStore
    proxy: FaultProxy
    bucket: str
    direct_url: str

    def uploads(self) -> int:
        """How many multipart uploads are in progress."""
        answer = s3_client(self.direct_url).list_multipart_uploads(Bucket=self.bucket)
        return len(answer.get("Uploads", []))


@pytest.fixture(params=["local", "moto", "ministack"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "lake")
    url = request.getfixturevalue(f"{request.param}_url")
    return S3ObjectStore(new_bucket(url), "some/lake", settings_for(url))


@pytest.fixture(params=["moto", "ministack"])
def s3_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def faulty(moto_url: str) -> Iterator[Faulty]:
    bucket = new_bucket(moto_url)
    with FaultProxy(moto_url) as proxy:
        store = S3ObjectStore(bucket, "lake", settings_for(proxy.url))
        yield Faulty(store, proxy, bucket, moto_url)


def new_bucket(url: str) -> str:
    name = f"lethe-{uuid.uuid4().hex}"
    make_bucket(url, name)
    return name


def settings_for(url: str) -> S3Settings:
    return S3Settings(
        endpoint_url=url,
        region=REGION,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        max_attempts=3,
        connect_timeout=2,
        read_timeout=2,
        part_size=PART,
    )
