"""A lock in an object store: an object that is there while a run is, and shows signs of life.

It lies where the output does, so it holds among all who can write there, whatever else they share;
a lease of the state store would not, as each machine may have a state store of its own.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from schemas.errors import ObjectChanged, ObjectExists, ObjectMissing, StoreError
from stores.enrichment.errors import OutputTaken
from stores.log import Owner
from stores.objects.port import ObjectInfo, ObjectStore

BEAT_EVERY = 15.0
"""Seconds between two signs of life."""

SILENT_FOR = timedelta(seconds=90)
"""After so long without one, a run on another machine is taken for dead."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Holder:
    token: str
    host: str
    pid: int
    started: str
    beats: int

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be, as a process of this machine."""
        owner = Owner(self.host, self.pid, self.started)
        return owner.is_here() and not owner.is_running()


class ObjectLock:
    """The lock at ``key``; for one thread, which alone may hold it once."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._token = uuid.uuid4().hex
        self._beats = 0
        self._etag = ""
        self._writing = threading.Lock()

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold it. Raises ``OutputTaken`` if another run does, whose output is ``name``."""
        try:
            self._etag = self._taken().etag
        except (ObjectExists, ObjectChanged, ObjectMissing):
            raise OutputTaken(f"{name}: another run is making it: wait for its end") from None
        stop = threading.Event()
        thread = threading.Thread(target=self._beat_on, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._release()

    def check(self) -> None:
        """Raise ``StoreError`` if it was lost."""
        try:
            self._beat()
        except ObjectChanged:
            raise StoreError(
                f"{self._store.uri}: another run has taken over what this one was doing"
            ) from None

    def _taken(self) -> ObjectInfo:
        with suppress(ObjectExists):
            return self._store.put_if_absent(self._key, self._content())
        found = self._store.head(self._key)
        holder = msgspec.json.decode(self._store.read(self._key), type=_Holder)
        if found is None or not (holder.is_dead or self._is_silent(found)):
            raise ObjectExists(self._key)
        return self._store.put_if_match(self._key, self._content(), found.etag)

    def _is_silent(self, found: ObjectInfo) -> bool:
        return self._store_time() - found.modified > SILENT_FOR

    def _store_time(self) -> datetime:
        """By the store's own clock, as this machine's may be wrong."""
        probe = f"{self._key}.{self._token}"
        try:
            return self._store.put(probe, b"").modified
        finally:
            self._store.delete(probe)

    def _beat_on(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_EVERY):
            try:
                self._beat()
            except StoreError as error:
                _log.warning("the lock cannot be kept alive", code=error.code)

    def _beat(self) -> None:
        with self._writing:
            self._beats += 1
            try:
                self._etag = self._kept(self._etag)
            except ObjectChanged:
                self._etag = self._kept(self._etag_of_mine())

    def _kept(self, etag: str) -> str:
        """Show a sign of life in the place of the one with this tag; the new one's."""
        return self._store.put_if_match(self._key, self._content(), etag).etag

    def _etag_of_mine(self) -> str:
        """The lock's tag if it is held still: a sign of life may have been kept unanswered.

        Raises ``ObjectChanged`` if it was lost.
        """
        found = self._store.head(self._key)
        with suppress(ObjectMissing):
            if found is not None and self._token.encode() in self._store.read(self._key):
                return found.etag
        raise ObjectChanged(f"{self._store.uri}/{self._key} is another's by now", key=self._key)

    def _release(self) -> None:
        """A lock that was lost is another's; one that cannot be removed falls silent."""
        with suppress(StoreError):
            self.check()
            self._store.delete(self._key)

    def _content(self) -> bytes:
        owner = Owner.this_process()
        return msgspec.json.encode(
            asdict(_Holder(self._token, owner.host, owner.pid, owner.started, self._beats))
        )
