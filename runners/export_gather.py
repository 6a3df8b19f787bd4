"""Gathering for an export: all rows of the subject that the lake has at one moment, each once.

A compaction takes rows from some files to others, and an erasure replaces files. What one of these
has committed is put in its place before files are listed; and if one has committed before all was
read, all is read anew.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import structlog

from beam_pipelines.export import gather_rows
from runners.choose import PipelineRunner
from runners.erase_order import ErasureSite
from schemas.dsr import Identity
from schemas.errors import LakeError
from stores.exports import parts_prefix, remove_parts
from stores.lake_files import LakeFile, lake_files
from stores.lake_key import check_key
from stores.log import DeliveryLog
from stores.log_entries import REPLACING
from stores.objects.port import ObjectStore
from stores.subject_index import may_hold
from transforms.erasure.search import Wanted
from transforms.export.parts import PartsArea
from transforms.export.stages import Haul, HaulObject
from transforms.index import probes_for
from transforms.subject_hashes import SubjectHasher

_ATTEMPTS = 5

_log = structlog.get_logger()


@dataclass(frozen=True)
class Gathering:
    """What was gathered, where it lies, and the newest entry of the log that it heeds."""

    haul: Haul
    area: PartsArea
    log_number: int


def gather(
    export_id: str,
    identities: tuple[Identity, ...],
    plus_addressing: bool,
    site: ErasureSite,
    runner: PipelineRunner,
) -> Gathering:
    """Gather the rows of whoever has one of these identities into parts in the lake.

    Raises ``LakeError`` if erasures and compactions never leave the lake alone for long enough.
    """
    check_key(site.store, site.scrub_key.fingerprint)
    wanted = Wanted(site.scrub_key, site.registry, identities, plus_addressing)
    log = DeliveryLog(site.store)
    for _ in range(_ATTEMPTS):
        number, files = _settled(log, site.store)
        area = PartsArea.new(site.store, parts_prefix(export_id))
        haul = _haul(_suspects(files, wanted, site), wanted, area, runner)
        if not haul.gone and not _is_replaced(log, number, {file.path for file in files}):
            return Gathering(haul, area, number)
        _log.info("gathering again: the lake was compacted or erased from meanwhile")
        remove_parts(site.store, export_id)
    raise LakeError("erasures or compactions have changed the lake all the time: export later")


def _settled(log: DeliveryLog, store: ObjectStore) -> tuple[int, list[LakeFile]]:
    """The lake's files, and an entry of the log up to which all is in its place in them."""
    return log.published_up_to(), list(lake_files(store, log))


def _is_replaced(log: DeliveryLog, number: int, paths: Set[str]) -> bool:
    return any(
        commit.kind in REPLACING and not commit.taken.isdisjoint(paths)
        for commit in log.following(number)
    )


def _suspects(files: Sequence[LakeFile], wanted: Wanted, site: ErasureSite) -> list[LakeFile]:
    """Those that have to be read, the largest first."""
    hasher = SubjectHasher.of(site.scrub_key, wanted.plus_addressing)
    probes = probes_for(wanted.identities, site.registry, hasher)
    if probes is not None:
        files = [file for file, is_one in may_hold(site.store, files, probes) if is_one]
    return sorted(files, key=lambda file: (-file.info.size, file.path))


def _haul(
    files: Sequence[LakeFile], wanted: Wanted, area: PartsArea, runner: PipelineRunner
) -> Haul:
    if not files:
        return Haul()
    into = HaulObject(area)
    runner.run(lambda pipeline: gather_rows(pipeline, files, wanted, into), len(files))
    return into.take()
