"""Sections of the settings that every part of Lethe has a use for: stores, deliveries, engines."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
)


class ParameterSource(StrEnum):
    """Where secrets come from."""

    FILE = "file"
    ENV = "env"
    SSM = "ssm"


class Section(BaseModel):
    """A part of the settings: a name that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class S3Section(Section):
    """How S3 is reached; what is None is left to the AWS SDK's own chain."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None


class ParameterSection(Section):
    """Secrets: from a file of the user's own, variables, or the SSM parameter store."""

    source: ParameterSource = ParameterSource.ENV
    prefix: str = "/lethe/"
    folder: Path = Path("~/.config/lethe")


class DeliverySection(Section):
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


class StateSection(Section):
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


class EngineSection(Section):
    """Engines beyond the direct runner: where they are kept, and where their jars come from.

    ``maven`` is Maven Central or a mirror of it.
    """

    folder: Path = Field(default_factory=_engine_folder)
    maven: str = "https://repo.maven.apache.org/maven2"
