"""``lethe schemas``: what is derived from the record types, and whether the lake agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from config.settings import load_settings
from runners.commands import options as shared
from schemas.arrow import arrow_schema
from schemas.compatibility import Incompatibility, Mode, check
from schemas.ddl import TableFormat, athena_ddl, glue_table_input
from schemas.errors import LakeError, SchemaError
from schemas.fields import Field, RecordType
from schemas.json_schema import json_schema
from schemas.registry import Registry, build_record_type
from transforms.drift import Difference, Drift, data_files, find_drift

app = typer.Typer(
    name="schemas",
    help="Show what is derived from record types, and check changes and lakes against them.",
    no_args_is_help=True,
)

_PIPE_WIDTH = 160
"""Columns of a table that goes to no terminal, wide enough that nothing is cut off."""

Schemas = Annotated[
    Path | None,
    typer.Option("--schemas", help="Folder of .avsc files, added to the types that ship."),
]
TypeName = Annotated[str, typer.Argument(metavar="TYPE", help="A record type, such as sale.")]


@app.command("list")
def list_types(
    schemas: Schemas = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """List the record types."""
    rows = [_summary(record_type) for record_type in _registry(schemas)]
    if as_json:
        _print_json(rows)
    else:
        _print_table(rows)


@app.command("ddl")
def print_ddl(
    type_name: TypeName,
    schemas: Schemas = None,
    location: Annotated[str, typer.Option(help="The lake's URI.")] = "s3://bucket/lake",
    table_format: Annotated[
        TableFormat, typer.Option("--format", help="The format of the lake's files.")
    ] = "parquet",
    glue: Annotated[
        bool, typer.Option("--glue", help="Print a Glue TableInput, as JSON, instead.")
    ] = False,
) -> None:
    """Print the CREATE EXTERNAL TABLE statement for Athena."""
    record_type = _registry(schemas)[type_name]
    if glue:
        _print_json(glue_table_input(record_type, location, table_format))
    else:
        typer.echo(athena_ddl(record_type, location, table_format), nl=False)


@app.command("json")
def print_json_schema(type_name: TypeName, schemas: Schemas = None) -> None:
    """Print the JSON Schema of a row."""
    _print_json(json_schema(_registry(schemas)[type_name]))


@app.command("arrow")
def print_arrow(type_name: TypeName, schemas: Schemas = None) -> None:
    """Print the Arrow schema."""
    schema = arrow_schema(_registry(schemas)[type_name])
    typer.echo(schema.to_string(truncate_metadata=False))


@app.command("check")
def check_change(
    old: Annotated[Path, typer.Argument(help="The .avsc file as it was.")],
    new: Annotated[Path, typer.Argument(help="The .avsc file as it will be.")],
    mode: Annotated[Mode, typer.Option(help="Who must be able to read whose rows.")] = "backward",
) -> None:
    """Name every incompatible change; exit status 1 if there is one that is no mere warning."""
    found = check(_read_type(old), _read_type(new), mode)
    for incompatibility in found:
        typer.echo(_incompatibility_line(incompatibility))
    if any(incompatibility.severity == "error" for incompatibility in found):
        raise typer.Exit(1)
    typer.echo(f"compatible ({mode})")


@app.command("drift")
def report_drift(
    lake: Annotated[str, typer.Option(help="The lake's URI or folder.")], schemas: Schemas = None
) -> None:
    """Compare the schemas inside a lake's files with the record types; exit status 1 on drift."""
    settings = load_settings()
    registry = shared.build_registry(settings, schemas)
    store = shared.build_store(settings, lake)
    if next(data_files(store), None) is None:
        raise LakeError(f"{lake}: no data files under type=<type>/date=<date>/")
    found = find_drift(store, registry)
    for drift in found:
        typer.echo("\n".join(_drift_lines(drift)))
    if found:
        raise typer.Exit(1)
    typer.echo("no drift")


def _registry(schemas: Path | None) -> Registry:
    return shared.build_registry(load_settings(), schemas)


def _summary(record_type: RecordType) -> dict[str, Any]:
    return {
        "type": record_type.name,
        "columns": len(record_type.fields),
        "partition": record_type.partition_field.name,
        "subject": {path: _subject(field) for path, field in record_type.subjects},
        "personal": {path: field.scrub.value for path, field in record_type.personal},
        "fingerprint": record_type.fingerprint,
    }


def _subject(field: Field) -> str:
    conditions = " and ".join(f"{column}={value}" for column, value in field.subject_when)
    return f"{field.subject} if {conditions}" if conditions else str(field.subject)


def _print_table(rows: list[dict[str, Any]]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    table = Table("type", "columns", "partition", "subject", "personal", "fingerprint")
    for row in rows:
        table.add_row(
            row["type"],
            str(row["columns"]),
            row["partition"],
            _lines(row["subject"]),
            _lines(row["personal"]),
            row["fingerprint"][:16],
        )
    console.print(table)


def _lines(pairs: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in pairs.items())


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _read_type(path: Path) -> RecordType:
    """A type from a file of any name, because two versions of a type lie side by side."""
    try:
        return build_record_type(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SchemaError(f"{path}: is not JSON: {error}") from error
    except SchemaError as error:
        raise SchemaError(f"{path}: {error.message}", **error.details) from error


def _incompatibility_line(found: Incompatibility) -> str:
    return f"{found.severity}\t{found.path or '(the type)'}\t{found.rule}\t{found.message}"


def _drift_lines(drift: Drift) -> list[str]:
    files = "1 file" if drift.files == 1 else f"{drift.files} files"
    heading = f"{drift.type}\t{drift.fingerprint or '-'}\t{files}\t{drift.example}"
    return [heading, *(f"\t{_difference_line(difference)}" for difference in drift.differences)]


def _difference_line(found: Difference) -> str:
    sides = [f"expected {found.expected}"] if found.expected else []
    sides += [f"found {found.found}"] if found.found else []
    return "\t".join(part for part in (found.rule, found.column, ", ".join(sides)) if part)
