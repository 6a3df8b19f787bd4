"""``lethe schemas``: output that can be piped, errors as Lethe's own, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from runners.commands.schemas import app
from schemas.ddl import athena_ddl, glue_table_input
from schemas.errors import SchemaError, UsageError
from schemas.json_schema import json_schema
from schemas.registry import load_registry
from tests.unit.schemas.record_types import document

SALE = load_registry()["sale"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, *fields: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document(*fields)))
    return path


def test_list_shows_every_type_and_its_people() -> None:
    output = run("list").stdout
    assert all(t.name in output and t.fingerprint[:16] in output for t in load_registry())
    assert "address: email if channel=email" in output


def test_list_as_json_has_whole_fingerprints() -> None:
    rows = json.loads(run("list", "--json").stdout)
    sale = next(row for row in rows if row["type"] == "sale")
    assert sale == {
        "type": "sale",
        "columns": 21,
        "partition": "updated_at",
        "subject": {"user_id": "controller_customer_id", "email": "email"},
        "personal": {"email": "keep"},
        "fingerprint": SALE.fingerprint,
    }


def test_ddl_is_for_parquet_unless_asked() -> None:
    output = run("ddl", "sale", "--location", "s3://a/b").stdout
    assert output == athena_ddl(SALE, "s3://a/b", "parquet")


def test_ddl_for_avro() -> None:
    output = run("ddl", "sale", "--location", "s3://a/b", "--format", "avro").stdout
    assert output == athena_ddl(SALE, "s3://a/b", "avro")


def test_ddl_as_a_glue_table() -> None:
    output = run("ddl", "sale", "--location", "s3://a/b", "--glue").stdout
    assert json.loads(output) == glue_table_input(SALE, "s3://a/b")


def test_json_prints_the_json_schema() -> None:
    assert json.loads(run("json", "sale").stdout) == json_schema(SALE)


def test_arrow_prints_columns_and_fingerprint() -> None:
    output = run("arrow", "sale").stdout
    assert "total: decimal128(12, 2) not null" in output
    assert SALE.fingerprint in output


@pytest.mark.parametrize("command", ["ddl", "json", "arrow"])
def test_type_of_a_users_folder_is_known(tmp_path: Path, command: str) -> None:
    write(tmp_path / "t.avsc")
    assert run(command, "t", "--schemas", tmp_path).exit_code == 0


@pytest.mark.parametrize("command", ["ddl", "json", "arrow"])
def test_unknown_type_is_a_usage_error(command: str) -> None:
    assert isinstance(run(command, "nope").exception, UsageError)


def test_check_names_each_change_and_fails(tmp_path: Path) -> None:
    old = write(tmp_path / "old.avsc", {"name": "x", "type": "long"})
    new = write(tmp_path / "new.avsc", {"name": "x", "type": "int"})
    result = run("check", old, new)
    assert result.exit_code == 1
    assert result.stdout == (
        "error\tx\ttype\tthe new schema cannot read old rows: long cannot become int\n"
    )


def test_check_of_a_compatible_change_succeeds(tmp_path: Path) -> None:
    old = write(tmp_path / "old.avsc", {"name": "x", "type": "int"})
    new = write(tmp_path / "new.avsc", {"name": "x", "type": "long"})
    assert run("check", old, new).stdout == "compatible (backward)\n"
    assert run("check", old, new, "--mode", "full").exit_code == 1


def test_check_lets_a_warning_pass(tmp_path: Path) -> None:
    old = write(tmp_path / "old.avsc", {"name": "x", "type": "int"})
    new = write(tmp_path / "new.avsc", {"name": "x", "type": "int", "minimum": 1})
    result = run("check", old, new)
    assert result.exit_code == 0
    assert result.stdout.startswith("warning\tx\tlimit\t")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"type": "record"}'])
def test_check_of_an_unusable_file_names_it(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken.avsc"
    if content is not None:
        path.write_text(content)
    error = run("check", path, path).exception
    assert isinstance(error, SchemaError)
    assert "broken.avsc" in error.message
