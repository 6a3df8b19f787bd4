"""Controllers that have Lethe for a processor are told where their requests are, signed."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from config.dsr import OpendsrSection
from dsr.alerts import Alerts
from dsr.answers import Signers
from dsr.pauses import Pauses
from dsr.signing import OPENDSR, OPENGDPR
from schemas.access import Reach
from schemas.audit import AuditDraft
from schemas.dsr import Dsr, DsrStatus, Particulars
from schemas.errors import Invalid
from schemas.opendsr.answers import decode_report
from schemas.webhooks import Webhook
from service.webhooks.callbacks import Addresses, Reports
from service.webhooks.deliver import LEASE, LEASE_SECONDS, Deliverer, Post
from service.webhooks.outcome import Patience
from stores.outbound import Outbound, OutboundAnswer, OutboundRules
from stores.state.leadership import Leadership
from stores.state.sql import SqlState, open_state
from stores.subjects import Subjects
from stores.webhooks.keys import WebhookKeys
from tests.dsr_memory import Heard, MadeKeys, SetClock
from tests.dsr_requests import EMAIL, a_request
from tests.pki import Pki

DOMAIN = "opendsr.lethe.example"
SIGNER = Pki().signer(DOMAIN)
URL = "https://acme.example/callbacks?token=canary"
RESULTS = "https://lethe.example/results"
ALL = Reach(None)


class Keys(MadeKeys):
    """Every parameter has a value; that of our key is our key."""

    def _fetch(self, name: str) -> str:
        return SIGNER.key_pem.decode() if name == "opendsr-key" else super()._fetch(name)


class Controller(Outbound):
    """Takes what it is told; ``status`` is its answer."""

    def __init__(self, addresses: tuple[str, ...] = ("93.184.216.34",)) -> None:
        super().__init__(OutboundRules(), lambda *_: addresses)
        self.status = 202
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    def send(  # type: ignore[override]
        self, method: str, url: str, body: bytes, headers: dict[str, str]
    ) -> OutboundAnswer:
        assert method == "POST"
        self.sent.append((url, dict(headers), body))
        return OutboundAnswer(self.status, {}, b"")

    @property
    def told(self) -> list[str]:
        return [json.loads(body)["request_status"] for _, _, body in self.sent]


@dataclass
class Bureau:
    """A state with requests of the controller ``acme``, and one deliverer."""

    state: SqlState
    clock: SetClock
    section: OpendsrSection
    controller: Controller = field(default_factory=Controller)
    heard: Heard = field(default_factory=Heard)
    subjects: Subjects = field(default_factory=lambda: Subjects(Keys()))

    @property
    def addresses(self) -> Addresses:
        room = (self.state.webhooks, self.state.outbox, self.controller, self.subjects)
        return Addresses(*room, most=2, clock=self.clock)

    def expected(self, *urls: str, owner: str = "acme") -> None:
        self.addresses.expect("org-1", owner, urls or (URL,))

    def taken(self, *urls: str, **changes: object) -> Dsr:
        about = Particulars((EMAIL,), results_url=RESULTS, callback_urls=urls or (URL,))
        dsr = a_request(**{"owner": "acme", **changes})
        dsr = replace(dsr, sealed=self.subjects.seal(dsr.id, about), subjects=(dsr.id,))
        self.state.dsr.add([dsr], [self._draft(dsr)])
        return dsr

    def become(self, dsr: Dsr, status: str, **changes: object) -> Dsr:
        after = replace(dsr, status=DsrStatus(status), **changes)  # type: ignore[arg-type]
        kept = self.state.dsr.change(after, self._draft(dsr))
        assert kept is not None
        return kept

    def delivered(self, section: OpendsrSection | None = None) -> None:
        leases = self.state.leases
        leadership = Leadership(leases, LEASE, "deliverer", LEASE_SECONDS, self.clock)
        post = self._post(section or self.section)
        with closing(Deliverer(post, leadership, threading.Event())) as deliverer:
            while deliverer.round() or deliverer.is_busy:
                continue

    @property
    def hooks(self) -> list[Webhook]:
        return self.state.webhooks.find(ALL)

    def _post(self, section: OpendsrSection) -> Post:
        signers = Signers(section, Keys())
        reports = Reports(self.state.dsr, self.state.outbox, self.subjects, signers)
        return Post(
            webhooks=self.state.webhooks,
            outbox=self.state.outbox,
            outbound=self.controller,
            keys=WebhookKeys(Keys()),
            callbacks=reports.write,
            alerts=Alerts(self.state.alerts, self.heard, self.clock),
            patience=Patience(Pauses(2.0, 600.0), lambda _, high: high, timedelta(hours=20)),
            rotation=timedelta(hours=24),
            concurrency=2,
            clock=self.clock,
        )

    def _draft(self, dsr: Dsr) -> AuditDraft:
        return AuditDraft("acme", dsr.organization, "dsr.changed", f"dsr:{dsr.id}")


@pytest.fixture
def bureau(tmp_path: Path) -> Iterator[Bureau]:
    clock = SetClock()
    (tmp_path / "own.pem").write_bytes(SIGNER.pem)
    section = OpendsrSection(
        domain=DOMAIN, url="https://lethe.example/v3", certificate=tmp_path / "own.pem"
    )
    with closing(open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)) as state:
        yield Bureau(state, clock, section)


def test_controller_is_told_of_each_status_in_order_and_once(bureau: Bureau) -> None:
    bureau.expected()
    dsr = bureau.become(bureau.taken(), "in_progress")
    bureau.become(dsr, "completed", closed_at=bureau.clock())
    bureau.delivered()
    bureau.delivered()
    assert bureau.controller.told == ["pending", "in_progress", "completed"]
    assert {url for url, _, _ in bureau.controller.sent} == {URL}


def test_change_that_leaves_the_status_is_not_told(bureau: Bureau) -> None:
    bureau.expected()
    dsr = bureau.become(bureau.taken(), "queued", extension_reason="much to look for")
    bureau.become(dsr, "submitted")
    bureau.delivered()
    assert bureau.controller.told == ["pending"]


def test_request_that_failed_is_told_as_one_that_is_not_worked_off(bureau: Bureau) -> None:
    bureau.expected()
    bureau.become(bureau.taken(), "failed", closed_at=bureau.clock())
    bureau.delivered()
    assert bureau.controller.told == ["pending", "cancelled"]


def test_callback_says_whose_request_it_is_and_for_which_address(bureau: Bureau) -> None:
    bureau.expected()
    dsr = bureau.taken()
    bureau.delivered()
    [(_, _, body)] = bureau.controller.sent
    report = decode_report(body)
    assert (report.request_id, report.controller_id, report.callback_url) == (dsr.id, "acme", URL)
    assert (report.expected_completion_at, report.results_url) == (dsr.due_at, None)


def test_address_of_results_is_told_when_the_request_is_completed(bureau: Bureau) -> None:
    bureau.expected()
    bureau.become(bureau.taken(), "completed", closed_at=bureau.clock())
    bureau.delivered()
    urls = [decode_report(body).results_url for _, _, body in bureau.controller.sent]
    assert urls == [None, RESULTS]


@pytest.mark.parametrize("names", [OPENDSR, OPENGDPR])
def test_callback_is_signed_under_either_name(bureau: Bureau, names) -> None:
    bureau.expected()
    bureau.taken()
    bureau.delivered()
    [(_, headers, body)] = bureau.controller.sent
    assert headers[names.domain] == DOMAIN
    signature = b64decode(headers[names.signature])
    SIGNER.key.public_key().verify(signature, body, PKCS1v15(), SHA256())


def test_request_is_told_of_at_the_addresses_that_it_names_alone(bureau: Bureau) -> None:
    other = "https://acme.example/other"
    bureau.expected(URL, other)
    bureau.taken(other)
    bureau.taken(owner="somebody", organization="org-1")
    bureau.delivered()
    assert [url for url, _, _ in bureau.controller.sent] == [other]


def test_callback_that_is_not_taken_is_sent_again(bureau: Bureau) -> None:
    bureau.expected()
    bureau.taken()
    bureau.controller.status = 500
    bureau.delivered()
    bureau.controller.status = 202
    bureau.clock.advance(seconds=3)
    bureau.delivered()
    assert bureau.controller.told == ["pending", "pending"]


def test_nothing_is_sent_unsigned(bureau: Bureau) -> None:
    bureau.expected()
    bureau.taken()
    bureau.delivered(OpendsrSection())
    assert bureau.controller.sent == []
    bureau.clock.advance(seconds=3)
    bureau.delivered()
    assert bureau.controller.told == ["pending"]


def test_request_that_cannot_be_opened_holds_up_no_other(bureau: Bureau) -> None:
    bureau.expected()
    lost = bureau.taken()
    bureau.become(lost, "in_progress", sealed=b"of a lost key")
    whole = bureau.taken()
    bureau.delivered()
    assert [decode_report(body).request_id for _, _, body in bureau.controller.sent] == [whole.id]


def test_address_is_kept_once_however_many_requests_name_it(bureau: Bureau) -> None:
    for _ in range(3):
        bureau.expected()
    bureau.expected(owner="other")
    assert sorted(hook.owner for hook in bureau.hooks) == ["acme", "other"]


def test_addresses_of_controllers_are_none_of_the_clients_webhooks(bureau: Bureau) -> None:
    bureau.expected()
    assert bureau.state.webhooks.find(Reach("org-1")) == []


def test_address_that_is_one_too_many_is_refused(bureau: Bureau) -> None:
    bureau.expected("https://one.example", "https://two.example")
    with pytest.raises(Invalid, match=r"status_callback_urls\.1: there are 2"):
        bureau.expected("https://one.example", "https://three.example")


def test_address_that_is_gone_makes_room_for_another_one(bureau: Bureau) -> None:
    gone, other, new = (f"https://{name}.example" for name in ("gone", "other", "new"))
    bureau.expected(gone, other)
    bureau.taken(gone)
    bureau.controller.status = 410
    bureau.delivered()
    bureau.expected(other, new)
    assert {hook.url for hook in bureau.hooks} == {other, new}


def test_address_that_is_refused_has_no_other_one_of_its_request_kept(bureau: Bureau) -> None:
    with pytest.raises(Invalid, match=r"status_callback_urls\.1: .* https"):
        bureau.expected(URL, "ftp://acme.example")
    assert bureau.hooks == []


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("169.254.169.254",), ()])
def test_address_that_is_not_public_is_refused_without_being_repeated(
    bureau: Bureau, addresses: tuple[str, ...]
) -> None:
    bureau.controller = Controller(addresses)
    with pytest.raises(Invalid, match=r"status_callback_urls\.0: .* public") as refused:
        bureau.expected()
    assert "canary" not in str(refused.value)
    assert bureau.hooks == []


def test_address_that_was_disabled_is_tried_again_for_a_new_request(bureau: Bureau) -> None:
    bureau.expected()
    bureau.taken()
    bureau.controller.status = 410
    bureau.delivered()
    assert bureau.hooks[0].disabled_at is not None
    assert URL not in repr(bureau.heard.alerts)
    bureau.controller.status = 202
    bureau.expected()
    bureau.delivered()
    assert bureau.controller.told == ["pending", "pending"]
