"""``lethe export`` and ``lethe export sweep``"""

from __future__ import annotations

import sys
from datetime import timedelta
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared
from runners.commands.erase import INCOMPLETE, STANDARD_INPUT, PlusAddressing, read_subjects

if TYPE_CHECKING:
    from runners.export import ExportDone
    from schemas.dsr import Identity
    from schemas.export import ExportFormat
    from transforms.export.encryption import Encryption

app = typer.Typer(help="Gather a subject's rows in one archive.", invoke_without_command=True)

LONGEST_KEPT_DAYS = 3650

Out = Annotated[
    str | None,
    typer.Option(
        "--out",
        callback=shared.no_dash,
        help="Where archives go: a folder or s3://BUCKET/PREFIX.",
    ),
]


@app.callback()
def command(
    context: typer.Context,
    lake: Annotated[
        str | None, typer.Option("--lake", help="The lake: a folder or s3://BUCKET/PREFIX.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(
            "--subject",
            metavar="TYPE=VALUE",
            help="email=ana@example.com[,TYPE=VALUE]; - reads it from standard input.",
        ),
    ] = None,
    out: Out = None,
    form: Annotated[str, typer.Option("--format", help="json, ndjson or csv.")] = "json",
    expires: Annotated[
        str, typer.Option("--expires", help="Keep the archive so long, and its link: 7d.")
    ] = "7d",
    encrypt_to: Annotated[
        list[str] | None,
        typer.Option(
            "--encrypt-to",
            metavar="KEY",
            help="Encrypt to a public key of age: age1...; repeatable.",
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--passphrase-file", metavar="FILE", help="Encrypt by the passphrase in this file."
        ),
    ] = None,
    plus_addressing: PlusAddressing = False,
    schemas: shared.Schemas = None,
    workers: shared.Workers = None,
    runner: shared.Runner = "direct",
    flink_master: shared.FlinkMaster = None,
    spark_master: shared.SparkMaster = None,
    worker_pool: shared.WorkerPool = None,
) -> None:
    """Gather a subject's rows in one archive, which is removed when it expires."""
    if context.invoked_subcommand is not None:
        return
    from runners.choose import open_runner
    from runners.erase_order import open_site
    from runners.export import ExportOrder, run_export
    from runners.runs import recorded_run

    settings = shared.configured()
    order = ExportOrder(
        identities=_identities(subject or []),
        out=_given("--out", out),
        form=_format(form),
        expires=_expires(expires),
        encryption=_encryption(tuple(encrypt_to or ()), passphrase_file),
        plus_addressing=plus_addressing,
    )
    site = open_site(_given("--lake", lake), settings, schemas, signs=False)
    shared.check_lake(site.store)
    where = shared.chosen_runner(settings, workers, runner, flink_master, spark_master, worker_pool)
    with open_runner(where) as opened, recorded_run("export", settings) as run:
        done = run_export(order, site, opened)
        run.add({"rows": done.record.rows})
        _tell_audit_log(done)
    _show(done)


@app.command("sweep")
def sweep(out: Out = None) -> None:
    """Remove archives that have expired, and beginnings of such that were never finished."""
    from datetime import UTC, datetime

    from config.settings import load_settings
    from stores.exports import sweep_archives

    store = shared.build_store(load_settings(), _given("--out", out))
    swept = sweep_archives(store, datetime.now(UTC))
    typer.echo(f"removed      {swept.archives:,} archives, {swept.beginnings:,} beginnings")


def _given(option: str, value: str | None) -> str:
    from schemas.errors import UsageError

    if value is None:
        raise UsageError(f"{option} is missing: see lethe export --help")
    return value


def _identities(subjects: list[str]) -> tuple[Identity, ...]:
    from schemas.errors import UsageError

    if len(subjects) > 1:
        raise UsageError("--subject: an archive is of one subject: name another in another export")
    (found,) = read_subjects([_given("--subject", next(iter(subjects), None))], None)
    return found


def _format(name: str) -> ExportFormat:
    from schemas.errors import UsageError
    from schemas.export import ExportFormat

    if name not in set(ExportFormat):
        raise UsageError(f"--format {name!r}: choose json, ndjson or csv")
    return ExportFormat(name)


def _expires(text: str) -> timedelta:
    return timedelta(seconds=shared.parse_duration("--expires", text, LONGEST_KEPT_DAYS) or 0)


def _encryption(keys: tuple[str, ...], passphrase_file: Path | None) -> Encryption:
    from schemas.errors import UsageError
    from transforms.export.encryption import Passphrase, Plain, Recipients

    if keys and passphrase_file is not None:
        raise UsageError("--encrypt-to and --passphrase-file exclude each other: give one")
    if keys:
        return Recipients(keys)
    return Plain() if passphrase_file is None else Passphrase(_first_line(passphrase_file))


def _first_line(path: Path) -> str:
    if str(path) == STANDARD_INPUT:
        with shared.reading("standard input"):
            return (
                getpass("passphrase: ")
                if sys.stdin.isatty()
                else sys.stdin.readline().rstrip("\r\n")
            )
    with shared.reading(str(path)), path.open(encoding="utf-8") as lines:
        return lines.readline().rstrip("\r\n")


def _tell_audit_log(done: ExportDone) -> None:
    from runners.commands.runs import opened_state
    from runners.export import exported

    with opened_state() as state:
        state.audit.append(exported(done.record, "cli"))


def _show(done: ExportDone) -> None:
    """Say what was made; exit with 4 if some files could not be looked into."""
    record = done.record
    by_type = ", ".join(f"{rows:,} {kind}" for kind, rows in sorted(record.by_type.items()))
    lines = [
        ("export", record.id),
        ("rows", f"{record.rows:,} ({by_type})" if by_type else "0: nothing was found"),
        ("archive", f"{record.address} ({record.size:,} bytes)"),
        ("sha256", record.sha256),
        ("expires", f"{record.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("time", f"{done.seconds:,.2f} s"),
    ]
    if done.link is not None:
        lines.append(("link", done.link))
    for label, value in lines:
        typer.echo(f"{label:<13}{value}")
    if not done.is_complete:
        typer.echo(f"not looked into: {record.unread:,} files: index.json says which", err=True)
        raise typer.Exit(INCOMPLETE)
