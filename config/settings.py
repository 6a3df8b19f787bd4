"""Settings: one TOML file an environment, overridden by ``LETHE_*`` variables.

``LETHE_ENV`` names the environment (``local`` by default); a nested value is overridden by its
path in capitals, joined by two underscores: ``LETHE_S3__ENDPOINT_URL``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from config.dsr import (
    AlertsSection,
    CallbacksSection,
    DrainSection,
    DsrSection,
    OpendsrSection,
    OutboundSection,
    ProcessorName,
    ProcessorSection,
    WebhooksSection,
)
from config.sections import (
    DeliverySection,
    EngineSection,
    ParameterSection,
    S3Section,
    StateSection,
)
from config.service import ServiceSection
from schemas.errors import UsageError

FOLDER = Path(__file__).parent


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
