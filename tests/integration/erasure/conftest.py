"""Lakes that subjects are erased from: in a folder, and on S3."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.s3 import S3ObjectStore
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url

__all__ = ["moto_url"]


@pytest.fixture
def lake(tmp_path: Path) -> ObjectStore:
    return LocalObjectStore(tmp_path / "lake")


@pytest.fixture(params=["local", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalObjectStore(tmp_path / "lake")
    url = str(request.getfixturevalue("moto_url"))
    bucket = f"erase-{uuid.uuid4().hex}"
    make_bucket(url, bucket)
    settings = S3Settings(
        endpoint_url=url, region=REGION, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    return S3ObjectStore(bucket, "some/lake", settings)
