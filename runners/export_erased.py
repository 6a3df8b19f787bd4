"""Earlier exports of subjects who are erased: these go, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runners.erase_order import ErasureSite
from schemas.erasure import ErasedFile, FileKind
from schemas.errors import LetheError
from schemas.export import ExportRecord
from stores.exports import exports_of, forget_export, withdraw


@dataclass(frozen=True)
class RemovedExports:
    """Exports that an erasure has removed, and in words those that it could not reach."""

    files: tuple[ErasedFile, ...] = ()
    unreachable: tuple[str, ...] = ()
    records: tuple[ExportRecord, ...] = ()


def remove_exports(
    site: ErasureSite, subjects: Iterable[str], plus_addressing: bool
) -> RemovedExports:
    """Remove the exports with rows of any of these subjects, whose exact hashes are given.

    Their records stay until ``forget_exports``, so that an erasure that is killed meanwhile, and
    gone on with, knows of them. One that is being made is not handed out.
    """
    files, unreachable, records = [], [], []
    for record in exports_of(site.store, frozenset(subjects), plus_addressing):
        try:
            _withdraw(record, site)
        except LetheError as error:
            unreachable.append(
                f"{record.address}: an export that was not removed: {_why(error, record)}"
            )
            continue
        records.append(record)
        if record.is_finished:
            files.append(_erased(record))
    return RemovedExports(tuple(files), tuple(unreachable), tuple(records))


def forget_exports(site: ErasureSite, removed: RemovedExports) -> None:
    """Forget the exports that were removed. Call when it is certified that they were."""
    for record in removed.records:
        forget_export(site.store, record.id)


def _why(error: LetheError, record: ExportRecord) -> str:
    return error.message.removeprefix(f"{record.address}: ")


def _withdraw(record: ExportRecord, site: ErasureSite) -> None:
    if not record.is_finished:
        # Whoever makes it finds the record gone before the archive is put in its place.
        forget_export(site.store, record.id)
    withdraw(record, site.s3)


def _erased(record: ExportRecord) -> ErasedFile:
    return ErasedFile(
        path=record.address,
        kind=FileKind.EXPORT,
        rows_before=record.rows,
        matched=record.rows,
        rows_after=0,
        sha256_before=record.sha256,
        sha256_after=None,
        etag=record.etag,
    )
