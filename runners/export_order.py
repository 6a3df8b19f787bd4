"""An export as it was asked for, and the place that it goes to."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from schemas.dsr import Identity
from schemas.errors import AccessDenied, UsageError
from schemas.export import ExportFormat
from stores.objects import LocalObjectStore, S3Settings, open_store
from stores.objects.port import ObjectStore
from transforms.export.encryption import Encryption, Plain

EXPIRES = timedelta(days=7)


@dataclass(frozen=True)
class ExportOrder:
    """An export as it was asked for. ``out`` is a folder, or ``s3://BUCKET/PREFIX``.

    ``id`` names the export, in 32 hexadecimal digits: one of the same id that is finished is not
    made again, and one that is not is begun anew.
    """

    identities: tuple[Identity, ...] = field(repr=False)
    out: str
    form: ExportFormat = ExportFormat.JSON
    expires: timedelta = EXPIRES
    encryption: Encryption = field(default_factory=Plain)
    plus_addressing: bool = False
    id: str | None = None


def place_of(order: ExportOrder, lake: str, s3: S3Settings | None) -> ObjectStore:
    """Where the archive goes. Raises ``UsageError`` if that is within the lake.

    A folder that is not there yet is made, for its owner alone.
    """
    out, root = open_store(order.out, s3), lake.rstrip("/")
    if out.uri.rstrip("/") == root or out.uri.startswith(f"{root}/"):
        raise UsageError(f"--out {order.out}: is a part of the lake: choose a place beside it")
    if isinstance(out, LocalObjectStore):
        _make_folder(Path(out.uri))
    return out


def id_of(export_id: str) -> str:
    """The id as archives are named by it. Raises ``UsageError`` if it is none."""
    try:
        return uuid.UUID(export_id).hex
    except ValueError:
        raise UsageError(
            f"{export_id!r} is no id of an export: it has 32 hexadecimal digits"
        ) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise AccessDenied(f"{folder}: cannot be made: {error.strerror}") from None
