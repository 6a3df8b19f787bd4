"""Callbacks of ours: controllers that have Lethe for a processor are told where requests are.

A controller names addresses in its requests (``status_callback_urls``). Each is kept once, as a
webhook is, and served by the same deliverer: in order, at least once, with the same patience. What
it is told has the form and the signature that OpenDSR asks for.

    expect: the address is kept ┄┄ an event of a request ──> letter: a signed report, or nothing
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from dsr.answers import Signers, report_of, results_in
from dsr.signing import OPENDSR, OPENGDPR
from schemas.access import Reach
from schemas.dsr import Dsr, DsrStatus, Particulars
from schemas.errors import Invalid, UsageError
from schemas.events import Event, StoredEvent
from schemas.opendsr.answers import encode_report
from schemas.opendsr.model import ProcessingStatus, StatusReport
from schemas.webhooks import CALLBACK, Webhook, kept_for_callbacks
from service.webhooks.letters import Letter
from service.webhooks.public import public_or_refused
from stores.outbound import AddressRefused, Outbound
from stores.state.dsr_port import DsrStore
from stores.state.port import AlreadyThere
from stores.state.service_port import Outbox
from stores.subjects import SealBroken, Subjects
from stores.webhooks.port import TooManyWebhooks, WebhookStore

_EVERYWHERE = Reach(None)
_FIELD = "status_callback_urls"
_log = structlog.get_logger()


@dataclass(frozen=True)
class Addresses:
    """The addresses of controllers; of an organization's there are ``most`` at most."""

    hooks: WebhookStore
    outbox: Outbox
    outbound: Outbound
    subjects: Subjects
    most: int
    clock: Callable[[], datetime]

    def expect(self, organization: str, owner: str, urls: Sequence[str]) -> None:
        """Have a controller told here of its requests that name these addresses, from now on.

        To be called before the request is kept, so that nothing of it is missed; may be repeated.
        One that was disabled is tried again, or forgotten if its room is needed. Raises ``Invalid``
        for an address that is not public, or is one too many.
        """
        wanted = {f"{_FIELD}.{number}": url for number, url in enumerate(urls)}
        known = {where: self._known(organization, owner, url) for where, url in wanted.items()}
        for hook in known.values():
            if hook is not None and hook.disabled_at is not None:
                self._revive(hook)
        missing = {where: url for where, url in wanted.items() if known[where] is None}
        for where, url in missing.items():
            self._check(url, where)
        for where, url in missing.items():
            self._keep(self._made(organization, owner, url), where)

    def _known(self, organization: str, owner: str, url: str) -> Webhook | None:
        return self.hooks.get(self._id_of(organization, owner, url), _EVERYWHERE)

    def _check(self, url: str, where: str) -> None:
        try:
            public_or_refused(self.outbound, url)
        except AddressRefused as error:
            raise Invalid(f"{where}: {error.message}", where=where) from None

    def _keep(self, hook: Webhook, where: str) -> None:
        try:
            self._add(hook)
        except TooManyWebhooks:
            fault = f"there are {self.most} other addresses already: name one of those"
            raise Invalid(f"{where}: {fault}", where=where) from None
        except AlreadyThere:  # another request was faster
            return

    def _add(self, hook: Webhook) -> None:
        try:
            self.hooks.add(hook, self.most)
        except TooManyWebhooks:
            if not self._made_room(hook.organization):
                raise
            self.hooks.add(hook, self.most)

    def _made_room(self, organization: str) -> bool:
        """Forget the address that has been disabled for the longest; whether there was one.

        Nobody else takes any away, and controllers move.
        """
        hooks = self.hooks.find(Reach(organization))
        disabled = [(hook.disabled_at, hook.id) for hook in hooks if hook.disabled_at is not None]
        return bool(disabled) and self.hooks.remove(min(disabled)[1], _EVERYWHERE)

    def _made(self, organization: str, owner: str, url: str) -> Webhook:
        return Webhook(
            id=self._id_of(organization, owner, url),
            organization=kept_for_callbacks(organization),
            owner=owner,
            url=url,
            kinds=(CALLBACK,),
            created_at=self.clock(),
            place=self.outbox.newest(),
            of_owner=owner,
        )

    def _revive(self, known: Webhook) -> None:
        """If another one changes it at the same time, that was to the same end."""
        self.hooks.change(
            replace(
                known,
                failures=0,
                failing_since=None,
                next_try_at=None,
                disabled_at=None,
                disabled_reason=None,
            )
        )

    def _id_of(self, organization: str, owner: str, url: str) -> str:
        """Always the same for the same; a keyed hash, for an address may hold a secret."""
        return self.subjects.pseudonym("callback", f"{organization} {owner} {url}")[:32]


@dataclass(frozen=True)
class Reports:
    """Writes what controllers are told; ``write`` is a ``service.webhooks.letters.Write``."""

    requests: DsrStore
    outbox: Outbox
    subjects: Subjects
    signers: Signers

    def write(self, hook: Webhook, stored: StoredEvent) -> Letter | None:
        """The report of where a request was, if that was news and the request names the address.

        Raises ``UsageError`` if it cannot be signed, and ``StoreError``.
        """
        event = stored.event
        if not self._is_news(event):
            return None
        dsr = self.requests.get(event.topic.id, _EVERYWHERE)
        about = None if dsr is None else self._opened(dsr)
        if dsr is None or about is None or hook.url not in about.callback_urls:
            return None
        return self._signed(encode_report(_report(dsr, about, _status_in(event), hook.url)))

    def _is_news(self, event: Event) -> bool:
        """Whether the event before it, if that is still kept, told another status."""
        before = self.outbox.of(event.topic, event.version - 2, 1)
        known = [one for one in before if one.version == event.version - 1]
        return not known or _status_in(known[0]) is not _status_in(event)

    def _opened(self, dsr: Dsr) -> Particulars | None:
        try:
            return self.subjects.open(dsr.id, dsr.sealed) if dsr.sealed else None
        except SealBroken as error:
            _log.error("a controller cannot be told of a request", request=dsr.id, code=error.code)
            return None

    def _signed(self, body: bytes) -> Letter:
        """Under both names of the headers: who wants the older one is not known."""
        signer = self.signers.current()
        if signer is None:
            raise UsageError("opendsr.domain: is not set any more, so that nothing can be signed")
        signatures = {**signer.headers(body, OPENGDPR), **signer.headers(body, OPENDSR)}
        return Letter(body, {"Content-Type": "application/json", **signatures})


def _status_in(event: Event) -> ProcessingStatus:
    return ProcessingStatus.of(DsrStatus(event.payload["status"]))


def _report(dsr: Dsr, about: Particulars, status: ProcessingStatus, url: str) -> StatusReport:
    is_done = status is ProcessingStatus.COMPLETED
    results_url = results_in(dsr, about) if is_done else None
    now = report_of(dsr)
    count = now.results_count if is_done else None
    return replace(
        now, status=status, results_url=results_url, results_count=count, callback_url=url
    )
