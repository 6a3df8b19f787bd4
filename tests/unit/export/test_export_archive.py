"""The archive: a ZIP that anything opens, with what the index says, and nothing that runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from schemas.erasure import FileKind
from schemas.errors import LakeError, ObjectMissing
from schemas.export import ArchiveIndex, ExportFormat
from schemas.registry import load_registry
from stores.objects import LocalObjectStore
from transforms.export.archive import ArchivePlan, archive_of
from transforms.export.fields import Described
from transforms.export.parts import Member, Part, PartsArea, PartWriter

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INDEX = ArchiveIndex("1" * 32, "/lake", 7, NOW, NOW, 0, (), (), {})
VISITS = Member(FileKind.DATA, "visit")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def area(tmp_path: Path) -> PartsArea:
    return PartsArea.new(LocalObjectStore(tmp_path), "_lethe/exports/1-")


def parts(area: PartsArea, member: Member, rows: list[dict[str, Any]]) -> list[Part]:
    writer = PartWriter(area)
    return [*writer.add(member, rows), *writer.finish()]


def packed(
    area: PartsArea, rows: list[dict[str, Any]], form: str = "json", member: Member = VISITS
) -> zipfile.ZipFile:
    made = tuple(parts(area, member, rows))
    plan = ArchivePlan(INDEX, ExportFormat(form), made, area, Described(load_registry()))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(archive_of(plan))))
    assert archive.testzip() is None
    return archive


def index_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.read("index.json"))
    return found


def test_rows_of_all_parts_are_there(area: PartsArea) -> None:
    rows = [{"n": n, "text": "x" * 1_000_000} for n in range(10)]
    archive = packed(area, rows)
    assert len(parts(area, VISITS, rows)) > 1
    assert json.loads(archive.read("data/visit.json")) == rows


def test_index_says_what_is_in_each_file(area: PartsArea) -> None:
    archive = packed(area, [{"n": 1}, {"n": 2}])
    (file,) = index_of(archive)["files"]
    content = archive.read(file["name"])
    assert (file["rows"], file["bytes"]) == (2, len(content))
    assert file["sha256"] == hashlib.sha256(content).hexdigest()


def test_index_explains_fields_by_the_schema(area: PartsArea) -> None:
    archive = packed(area, [{"email": "a", "new": 1}], member=Member(FileKind.DATA, "demand"))
    email, new = index_of(archive)["files"][0]["fields"]
    assert (email["type"], email["personal"], email["subject"]) == ("text", "email", "email")
    assert new["type"] == "as it was found"


@pytest.mark.parametrize("form", list(ExportFormat))
def test_archive_of_nothing_says_so(area: PartsArea, form: str) -> None:
    archive = packed(area, [], form)
    assert archive.namelist() == ["summary.html", "index.json"]
    assert "Nothing was found" in archive.read("summary.html").decode()


def test_lines_are_rows(area: PartsArea) -> None:
    archive = packed(area, [{"a": "x\ny"}, {"a": None}], "ndjson")
    lines = archive.read("data/visit.ndjson").splitlines()
    assert [json.loads(line) for line in lines] == [{"a": "x\ny"}, {"a": None}]


def test_csv_has_the_columns_of_all_rows(area: PartsArea) -> None:
    archive = packed(area, [{"a": 1}, {"b": [1, {"c": "x"}], "a": True}], "csv")
    read = list(csv.reader(io.StringIO(archive.read("data/visit.csv").decode(), newline="")))
    assert read == [["a", "b"], ["1", ""], ["true", '[1,{"c":"x"}]']]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "-x"])
def test_no_cell_of_csv_is_a_formula(area: PartsArea, text: str) -> None:
    archive = packed(area, [{text: text, "n": "-12.5"}], "csv")
    head, row = csv.reader(io.StringIO(archive.read("data/visit.csv").decode(), newline=""))
    assert head[0] == row[0] == f"'{text}"
    assert row[1] == "-12.5"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


HOSTILE = [SCRIPT, '" onmouseover="x', "</td></table><img src=x onerror=y>", "\x00\u202e<a href=x>"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_the_summary_is_more_than_text(area: PartsArea, text: str) -> None:
    page = packed(area, [{text: text}], member=Member(FileKind.DATA, text)).read("summary.html")
    seen = Tags()
    seen.feed(page.decode())
    assert not seen.tags & {"script", "img", "a", "link", "iframe"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert b"\x00" not in page
    assert "\u202e" not in page.decode()


def test_summary_shows_the_first_rows_and_cuts_long_texts(area: PartsArea) -> None:
    rows = [{"n": f"row-{n}", "text": "x" * 5_000} for n in range(30)]
    page = packed(area, rows).read("summary.html").decode()
    assert "The first 20 records" in page
    assert "row-19" in page
    assert "row-20" not in page
    assert len(page) < 20_000


def test_summary_has_what_readers_of_screens_need(area: PartsArea) -> None:
    page = packed(area, [{"n": 1}]).read("summary.html").decode()
    for needed in ('<html lang="en">', "<title>", "<main>", "<h1>", "<caption>", 'scope="col"'):
        assert needed in page


@pytest.mark.parametrize("name", ["..", "../../x", "a\\b", "C:x", ".hidden", "x" * 50])
def test_name_of_a_file_stays_within_its_folder(area: PartsArea, name: str) -> None:
    found = packed(area, [{"n": 1}], member=Member(FileKind.DATA, name)).namelist()[0]
    assert found.startswith("data/")
    assert found.count("/") == 1
    assert not found.startswith("data/.")
    assert not set(found) & set("\\:")


def test_types_whose_names_become_alike_have_files_of_their_own(area: PartsArea) -> None:
    made = [part for name in ("a b", "a:b", "A b") for part in
            parts(area, Member(FileKind.DATA, name), [{"n": name}])]  # fmt: skip
    plan = ArchivePlan(INDEX, ExportFormat.JSON, tuple(made), area, Described(load_registry()))
    names = zipfile.ZipFile(io.BytesIO(b"".join(archive_of(plan)))).namelist()[:3]
    assert len({name.lower() for name in names}) == 3


def test_parts_are_sealed(area: PartsArea) -> None:
    (part,) = parts(area, VISITS, [{"email": "ana@acme.example"}])
    assert b"ana" not in area.store.read(part.key)


def test_part_that_was_changed_is_refused(area: PartsArea) -> None:
    (part,) = parts(area, VISITS, [{"n": 1}])
    area.store.put(part.key, area.store.read(part.key)[:-1] + b"x")
    with pytest.raises(LakeError, match="was changed"):
        area.read(part)


def test_archive_fails_if_a_part_is_gone(area: PartsArea) -> None:
    made = parts(area, VISITS, [{"n": 1}])
    area.store.delete(made[0].key)
    plan = ArchivePlan(INDEX, ExportFormat.JSON, tuple(made), area, Described(load_registry()))
    with pytest.raises(ObjectMissing):
        b"".join(archive_of(plan))
