"""What the process of a lake's job does: it answers requests from the lake, several in one pass.

    take up ──> count, and hold for a reviewer        if a preview is wanted
            ├─> export each that asks for its data
            └─> erase all others together ──> certificate ──> tell each request
                  └── too much would go: halve them, until the one that it is can be held

Killed at any point, the job goes on: the requests say which job has them, an erasure has an id made
of those of its requests, and is gone on with under that. Who a request is about is opened here,
from the state store, and is in no argument, log or name of a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from config.settings import Settings
from dsr.alerts import Alerts
from dsr.changing import Decide, Step, change
from dsr.desk import Desk, open_desk
from dsr.lake import (
    NOT_ALL_REACHED,
    done,
    handed_over,
    held,
    left_over,
    parked,
    parked_alert,
    put_off,
    returned,
    taken,
)
from dsr.requests import particulars
from runners.choose import PipelineRunner
from runners.erase import ErasureDone, close_erasure, open_site, preview_erasure, run_erasure
from runners.erase_audit import certified
from runners.erase_order import ErasureOrder, ErasureSite
from runners.erase_places import place_beside
from runners.erase_preview import MatchShareExceeded
from runners.export import ExportDone, ExportOrder, exported, run_export
from runners.file_runner import FileRunner, by_pipelines
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, RequestType
from schemas.dsr_lake import REQUESTS, LakeCertificate, LakeExport, LakePreview, LakeState
from schemas.errors import InputMissing, LakeError, LetheError, ObjectMissing, UsageError
from schemas.jobs import Job
from schemas.subject_lists import Subject
from stores.erasure_certificates import certificate_key, decode_certificate
from stores.erasures import end_record, find_record
from stores.log import DeliveryLog
from stores.notify.opening import open_notifiers
from stores.parameters import open_parameters
from stores.previews import load_preview
from stores.state.service_port import Stores
from stores.subjects import SealBroken
from transforms.export.encryption import Encryption, Plain, Recipients

if TYPE_CHECKING:
    from config.dsr import LakeSection

ACTOR = "lake"
"""What the audit log calls it."""

_MINE = frozenset({LakeState.RUNNING, LakeState.DONE, LakeState.HELD})
_LEFT = frozenset({LakeState.WAITING, LakeState.PARKED})
PREVIEW_WANTED = "a reviewer has to approve what the erasure would take"
TOO_MUCH = "more rows belong to the subject than may go unseen: a reviewer has to approve that"

_log = structlog.get_logger()


def answer_by_lake(
    job: Job, settings: Settings, state: Stores, runner: PipelineRunner
) -> dict[str, int]:
    """Do the work of a lake's job; how much that was.

    Raises ``LetheError``. What was done by then stays done, and is told to the requests.
    """
    parameters = open_parameters(settings.parameters)
    desk = open_desk(settings.dsr, state, parameters, lambda: datetime.now(UTC))
    take_up(job, desk)  # First of all: so what this cannot do is parked, not tried for ever.
    if settings.dsr.lake.uri is None:
        raise UsageError("dsr.lake.uri: is not set any more: the lake cannot be reached")
    site = open_site(settings.dsr.lake.uri, settings)
    alerts = Alerts(state.alerts, open_notifiers(settings.alerts, settings.outbound), desk.clock)
    work = LakeJob(job, desk, site, runner, alerts.tell)
    work.run()
    return {
        "requests": len(job.parameters[REQUESTS]),
        "erased": work.erased,
        "held": work.held,
        "exported": work.exported,
    }


def take_up(job: Job, desk: Desk) -> list[Dsr]:
    """The requests that are the job's, from now on or from an earlier run. May be repeated."""
    take = partial(taken, job_id=job.id, counts_first=desk.section.lake.preview)
    found = [change(desk, one, Reach(None), ACTOR, take) for one in job.parameters[REQUESTS]]
    return [dsr for dsr in found if dsr.lake is not None and dsr.lake.job_id == job.id]


@dataclass
class LakeJob:
    """One job, for one run of it. ``tell`` tells operators, and says whether it could.

    ``erased``, ``held`` and ``exported`` count requests.
    """

    job: Job
    desk: Desk
    site: ErasureSite
    runner: PipelineRunner
    tell: Callable[[Alert], bool] = lambda _: True
    erased: int = 0
    held: int = 0
    exported: int = 0

    def run(self) -> None:
        """Answer the job's requests as far as they are still to be answered."""
        taken_up = [dsr for dsr in take_up(self.job, self.desk) if not self._put_off(dsr)]
        readable = [dsr for dsr in taken_up if self._is_readable(dsr)]
        for dsr in readable:
            if _state_of(dsr) is LakeState.COUNTING:
                self._hold(dsr, PREVIEW_WANTED)
        ours = [dsr for dsr in readable if self._is_to_be_erased(dsr)]
        self._erase(self._still_approved(list(filter(_is_approved, ours))), 1.0)
        self._erase([dsr for dsr in ours if not _is_approved(dsr)], self._section.max_match_share)
        for dsr in readable:
            if dsr.type is not RequestType.ERASURE and _state_of(dsr) is LakeState.RUNNING:
                self._export(dsr)

    @property
    def _files(self) -> FileRunner:
        return by_pipelines(self.runner)

    @property
    def _section(self) -> LakeSection:
        return self.desk.section.lake

    # --- counting

    def _hold(self, dsr: Dsr, reason: str) -> None:
        made = preview_erasure(self._order([dsr], 1.0), self.site, self._files)
        preview = LakePreview(made.id, made.matched, made.rows, len(made.files), made.by_type)
        self._tell(dsr, partial(held, job_id=self.job.id, preview=preview, reason=reason))
        self.held += 1

    def _still_approved(self, group: Sequence[Dsr]) -> Sequence[Dsr]:
        """Those of which what was approved is kept; all, once their erasure has begun."""
        if group and self._is_known(self._id_of(group)):
            return group
        return [dsr for dsr in group if self._is_still_approved(dsr)]

    def _is_still_approved(self, dsr: Dsr) -> bool:
        """Whether what was approved is kept; if not, it is counted anew by a later job."""
        if _state_of(dsr) is not LakeState.RUNNING or dsr.lake is None or dsr.lake.preview is None:
            return True
        if dsr.lake.certificate is not None:
            return True  # done as approved, but for what could not be reached then
        try:
            load_preview(self.site.store, dsr.lake.preview.id, self.desk.clock())
        except UsageError:
            self._tell(dsr, partial(returned, job_id=self.job.id))
            return False
        return True

    # --- erasing

    def _erase(self, group: Sequence[Dsr], most: float) -> None:
        """Erase the subjects of these requests in one pass, or in as many as it takes."""
        if all(_state_of(dsr) is not LakeState.RUNNING for dsr in group):
            self._forget(group)
        elif (made := self._told_before(group)) is not None:
            self._tell_all(group, made)
            self._forget(group)
        elif self._was_halved(group):
            self._erase_halves(group, most)
        else:
            self._erase_together(group, most)

    def _erase_together(self, group: Sequence[Dsr], most: float) -> None:
        try:
            finished = run_erasure(self._order(group, most), self.site, self._files)
        except MatchShareExceeded:
            if len(group) > 1:
                self._erase_halves(group, most)
            else:
                self._hold(group[0], TOO_MUCH)
        else:
            self._conclude(group, finished)

    def _erase_halves(self, group: Sequence[Dsr], most: float) -> None:
        for half in _halves(group):
            self._erase(half, most)

    def _was_halved(self, group: Sequence[Dsr]) -> bool:
        """Whether an earlier run of the job has divided these, so that it is to be done again."""
        if any(_state_of(dsr) is LakeState.HELD for dsr in group):
            return True  # by whom too much would go: the others are not to take it with them
        if self.job.attempts < 2 or len(group) < 2 or self._is_known(self._id_of(group)):
            return False
        return any(
            self._is_known(self._id_of(half)) or self._was_halved(half) for half in _halves(group)
        )

    def _is_known(self, erasure_id: str) -> bool:
        store = self.site.store
        if store.head(certificate_key(erasure_id)) is not None:
            return True
        return find_record(store, erasure_id) is not None

    def _order(self, group: Sequence[Dsr], most: float) -> ErasureOrder:
        section, days = self._section, self._section.suppress_days
        return ErasureOrder(
            subjects=tuple(map(self._subject, group)),
            mode=section.mode,
            also=tuple(filter(self._is_there, section.also)),
            plus_addressing=self.desk.section.plus_addressing,
            max_match_share=most,
            suppress_for=None if days is None else timedelta(days=days),
            wait=timedelta(seconds=section.wait_seconds),
            old_versions=section.old_versions,
            id=self._id_of(group),
        )

    def _is_there(self, place: str) -> bool:
        """Whether a place beside the lake has files; one that is empty is no reason to fail."""
        try:
            place_beside(place, self.site.store, self.site.s3)
        except InputMissing:
            _log.warning("a place beside the lake has no files", place=place)
            return False
        return True

    def _conclude(self, group: Sequence[Dsr], finished: ErasureDone) -> None:
        """Have the audit log and each request know of the certificate; then it is over."""
        made = finished.certificate
        draft = certified(made, ACTOR, group[0].organization)
        self.desk.audit.append(draft)
        told = LakeCertificate(
            id=made.id,
            sha256=_digest_in(draft),
            requests=len(group),
            rows=made.matched,
            files=len(made.files),
            unreachable=len(made.unreachable),
            open_runs=len(made.open_runs),
            job_id=self.job.id,
            missed=finished.missed,
        )
        self._tell_all(group, told)
        close_erasure(self.site, finished)
        if not finished.is_complete:
            _log.warning("an erasure could not reach everything", erasure=made.id)

    def _told_before(self, group: Sequence[Dsr]) -> LakeCertificate | None:
        """The certificate that an earlier run told to some of the group: it is that of all."""
        made = self._id_of(group)
        told = (dsr.lake.certificate for dsr in group if dsr.lake is not None)
        return next((one for one in told if one is not None and one.id == made), None)

    def _tell_all(self, group: Sequence[Dsr], made: LakeCertificate) -> None:
        for dsr in group:
            self._tell_end(dsr, made)
        self.erased += len(group)

    def _tell_end(self, dsr: Dsr, made: LakeCertificate) -> None:
        """Done if all was reached; if not, operators are told first."""
        if not made.missed and not made.open_runs:
            self._tell(dsr, partial(done, job_id=self.job.id, certificate=made))
            return
        is_told = not made.missed or self._is_told(dsr, NOT_ALL_REACHED)
        self._tell(dsr, partial(left_over, job_id=self.job.id, certificate=made, is_told=is_told))

    # --- what was certified before, and was not done

    def _put_off(self, dsr: Dsr) -> bool:
        """Whether a delivery that its last certificate speaks of is under way still."""
        work = dsr.lake
        if work is None or work.state is not LakeState.RUNNING or work.certificate is None:
            return False
        if not self._still_open(work.certificate):
            return False
        self._tell(dsr, partial(put_off, job_id=self.job.id))
        return True

    def _still_open(self, certificate: LakeCertificate) -> bool:
        before = self._open_runs(certificate)
        if not before:
            return False
        log = DeliveryLog(self.site.store)
        log.recover()  # one that was killed is none that is waited for
        return not before.isdisjoint(log.open_runs())

    def _open_runs(self, certificate: LakeCertificate) -> set[str]:
        if not certificate.open_runs:
            return set()
        try:
            kept = self.site.store.read(certificate_key(certificate.id))
            return {*decode_certificate(kept, self.site.keys.public).open_runs}
        except (ObjectMissing, LakeError):
            return set()  # nobody can tell: erased again, it is told anew

    def _is_to_be_erased(self, dsr: Dsr) -> bool:
        """Whether the job took it to be erased; one that was just counted it did not."""
        work = dsr.lake
        if dsr.type is not RequestType.ERASURE or work is None:
            return False
        if work.state in _LEFT:
            return work.certificate is not None and work.certificate.job_id == self.job.id
        return work.state in _MINE and (work.state is not LakeState.HELD or work.reason == TOO_MUCH)

    def _id_of(self, group: Sequence[Dsr]) -> str:
        """The erasure's id: the same for the same requests, in each job that erases them again.

        No certificate takes the place of another one.
        """
        again = [self.job.id] if any(map(self._was_certified, group)) else []
        return _id_of(group, again)

    def _was_certified(self, dsr: Dsr) -> bool:
        """Whether an earlier job has made a certificate of it."""
        work = dsr.lake
        if work is None or work.certificate is None:
            return False
        return bool(work.earlier) or work.certificate.job_id != self.job.id

    def _forget(self, group: Sequence[Dsr]) -> None:
        """All are told: an earlier run may have died before it forgot the erasure."""
        if group:
            end_record(self.site.store, self._id_of(group))

    # --- exporting

    def _export(self, dsr: Dsr) -> None:
        """Gather the subject's rows; what no other attempt would mend concerns no other request."""
        try:
            made = run_export(self._export_order(dsr), self.site, self.runner)
        except LetheError as error:
            if error.retryable:
                raise
            # Whoever asked is not told where archives are kept.
            _log.error("an export failed", request=dsr.id, code=error.code, said=error.message)
            self._park(dsr, error.code, "nothing could be exported: the job's log says why")
            return
        self.desk.audit.append(exported(made.record, ACTOR, dsr.organization))
        self._tell(dsr, self._handing_over(made))
        self.exported += 1

    def _export_order(self, dsr: Dsr) -> ExportOrder:
        section = self._section
        if section.export_to is None:
            raise UsageError("dsr.lake.export_to: is not set any more: there is no place for it")
        return ExportOrder(
            identities=self._subject(dsr),
            out=section.export_to,
            form=section.export_format,
            expires=timedelta(days=section.export_days),
            encryption=_encryption(section),
            plus_addressing=self.desk.section.plus_addressing,
            id=_id_of([dsr]),
        )

    def _handing_over(self, made: ExportDone) -> Decide:
        record = made.record
        export = LakeExport(
            record.id, record.archive, record.sha256, record.rows, record.expires_at, record.unread
        )

        def decide(dsr: Dsr, now: datetime) -> Step | None:
            about = replace(particulars(self.desk, dsr), lake_results_url=made.link)
            sealed = self.desk.subjects.seal(dsr.id, about)
            return handed_over(dsr, now, self.job.id, export, sealed)

        return decide

    # --- requests

    def _subject(self, dsr: Dsr) -> Subject:
        return particulars(self.desk, dsr).identities

    def _is_readable(self, dsr: Dsr) -> bool:
        """Whether it says who it is about; if not, it is left to operators."""
        if _state_of(dsr) not in {LakeState.COUNTING, LakeState.RUNNING}:
            return bool(dsr.sealed)
        try:
            if self._subject(dsr):
                return True
            message = "the request does not say any more who it is about"
        except SealBroken as error:
            message = error.message
        self._park(dsr, SealBroken.code, message)
        return False

    def _park(self, dsr: Dsr, code: str, message: str) -> None:
        """Leave a request to operators, who are told of it first.

        If they cannot be, that is left to whoever finds it when the job is over.
        """
        is_told = self._is_told(dsr, code)
        why = partial(parked, code=code, message=message, is_told=is_told)
        self._tell(dsr, partial(why, job_id=self.job.id))

    def _is_told(self, dsr: Dsr, code: str) -> bool:
        return self.tell(parked_alert(dsr, self.job.id, code, self.desk.clock()))

    def _tell(self, dsr: Dsr, decide: Decide) -> None:
        self._change(dsr.id, decide)

    def _change(self, request_id: str, decide: Decide) -> Dsr:
        return change(self.desk, request_id, Reach(None), ACTOR, decide)


def _state_of(dsr: Dsr) -> LakeState | None:
    return None if dsr.lake is None else dsr.lake.state


def _is_approved(dsr: Dsr) -> bool:
    return dsr.lake is not None and dsr.lake.is_approved


def _encryption(section: LakeSection) -> Encryption:
    return Recipients(section.export_encrypt_to) if section.export_encrypt_to else Plain()


def _halves(group: Sequence[Dsr]) -> tuple[Sequence[Dsr], Sequence[Dsr]]:
    middle = len(group) // 2
    return group[:middle], group[middle:]


def _id_of(group: Iterable[Dsr], more: Iterable[str] = ()) -> str:
    """Always the same for the same requests."""
    names = "\n".join((*sorted(dsr.id for dsr in group), *more))
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _digest_in(draft: AuditDraft) -> str:
    return str(draft.detail["certificateSha256"])
