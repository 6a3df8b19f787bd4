"""Commit: everything a delivery staged, as one entry of the delivery log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from schemas.delivery import Counts, summary
from schemas.inputs import Covered, CoveredRange, InputFile, SourcePosition
from schemas.streams import ShardRange
from stores.log import Commit, DataFile, Run
from stores.stream_log import QUIET_PROGRESS
from transforms.shards import join_ranges


def draft_commit(
    run: Run,
    kind: str,
    staged: Iterable[DataFile],
    covered: Iterable[Covered],
    stretches: Iterable[ShardRange],
    counts: Iterable[Counts],
    files: Mapping[str, InputFile],
    removed: tuple[str, ...] = (),
) -> Commit:
    """The commit of a run, without its number and time, which the log gives.

    ``files`` holds the inputs by URI, as they were when the delivery was planned.
    """
    total = Counts()
    for count in counts:
        total.add(count)
    return Commit(
        number=0,
        run_id=run.run_id,
        kind=kind,
        committed_at=datetime.now(UTC),
        files=tuple(sorted(staged, key=lambda file: file.path)),
        sources=_positions(covered, files),
        counts=summary(total),
        removed=removed,
        shards=_shards(stretches),
    )


def is_quiet(draft: Commit, reached: Mapping[str, datetime]) -> bool:
    """Whether a commit would say nothing but that shards of streams held nothing for a while.

    ``reached`` is how far each shard had been read before. A position that grows old without need
    would look like a gap one day, so it is renewed now and then.
    """
    if draft.files or draft.sources or draft.removed or draft.counts["read"]:
        return False
    return all(_is_quiet(stretch, reached.get(stretch.source)) for stretch in draft.shards)


def _is_quiet(stretch: ShardRange, reached: datetime | None) -> bool:
    if reached is None or stretch.ended or stretch.last is not None:
        return False
    return stretch.until - reached < QUIET_PROGRESS


def _shards(stretches: Iterable[ShardRange]) -> tuple[ShardRange, ...]:
    by_source: dict[str, list[ShardRange]] = defaultdict(list)
    for stretch in stretches:
        by_source[stretch.source].append(stretch)
    return tuple(join_ranges(parts) for _, parts in sorted(by_source.items()))


def _positions(
    covered: Iterable[Covered], files: Mapping[str, InputFile]
) -> tuple[SourcePosition, ...]:
    by_source: dict[str, list[Covered]] = defaultdict(list)
    for part in covered:
        by_source[part.uri].append(part)
    return tuple(_position(files[uri], parts) for uri, parts in sorted(by_source.items()))


def _position(file: InputFile, parts: list[Covered]) -> SourcePosition:
    parts.sort(key=lambda part: (part.range.start, part.range.end))
    last = max(parts, key=lambda part: part.range.end)
    ranges: list[CoveredRange] = [part.range for part in parts if part.range.end > part.range.start]
    return SourcePosition(file.uri, file.size, file.etag, last.resume, tuple(ranges))
