"""How a URI becomes a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import UsageError
from stores.objects import S3Settings, open_store, split_uri


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/lake", "/data/lake"),
        ("/data/lake/", "/data/lake"),
        ("file:///data/my%20lake", "/data/my lake"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/some/lake/", "s3://bucket/some/lake"),
    ],
)
def test_uri_opens_its_store(uri: str, expected: str) -> None:
    assert open_store(uri).uri == expected


def test_relative_path_is_fixed_when_the_store_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("lake").uri == str(tmp_path / "lake")


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "gs://bucket", "file://host/data"])
def test_uri_that_names_no_store_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"s3://bucket/prefix"):
        open_store(uri)


@pytest.mark.parametrize(
    ("uri", "root", "key"),
    [
        ("/data/in/x.ndjson", "/", "data/in/x.ndjson"),
        ("/data/../in/", "/", "in/"),
        ("/data/*/x-?.json", "/", "data/*/x-?.json"),
        ("s3://bucket/in/x y.ndjson", "s3://bucket", "in/x y.ndjson"),
        ("s3://bucket/in/", "s3://bucket", "in/"),
        ("s3://bucket", "s3://bucket", ""),
    ],
)
def test_input_is_split_into_store_and_key(uri: str, root: str, key: str) -> None:
    store, found = split_uri(uri)
    assert (store.uri, found) == (root, key)


def test_split_input_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"line")
    store, key = split_uri(str(tmp_path / "in"))
    assert store.read(key) == b"line"


def test_settings_never_show_credentials() -> None:
    shown = repr(S3Settings(access_key="visible", secret_key="visible", session_token="visible"))
    assert "visible" not in shown


@pytest.mark.parametrize(("name", "value"), [("part_size", 1024), ("max_attempts", 0)])
def test_setting_that_cannot_work_is_refused(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=name):
        S3Settings(**{name: value})  # type: ignore[arg-type]
