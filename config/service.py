"""The settings of the service."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Literal

from pydantic import (
    Field,
    model_validator,
)

from config.sections import Section
from schemas.errors import UsageError

_JwksAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class AuthSection(Section):
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


class LimitsSection(Section):
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


class IdempotencySection(Section):
    """Requests with an ``Idempotency-Key``: how long an answer is kept, in seconds.

    ``lock_seconds`` is how long a repeat waits for a process that died at its work.
    """

    keep_seconds: int = Field(default=24 * 3600, ge=60)
    lock_seconds: int = Field(default=60, ge=5)


class SocketsSection(Section):
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


class EnrichmentSection(Section):
    """Enrichment as the service does it: the API that is asked, and what is taken and kept.

    ``max_running`` jobs run at once, on all machines together; one whose run is lost gets
    ``max_attempts`` in all. ``patience_seconds`` is how long a run waits for an API that takes no
    calls. ``max_contacts`` may stand in a request itself, ``max_upload_bytes`` in an upload.
    ``url_seconds`` is how long addresses that are signed can be used, ``upload_hours`` how long an
    upload is kept that is not used, ``keep_days`` how long a finished job and its output.

    Contacts of subjects that were erased from the lake ``suppressed_by`` are left out.

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
    suppressed_by: str | None = None
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


class MetricsAccess(StrEnum):
    """Who may read ``/metrics``: holders of ``metrics:read``, or this machine without a token."""

    RIGHT = "right"
    LOOPBACK = "loopback"


class SlowSection(Section):
    """From how many seconds on one operation is slow, and far too slow."""

    warning_seconds: float = Field(gt=0)
    critical_seconds: float = Field(gt=0)


class ObserveSection(Section):
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


class GraphqlSection(Section):
    """How much one GraphQL document may ask for; what is beyond is refused before it is looked at.

    ``depth`` is in levels of fields and fragments, ``cost`` in fields times the length of the lists
    that they stand in. ``introspection`` lets clients ask for the schema.
    """

    depth: int = Field(default=8, ge=3, le=50)
    aliases: int = Field(default=15, ge=0, le=1000)
    directives: int = Field(default=15, ge=0, le=1000)
    cost: int = Field(default=10_000, ge=10)
    tokens: int = Field(default=1_000, ge=50, le=10_000)
    introspection: bool = False


class ServiceSection(Section):
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
    graphql: GraphqlSection = GraphqlSection()
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
