"""Previews of erasures, kept in the lake until they are run, or expire after some days.

A preview names files and counts in plain. Who its subjects are is sealed with the keys by which
data subject requests are sealed (``stores.subjects``), so that only Lethe can run it; and so is
what somebody saw and approved by running it: which lake, how, and until when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from schemas.dsr import Identity, Particulars
from schemas.erasure import Preview
from schemas.errors import LakeError, ObjectMissing, UsageError
from schemas.identities import normalised
from stores.objects.port import ObjectStore
from stores.subjects import SealBroken, Subjects

PREVIEWS = "_lethe/previews/"

KEPT_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Previewed:
    """What of a preview is sealed. ``lake`` is where it was made."""

    identities: tuple[Identity, ...]
    lake: str
    plus_addressing: bool = False
    also: tuple[str, ...] = ()


def sealed(subjects: Subjects, preview: Preview, content: Previewed) -> Preview:
    """The preview with this content, encrypted."""
    extensions = {
        "plus_addressing": content.plus_addressing,
        "also": list(content.also),
        "lake": content.lake,
        "approves": _approved_by(preview),
    }
    particulars = Particulars(content.identities, extensions)
    return replace(preview, sealed=subjects.seal(preview.id, particulars))


def unsealed(subjects: Subjects, preview: Preview) -> Previewed:
    """What was sealed. Raises ``SealBroken``, also if what stands beside the seal was changed."""
    found = subjects.open(preview.id, preview.sealed)
    extensions = found.extensions
    if extensions.get("approves") != _approved_by(preview):
        raise SealBroken(f"preview {preview.id}: was changed since: look again by --dry-run")
    return Previewed(
        found.identities,
        str(extensions["lake"]),
        bool(extensions["plus_addressing"]),
        tuple(extensions["also"]),
    )


def _approved_by(preview: Preview) -> str:
    """What of the part in plain decides what is done."""
    return f"{preview.mode} until {preview.expires_at.isoformat()}"


def keep_preview(store: ObjectStore, preview: Preview) -> None:
    """Keep a new preview."""
    store.put_if_absent(_key(preview.id), msgspec.json.encode(preview))


def load_preview(store: ObjectStore, preview_id: str, now: datetime) -> Preview:
    """A kept preview. Raises ``UsageError`` if there is none, or it has expired."""
    try:
        preview = _decode(_key(preview_id), store.read(_key(preview_id)))
    except ObjectMissing:
        raise UsageError(
            f"--preview: the lake has none of the id {preview_id!r}: look again by --dry-run"
        ) from None
    if preview.expires_at <= now:
        raise UsageError(
            f"--preview: {preview_id} has expired at {preview.expires_at:%Y-%m-%d %H:%M} UTC: "
            "look again by --dry-run"
        )
    return preview


def check_keys(store: ObjectStore, subjects: Subjects) -> None:
    """Raise what ``Subjects`` does if there are previews, and no keys that could open any."""
    for _, preview in _previews(store):
        if preview is not None:
            with suppress(SealBroken):
                unsealed(subjects, preview)
            return


def drop_previews(
    store: ObjectStore, subjects: Subjects, identities: frozenset[Identity], now: datetime
) -> int:
    """Remove the previews of any of these identities, and all that have expired; how many.

    One that is damaged, or whose seal does not open, is removed, too: nobody can run it.
    """
    dropped = 0
    for key, preview in list(_previews(store)):
        if preview is None or preview.expires_at <= now or _is_of(preview, subjects, identities):
            store.delete(key)
            dropped += 1
    return dropped


def _is_of(preview: Preview, subjects: Subjects, identities: frozenset[Identity]) -> bool:
    try:
        content = unsealed(subjects, preview)
    except SealBroken:
        return True
    return not _alike(identities).isdisjoint(_alike(content.identities))


def _alike(identities: Iterable[Identity]) -> set[tuple[str, ...]]:
    return {(one.type, one.format, normalised(one)) for one in identities}


def _previews(store: ObjectStore) -> Iterator[tuple[str, Preview | None]]:
    """Those there are, by their keys; None for what is damaged."""
    for info in list(store.list(PREVIEWS)):
        with suppress(ObjectMissing):  # another erasure was first
            content = store.read(info.key)
            try:
                yield info.key, _decode(info.key, content)
            except LakeError:
                yield info.key, None


def _decode(key: str, content: bytes) -> Preview:
    try:
        return msgspec.json.decode(content, type=Preview)
    except (msgspec.MsgspecError, RecursionError):
        raise LakeError(f"{key}: is no preview: remove it") from None


def _key(preview_id: str) -> str:
    if not preview_id or "/" in preview_id:
        raise UsageError("--preview: give the id that --dry-run has printed")
    return f"{PREVIEWS}{preview_id}.json"
