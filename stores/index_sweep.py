"""Sweep: containers of subject indexes that no file has its index in any more.

Files that are compacted, emptied by an erasure, or indexed anew leave their old container behind.
It goes when nobody can be about to name it again::

    entries of the log   1 ... horizon        horizon + 1 ... newest
    kept                 named after it       named by any of these

A run that was under way may give a file the index of the one that it takes the place of, as an
erasure does; so the horizon is where the oldest of them began, and at least ``GRACE`` ago. Whoever
meets a container that is gone reads the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from stores.lake_files import Known
from stores.log import Commit, DeliveryLog
from stores.objects.port import ObjectStore
from stores.subject_index import INDEXES

GRACE = timedelta(days=1)
"""How old a container, and the entry that left it behind, have to be."""


def sweep_indexes(store: ObjectStore, log: DeliveryLog, now: datetime) -> int:
    """Remove the containers that nothing names any more; how many. Safe beside other runs.

    Holds what the log says of every file. Raises ``LakeError`` on a bad log entry.
    """
    # Listed before the log is read: whatever is there now is in the log by then.
    old = {info.key for info in store.list(INDEXES) if info.modified < now - GRACE}
    if not old:
        return 0
    oldest = log.oldest_beginning()
    unnamed = old - _named(log.commits(), oldest, now - GRACE)
    for key in sorted(unnamed):
        store.delete(key)
    return len(unnamed)


def _named(commits: Iterable[Commit], oldest: int | None, before: datetime) -> set[str]:
    """The containers that the log names at its horizon, or did at any time since."""
    known, named = Known(), set[str]()
    is_past = False
    for commit in commits:
        is_new = commit.committed_at >= before or (oldest is not None and commit.number > oldest)
        if is_new and not is_past:
            named, is_past = _named_by(known), True
        known.take([commit])
        if is_past:
            named |= {file.index.key for file in commit.files if file.index is not None}
            named |= {one.index.key for one in commit.indexed}
    return named if is_past else _named_by(known)


def _named_by(known: Known) -> set[str]:
    indexes = (one.file.index for one in known.files.values())
    return {index.key for index in indexes if index is not None}
