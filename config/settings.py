"""Settings: one TOML file an environment, overridden by ``LETHE_*`` variables.

``LETHE_ENV`` names the environment (``local`` by default); a nested value is overridden by its
path in capitals, joined by two underscores: ``LETHE_S3__ENDPOINT_URL``.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from schemas.domains import domain_of_people
from schemas.dsr import IdentityType, Regulation, RequestType
from schemas.errors import UsageError
from schemas.opendsr.model import Dialect

FOLDER = Path(__file__).parent


class ParameterSource(StrEnum):
    """Where secrets come from."""

    FILE = "file"
    ENV = "env"
    SSM = "ssm"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class S3Section(_Section):
    """How S3 is reached; what is None is left to the AWS SDK's own chain."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None


class ParameterSection(_Section):
    """Secrets: from a file of the user's own, variables, or the SSM parameter store."""

    source: ParameterSource = ParameterSource.ENV
    prefix: str = "/lethe/"
    folder: Path = Path("~/.config/lethe")


class DeliverySection(_Section):
    """What a delivery does unless it is told otherwise."""

    format: str = "parquet"
    codec: str | None = None
    workers: int | None = Field(default=None, ge=1, le=256)
    unknown_fields: str = "keep"
    partition_timezone: str = "UTC"
    rotate_rows: int = Field(default=5_000_000, ge=1)
    rotate_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    max_error_rate: float = Field(default=0.05, ge=0, le=1)
    work_folder: Path | None = None


def _state_folder() -> Path:
    """Where this system's users expect a program to remember things."""
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/lethe")
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state") / "lethe"


class StateSection(_Section):
    """What Lethe remembers beside the lakes: runs, and the history of schedules.

    ``url`` is a database's as SQLAlchemy writes it, and may hold a password; without one it is an
    SQLite file in ``folder``, where logs of scheduled runs go too.
    """

    url: SecretStr | None = None
    folder: Path = Field(default_factory=_state_folder)
    keep_days: int = Field(default=90, ge=1)


def _engine_folder() -> Path:
    """Where programs keep what they can fetch again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "lethe" / "engines"


class EngineSection(_Section):
    """Engines beyond the direct runner: where they are kept, and where their jars come from.

    ``maven`` is Maven Central or a mirror of it.
    """

    folder: Path = Field(default_factory=_engine_folder)
    maven: str = "https://repo.maven.apache.org/maven2"


_JwksAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class AuthSection(_Section):
    """Who is let in: what a token must be, and where the keys are that it is checked by.

    ``keys_parameter`` names the parameter that holds shared keys; ``issuer`` is who signs with
    them. ``jwks_url`` is where another issuer, ``jwks_issuer``, publishes its keys, which are
    taken for ``jwks_algorithms`` only. With neither, a key made on this machine signs and checks,
    which is for development only. Clocks may differ by ``leeway_seconds``.
    """

    issuer: str = Field(default="lethe", min_length=1)
    audience: str = Field(default="lethe", min_length=1)
    keys_parameter: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,62}$")
    jwks_url: str | None = None
    jwks_issuer: str | None = Field(default=None, min_length=1)
    jwks_algorithms: tuple[_JwksAlgorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    leeway_seconds: float = Field(default=30, ge=0, le=300)

    @property
    def has_keys(self) -> bool:
        """Whether somebody has said what keys are to be trusted."""
        return self.jwks_url is not None or self.keys_parameter is not None

    @property
    def takes_shared_keys(self) -> bool:
        """Whether tokens signed by a shared key are taken."""
        return self.keys_parameter is not None or self.jwks_url is None

    @model_validator(mode="after")
    def _name_the_other_issuer(self) -> AuthSection:
        if (self.jwks_url is None) != (self.jwks_issuer is None):
            raise ValueError("jwks_url and jwks_issuer go together: set both, or neither")
        return self


_ENDPOINT_LIMITS = {
    "POST /v1/enrichment": "600/m",
    "POST /v1/enrichment:bulk": "60/m",
    "POST /v1/uploads": "600/m",
    "POST /v1/dsr:bulk": "60/m",
}


class LimitsSection(_Section):
    """How much is taken of one client: bodies in bytes, JSON by its depth and values, requests.

    Rates are written as ``10/s``, ``600/m``, ``50/10m``, ``1000/h``, or ``none``: of one
    ``address``, of one ``principal``, of ``everything`` together, and of one principal at one of
    the ``endpoints``, named as ``POST /v1/enrichment``.
    """

    body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024)
    json_depth: int = Field(default=20, ge=2, le=200)
    json_values: int = Field(default=100_000, ge=100)
    address: str = "3000/m"
    principal: str = "3000/m"
    everything: str = "30000/m"
    endpoints: dict[str, str] = Field(default_factory=lambda: dict(_ENDPOINT_LIMITS))


class IdempotencySection(_Section):
    """Requests with an ``Idempotency-Key``: how long an answer is kept, in seconds.

    ``lock_seconds`` is how long a repeat waits for a process that died at its work.
    """

    keep_seconds: int = Field(default=24 * 3600, ge=60)
    lock_seconds: int = Field(default=60, ge=5)


class SocketsSection(_Section):
    """WebSockets: each holds a thread of its worker process, which has to have more of them.

    ``max_per_worker`` is half of the threads unless it is set; ``max_per_principal`` is per worker
    process, too. ``origins`` are those whose pages may connect, beside the service's own. Who has
    not authenticated after ``authenticate_seconds`` is closed. Every ``heartbeat_seconds`` a client
    is asked for a sign of life, and has as long to give one. ``messages_per_second`` is what one
    connection may send; ten times as much at once.
    """

    max_per_worker: int | None = Field(default=None, ge=0)
    max_per_principal: int = Field(default=16, ge=1)
    origins: tuple[str, ...] = ()
    authenticate_seconds: float = Field(default=10.0, gt=0)
    heartbeat_seconds: float = Field(default=25.0, gt=0)
    messages_per_second: float = Field(default=20.0, gt=0)


class EnrichmentSection(_Section):
    """Enrichment as the service does it: the API that is asked, and what is taken and kept.

    ``max_running`` jobs run at once, on all machines together; one whose run is lost gets
    ``max_attempts`` in all. ``patience_seconds`` is how long a run waits for an API that takes no
    calls. ``max_contacts`` may stand in a request itself, ``max_upload_bytes`` in an upload.
    ``url_seconds`` is how long addresses that are signed can be used, ``upload_hours`` how long an
    upload is kept that is not used, ``keep_days`` how long a finished job and its output.

    A job runs on ``runner`` with so many ``workers``; on engines, they have to see the files and
    the state store.
    """

    api: str | None = None
    runner: Literal["direct", "prism", "flink", "spark"] = "direct"
    workers: int = Field(default=1, ge=1, le=256)
    flink_master: str | None = None
    spark_master: str | None = None
    worker_pool: str | None = None
    concurrency: int = Field(default=32, ge=1, le=512)
    timeout_seconds: float = Field(default=10.0, gt=0)
    patience_seconds: float = Field(default=3600.0, gt=0)
    rate: float | None = Field(default=None, gt=0)
    max_running: int = Field(default=2, ge=1)
    max_attempts: int = Field(default=3, ge=1)
    max_contacts: int = Field(default=10_000, ge=1)
    max_upload_bytes: int = Field(default=5 * 1024**3, ge=1024, le=5 * 1024**3)
    url_seconds: int = Field(default=3600, ge=1, le=7 * 24 * 3600)
    upload_hours: int = Field(default=24, ge=1)
    keep_days: int = Field(default=30, ge=1)

    @model_validator(mode="after")
    def _check_master(self) -> EnrichmentSection:
        masters = {"flink": self.flink_master, "spark": self.spark_master}
        if self.runner in masters and masters[self.runner] is None:
            raise ValueError(f"runner {self.runner} needs {self.runner}_master")
        return self


class RiskSection(_Section):
    """When a data subject request is held for a reviewer: if its score is ``review_at`` or more.

    Requests of a day above so many raise the score: of one subject, of one submitter, and from one
    source, that is an address. So does an email of one of ``disposable_domains``. With
    ``four_eyes`` nobody reviews what they submitted.
    """

    review_at: float = Field(default=0.6, gt=0, le=1)
    subject_per_day: int = Field(default=3, ge=1)
    submitter_per_day: int = Field(default=1000, ge=1)
    source_per_day: int = Field(default=1000, ge=1)
    disposable_domains: tuple[str, ...] = ()
    four_eyes: bool = True


class DsrSection(_Section):
    """Data subject requests.

    ``timezone`` is the controller's: its days are those of deadlines. ``regulation`` is the law of
    requests that name none. A request is at risk when ``at_risk_days`` or fewer are left. With
    ``plus_addressing`` what follows a ``+`` in an email makes no difference; it is not to be
    changed later, or requests are not found any more. Who a request was about is forgotten
    ``keep_days`` after it was closed.
    """

    timezone: str = "UTC"
    regulation: Regulation = Regulation.GDPR
    at_risk_days: int = Field(default=7, ge=0, le=90)
    plus_addressing: bool = False
    keep_days: int = Field(default=90, ge=1)
    risk: RiskSection = RiskSection()

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


class MetricsAccess(StrEnum):
    """Who may read ``/metrics``: holders of ``metrics:read``, or this machine without a token."""

    RIGHT = "right"
    LOOPBACK = "loopback"


class SlowSection(_Section):
    """From how many seconds on one operation is slow, and far too slow."""

    warning_seconds: float = Field(gt=0)
    critical_seconds: float = Field(gt=0)


class ObserveSection(_Section):
    """What is told of the service's work. Times are in seconds.

    ``operations`` gives operations, by name, thresholds of their own. With ``cloudwatch_namespace``
    a log line an operation is written that CloudWatch makes metrics of. With ``otlp_endpoint``,
    such as ``http://localhost:4318``, traces are sent there.
    """

    warning_seconds: float = Field(default=0.5, gt=0)
    critical_seconds: float = Field(default=2.0, gt=0)
    operations: dict[str, SlowSection] = Field(default_factory=dict)
    metrics: MetricsAccess = MetricsAccess.RIGHT
    cloudwatch_namespace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_./#:-]{1,255}$")
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^@\s]+$")


class ServiceSection(_Section):
    """The web service: where it listens, whom it trusts, what it takes and keeps.

    ``files`` is a folder or an ``s3://`` place for uploads and results; without one it is the
    folder ``files`` beside the state. ``trusted_proxies`` is how many proxies in front of it write
    the ``X-Forwarded-*`` headers. ``cors_origins`` are the origins whose pages may call it. Seconds
    are what requests under way are given at a shutdown, a check of ``/readyz`` to answer, and a
    client that pauses in the midst of a request, or of taking an answer.
    ``flags`` switches features off, by name: see ``service.flags``.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=64)
    threads: int = Field(default=64, ge=2, le=2000)
    files: str | None = None
    trusted_proxies: int = Field(default=0, ge=0, le=10)
    cors_origins: tuple[str, ...] = ()
    shutdown_seconds: int = Field(default=30, ge=1)
    check_seconds: float = Field(default=2.0, gt=0)
    pause_seconds: int = Field(default=20, ge=1, le=3600)
    auth: AuthSection = AuthSection()
    limits: LimitsSection = LimitsSection()
    idempotency: IdempotencySection = IdempotencySection()
    sockets: SocketsSection = SocketsSection()
    enrichment: EnrichmentSection = EnrichmentSection()
    observe: ObserveSection = ObserveSection()
    flags: dict[str, bool] = Field(default_factory=dict)

    @property
    def most_sockets(self) -> int:
        """How many WebSockets a worker process takes."""
        given = self.sockets.max_per_worker
        return self.threads // 2 if given is None else given

    @model_validator(mode="after")
    def _leave_threads_for_requests(self) -> ServiceSection:
        if self.most_sockets >= self.threads:
            raise ValueError("sockets.max_per_worker has to be less than threads")
        return self

    def require_keys(self) -> None:
        """Raise ``UsageError`` if others than this machine could come in, and no key is set."""
        if not is_loopback(self.host) and not self.auth.has_keys:
            raise UsageError(
                f"the service is to listen on {self.host}, for other machines, but no keys are "
                "configured: set service.auth.jwks_url or service.auth.keys_parameter, or "
                "listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class OutboundSection(_Section):
    """Requests to addresses that clients or operators chose: webhooks, callbacks, alerts.

    Only public addresses are spoken to, and those of ``networks``, such as ``10.20.0.0/16``; only
    by https unless ``plain_http``. ``timeout_seconds`` bounds each request as a whole.
    """

    plain_http: bool = False
    networks: tuple[str, ...] = ()
    timeout_seconds: float = Field(default=10.0, gt=0, le=60)


class AlertsSection(_Section):
    """Whom alerts go to beside the log: a URL of the operators', a topic of AWS SNS.

    A processor that cannot be reached is told of after ``outage_minutes``; a request that is open
    when so many of ``deadline_days``, or fewer, are left, once for each of them.
    """

    webhook_url: SecretStr | None = None
    sns_topic_arn: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:sns:[^:]+:\d+:.+$")
    outage_minutes: int = Field(default=15, ge=0)
    deadline_days: tuple[int, ...] = (7, 3, 1, 0)


class DrainSection(_Section):
    """How queued requests are forwarded: ``concurrency`` of them at once.

    The pause after a failure is drawn from zero to a bound that doubles, from
    ``first_pause_seconds`` up to ``longest_pause_seconds``; after ``max_attempts`` a request is
    parked until somebody has it tried again.
    """

    concurrency: int = Field(default=8, ge=1, le=64)
    first_pause_seconds: float = Field(default=5.0, gt=0)
    longest_pause_seconds: float = Field(default=900.0, gt=0)
    max_attempts: int = Field(default=200, ge=1)


class WebhooksSection(_Section):
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


class RegionSection(_Section):
    """One of a processor's regions: ``url`` is the base of its API, such as ``https://HOST/v3``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    url: str = Field(pattern=r"^https?://[^@\s?#]+$")


class ProcessorSection(_Section):
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


class CallbackPeerSection(_Section):
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


class CallbacksSection(_Section):
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


class OpendsrSection(_Section):
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


class Settings(BaseSettings):
    """All settings of one environment."""

    model_config = SettingsConfigDict(
        env_prefix="LETHE_", env_nested_delimiter="__", extra="ignore", frozen=True
    )

    env: str = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    schemas: Path | None = None
    s3: S3Section = S3Section()
    parameters: ParameterSection = ParameterSection()
    delivery: DeliverySection = DeliverySection()
    state: StateSection = Field(default_factory=StateSection)
    engines: EngineSection = Field(default_factory=EngineSection)
    service: ServiceSection = ServiceSection()
    outbound: OutboundSection = OutboundSection()
    alerts: AlertsSection = AlertsSection()
    drain: DrainSection = DrainSection()
    webhooks: WebhooksSection = WebhooksSection()
    dsr: DsrSection = DsrSection()
    processors: dict[ProcessorName, ProcessorSection] = Field(default_factory=dict)
    callbacks: CallbacksSection = CallbacksSection()
    opendsr: OpendsrSection = OpendsrSection()

    def with_delivery(self, **changes: Any) -> Settings:
        """These settings with the delivery's values replaced that are not None."""
        given = {name: value for name, value in changes.items() if value is not None}
        return self.model_copy(update={"delivery": self.delivery.model_copy(update=given)})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = TomlConfigSettingsSource(settings_cls, _file(_environment()))
        return init_settings, env_settings, file


def load_settings(**overrides: Any) -> Settings:
    """The environment's settings. Raises ``UsageError`` naming the setting that is wrong."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise UsageError(f"settings of environment {_environment()!r}: {problems}") from None
    except SettingsError as error:
        # Not chained: the parse error that caused it holds the value, which may be a secret.
        raise UsageError(f"settings of environment {_environment()!r}: {error}") from None


def _environment() -> str:
    return os.environ.get("LETHE_ENV", "local")


def _file(environment: str) -> Path:
    files = {path.stem: path for path in FOLDER.glob("*.toml")}
    if environment not in files:
        known = ", ".join(sorted(files))
        raise UsageError(f"LETHE_ENV={environment!r} has no settings file: choose one of {known}")
    return files[environment]
