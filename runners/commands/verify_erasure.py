"""``lethe verify-erasure``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from schemas.erasure import Certificate
    from stores.audit_keys import AuditKeys


def command(
    lake: shared.Lake,
    certificate: Annotated[Path, typer.Option("--certificate", help="As `lethe erase` made it.")],
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", help="A PEM file; may be repeated (default: one's own keys)."),
    ] = None,
    schemas: shared.Schemas = None,
    workers: shared.Workers = None,
) -> None:
    """Check a certificate of erasure: its signature, the files, and that the subjects are gone.

    Exit status 1 if something does not hold: what is found first is named.
    """
    from runners.erase import open_site
    from runners.file_runner import open_file_runner
    from runners.options import RunnerOptions
    from runners.verify_erasure import verify_erasure

    settings = shared.configured()
    site = open_site(lake, settings, schemas, signs=not public_key)
    found = _certificate(certificate, public_key or [], site.keys)
    shared.check_lake(site.store)
    with open_file_runner(RunnerOptions(workers=shared.worker_count(settings, workers))) as opened:
        done = verify_erasure(found, site, opened)
    typer.echo(
        f"the certificate holds: {done.as_certified:,} files are as certified, "
        f"{done.replaced_since:,} were replaced since, and none of {done.files:,} files in the "
        "lake holds a subject"
    )


def _certificate(path: Path, pems: list[Path], own: AuditKeys) -> Certificate:
    from stores.audit_keys import public_keys
    from stores.erasure_certificates import CertificateBroken, decode_certificate

    keys = public_keys(map(_content, pems)) if pems else own.public
    try:
        return decode_certificate(_content(path), keys)
    except CertificateBroken as error:
        raise CertificateBroken(f"{path}: {error.message}") from None


def _content(path: Path) -> bytes:
    from schemas.errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
