"""Requests that a lake answers: put together into jobs, and gone on with after a death."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest

from config.dsr import DsrSection, LakeSection
from config.settings import load_settings
from dsr.answers import report_of
from dsr.changing import Step, change
from dsr.desk import open_desk
from dsr.lake import AGAIN, LakeOffer, accepted, retried
from dsr.requests import particulars
from dsr.review import Verdict, review
from dsr.submit import Order, Submitter, submit
from runners import lake_jobs
from runners.lake_jobs import LakeJob, answer_by_lake
from schemas.access import Reach
from schemas.alerts import Alert
from schemas.dsr import Dsr, Identity, IdentityFormat, IdentityType, RequestType
from schemas.dsr_lake import LakeWork
from schemas.errors import UsageError
from schemas.jobs import Job, JobEnd, JobStatus
from service.dispatch.lake import PAUSE, LakeJobs
from stores.erasure_certificates import certificate_key, decode_certificate
from stores.erasures import ERASURES
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore, ObjectStore
from stores.state.sql import SqlState, open_state
from tests.erasing import EMAIL, OTHER, Secrets, emails_in, put_visits, runner, site

ALL = Reach(None)
EMAILS = frozenset({IdentityType.EMAIL})
OFFER = LakeOffer(frozenset(RequestType), EMAILS, frozenset(), alone=True)
MANY = "x@acme.example"


class Died(Exception):
    """As a kill would end it."""


class Office:
    """A state, a lake, and what a service and its jobs do with both."""

    def __init__(self, folder: Path, state: SqlState, **section: Any) -> None:
        self.state = state
        self.now = datetime.now(UTC)
        self.told: list[str] = []
        self.can_tell = True
        self.store: ObjectStore = LocalObjectStore(str(folder / "lake"))
        given = {"wait_seconds": 0, "max_match_share": 1.0, "export_to": str(folder / "out")}
        lake = LakeSection(uri=str(folder / "lake"), **{**given, **section})
        known = (DsrSection(lake=lake), state, Secrets(), lambda: self.now)
        self.desk = open_desk(*known, lake=OFFER)

    def ask(self, email: str = EMAIL, kind: str = "gdpr_delete", place: str = "org-1") -> str:
        order = Order(kind, [Identity(IdentityType.EMAIL, email)])
        self.now += timedelta(seconds=1)
        return submit(self.desk, order, Submitter("user-1", place, None), str(uuid.uuid4())).id

    def tell(self, alert: Alert) -> bool:
        self.told.append(alert.resource)
        return self.can_tell

    def dispatch(self) -> list[Job]:
        LakeJobs(self.desk, self.state.jobs, 10, self.tell)()
        return self.state.jobs.unfinished(10)

    def work(self, **changes: Any) -> LakeJob:
        """Do the job that there is, as its process does."""
        (job,) = self.dispatch()
        self.state.jobs.begin(job.id, "run-1")
        where = (site(self.store), runner(), self.tell)
        work = LakeJob(replace(job, **changes), self.desk, *where)
        work.run()
        self.state.jobs.finish(job.id, "run-1", JobEnd(JobStatus.COMPLETED))
        return work

    def fail(self) -> None:
        """End the job that is at work, as one that was tried too often."""
        (job,) = self.state.jobs.unfinished(9)
        self.state.jobs.finish(job.id, "run-1", JobEnd(JobStatus.FAILED, None, "broken", "it is"))

    def get(self, request_id: str) -> Dsr:
        found = self.state.dsr.get(request_id, ALL)
        assert found is not None
        return found

    def lake(self, request_id: str) -> LakeWork:
        work = self.get(request_id).lake
        assert work is not None
        return work

    def approve(self, request_id: str) -> None:
        review(self.desk, request_id, ALL, "user-2", Verdict(True, "seen"))

    @property
    def actions(self) -> list[str]:
        return [entry.draft.action for entry in self.state.audit.entries(0, 100)]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqlState]:
    with closing(open_state(f"sqlite:///{tmp_path}/state.db")) as opened:
        yield opened


@pytest.fixture
def office(tmp_path: Path, state: SqlState) -> Office:
    return Office(tmp_path, state)


def test_requests_that_wait_are_erased_in_one_pass_and_share_a_certificate(office: Office) -> None:
    key = put_visits(office.store, "mixed", EMAIL, OTHER, MANY)
    ids = [office.ask(EMAIL), office.ask(OTHER)]
    assert office.work().erased == 2
    assert emails_in(office.store, key) == [MANY]
    shown = [office.lake(one).certificate for one in ids]
    assert shown[0] is not None
    assert shown[0] == shown[1]
    assert (shown[0].requests, shown[0].rows) == (2, 2)
    assert [office.get(one).status for one in ids] == ["completed", "completed"]


def test_certificate_is_kept_and_the_audit_log_knows_it_and_each_request(office: Office) -> None:
    put_visits(office.store, "hers", EMAIL, OTHER)
    request_id = office.ask()
    office.work()
    made = office.lake(request_id).certificate
    assert made is not None
    kept = office.store.read(certificate_key(made.id))
    assert decode_certificate(kept, site(office.store).keys.public).matched == 1
    assert office.actions == [
        "dsr.submitted", "dsr.lake_running", "erasure.certified", "dsr.lake_erased",
    ]  # fmt: skip


def test_what_comes_while_a_job_is_at_work_is_the_next_jobs(office: Office) -> None:
    put_visits(office.store, "hers", EMAIL, OTHER)
    office.ask()
    (job,) = office.dispatch()
    late = office.ask(OTHER)
    assert office.dispatch() == [job]
    office.work()
    assert office.lake(late).state == "waiting"
    office.work()
    assert office.lake(late).state == "done"


def test_organizations_share_no_certificate(office: Office) -> None:
    ids = [office.ask(EMAIL), office.ask(OTHER, place="org-2")]
    put_visits(office.store, "hers", EMAIL, OTHER)
    office.work()
    assert [office.lake(one).state for one in ids] == ["done", "waiting"]


def test_preview_is_counted_held_and_erased_once_approved(tmp_path: Path, state: SqlState) -> None:
    office = Office(tmp_path, state, preview=True)
    key = put_visits(office.store, "hers", EMAIL, EMAIL, OTHER)
    request_id = office.ask()
    assert office.work().held == 1
    shown = office.lake(request_id).preview
    assert shown is not None
    assert (shown.rows, shown.rows_in_all, shown.files, shown.by_type) == (2, 3, 1, {"visit": 2})
    assert emails_in(office.store, key) == [EMAIL, EMAIL, OTHER]
    assert office.dispatch() == []
    office.approve(request_id)
    office.work()
    assert emails_in(office.store, key) == [OTHER]
    assert office.get(request_id).status == "completed"


def test_approval_of_a_preview_that_has_expired_is_asked_for_anew(
    tmp_path: Path, state: SqlState
) -> None:
    office = Office(tmp_path, state, preview=True)
    put_visits(office.store, "hers", EMAIL)
    request_id = office.ask()
    office.work()
    office.approve(request_id)
    office.now += timedelta(days=8)
    office.work()
    assert office.lake(request_id).state == "waiting"
    office.work()
    assert office.lake(request_id).state == "held"


def test_request_by_whom_too_much_would_go_is_held_and_others_are_not(
    tmp_path: Path, state: SqlState
) -> None:
    office = Office(tmp_path, state, max_match_share=0.3)
    key = put_visits(office.store, "many", *[MANY] * 6, EMAIL, OTHER, "y@acme.example")
    ids = [office.ask(one) for one in (EMAIL, MANY, OTHER)]
    work = office.work()
    assert (work.erased, work.held) == (2, 1)
    assert [office.lake(one).state for one in ids] == ["done", "held", "done"]
    assert emails_in(office.store, key) == [*[MANY] * 6, "y@acme.example"]
    office.approve(ids[1])
    office.work()
    assert emails_in(office.store, key) == ["y@acme.example"]


@pytest.mark.parametrize("dies_at", ["certified", "close_erasure"])
def test_job_that_died_goes_on_under_the_same_certificate(
    office: Office, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    put_visits(office.store, "hers", EMAIL, OTHER)
    request_id = office.ask()

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(lake_jobs, dies_at, die)
        with pytest.raises(Died):
            office.work()
    (job,) = office.state.jobs.unfinished(9)
    LakeJob(replace(job, attempts=2), office.desk, site(office.store), runner()).run()
    made = office.lake(request_id).certificate
    assert made is not None
    assert made.rows == 1
    assert list(office.store.list(ERASURES)) == []


def test_job_that_died_needs_no_other_approval(
    tmp_path: Path, state: SqlState, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path, state, preview=True)
    put_visits(office.store, "hers", EMAIL, OTHER, MANY)
    ids = [office.ask(EMAIL), office.ask(OTHER)]
    office.work()
    for one in ids:
        office.approve(one)
    with monkeypatch.context() as patch:
        patch.setattr(lake_jobs, "certified", partial(_raise, Died()))
        with pytest.raises(Died):
            office.work()
    (job,) = office.state.jobs.unfinished(9)
    LakeJob(replace(job, attempts=2), office.desk, site(office.store), runner()).run()
    assert [office.get(one).status for one in ids] == ["completed", "completed"]


def test_requests_of_a_job_that_is_lost_are_parked_until_somebody_tries_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_visits(office.store, "hers", EMAIL)
    request_id = office.ask()
    with monkeypatch.context() as patch:
        patch.setattr(lake_jobs, "run_erasure", partial(_raise, Died()))
        with pytest.raises(Died):
            office.work()
    office.fail()
    office.can_tell = False
    office.dispatch()
    assert office.lake(request_id).state == "running"
    office.can_tell = True
    assert office.dispatch() == []
    assert office.lake(request_id).reason == "broken: it is"
    assert {*office.told} == {f"dsr:{request_id}"}
    change(office.desk, request_id, ALL, "cli", retried)
    assert office.dispatch() == []
    office.now += PAUSE + timedelta(seconds=5)
    office.work()
    assert office.lake(request_id).state == "done"


def test_export_is_encrypted_to_the_keys_of_the_settings(tmp_path: Path, state: SqlState) -> None:
    key = pyrage.x25519.Identity.generate()
    office = Office(tmp_path, state, export_encrypt_to=(str(key.to_public()),))
    put_visits(office.store, "hers", EMAIL)
    request_id = office.ask(kind="export")
    office.work()
    made = office.lake(request_id).export
    assert made is not None
    assert made.archive.endswith(".zip.age")
    opened = pyrage.decrypt((tmp_path / "out" / made.archive).read_bytes(), [key])
    assert opened.startswith(b"PK")


def test_export_is_made_and_its_archive_named(office: Office, tmp_path: Path) -> None:
    put_visits(office.store, "hers", EMAIL, EMAIL, OTHER)
    request_id = office.ask(kind="export")
    assert office.work().exported == 1
    made = office.lake(request_id).export
    assert made is not None
    assert (made.rows, office.get(request_id).status) == (2, "completed")
    assert (tmp_path / "out" / made.archive).is_file()
    assert particulars(office.desk, office.get(request_id)).identities


def test_what_could_not_be_reached_keeps_a_request_from_being_completed(office: Office) -> None:
    damaged = put_visits(office.store, "damaged", OTHER)
    whole, key = office.store.read(damaged), put_visits(office.store, "hers", EMAIL, OTHER)
    office.store.put(damaged, whole[:-20])
    request_id = office.ask()
    office.work()
    assert (office.lake(request_id).state, office.told) == ("parked", [f"dsr:{request_id}"])
    assert emails_in(office.store, key) == [OTHER]
    office.store.put(damaged, whole)
    change(office.desk, request_id, ALL, "cli", retried)
    office.work()
    work, (first,) = office.lake(request_id), office.lake(request_id).earlier
    assert (office.get(request_id).status, work.state) == ("completed", "done")
    assert work.certificate is not None
    assert (first.rows, first.unreachable, work.certificate.unreachable) == (1, 1, 0)
    kept = {one.id: office.store.head(certificate_key(one.id)) for one in (first, work.certificate)}
    assert len(kept) == 2
    assert None not in kept.values()


def test_request_is_completed_by_what_was_reached_if_somebody_accepts_that(office: Office) -> None:
    office.store.put("type=visit/date=2026-01-02/damaged.parquet", b"PAR1")
    request_id = office.ask()
    office.work()
    change(office.desk, request_id, ALL, "cli", accepted)
    assert (office.get(request_id).status, office.actions[-1]) == ("completed", "dsr.lake_accepted")


def test_identity_that_is_a_digest_keeps_no_request_from_being_completed(office: Office) -> None:
    order = Order("gdpr_delete", [Identity(IdentityType.EMAIL, "a" * 64, IdentityFormat.SHA256)])
    request_id = submit(
        office.desk, order, Submitter("user-1", "org-1", None), str(uuid.uuid4())
    ).id
    office.work()
    assert (office.get(request_id).status, office.told) == ("completed", [])


def test_request_waits_for_deliveries_that_had_begun_before(office: Office) -> None:
    put_visits(office.store, "hers", EMAIL)
    log = DeliveryLog(office.store)
    run, request_id = log.begin("run-1", 0), office.ask()
    office.work()
    office.now += PAUSE
    assert (office.lake(request_id).state, office.dispatch()) == ("waiting", [])
    office.now += AGAIN
    assert office.work().erased == 0
    log.finish(run)
    office.now += AGAIN
    assert office.work().erased == 1
    assert (office.get(request_id).status, len(office.lake(request_id).earlier)) == ("completed", 1)
    assert office.told == []


def test_request_waits_for_no_delivery_that_was_killed(office: Office) -> None:
    log = DeliveryLog(office.store)
    log.begin("run-1", 0)
    request_id = office.ask()
    office.work()
    gone = replace(log.owner, started="0")
    DeliveryLog(office.store, gone).begin("run-1", 0)
    office.now += AGAIN
    office.work()
    assert office.get(request_id).status == "completed"


def test_request_that_was_put_off_keeps_no_other_waiting(office: Office) -> None:
    log = DeliveryLog(office.store)
    run, _ = log.begin("run-1", 0), office.ask()
    office.work()
    log.finish(run)
    other = office.ask(OTHER)
    office.now += PAUSE
    office.work()
    assert office.lake(other).state == "done"


def test_job_that_died_while_it_told_the_end_shares_one_certificate(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.store.put("type=visit/date=2026-01-02/damaged.parquet", b"PAR1")
    ids = [office.ask(EMAIL), office.ask(OTHER)]
    office.work()
    for one in ids:
        change(office.desk, one, ALL, "cli", retried)
    work_until_second(office, monkeypatch, "_tell")
    assert [office.lake(one).state for one in ids] == ["parked", "running"]
    (job,) = office.state.jobs.unfinished(9)
    LakeJob(replace(job, attempts=2), office.desk, site(office.store), runner()).run()
    assert_all_have_the_certificate_that_is_kept(office, ids)
    assert [office.lake(one).state for one in ids] == ["parked", "parked"]
    assert [len(office.lake(one).earlier) for one in ids] == [1, 1]


def test_job_that_died_before_all_were_told_certifies_nothing_else(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_visits(office.store, "hers", EMAIL, OTHER)
    ids = [office.ask(EMAIL), office.ask(OTHER)]
    work_until_second(office, monkeypatch, "_tell_end")
    office.now += timedelta(minutes=1)
    office.work(attempts=2)
    assert_all_have_the_certificate_that_is_kept(office, ids)
    assert [office.get(one).status for one in ids] == ["completed", "completed"]
    assert list(office.store.list(ERASURES)) == []


def work_until_second(office: Office, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Do the job that there is, and die where it calls the method for the second time."""
    whole, calls = getattr(LakeJob, method), iter([False, True])

    def dying(work: LakeJob, *told: Any) -> None:
        if next(calls):
            raise Died
        whole(work, *told)

    with monkeypatch.context() as patch:
        patch.setattr(LakeJob, method, dying)
        with pytest.raises(Died):
            office.work()


def assert_all_have_the_certificate_that_is_kept(office: Office, ids: Sequence[str]) -> None:
    (made,) = {office.lake(one).certificate for one in ids}
    assert made is not None
    kept = office.store.read(certificate_key(made.id))
    assert hashlib.sha256(kept).hexdigest() == made.sha256


def test_request_that_was_tried_again_meanwhile_is_another_jobs(office: Office) -> None:
    damaged = "type=visit/date=2026-01-02/damaged.parquet"
    office.store.put(damaged, b"PAR1")
    request_id = office.ask()
    (job,) = office.dispatch()
    again = LakeJob(replace(job, attempts=2), office.desk, site(office.store), runner())
    office.work()
    first = office.lake(request_id).certificate
    change(office.desk, request_id, ALL, "cli", retried)
    again.run()
    work = office.lake(request_id)
    assert (work.state, work.certificate) == ("waiting", first)
    office.store.delete(damaged)
    office.work()
    assert office.lake(request_id).earlier == (first,)
    assert office.get(request_id).status == "completed"


def test_nothing_is_parked_before_operators_could_be_told(office: Office) -> None:
    office.store.put("type=visit/date=2026-01-02/damaged.parquet", b"PAR1")
    request_id = office.ask()
    office.can_tell = False
    office.work()
    assert office.lake(request_id).state == "running"
    assert office.lake(request_id).certificate is not None
    office.can_tell = True
    office.dispatch()
    work = office.lake(request_id)
    assert work.state == "parked"
    assert str(work.reason).startswith("not_all_reached: the certificate names 1 places")
    assert work.certificate is not None


def test_reason_of_an_earlier_wait_is_none_of_a_later_loss(tmp_path: Path, state: SqlState) -> None:
    office = Office(tmp_path, state, preview=True)
    request_id = office.ask()
    (job,) = office.dispatch()
    waited = replace(office.lake(request_id), reason="deliveries are under way")
    change(
        office.desk, request_id, ALL, "x",
        lambda known, _: Step(replace(known, lake=waited), "x"),
    )  # fmt: skip
    lake_jobs.take_up(job, office.desk)
    office.state.jobs.begin(job.id, "run-1")
    office.fail()
    office.dispatch()
    assert office.lake(request_id).reason == "broken: it is"


def test_operators_who_do_not_answer_are_not_asked_for_each_request(office: Office) -> None:
    ids = [office.ask(EMAIL), office.ask(OTHER)]
    (job,) = office.dispatch()
    lake_jobs.take_up(job, office.desk)
    office.state.jobs.begin(job.id, "run-1")
    office.fail()
    office.can_tell = False
    look = LakeJobs(office.desk, office.state.jobs, 10, office.tell)
    for _ in range(3):
        look()
    assert len(office.told) == 1
    office.can_tell = True
    office.now += PAUSE + timedelta(seconds=5)
    look()
    assert [office.lake(one).state for one in ids] == ["parked", "parked"]


def test_whoever_asked_is_not_told_where_archives_are_kept(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = office.ask(kind="export")
    error = UsageError("--out /var/lib/archives: is a part of the lake")
    monkeypatch.setattr(lake_jobs, "run_export", partial(_raise, error))
    office.work()
    assert office.lake(request_id).state == "parked"
    assert "/var/lib" not in str(office.lake(request_id).reason)


def test_address_of_an_archive_is_given_until_it_expires(office: Office) -> None:
    put_visits(office.store, "hers", EMAIL)
    request_id = office.ask(kind="export")
    office.work()
    dsr = office.get(request_id)
    assert dsr.lake is not None
    assert dsr.lake.export is not None
    about = replace(particulars(office.desk, dsr), lake_results_url="https://archives.example/1")
    end = dsr.lake.export.expires_at
    shown = [report_of(dsr, about, now).results_url for now in (end - timedelta(seconds=1), end)]
    assert shown == ["https://archives.example/1", None]


def test_place_beside_the_lake_that_is_empty_keeps_nothing_from_being_erased(
    tmp_path: Path, state: SqlState
) -> None:
    contacts = tmp_path / "contacts.ndjson"
    contacts.write_text(f'{{"email": "{EMAIL}"}}\n{{"email": "{OTHER}"}}\n')
    office = Office(tmp_path, state, also=(str(tmp_path / "nothing"), str(contacts)))
    put_visits(office.store, "hers", EMAIL)
    office.ask()
    assert office.work().erased == 1
    assert EMAIL not in contacts.read_text()


def test_request_that_cannot_be_opened_is_parked_alone(office: Office) -> None:
    put_visits(office.store, "hers", EMAIL, OTHER)
    broken, good = office.ask(EMAIL), office.ask(OTHER)
    dsr = office.get(broken)
    change(office.desk, broken, ALL, "x", lambda known, _: Step(replace(known, sealed=b"no"), "x"))
    office.work()
    assert (office.lake(dsr.id).state, office.lake(good).state) == ("parked", "done")


def test_lake_that_cannot_be_opened_leaves_its_requests_to_be_parked(office: Office) -> None:
    request_id = office.ask()
    (job,) = office.dispatch()
    settings = load_settings(env="test", dsr={"lake": {"uri": None}}, parameters={"source": "env"})
    with pytest.raises(UsageError):
        answer_by_lake(job, settings, office.state, runner())
    assert office.lake(request_id).job_id == job.id


def _raise(error: Exception, *_: object) -> None:
    raise error
