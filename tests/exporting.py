"""What tests of exports share: how one is made of the lakes that erasures are tested with."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from runners.export import ExportDone, ExportOrder, run_export
from schemas.dsr import Identity, IdentityType
from schemas.export import ExportRecord
from stores.objects import LocalObjectStore, ObjectStore
from tests.erasing import EMAIL, runner, site


def order(out: ObjectStore | Path | str, email: str = EMAIL, **more: Any) -> ExportOrder:
    place = out.uri if isinstance(out, ObjectStore) else str(out)
    return ExportOrder((Identity(IdentityType.EMAIL, email),), place, **more)


def export(
    lake: ObjectStore,
    out: ObjectStore | Path | str,
    email: str = EMAIL,
    by: Any = None,
    clock: Callable[[], datetime] | None = None,
    **more: Any,
) -> ExportDone:
    return run_export(order(out, email, **more), site(lake, clock), by or runner())


def opened(done: ExportDone | ExportRecord, out: ObjectStore | Path) -> zipfile.ZipFile:
    """The archive of an export, which is what its digest says."""
    store = LocalObjectStore(out) if isinstance(out, Path) else out
    record = done.record if isinstance(done, ExportDone) else done
    content = store.read(record.archive)
    assert hashlib.sha256(content).hexdigest() == record.sha256
    return zipfile.ZipFile(io.BytesIO(content))


def rows_in(archive: zipfile.ZipFile, name: str = "data/visit.json") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(archive.read(name))
    return found


def index_in(archive: zipfile.ZipFile) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive.read("index.json"))
    return found


def visible(out: ObjectStore | Path) -> list[str]:
    """What whoever looks at the place of archives sees, beside Lethe's own."""
    store = LocalObjectStore(out) if isinstance(out, Path) else out
    return [info.key for info in store.list() if not info.key.startswith("_lethe/locks/")]
