"""Where engines are kept and where they come from, overridden by ``LETHE_ENGINES__*``."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lethe" / "engines"


class EngineSettings(BaseSettings):
    """``folder`` keeps the engines; ``maven`` is a mirror of Maven Central, or itself."""

    model_config = SettingsConfigDict(env_prefix="LETHE_ENGINES__", extra="ignore", frozen=True)

    folder: Path | None = None
    maven: str = "https://repo.maven.apache.org/maven2"

    def folder_or(self, given: Path | None) -> Path:
        """The folder that was given, else that of the settings, else the user's cache."""
        return (given or self.folder or _cache()).expanduser().absolute()
