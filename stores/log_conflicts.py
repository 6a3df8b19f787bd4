"""What two runs may not both commit: the same input, the same letters, the same file anew.

A run's draft is held against each entry that was written since the run began::

    draft            met by an entry since then                      ends with
    delivery         that delivered the same part of a source        SourceTaken
    replay           that replayed or erased the same letters        SourceTaken
    erase, compact   that erased, compacted or replayed a same file  FilesTaken: redo these
"""

from __future__ import annotations

from schemas.errors import LakeError
from schemas.stream_log import Stretch, Stretches, by_source
from stores.log_entries import REPLACING, Commit


class SourceTaken(LakeError):
    """Another delivery has committed the same part of the same source meanwhile."""

    code = "source_taken"
    http_status = 409


class FilesTaken(LakeError):
    """Others have replaced or removed some of the same files meanwhile; ``paths`` says which.

    Nothing of the draft is in the lake. The other files of it are good still: what was made of
    those that were taken is left out, and made anew from what they hold now. An error that a worker
    raised reaches its caller as text, without ``paths``.
    """

    code = "files_taken"
    http_status = 409
    retryable = True

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.details.get("paths", ()))


def refuse_overlap(draft: Commit, other: Commit) -> None:
    """Raise ``SourceTaken`` if ``other`` covers a part of what the draft of a delivery covers."""
    mine = {source.uri for source in draft.sources}
    taken = [source.uri for source in other.sources if source.uri in mine]
    taken += _shared_shards(draft, other)
    if taken or taken_files(draft, other):
        name = taken[0] if taken else "the same dead letters"
        raise SourceTaken(
            f"{name}: another delivery committed this as number {other.number} meanwhile; "
            "nothing was delivered twice: run again for what is new",
            commit=other.number,
        )


def taken_files(draft: Commit, other: Commit) -> set[str]:
    """Paths that both put another content under, or remove."""
    return draft.taken & other.taken


def replaces(draft: Commit) -> bool:
    """Whether a draft is made of files of the lake, and can be made again without some of them."""
    return draft.kind in REPLACING


def files_taken(run_id: str, paths: set[str]) -> FilesTaken:
    return FilesTaken(
        f"run {run_id}: {len(paths)} of its files were replaced or removed by others meanwhile; "
        "nothing was changed: look at these again",
        paths=tuple(sorted(paths)),
    )


def _shared_shards(draft: Commit, other: Commit) -> list[str]:
    """Shards of which both deliver some of the same records."""
    theirs = _delivered_of(other)
    return [
        source
        for source, stretches in _delivered_of(draft).items()
        if source in theirs and stretches.meets(theirs[source])
    ]


def _delivered_of(commit: Commit) -> dict[str, Stretches]:
    """Where in shards the records stood of which a commit delivers some."""
    parts = [stretch for one in commit.streamed for stretch in one.stretches]
    whole = [Stretch(part.source, part.after, part.last) for part in commit.shards if part.last]
    return by_source([*parts, *whole])
