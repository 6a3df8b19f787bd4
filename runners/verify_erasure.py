"""Verify: whether a certificate of erasure is genuine, and still says what is so.

    signature ──> what the log says ──> digests of the files ──> a second look at all of the lake

What was replaced since, by another erasure or a compaction, is no contradiction: the log tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from runners.erase import ErasureSite, new_id
from runners.erase_certify import Verdict, erased_in, verdict_on
from runners.erase_places import Place
from runners.file_runner import FileRunner
from schemas.dsr import IdentityFormat, IdentityType
from schemas.erasure import Certificate, ErasedFile, Suppressed
from schemas.errors import ObjectChanged, ObjectMissing
from stores.erasure_certificates import CertificateBroken
from stores.lake_files import LakeFile
from stores.lake_key import check_key
from stores.log import DeliveryLog
from stores.objects import split_uri
from stores.objects.port import ObjectStore
from stores.suppression import load_suppressions
from transforms.erasure.second_look import SecondLook

_PIECE = 1 << 20
_OUTSIDE = ("/", "s3://")
"""How the names of files begin that are not the lake's."""


@dataclass(frozen=True)
class Verified:
    """What holds: files that are as certified, files that were replaced since, rows looked at."""

    certificate: Certificate
    as_certified: int
    replaced_since: int
    files: int


def verify_erasure(certificate: Certificate, site: ErasureSite, runner: FileRunner) -> Verified:
    """Hold a certificate, whose signature is good, against the lake.

    Raises ``CertificateBroken``, which names what does not hold.
    """
    check_key(site.store, site.scrub_key.fingerprint)
    place = Place(site.store)
    _check_log(certificate, place)
    files = {file.path: file for file in place.files()}
    since = _TakenSince(certificate, place.log)
    states = [_state(file, files.get(file.path), site, since) for file in certificate.files]
    verdict = verdict_on(place, (), _look(certificate, site), new_id(), runner)
    _check_clean(verdict)
    _check_read(verdict, certificate)
    looked_into = len(files) - len(verdict.unread)
    return Verified(certificate, sum(states), len(states) - sum(states), looked_into)


def _check_log(certificate: Certificate, place: Place) -> None:
    """The log has to say the same of the lake's files, if it was not cut off."""
    first = min(certificate.entries, default=1)
    erased, entries = erased_in(place, certificate.id, after=first - 1)
    said = [file for file in certificate.files if not file.path.startswith(_OUTSIDE)]
    if tuple(entries) != certificate.entries:
        raise CertificateBroken(
            f"the lake's log has entries {_numbers(entries)} of this erasure, the certificate says "
            f"{_numbers(certificate.entries)}: is it this lake's?"
        )
    by_path = {file.path: file for file in erased}
    for file in said:
        if by_path.get(file.path) != file:
            raise CertificateBroken(f"{file.path}: the lake's log says otherwise of it")


def _numbers(entries: Iterable[int]) -> str:
    return ", ".join(map(str, entries)) or "none"


class _TakenSince:
    """Paths that entries of the log after a certificate's have replaced or removed, up to now."""

    def __init__(self, certificate: Certificate, log: DeliveryLog) -> None:
        self._number = max(certificate.entries, default=0)
        self._log = log
        self._paths = set[str]()

    def __contains__(self, path: object) -> bool:
        for commit in self._log.commits(after=self._number):
            self._number = commit.number
            self._paths.update(commit.taken, (file.path for file in commit.files))
        return path in self._paths


def _state(file: ErasedFile, now: LakeFile | None, site: ErasureSite, since: _TakenSince) -> bool:
    """Whether a file is as certified; if not, the log has to tell why. Raises otherwise."""
    if file.path.startswith(_OUTSIDE):
        return _is_outside(file, site)
    if now is None and file.sha256_after is None:
        return True
    if now is not None and _is_as_certified(file, now, site.store):
        return True
    # Asked last: what others replace or remove while this is looked at is in the log before.
    if file.path in since:
        return False
    if now is None:
        raise CertificateBroken(f"{file.path}: is gone, and the lake's log does not say why")
    raise CertificateBroken(f"{file.path}: is not what the certificate and the log say")


def _is_as_certified(file: ErasedFile, now: LakeFile, store: ObjectStore) -> bool:
    if file.sha256_after is None or (now.logged and now.logged.staged.sha256 != file.sha256_after):
        return False
    with suppress(ObjectMissing, ObjectChanged):
        return _digest(store, now.path) == file.sha256_after
    return False


def _is_outside(file: ErasedFile, site: ErasureSite) -> bool:
    """Files beside the lake belong to others: one that has changed is no contradiction."""
    store, key = split_uri(file.path, site.s3)
    if store.head(key) is None:
        return file.sha256_after is None
    return _digest(store, key) == file.sha256_after


def _digest(store: ObjectStore, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _look(certificate: Certificate, site: ErasureSite) -> SecondLook:
    """The certificate's subjects, as far as their hashes say who they are."""
    subjects = frozenset(certificate.subjects)
    listed = [one for one in _suppressed(site) if one.exact in subjects]
    has_digests = bool(subjects - {one.exact for one in listed})
    return SecondLook(
        site.scrub_key,
        site.registry,
        subjects,
        frozenset(form for one in listed for form in one.stored_forms),
        tuple(IdentityType) if has_digests else tuple(sorted({one.type for one in listed})),
        tuple(IdentityFormat)[1:] if has_digests else (),
        any(one.plus_addressing for one in listed),
    )


def _suppressed(site: ErasureSite) -> Iterator[Suppressed]:
    positions = DeliveryLog(site.store).positions()
    yield from load_suppressions(site.store, positions.suppressions, site.clock())


def _check_clean(verdict: Verdict) -> None:
    if verdict.dirty:
        raise CertificateBroken(
            f"{verdict.dirty[0]} and {len(verdict.dirty) - 1} other files hold a subject: if their "
            "suppression has expired, or others wrote them, erase again"
        )


def _check_read(verdict: Verdict, certificate: Certificate) -> None:
    """Nobody could look into some files when it was certified either; it names them."""
    for path, reason in verdict.unread.items():
        if not any(line.startswith(f"{path}: ") for line in certificate.unreachable):
            raise CertificateBroken(f"{path}: cannot be looked into: {reason}")
