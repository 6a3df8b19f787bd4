"""Engines are there in full or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.sections import EngineSection
from runners.engines.downloads import download, maven_digest
from runners.engines.errors import EngineDamaged, EngineMissing, EngineUnreachable
from runners.engines.install import engine_folder, find, install, installed
from runners.engines.jars import merge, read_lock
from runners.engines.packages import unpack
from runners.engines.versions import FLINK, SPARK


def ignore(size: int) -> None:
    """Progress that nobody watches."""


def jar(path: Path, **entries: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def source_archive(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    return path


def test_download_of_the_right_digest_is_kept(tmp_path: Path) -> None:
    (tmp_path / "remote").write_bytes(b"jar")
    digest = hashlib.sha256(b"jar").hexdigest()
    download((tmp_path / "remote").as_uri(), tmp_path / "here", "sha256", digest, ignore)
    assert (tmp_path / "here").read_bytes() == b"jar"


def test_download_of_another_digest_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "remote").write_bytes(b"jar")
    with pytest.raises(EngineDamaged):
        download((tmp_path / "remote").as_uri(), tmp_path / "here", "sha256", "0" * 64, ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


def test_registry_that_does_not_answer_is_told_and_may_be_tried_again() -> None:
    with pytest.raises(EngineUnreachable, match="LETHE_ENGINES__MAVEN") as raised:
        maven_digest("http://127.0.0.1:1", "a.jar")
    assert raised.value.retryable


def test_merged_jar_joins_services_and_drops_signatures(tmp_path: Path) -> None:
    one = jar(
        tmp_path / "1.jar", **{"META-INF__services__S": "a.A", "META-INF__X.SF": "", "c": "1"}
    )
    two = jar(tmp_path / "2.jar", **{"META-INF__services__S": "b.B", "c": "2"})
    merge([one, two], tmp_path / "all.jar", "m.Main")
    with zipfile.ZipFile(tmp_path / "all.jar") as merged:
        assert merged.read("META-INF/services/S").split() == [b"a.A", b"b.B"]
        assert merged.read("c") == b"1"
        assert sorted(merged.namelist()) == ["META-INF/MANIFEST.MF", "META-INF/services/S", "c"]


@pytest.mark.parametrize("engine", [FLINK, SPARK], ids=lambda engine: engine.name)
def test_lock_names_each_jar_once_with_its_digest(engine: object) -> None:
    locked = read_lock(engine.lock)  # type: ignore[attr-defined]
    assert locked
    assert all(path.endswith(".jar") and len(digest) == 64 for path, digest in locked.items())


def test_distribution_is_unpacked_from_a_source_archive(tmp_path: Path) -> None:
    archive = source_archive(tmp_path / "p.tar.gz", ["p-1/deps/lib/a.jar", "p-1/setup.py"])
    unpack(archive, "deps", tmp_path / "out")
    assert [str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.jar")] == [
        "lib/a.jar"
    ]


def test_archive_without_a_distribution_is_damaged(tmp_path: Path) -> None:
    archive = source_archive(tmp_path / "p.tar.gz", ["p-1/setup.py"])
    with pytest.raises(EngineDamaged):
        unpack(archive, "deps", tmp_path / "out")


def test_engine_without_its_compiler_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineMissing, match=r"install Go"):
        install("prism", tmp_path, EngineSection(), ignore)
    assert installed(tmp_path) == []


def test_prism_is_said_to_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\n: > "$GOBIN/prism"\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(go.parent))
    with capture_logs() as logs:
        engine = install("prism", tmp_path / "engines", EngineSection(), ignore)
    assert engine.prism.exists()
    assert [line["event"] for line in logs] == [
        "building Prism with Go, which takes a minute or two"
    ]


def test_missing_engine_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="lethe engine install flink"):
        find("flink", tmp_path)


def test_folder_of_the_command_wins_over_that_of_the_settings(tmp_path: Path) -> None:
    settings = EngineSection(folder=Path("/elsewhere"))
    assert engine_folder(settings, tmp_path) == tmp_path
    assert engine_folder(settings) == Path("/elsewhere")
