"""Athena's DDL and Glue's table, read back by a SQL parser and by the AWS model of Glue."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pyarrow as pa
import pytest
import sqlglot
from botocore.validate import ParamValidator
from sqlglot import exp

from schemas.arrow import arrow_schema
from schemas.ddl import TableFormat, athena_ddl, glue_table_input
from schemas.fields import RecordType
from schemas.registry import load_registry
from tests.unit.schemas.record_types import EVERY_KIND, typed

TYPES = [*load_registry(), EVERY_KIND]
LAKE = "s3://acme/lake"

_SCALARS = {
    pa.string(): "STRING",
    pa.binary(): "BINARY",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
}


def hive(kind: Any, timestamp: str) -> str:
    """An Arrow type as sqlglot writes it for Hive."""
    if pa.types.is_list(kind):
        return f"ARRAY<{hive(kind.value_type, timestamp)}>"
    if pa.types.is_map(kind):
        return f"MAP<STRING, {hive(kind.item_type, timestamp)}>"
    if pa.types.is_struct(kind):
        members = (f"`{f.name}`: {hive(f.type, timestamp)}" for f in kind)
        return f"STRUCT<{', '.join(members)}>"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    return timestamp if pa.types.is_timestamp(kind) else _SCALARS[kind]


def parse(ddl: str) -> exp.Create:
    statement = sqlglot.parse_one(ddl, dialect="athena")
    assert isinstance(statement, exp.Create)
    return statement


def columns(statement: exp.Create) -> dict[str, str]:
    return {c.name: c.kind.sql("hive") for c in statement.this.expressions}


def properties(statement: exp.Create) -> dict[str, str]:
    return {p.this.name: p.args["value"].name for p in statement.find_all(exp.Property)
            if type(p) is exp.Property}  # fmt: skip


@pytest.mark.parametrize("record_type", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize(("fmt", "timestamp"), [("parquet", "TIMESTAMP"), ("avro", "BIGINT")])
def test_columns_are_those_of_the_arrow_schema(
    record_type: RecordType, fmt: TableFormat, timestamp: str
) -> None:
    expected = {f.name: hive(f.type, timestamp) for f in arrow_schema(record_type)}
    assert columns(parse(athena_ddl(record_type, LAKE, fmt))) == expected


@pytest.mark.parametrize("location", [LAKE, f"{LAKE}/", f"{LAKE}/type=t", f"{LAKE}/type=t/"])
def test_location_is_the_types_folder(location: str) -> None:
    statement = parse(athena_ddl(EVERY_KIND, location))
    found = statement.find(exp.LocationProperty)
    assert found is not None
    assert found.this.name == "s3://acme/lake/type=t/"


def test_dates_are_projected_partitions() -> None:
    statement = parse(athena_ddl(EVERY_KIND, LAKE))
    partition = statement.find(exp.PartitionedByProperty)
    assert partition is not None
    assert partition.this.sql("hive") == "(`date` STRING)"
    found = properties(statement)
    assert found["projection.enabled"] == "true"
    assert (found["projection.date.type"], found["projection.date.format"]) == (
        "date",
        "yyyy-MM-dd",
    )
    assert found["storage.location.template"] == "s3://acme/lake/type=t/date=${date}/"


@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_statement_names_the_file_format(fmt: TableFormat) -> None:
    found = parse(athena_ddl(EVERY_KIND, LAKE, fmt)).find(exp.FileFormatProperty)
    assert found is not None
    assert found.this.name.lower() == fmt


@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_identifiers_are_quoted(fmt: TableFormat) -> None:
    statement = parse(athena_ddl(EVERY_KIND, LAKE, fmt))
    names = [
        i for i in statement.find_all(exp.Identifier) if i.name in ("t", "double", "row", "date")
    ]
    assert len(names) == 4
    assert all(name.args["quoted"] for name in names)


@pytest.mark.parametrize(
    "doc", ["it's", "a \\ b", "back\\' slash", '"quoted"', "line\nbreak", "é ✓"]
)
def test_comment_survives_its_quoting(doc: str) -> None:
    statement = parse(athena_ddl(typed("string", doc=doc), LAKE))
    column = next(c for c in statement.this.expressions if c.name == "x")
    comment = column.find(exp.CommentColumnConstraint)
    assert comment is not None
    assert comment.this.name == " ".join(doc.split())


def test_comment_is_no_longer_than_glue_keeps() -> None:
    columns = glue_table_input(typed("string", doc="x" * 300), LAKE)["StorageDescriptor"]["Columns"]
    assert {len(c["Comment"]) for c in columns if c["Name"] == "x"} == {255}


def test_avro_table_carries_the_schema() -> None:
    tricky = typed("string", pattern="^\\d+'s$")
    found = properties(parse(athena_ddl(tricky, LAKE, "avro")))
    assert json.loads(found["avro.schema.literal"]) == tricky.avro


@pytest.mark.parametrize("record_type", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_glue_takes_the_table_input(record_type: RecordType, fmt: TableFormat) -> None:
    model = botocore.session.get_session().get_service_model("glue")
    request = {"DatabaseName": "d", "TableInput": glue_table_input(record_type, LAKE, fmt)}
    report = ParamValidator().validate(request, model.operation_model("CreateTable").input_shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("fmt", ["parquet", "avro"])
def test_glue_has_the_columns_of_the_ddl(fmt: TableFormat) -> None:
    found = glue_table_input(EVERY_KIND, LAKE, fmt)["StorageDescriptor"]["Columns"]
    lines = athena_ddl(EVERY_KIND, LAKE, fmt).splitlines()[1 : len(found) + 1]
    written = [line.strip(" ,").replace("`", "").split()[:2] for line in lines]
    assert [[c["Name"], c["Type"]] for c in found] == written


def test_glue_writes_struct_members_without_quotes() -> None:
    found = glue_table_input(EVERY_KIND, LAKE)["StorageDescriptor"]["Columns"]
    assert {"Name": "lines", "Type": "array<struct<row:int,at:timestamp>>"} in found
