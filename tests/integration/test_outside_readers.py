"""What Lethe writes, read by others: DuckDB, Arrow, fastavro and Apache Avro.

Every value is held against ``tests.engines.oracle``, which knows the inputs and nothing of Lethe.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import avro.datafile
import avro.io
import duckdb
import fastavro
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from schemas.registry import load_registry
from tests.engines.lakes import EXAMPLES, done, generated, make_lake
from tests.engines.oracle import Row, as_read, columns_of, expected_rows, in_order

REGISTRY = load_registry(EXAMPLES / "schemas")
TYPES = sorted(REGISTRY.types)
PARQUET_CODECS = ("zstd", "snappy", "gzip", "none")
AVRO_CODECS = ("zstandard", "snappy", "deflate", "null")
EXAMPLE_FILES = (
    "kinesis-records.ndjson",
    "lambda-kinesis-event.json",
    "lambda-dynamodb-event.json",
    "firehose-concatenated.json",
    "shipments.ndjson",
)

Reader = Callable[[Path], Iterator[Row]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    made = generated(tmp_path_factory.mktemp("inputs") / "changes.ndjson", 600)
    return (made, *(EXAMPLES / name for name in EXAMPLE_FILES))


@pytest.fixture(scope="module")
def expected(inputs: tuple[Path, ...]) -> list[Row]:
    return expected_rows(*inputs)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, ...]) -> Any:
    """The lake of a format and codec, made when first asked for."""
    made: dict[tuple[str, str], Path] = {}

    def lake(fmt: str, codec: str) -> Path:
        if (fmt, codec) not in made:
            options = ("--format", fmt, "--codec", codec, "--schemas", EXAMPLES / "schemas")
            folder = tmp_path_factory.mktemp(f"{fmt}-{codec}")
            made[fmt, codec] = make_lake(folder, inputs, *options)
        return made[fmt, codec]

    return lake


@pytest.fixture(scope="module")
def parquet_lake(lakes: Any) -> Path:
    return Path(lakes("parquet", "zstd"))


@pytest.fixture(scope="module")
def avro_lake(lakes: Any) -> Path:
    return Path(lakes("avro", "zstandard"))


def read_with_duckdb(lake: Path) -> Iterator[Row]:
    for name in TYPES:
        yield from duckdb_rows(
            f"read_parquet('{lake}/type={name}/*/*.parquet', hive_partitioning = true)"
        )


def read_with_duckdb_all_at_once(lake: Path) -> Iterator[Row]:
    """One query over all types; a column that a type has not is null in its rows."""
    source = f"'{lake}/type=*/date=*/*.parquet', hive_partitioning = true, union_by_name = true"
    for row in duckdb_rows(f"read_parquet({source})"):
        own = columns_of(row["type"])
        assert all(value is None for name, value in row.items() if name not in own)
        yield {name: row[name] for name in own}


def duckdb_rows(source: str) -> Iterator[Row]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM {source}")
        names = [column[0] for column in found.description]
        yield from (dict(zip(names, row, strict=True)) for row in found.fetchall())


def read_with_dataset(lake: Path) -> Iterator[Row]:
    for name in TYPES:
        dataset = ds.dataset(lake / f"type={name}", format="parquet", partitioning="hive")
        yield from dataset.to_table().to_pylist(maps_as_pydicts="strict")


def read_with_fastavro(lake: Path) -> Iterator[Row]:
    for path in lake.glob("type=*/date=*/*.avro"):
        with path.open("rb") as file:
            reader: Any = fastavro.reader(file)
            yield from ({**row, "date": date_of(path)} for row in reader)


def read_with_apache_avro(lake: Path) -> Iterator[Row]:
    for path in lake.glob("type=*/date=*/*.avro"):
        reader: Any = avro.datafile.DataFileReader(path.open("rb"), avro.io.DatumReader())
        with reader as rows:
            yield from ({**row, "date": date_of(path)} for row in rows)


def date_of(path: Path) -> str:
    return path.parent.name.removeprefix("date=")


def read(reader: Reader, lake: Path) -> list[Row]:
    return in_order(map(as_read, reader(lake)))


@pytest.mark.parametrize("codec", PARQUET_CODECS)
@pytest.mark.parametrize(
    "reader", [read_with_duckdb, read_with_duckdb_all_at_once, read_with_dataset]
)
def test_parquet_reader_sees_every_value(
    lakes: Any, expected: list[Row], reader: Reader, codec: str
) -> None:
    assert read(reader, lakes("parquet", codec)) == expected


@pytest.mark.parametrize("codec", AVRO_CODECS)
def test_fastavro_sees_every_value(lakes: Any, expected: list[Row], codec: str) -> None:
    assert read(read_with_fastavro, lakes("avro", codec)) == expected


@pytest.mark.parametrize("codec", ["zstandard", "deflate", "null"])
def test_apache_avro_sees_every_value(lakes: Any, expected: list[Row], codec: str) -> None:
    # Without snappy, for which Apache Avro takes a package that has to be compiled.
    assert read(read_with_apache_avro, lakes("avro", codec)) == expected


def test_inputs_hold_what_is_worth_comparing(expected: list[Row]) -> None:
    """Else the tests above would prove little."""
    assert {row["type"] for row in expected} == {*TYPES}
    assert {row["deleted_by"] for row in expected} == {None, "ttl", "request"}
    for column in ("extra", "preferences", "items", "tags", "phone", "labels", "promised_on"):
        values = [row[column] for row in expected if column in row]
        assert any(values), column
    assert any(row["date"] != row["change_time"].date() for row in expected)


def test_dates_of_another_zone_are_those_of_its_calendar(
    tmp_path: Path, inputs: tuple[Path, ...]
) -> None:
    zone = "Asia/Tokyo"
    options = ("--partition-timezone", zone, "--schemas", EXAMPLES / "schemas")
    lake = make_lake(tmp_path, inputs, *options)
    assert read(read_with_duckdb, lake) == expected_rows(*inputs, zone=zone)


def test_folder_and_column_named_type_agree_for_duckdb(parquet_lake: Path) -> None:
    source = f"read_parquet('{parquet_lake}/type=sale/*/*.parquet', hive_partitioning = true)"
    assert {row["type"] for row in duckdb_rows(source)} == {"sale"}


@pytest.mark.parametrize("name", TYPES)
def test_folder_and_column_named_type_agree_for_arrow(parquet_lake: Path, name: str) -> None:
    dataset = ds.dataset(parquet_lake / f"type={name}", partitioning="hive")
    by_column = dataset.count_rows(filter=ds.field("type") == name)
    assert by_column == dataset.count_rows() > 0


def test_date_of_the_folder_prunes_files_for_arrow(parquet_lake: Path) -> None:
    dataset = ds.dataset(parquet_lake / "type=event", partitioning="hive")
    wanted = ds.field("date") == "2026-01-04"
    files = [fragment.path for fragment in dataset.get_fragments(filter=wanted)]
    assert files
    assert all("/date=2026-01-04/" in path for path in files)


def test_readers_pass_over_what_is_not_data(parquet_lake: Path) -> None:
    """The log and dead letters lie in the lake too, and no glob over types meets them."""
    read_by_duckdb = duckdb_rows(f"glob('{parquet_lake}/type=*/**')")
    found = {Path(row["file"]).suffix for row in read_by_duckdb}
    assert found == {".parquet"}


def parquet_files(lake: Path) -> list[tuple[str, pq.ParquetFile]]:
    found = [(type_of(path), pq.ParquetFile(path)) for path in lake.glob("type=*/*/*.parquet")]
    assert found
    return found


def avro_files(lake: Path) -> Iterator[tuple[str, Any]]:
    paths = sorted(lake.glob("type=*/*/*.avro"))
    assert paths
    for path in paths:
        with path.open("rb") as file:
            yield type_of(path), fastavro.reader(file)


def type_of(path: Path) -> str:
    return path.parent.parent.name.removeprefix("type=")


def test_parquet_footer_names_type_and_fingerprint(parquet_lake: Path) -> None:
    for name, file in parquet_files(parquet_lake):
        footer = file.metadata.metadata
        assert footer[b"lethe.type"] == name.encode()
        assert footer[b"lethe.fingerprint"] == REGISTRY[name].fingerprint.encode()


@pytest.mark.parametrize("codec", PARQUET_CODECS)
def test_parquet_codec_is_the_one_asked_for(lakes: Any, codec: str) -> None:
    wanted = {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    for _, file in parquet_files(lakes("parquet", codec)):
        group = file.metadata.row_group(0)
        assert {group.column(i).compression for i in range(group.num_columns)} == {wanted}


def test_parquet_columns_carry_statistics(parquet_lake: Path) -> None:
    for name, file in parquet_files(parquet_lake):
        group = file.metadata.row_group(0)
        columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
        times = columns["updated_at"].statistics
        assert times.has_min_max, name
        assert times.min.date().isoformat() <= times.max.date().isoformat()
        assert all(column.is_stats_set for column in columns.values())


def test_statistics_bound_the_rows_of_their_group(parquet_lake: Path) -> None:
    for _, file in parquet_files(parquet_lake):
        times = file.read_row_group(0, ["updated_at"]).column(0).to_pylist()
        place = file.schema_arrow.get_field_index("updated_at")
        found = file.metadata.row_group(0).column(place).statistics
        assert (found.min, found.max) == (min(times), max(times))


@pytest.fixture(scope="module")
def large_partition(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The rows of each row group of 200,000 rows of one type and date."""
    folder = tmp_path_factory.mktemp("large")
    fields = [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "at", "partition": True,
         "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ]  # fmt: skip
    schema = {"type": "record", "name": "tick", "fields": fields}
    (folder / "tick.avsc").write_text(json.dumps(schema))
    line = (
        '{"Item":{"id":{"S":"%d"},"type":{"S":"tick"},"version":{"N":"1"},'
        '"at":{"S":"2026-01-02T00:00:00Z"}}}\n'
    )
    (folder / "ticks.ndjson").write_text("".join(line % number for number in range(200_000)))
    lake = make_lake(folder / "lake", (folder / "ticks.ndjson",), "--schemas", folder)
    ((_, file),) = parquet_files(lake)
    groups = file.metadata.num_row_groups
    return [file.metadata.row_group(i).num_rows for i in range(groups)]


def test_large_file_has_row_groups_that_are_neither_tiny_nor_huge(
    large_partition: list[int],
) -> None:
    assert sum(large_partition) == 200_000
    assert max(large_partition) <= 122_880
    assert all(rows >= 40_000 for rows in large_partition[:-1])


def test_small_file_has_one_row_group(parquet_lake: Path) -> None:
    assert {file.metadata.num_row_groups for _, file in parquet_files(parquet_lake)} == {1}


@pytest.mark.parametrize("codec", AVRO_CODECS)
def test_avro_codec_is_the_one_asked_for(lakes: Any, codec: str) -> None:
    assert {rows.codec for _, rows in avro_files(lakes("avro", codec))} == {codec}


def test_avro_header_holds_the_schema_with_its_attributes(avro_lake: Path) -> None:
    for name, rows in avro_files(avro_lake):
        assert json.loads(rows.metadata["avro.schema"]) == REGISTRY[name].avro


def test_avro_header_tells_who_a_subject_is(avro_lake: Path) -> None:
    schemas = {name: json.loads(r.metadata["avro.schema"]) for name, r in avro_files(avro_lake)}
    email = next(f for f in schemas["shipment"]["fields"] if f["name"] == "email")
    assert (email["subject"], email["pii"], email["scrub"]) == ("email", "email", "hash")


def test_avro_header_names_the_fingerprint(avro_lake: Path) -> None:
    for name, rows in avro_files(avro_lake):
        assert rows.metadata["lethe.fingerprint"] == REGISTRY[name].fingerprint


def test_lake_has_no_drift_from_its_schemas(parquet_lake: Path) -> None:
    said = done("schemas", "drift", "--lake", parquet_lake, "--schemas", EXAMPLES / "schemas")
    assert said == "no drift\n"


@pytest.mark.parametrize("name", TYPES)
def test_athena_table_over_parquet_has_the_files_columns(parquet_lake: Path, name: str) -> None:
    """As Athena reads Parquet by name: every column, in the type that the file's type maps to."""
    file = next(file for found, file in parquet_files(parquet_lake) if found == name)
    in_file = [(field.name, hive_type(field.type)) for field in file.schema_arrow]
    assert athena_columns(name, "parquet") == in_file


@pytest.mark.parametrize("name", TYPES)
def test_athena_table_over_avro_has_the_files_columns(avro_lake: Path, name: str) -> None:
    rows = next(rows for found, rows in avro_files(avro_lake) if found == name)
    columns = [(field["name"], hive_type_of_avro(field["type"])) for field in schema_of(rows)]
    assert athena_columns(name, "avro") == columns


def schema_of(rows: Any) -> list[dict[str, Any]]:
    return list(json.loads(rows.metadata["avro.schema"])["fields"])


def athena_columns(name: str, fmt: str) -> list[tuple[str, str]]:
    """The columns of the statement's own list, that is without the partition."""
    ddl = done("schemas", "ddl", name, "--format", fmt, "--schemas", EXAMPLES / "schemas")
    statement = sqlglot.parse_one(ddl, dialect="athena")
    columns = statement.this.find_all(exp.ColumnDef)
    own = [column for column in columns if column.parent is statement.this]
    return [(column.name, plain(column.kind.sql(dialect="hive"))) for column in own]


def plain(hive: str) -> str:
    return hive.lower().replace("`", "").replace(" ", "")


def hive_type(kind: Any) -> str:
    """What Athena calls a Parquet column's type (Athena User Guide, "Data types")."""
    text = str(kind)
    if text.startswith("list"):
        return f"array<{hive_type(kind.value_type)}>"
    if text.startswith("map"):
        return f"map<{hive_type(kind.key_type)},{hive_type(kind.item_type)}>"
    if text.startswith("struct"):
        return f"struct<{','.join(f'{f.name}:{hive_type(f.type)}' for f in kind)}>"
    if text.startswith("decimal128"):
        return f"decimal({kind.precision},{kind.scale})"
    return {
        "bool": "boolean", "int32": "int", "int64": "bigint", "string": "string",
        "timestamp[us, tz=UTC]": "timestamp", "date32[day]": "date",
    }[text]  # fmt: skip


def hive_type_of_avro(kind: Any) -> str:
    """The same for Avro, whose ``timestamp-micros`` Hive's reader takes for its long."""
    if isinstance(kind, list):
        (kind,) = (branch for branch in kind if branch != "null")
    if isinstance(kind, str):
        return {"int": "int", "long": "bigint"}.get(kind, kind)
    if kind["type"] == "array":
        return f"array<{hive_type_of_avro(kind['items'])}>"
    if kind["type"] == "map":
        return f"map<string,{hive_type_of_avro(kind['values'])}>"
    if kind["type"] == "record":
        members = (f"{f['name']}:{hive_type_of_avro(f['type'])}" for f in kind["fields"])
        return f"struct<{','.join(members)}>"
    match kind.get("logicalType"):
        case "decimal":
            return f"decimal({kind['precision']},{kind['scale']})"
        case "date":
            return "date"
    return "string" if kind["type"] == "enum" else hive_type_of_avro(kind["type"])
