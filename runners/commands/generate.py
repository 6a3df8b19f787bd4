"""``lethe generate``: made-up inputs, as many as asked and the same on every run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runners.commands import options as shared
from runners.generate import FileFormat, changes, contacts
from runners.generate.output import write_file

app = typer.Typer(
    name="generate",
    help="Make realistic change records and contacts to try Lethe with.",
    no_args_is_help=True,
)

Count = Annotated[int, typer.Option(help="How many records to make.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same file.")]
Out = Annotated[
    Path,
    typer.Option(
        callback=shared.no_dash, help="The file to write; .gz, .zst or .bz2 at its end packs it."
    ),
]
Format = Annotated[FileFormat, typer.Option(help="The shape of the records.")]
Hostile = Annotated[float, typer.Option(help="Share of broken records, from 0 to 1.")]


@app.command("changes")
def generate_changes(
    count: Count,
    out: Out,
    seed: Seed = 0,
    input_format: Format = FileFormat.KINESIS,
    hostile: Hostile = 0.0,
) -> None:
    """Make change records of the types demand, notification, event and sale."""
    write_file(out, changes(count, seed, input_format, hostile))
    typer.echo(f"{count} change records in {out}")


@app.command("contacts")
def generate_contacts(count: Count, out: Out, seed: Seed = 0) -> None:
    """Make contacts, one JSON object a line, of the people in the change records."""
    write_file(out, contacts(count, seed))
    typer.echo(f"{count} contacts in {out}")
