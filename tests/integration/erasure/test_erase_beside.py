"""Files beside the lake: contacts and tables, in folders or one by one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners.erase import preview_erasure
from runners.export import ExportOrder, run_export
from schemas.erasure import FileKind
from schemas.errors import InputMissing, UsageError
from stores.objects import ObjectStore
from tests.erasing import EMAIL, OTHER, Meanwhile, erase, order, put_visits, runner, site

ROWS = f"id,email\n1,{EMAIL}\n2,{OTHER}\n"
LEFT = f"id,email\n2,{OTHER}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "contacts"
    (folder / "may").mkdir(parents=True)
    (folder / "a.csv").write_text(ROWS)
    (folder / "may" / "b.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    pq.write_table(
        pa.table({"contact.id": [1, 2], "contact.to": [EMAIL, OTHER]}), folder / "c.parquet"
    )
    return folder


def test_all_files_of_a_folder_lose_the_subject(lake: ObjectStore, folder: Path) -> None:
    made = erase(lake, also=(str(folder),)).certificate
    assert (folder / "a.csv").read_text() == LEFT
    assert gzip.decompress((folder / "may" / "b.csv.gz").read_bytes()).decode() == LEFT
    assert pq.read_table(folder / "c.parquet")["contact.to"].to_pylist() == [OTHER]
    assert {file.path for file in made.files} == {
        str(folder / name) for name in ("a.csv", "may/b.csv.gz", "c.parquet")
    }


def test_one_file_alone_is_changed_if_it_is_named(lake: ObjectStore, folder: Path) -> None:
    made = erase(lake, also=(str(folder / "a.csv"),)).certificate
    assert [file.kind for file in made.files] == [FileKind.CONTACTS]
    assert gzip.decompress((folder / "may" / "b.csv.gz").read_bytes()).decode() == ROWS


def test_what_lies_beside_a_file_that_is_named_is_not_looked_through(
    lake: ObjectStore, folder: Path
) -> None:
    (folder / "may" / "back").symlink_to("..")
    erase(lake, also=(str(folder / "a.csv"),))
    assert (folder / "a.csv").read_text() == LEFT


def test_preview_counts_them_too(lake: ObjectStore, folder: Path) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    preview = preview_erasure(order(also=(str(folder),)), site(lake), runner())
    assert preview.by_type == {"contacts": 3, "visit": 1}


def test_preview_names_what_nobody_can_look_into(lake: ObjectStore, folder: Path) -> None:
    (folder / "c.parquet").write_bytes(b"PAR1 and no more")
    preview = preview_erasure(order(also=(str(folder),)), site(lake), runner())
    assert [line.partition(":")[0] for line in preview.unread] == [f"{folder}/c.parquet"]


def test_file_that_its_owner_writes_meanwhile_is_read_anew(lake: ObjectStore, folder: Path) -> None:
    path = folder / "a.csv"
    by = Meanwhile(lambda: path.write_text(ROWS + f"3,{OTHER}\n"))
    erase(lake, also=(str(path),), by=by)
    assert path.read_text() == LEFT + f"3,{OTHER}\n"


def test_place_that_is_not_there_is_refused(lake: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="no such file"):
        erase(lake, also=(str(tmp_path / "nothing"),))


def test_part_of_the_lake_is_refused(lake: ObjectStore) -> None:
    put_visits(lake, "mixed", OTHER)
    with pytest.raises(UsageError, match="is a part of the lake"):
        erase(lake, also=(f"{lake.uri}/type=visit",))


@pytest.mark.parametrize("named", ["", "a.csv"])
def test_rows_that_an_enrichment_keeps_are_named(
    lake: ObjectStore, folder: Path, named: str
) -> None:
    (folder / ".a.csv.lethe").mkdir()
    (folder / ".a.csv.lethe" / "plan.json").write_text("{}")
    done = erase(lake, also=(str(folder / named),))
    assert not done.is_complete
    assert done.certificate.unreachable[0].startswith(f"{folder}/.a.csv.lethe: rows of an enr")


def test_earlier_export_of_the_subject_goes(lake: ObjectStore, tmp_path: Path) -> None:
    put_visits(lake, "mixed", EMAIL, OTHER)
    for email in (EMAIL, OTHER):
        run_export(
            ExportOrder(order(email).identities, str(tmp_path / email[:2])), site(lake), runner()
        )
    made = erase(lake).certificate
    assert [file.kind for file in made.files] == [FileKind.DATA, FileKind.EXPORT]
    assert not list((tmp_path / EMAIL[:2]).rglob("*.zip"))
    assert list((tmp_path / OTHER[:2]).rglob("*.zip"))
