"""Leading: being the one of several processes that acts under a name, by holding a lease.

hold ──> None (another one leads) ──> hold ──> Lease ──> hold (renewed in time) ──> resign
                                                 └── it ran out meanwhile: hold gives None
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from schemas.schedule import Lease
from stores.state.port import LeaseLost, LeaseStore

_log = structlog.get_logger()

_RENEWED_AFTER = 1 / 4
"""The share of a lease that may pass before it is renewed."""


class Leadership:
    """One process's claim to lead under ``name``; for one thread. ``holder`` is unlike any other.

    ``hold`` and ``resign`` raise ``StoreError``: whoever meets that goes on, and asks again.
    """

    def __init__(
        self,
        leases: LeaseStore,
        name: str,
        holder: str,
        seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._leases, self._clock = leases, clock
        self._name, self._holder, self._seconds = name, holder, seconds
        self.lease: Lease | None = None

    def hold(self) -> Lease | None:
        """The lease, taken or renewed if it is time; None while another one leads."""
        if self.lease is None:
            self._take()
        elif self._is_to_renew(self.lease):
            try:
                self.lease = self._leases.renew(self.lease, self._seconds)
            except LeaseLost:
                self.lost()
        return self.lease

    def lost(self) -> None:
        """Lead no longer: a store has refused what was to be written under the lease."""
        _log.warning("no longer leading", lease=self._name)
        self.lease = None

    def resign(self) -> None:
        """Let another one lead at once."""
        if self.lease is not None:
            self._leases.release(self.lease)
            self.lease = None

    def _take(self) -> None:
        self.lease = self._leases.acquire(self._name, self._holder, self._seconds)
        if self.lease is not None:
            _log.info("leading", lease=self._name, token=self.lease.token)

    def _is_to_renew(self, lease: Lease) -> bool:
        passed = timedelta(seconds=self._seconds * (1 - _RENEWED_AFTER))
        return lease.expires_at - self._clock() < passed
