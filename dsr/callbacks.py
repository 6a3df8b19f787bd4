"""What a callback of a processor makes of a request, once it is believed.

A callback counts only if it takes the request further. It has no time and no number, so that an old
one can be sent again by whoever has seen it; a status that is not ahead of the one there is changes
nothing, nor does anything beside it.

    headers, body ──> verify ──> parse ──> address ours ──> apply: request, event, audit entry
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property, partial
from typing import Any

import structlog
from cryptography.x509 import Certificate

from config.dsr import CallbacksSection, DsrSection
from dsr.changing import Decide, Step, change
from dsr.desk import Desk
from dsr.lake import is_done_at_processor, told_by_processor
from dsr.pauses import Silence
from dsr.requests import particulars
from dsr.trust import Chain, Peer, Trust
from dsr.verification import (
    CallbackRefused,
    CertificateWanted,
    Signed,
    Verified,
    check_address,
    signed,
    verification,
    verify,
)
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Forwarding
from schemas.errors import NotFound
from schemas.opendsr.answers import decode_report
from schemas.opendsr.model import StatusReport
from stores.certificates import CertificateSource, fetch_from, read_certificates, system_roots
from stores.outbound import Outbound
from stores.subjects import SealBroken

LARGEST = 64 * 1024
"""Bytes of a callback's body that are taken."""


_BEGUN = frozenset({DsrStatus.IN_PROGRESS, DsrStatus.COMPLETED})
"""What OpenDSR does not cancel."""

Seal = Callable[[Dsr, str], bytes | None]
"""The sealed part of a request with this address of its results; None if it cannot be opened."""

_log = structlog.get_logger()


class Outcome(StrEnum):
    """What became of a callback that was believed."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"


class _LeftAlone(Exception):
    """The callback changes nothing."""


def apply(desk: Desk, message: Signed, report: StatusReport, by: Verified) -> Outcome:
    """Have the request be what the processor says, in one transaction with event and audit entry.

    ``UNKNOWN`` if this processor was not sent such a request. May raise ``Unavailable`` and
    ``StoreError``: then nothing was changed, and the callback is to be sent again.
    """
    evidence = {
        "told": report.status.value,
        "body_sha256": hashlib.sha256(message.body).hexdigest(),
        "certificate_sha256": by.fingerprint,
    }
    decide = _decision(desk, report, by.peer, evidence)
    try:
        change(desk, report.request_id, Reach(None), f"processor:{by.peer.name}", decide)
    except NotFound:
        return Outcome.UNKNOWN
    except _LeftAlone:
        return Outcome.UNCHANGED
    return Outcome.APPLIED


def _decision(desk: Desk, report: StatusReport, peer: Peer, evidence: Mapping[str, Any]) -> Decide:
    silence = silence_of(desk.section)

    def decide(dsr: Dsr, now: datetime) -> Step:
        if not concerns(dsr, peer, report):
            raise NotFound("this request is not at this processor")
        if not takes_further(dsr, report):
            raise _LeftAlone
        found = advanced(dsr, report, silence, now)
        kept, lost = with_results(found, report.results_url, partial(sealed_with, desk))
        return Step(kept, "told", {**evidence, **lost})

    return decide


def concerns(dsr: Dsr, peer: Peer, report: StatusReport) -> bool:
    """Whether the request was sent to this processor, by whom the report says it was."""
    forwarding = dsr.forwarding
    if forwarding.processor != peer.name:
        return False
    return None in {forwarding.controller_id, report.controller_id} or (
        forwarding.controller_id == report.controller_id
    )


def takes_further(dsr: Dsr, report: StatusReport) -> bool:
    """Whether the report is ahead of what is known.

    That a request is pending says too little of one that is still on its way: where it arrived is
    found out by whoever sent it.
    """
    status = report.status.as_status
    if is_done_at_processor(dsr):
        return False
    if status is DsrStatus.SUBMITTED and dsr.forwarding.region is None:
        return False
    return dsr.status.may_become(status)


def advanced(dsr: Dsr, report: StatusReport, silence: Silence, now: datetime) -> Dsr:
    """The request as the report has it. What the report leaves out stays as it is."""
    status = report.status.as_status
    told = replace(dsr, forwarding=_advanced(dsr.forwarding, report), parked_reason=None)
    return heard_of(told_by_processor(told, status, now), silence, now)


def heard_of(dsr: Dsr, silence: Silence, now: datetime) -> Dsr:
    """A request of which its processor has just said where it is: with the time of the next look.

    That is when ``silence`` is over; at once if the processor is to cancel it; never if it is over.
    One that the processor has begun is not to be cancelled any more, and is not said to be.
    """
    next_look = None
    if dsr.status in _BEGUN:
        dsr = replace(dsr, cancel_requested_at=None)
    if dsr.status is DsrStatus.SUBMITTED and dsr.cancel_requested_at is not None:
        next_look = now
    elif not dsr.status.is_final and not is_done_at_processor(dsr):
        next_look = silence.until(dsr.forwarding.tried_at, now)
    return replace(dsr, forwarding=replace(dsr.forwarding, next_try_at=next_look))


def _advanced(known: Forwarding, report: StatusReport) -> Forwarding:
    return replace(
        known,
        controller_id=known.controller_id or report.controller_id,
        expected_completion_at=report.expected_completion_at or known.expected_completion_at,
        results_count=_first(report.results_count, known.results_count),
    )


def _first(told: int | None, known: int | None) -> int | None:
    return known if told is None else told


def with_results(dsr: Dsr, url: str | None, seal: Seal) -> tuple[Dsr, Mapping[str, Any]]:
    """The request with the address of its results, and what the audit log is told of it.

    Where the request is counts for more than that address: if it cannot be sealed, it is lost.
    """
    if url is None or not dsr.sealed:
        return dsr, {}
    sealed = seal(dsr, url)
    if sealed is None:
        return dsr, {"results": "lost"}
    return replace(dsr, sealed=sealed), {}


def sealed_with(desk: Desk, dsr: Dsr, results_url: str) -> bytes | None:
    """The sealed part of a request with this address; None if that part cannot be opened.

    Whoever has the address of results has the subject's data: it is kept nowhere else.
    """
    try:
        about = particulars(desk, dsr)
    except SealBroken as error:
        _log.error("the address of results is lost", request=dsr.id, code=error.code)
        return None
    return desk.subjects.seal(dsr.id, replace(about, results_url=results_url))


def silence_of(section: DsrSection) -> Silence:
    """For how long a processor may be silent, by the settings."""
    hour = 3600.0
    return Silence(section.silence_hours * hour, section.longest_silence_hours * hour)


class Receiver:
    """Takes callbacks: believes them or not, and applies them. For any number of threads.

    Does no I/O until it is used. ``checked`` is told how the checks before a callback is parsed
    went, and how many seconds they took: ``good``, ``unavailable``, or the check that failed.
    """

    def __init__(
        self,
        section: CallbacksSection,
        outbound: Outbound,
        desk: Desk,
        checked: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self._checked = checked
        self._section = section
        self._desk = desk
        self._peers = {peer.domain: peer for peer in peers_of(section)}
        self._sources = {
            name: CertificateSource(name, fetch_from(outbound, peer.certificate_url))
            for name, peer in section.processors.items()
        }

    def receive(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """What became of a callback.

        Raises ``CallbackRefused`` if it is not believed, ``Malformed`` if it cannot be read. Raises
        ``Unavailable`` and ``StoreError`` if it cannot be known or kept now: nothing was changed,
        and it is to be sent again.
        """
        message = signed(headers, body)
        by = self.verified(message)
        report = decode_report(body)
        check_address(report, self._section.urls)
        return apply(self._desk, message, report, by)

    def verified(self, message: Signed) -> Verified:
        """Whose message it is. Raises ``CallbackRefused`` and ``StoreUnavailable``."""
        began, result = time.perf_counter(), "unavailable"
        try:
            by = self._believed(message)
            result = "good"
        except CallbackRefused as refused:
            result = refused.check.value
            raise
        finally:
            self._checked(result, time.perf_counter() - began)
        return by

    def _believed(self, message: Signed) -> Verified:
        asking = verification(message, self._peers, self._trust, self._desk.clock)
        return verify(asking, self._certificates)

    def _certificates(self, wanted: CertificateWanted) -> Chain:
        return self._sources[wanted.peer.name].chain(wanted.other_than)

    @cached_property
    def _trust(self) -> Trust:
        return Trust(roots_of(self._section))


def peers_of(section: CallbacksSection) -> list[Peer]:
    """The processors that the settings name."""
    return [
        Peer(name, peer.domain, frozenset(peer.pins), peer.allow_pss)
        for name, peer in section.processors.items()
    ]


def roots_of(section: CallbacksSection) -> Sequence[Certificate]:
    """The roots that certificates have to lead to. Raises ``UsageError`` if there are none."""
    if section.roots is not None:
        return read_certificates(section.roots, "callbacks.roots")
    return system_roots("callbacks.roots")
