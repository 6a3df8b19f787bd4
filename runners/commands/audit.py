"""``lethe audit``: what was done to whom, and whether the log of it is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.commands.runs import AsJson, opened_state, print_table, when

if TYPE_CHECKING:
    from schemas.audit import AuditCheckpoint, AuditEntry
    from schemas.audit_check import Flaw, Whole
    from stores.audit_keys import AuditKeys, PublicKeys

app = typer.Typer(
    name="audit", help="The audit log: show, verify, export, sign.", no_args_is_help=True
)


@app.command("show")
def show_resource(
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="Such as dsr:ID.")],
    as_json: AsJson = False,
) -> None:
    """Show the entries of one resource, in order."""
    from schemas.access import Reach

    with opened_state() as state:
        found = state.audit.of(resource, Reach(None))
        if as_json:
            _print_lines(found)
        else:
            print_table(("entry", "at (UTC)", "actor", "action", "detail"), map(_row, found))


@app.command("verify")
def verify_log(
    file: Annotated[
        Path | None, typer.Option("--file", help="An exported file (default: the state store).")
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", help="A PEM file; may be repeated (default: one's own keys)."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="One that was kept elsewhere; may be repeated."),
    ] = None,
) -> None:
    """Check that nothing was changed, left out, put elsewhere or cut off.

    Exit status 1 if something was: what is found first is named.
    """
    from schemas.audit_check import Flaw
    from stores.checkpoints import AuditBroken

    keys, kept = _public_keys(public_key), _kept(checkpoint or [])
    found = _checked_store(keys, kept) if file is None else _checked_file(file, keys, kept)
    if isinstance(found, Flaw):
        raise AuditBroken(f"audit log: {found}")
    typer.echo(_said(found))


@app.command("export")
def export_log() -> None:
    """Write the log as NDJSON, signed, to standard output."""
    from stores.checkpoints import checkpoint, exported

    with opened_state() as state:
        signed = checkpoint(state.audit, _own_keys(), datetime.now(UTC))
        for line in exported(state.audit, signed):
            sys.stdout.buffer.write(line)


@app.command("checkpoint")
def sign_log() -> None:
    """Sign how far the log is now, and print that: to be kept where nobody changes it."""
    from schemas.audit_lines import checkpoint_line
    from stores.checkpoints import checkpoint

    with opened_state() as state:
        signed = checkpoint(state.audit, _own_keys(), datetime.now(UTC))
    typer.echo(checkpoint_line(signed), nl=False)


@app.command("public-key")
def print_public_key() -> None:
    """Print the public key that outsiders check signatures by, as PEM."""
    typer.echo(_own_keys().public_pem, nl=False)


def _checked_store(keys: PublicKeys, kept: Sequence[AuditCheckpoint]) -> Whole | Flaw:
    from stores.checkpoints import check_store

    with opened_state() as state:
        return check_store(state.audit, keys.is_signed, kept)


def _checked_file(path: Path, keys: PublicKeys, kept: Sequence[AuditCheckpoint]) -> Whole | Flaw:
    from schemas.errors import InputError
    from stores.checkpoints import check_file

    try:
        with path.open("rb") as file:
            return check_file(file, keys.is_signed, kept)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _public_keys(paths: list[Path] | None) -> PublicKeys:
    from stores.audit_keys import public_keys

    return public_keys(map(_content, paths)) if paths else _own_keys().public


def _own_keys() -> AuditKeys:
    from config.settings import load_settings
    from stores.audit_keys import audit_keys
    from stores.parameters import open_parameters

    return audit_keys(open_parameters(load_settings().parameters))


def _kept(paths: list[Path]) -> list[AuditCheckpoint]:
    return [_read_checkpoint(path) for path in paths]


def _read_checkpoint(path: Path) -> AuditCheckpoint:
    from schemas.audit_lines import read_checkpoint_line
    from schemas.errors import InputError

    found = read_checkpoint_line(_content(path))
    if found is None:
        raise InputError(f"{path}: it holds no checkpoint as `lethe audit checkpoint` prints it")
    return found


def _content(path: Path) -> bytes:
    from schemas.errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _print_lines(entries: Iterator[AuditEntry]) -> None:
    from schemas.audit_lines import entry_line

    for entry in entries:
        typer.echo(entry_line(entry), nl=False)


def _row(entry: AuditEntry) -> list[str]:
    draft = entry.draft
    return [str(entry.sequence), when(entry.at), draft.actor, draft.action, _shown(draft.detail)]


def _shown(detail: Any) -> str:
    return ", ".join(f"{name}: {value}" for name, value in detail.items())


def _said(whole: Whole) -> str:
    head, signed = whole.head, whole.signed
    if head.sequence == signed.sequence:
        return f"the audit log is whole: {head.sequence} entries, all signed for"
    return (
        f"the audit log is whole: {head.sequence} entries, signed for up to entry {signed.sequence}"
    )
