"""An erasure as it was asked for, and the lake that it is done in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from schemas.dsr import Identity
from schemas.erasure import ErasureMode, OldVersionsRule, Preview
from schemas.errors import UsageError
from schemas.registry import Registry, load_registry
from schemas.subject_lists import Subject
from stores.audit_keys import AuditKeys, audit_keys
from stores.objects import S3Settings, open_store
from stores.objects.port import ObjectStore
from stores.parameters import open_parameters
from stores.previews import unsealed
from stores.subjects import Subjects
from transforms.scrub import ScrubKey
from transforms.subject_hashes import SubjectHasher

if TYPE_CHECKING:
    from pathlib import Path

    from config.settings import Settings


@dataclass(frozen=True)
class ErasureOrder:
    """An erasure as it was asked for.

    ``also`` are files and folders beside the lake. ``suppress_for`` is how long the subjects' rows
    are kept out; None is for ever. ``wait`` is how long deliveries are waited for that had begun
    before. ``id`` names the erasure: one of the same id is gone on with.
    """

    subjects: tuple[Subject, ...] = field(repr=False)
    mode: ErasureMode = ErasureMode.DELETE
    also: tuple[str, ...] = ()
    plus_addressing: bool = False
    max_match_share: float = 0.01
    suppress_for: timedelta | None = None
    wait: timedelta = timedelta(minutes=5)
    old_versions: OldVersionsRule = OldVersionsRule.KEEP
    id: str | None = None
    preview: Preview | None = field(default=None, repr=False)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Those of all subjects, each once."""
        return tuple(dict.fromkeys(one for subject in self.subjects for one in subject))

    def hashes(self, site: ErasureSite) -> tuple[str, ...]:
        """What stands for the identities where none may be written down, sorted."""
        hasher = SubjectHasher.of(site.scrub_key, self.plus_addressing)
        return tuple(sorted({hasher.exact(one) for one in self.identities}))


@dataclass(frozen=True)
class ErasureSite:
    """The lake, and what working in it takes."""

    store: ObjectStore
    scrub_key: ScrubKey
    registry: Registry
    keys: AuditKeys
    seals: Subjects
    s3: S3Settings | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def open_site(
    lake: str, settings: Settings, schemas: Path | None = None, *, signs: bool = True
) -> ErasureSite:
    """The lake at a URI, with the settings' keys and record types, or those of a folder.

    Where nothing is signed, there need not be a key for that. Raises ``UsageError`` if a key is
    missing.
    """
    s3 = S3Settings.of(settings.s3)
    parameters = open_parameters(settings.parameters)
    return ErasureSite(
        store=open_store(lake, s3),
        scrub_key=ScrubKey.of(parameters),
        registry=load_registry(schemas or settings.schemas),
        keys=audit_keys(parameters) if signs else AuditKeys(()),
        seals=Subjects(parameters),
        s3=s3,
    )


def approved(preview: Preview, site: ErasureSite) -> ErasureOrder:
    """The order to do what a preview showed.

    Raises ``SealBroken`` if it cannot be opened, and ``UsageError`` if it showed another lake.
    """
    content = unsealed(site.seals, preview)
    if content.lake != site.store.uri:
        raise UsageError(
            f"--preview: {preview.id} was made in {content.lake}, and not here: nobody has seen "
            "what would go: look by --dry-run"
        )
    return ErasureOrder(
        subjects=tuple((one,) for one in content.identities),
        mode=preview.mode,
        also=content.also,
        plus_addressing=content.plus_addressing,
        preview=preview,
    )
