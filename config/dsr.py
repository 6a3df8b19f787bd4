"""The settings of data subject requests, and of what is told to others about them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from config.sections import Section
from schemas.domains import domain_of_people
from schemas.dsr import IdentityType, Regulation, RequestType
from schemas.erasure import ErasureMode, OldVersionsRule
from schemas.export import ExportFormat
from schemas.opendsr.model import Dialect


class RiskSection(Section):
    """When a data subject request is held for a reviewer: if its score is ``review_at`` or more.

    Requests of a day above so many raise the score: of one subject, of one submitter, and from one
    source, that is an address. So does an email of one of ``disposable_domains``, and what is
    unlike past requests by the ``model``, a file or ``s3://BUCKET/KEY``, that was learned from
    them. With ``four_eyes`` nobody reviews what they submitted.
    """

    review_at: float = Field(default=0.6, gt=0, le=1)
    subject_per_day: int = Field(default=3, ge=1)
    submitter_per_day: int = Field(default=1000, ge=1)
    source_per_day: int = Field(default=1000, ge=1)
    disposable_domains: tuple[str, ...] = ()
    model: str | None = Field(default=None, min_length=1)
    four_eyes: bool = True


class LakeSection(Section):
    """The lake that answers requests itself, if ``uri`` is set, beside the processors or alone.

    ``also`` are files and folders beside the lake that are searched, too. With ``preview`` nothing
    is erased before somebody has approved what was counted; and never more than ``max_match_share``
    of all rows. Subjects are kept out for ``suppress_days``, for ever without; deliveries that had
    begun before are waited for so long. ``old_versions`` says what becomes of what S3 has kept of
    files. Archives of a subject's rows are made in ``export_to``, if that is set, and kept for
    ``export_days``; they are encrypted to the public keys of age in ``export_encrypt_to``, if there
    are any. Up to ``most_at_once`` requests of an organization share a pass over the files.
    """

    uri: str | None = Field(default=None, min_length=1)
    also: tuple[str, ...] = ()
    mode: ErasureMode = ErasureMode.DELETE
    preview: bool = False
    max_match_share: float = Field(default=0.01, ge=0, le=1)
    suppress_days: int | None = Field(default=None, ge=1)
    wait_seconds: float = Field(default=300.0, ge=0)
    old_versions: OldVersionsRule = OldVersionsRule.KEEP
    most_at_once: int = Field(default=100, ge=1, le=1000)
    export_to: str | None = Field(default=None, min_length=1)
    export_format: ExportFormat = ExportFormat.JSON
    export_days: int = Field(default=7, ge=1, le=365)
    export_encrypt_to: tuple[str, ...] = ()

    @field_validator("export_encrypt_to")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        import pyrage  # which takes its time to load, and is seldom needed

        for key in keys:
            try:
                pyrage.x25519.Recipient.from_str(key)
            except pyrage.RecipientError:
                raise ValueError("one is no public key of age: it begins with age1") from None
        return keys


class QueueKind(StrEnum):
    """What tells the drain of queued requests, whose rows are the truth either way."""

    STATE = "state"
    SQS = "sqs"


class DsrSection(Section):
    """Data subject requests.

    ``timezone`` is the controller's: its days are those of deadlines. ``regulation`` is the law of
    requests that name none. A request is at risk when ``at_risk_days`` or fewer are left. With
    ``plus_addressing`` what follows a ``+`` in an email makes no difference; it is not to be
    changed later, or requests are not found any more. Who a request was about is forgotten
    ``keep_days`` after it was closed. A processor that has said nothing of a request for
    ``silence_hours`` is asked; the pause grows with the request's age, up to
    ``longest_silence_hours``. With the ``queue`` ``sqs``, the FIFO queue of ``queue_url`` tells the
    drain of queued requests.
    """

    timezone: str = "UTC"
    regulation: Regulation = Regulation.GDPR
    at_risk_days: int = Field(default=7, ge=0, le=90)
    plus_addressing: bool = False
    keep_days: int = Field(default=90, ge=1)
    silence_hours: float = Field(default=1.0, gt=0)
    longest_silence_hours: float = Field(default=24.0, gt=0)
    queue: QueueKind = QueueKind.STATE
    queue_url: str | None = Field(default=None, pattern=r"^https?://[^@\s?#]+\.fifo$")
    risk: RiskSection = RiskSection()
    lake: LakeSection = LakeSection()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone: name one as Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _knows_its_queue(self) -> DsrSection:
        if self.queue is QueueKind.SQS and self.queue_url is None:
            raise ValueError("queue_url: needed for the queue sqs, that of a FIFO queue")
        return self


class OutboundSection(Section):
    """Requests to addresses that clients or operators chose: webhooks, callbacks, alerts.

    Only public addresses are spoken to, and those of ``networks``, such as ``10.20.0.0/16``; only
    by https unless ``plain_http``. ``timeout_seconds`` bounds each request as a whole.
    """

    plain_http: bool = False
    networks: tuple[str, ...] = ()
    timeout_seconds: float = Field(default=10.0, gt=0, le=60)


class AlertsSection(Section):
    """Whom alerts go to beside the log: a URL of the operators', a topic of AWS SNS.

    A processor that cannot be reached is told of after ``outage_minutes``; a request that is open
    when so many of ``deadline_days``, or fewer, are left, once for each of them.
    """

    webhook_url: SecretStr | None = None
    sns_topic_arn: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:sns:[^:]+:\d+:.+$")
    outage_minutes: int = Field(default=15, ge=0)
    deadline_days: tuple[int, ...] = (7, 3, 1, 0)


class DrainSection(Section):
    """How queued requests are forwarded: ``concurrency`` of them at once.

    The pause after a failure is drawn from zero to a bound that doubles, from
    ``first_pause_seconds`` up to ``longest_pause_seconds``; after ``max_attempts`` a request is
    parked until somebody has it tried again.
    """

    concurrency: int = Field(default=8, ge=1, le=64)
    first_pause_seconds: float = Field(default=5.0, gt=0)
    longest_pause_seconds: float = Field(default=900.0, gt=0)
    max_attempts: int = Field(default=200, ge=1)


class WebhooksSection(Section):
    """Webhooks of clients: how many an organization has, and how patient delivery is.

    A webhook that nothing could be delivered to for ``disable_hours`` is disabled; events are kept
    for a day.
    """

    max_per_organization: int = Field(default=10, ge=1, le=100)
    concurrency: int = Field(default=8, ge=1, le=64)
    first_pause_seconds: float = Field(default=2.0, gt=0)
    longest_pause_seconds: float = Field(default=600.0, gt=0)
    disable_hours: float = Field(default=20.0, gt=0, le=23)
    rotation_hours: float = Field(default=24.0, ge=0)


class RegionSection(Section):
    """One of a processor's regions: ``url`` is the base of its API, such as ``https://HOST/v3``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    url: str = Field(pattern=r"^https?://[^@\s?#]+$")


class ProcessorSection(Section):
    """A processor that requests are forwarded to, by OpenDSR.

    ``regions`` are tried in order. ``credentials_parameter`` names the parameter that holds
    ``KEY:SECRET``. It is sent what has ``identities`` and ``types`` of these kinds only. An answer
    is waited for ``timeout_seconds``, in all with repeats ``budget_seconds``; a request that was
    sent and not answered may still arrive ``settle_seconds`` later. ``requests_per_minute`` is its
    rate limit. ``ca_file`` holds the certificates to trust instead of the system's.
    """

    dialect: Dialect
    regions: tuple[RegionSection, ...] = Field(min_length=1, max_length=8)
    credentials_parameter: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,62}$")
    identities: tuple[IdentityType, ...] = Field(default=tuple(IdentityType), min_length=1)
    types: tuple[RequestType, ...] = Field(default=tuple(RequestType), min_length=1)
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    budget_seconds: float = Field(default=20.0, gt=0, le=300)
    settle_seconds: float = Field(default=60.0, ge=0, le=3600)
    attempts: int = Field(default=3, ge=1, le=10)
    connections: int = Field(default=8, ge=1, le=100)
    requests_per_minute: int = Field(default=1000, ge=1)
    ca_file: Path | None = None

    @property
    def settled_after_seconds(self) -> float:
        """So long after a submission began nothing of it is on its way any more."""
        return self.budget_seconds + self.timeout_seconds + self.settle_seconds

    @model_validator(mode="after")
    def _name_each_region_once(self) -> ProcessorSection:
        if len({region.name for region in self.regions}) < len(self.regions):
            raise ValueError("regions: each needs a name of its own")
        return self


ProcessorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


_Pin = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CallbackPeerSection(Section):
    """A processor whose callbacks are believed, under the name that it has in ``processors``.

    They are signed for ``domain``, by the key of the certificate at ``certificate_url``: in PEM,
    followed by the intermediate ones. With ``pins``, the SHA-256 of certificates in DER, only these
    are taken. ``allow_pss`` takes signatures in PSS as well, which OpenDSR does not know.
    """

    domain: str
    certificate_url: str = Field(pattern=r"^https?://[^@\s#]+$")
    pins: tuple[_Pin, ...] = ()
    allow_pss: bool = False

    @field_validator("domain")
    @classmethod
    def _is_a_domain(cls, domain: str) -> str:
        return domain_of_people(domain)


class CallbacksSection(Section):
    """Callbacks of processors: whose are believed.

    ``urls`` are the addresses under which processors reach ``POST /v1/dsr/callbacks/opendsr``; the
    first one is what they are told. ``roots`` is a file of the certificates, in PEM, that those of
    processors have to lead to; without one it is the system's.
    """

    urls: tuple[str, ...] = ()
    roots: Path | None = None
    processors: dict[ProcessorName, CallbackPeerSection] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tell_processors_apart(self) -> CallbacksSection:
        if self.processors and not self.urls:
            raise ValueError("urls: needed, for a callback to another address is refused")
        domains = {peer.domain for peer in self.processors.values()}
        if len(domains) < len(self.processors):
            raise ValueError("processors: each needs a domain of its own")
        return self


class OpendsrSection(Section):
    """Lethe as an OpenDSR processor, which it is if ``domain`` is set.

    Answers are signed for ``domain`` by the key, in PEM, that ``key_parameter`` names;
    ``certificate`` is the file of its certificate, followed by the intermediate ones. ``url`` is
    the address under which controllers reach ``/opendsr/v3``.
    """

    domain: str | None = None
    url: str | None = Field(default=None, pattern=r"^https?://[^@\s?#]+[^@\s?#/]$")
    key_parameter: str = Field(default="opendsr-key", pattern=r"^[a-z][a-z0-9-]{0,62}$")
    certificate: Path | None = None

    @field_validator("domain")
    @classmethod
    def _is_a_domain(cls, domain: str | None) -> str | None:
        return None if domain is None else domain_of_people(domain)

    @model_validator(mode="after")
    def _is_whole(self) -> OpendsrSection:
        if self.domain is not None and None in {self.url, self.certificate}:
            raise ValueError("domain, url and certificate go together: set all, or none")
        return self
