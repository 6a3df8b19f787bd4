"""The enrichment API as a client sees it, and the places where the work on an output is kept."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import UsageError
from stores.enrichment.area import WorkArea
from stores.enrichment.work import WorkFolder
from stores.objects import S3Settings, open_store


def open_area(out: str, s3: S3Settings | None = None) -> WorkArea:
    """The work area of an output, a path or ``s3://BUCKET/KEY``.

    Raises ``UsageError`` for an output that cannot be made.
    """
    if out.startswith("s3://"):
        folder, _, name = out.rpartition("/")
        if not name or folder in {"s3:/", "s3:"}:
            raise UsageError(f"--out {out!r}: write it as s3://BUCKET/KEY")
        from stores.enrichment.prefix import WorkPrefix

        return WorkPrefix(open_store(folder, s3), name)
    if "://" in out or out.startswith("s3:"):
        raise UsageError(f"--out {out!r}: name a file of this machine, or s3://BUCKET/KEY")
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"--out {out!r}: is a folder; name the file to write")
    return WorkFolder(path.absolute())
