"""Parameters: secrets by name, from a file of the user's, from variables, or from AWS SSM.

A variable wins over whatever else is the source: ``LETHE_SCRUB_KEY`` over the file or SSM
parameter ``scrub-key``, in every command and in the service alike. One that is empty is none.
Values are cached for five minutes. They never appear in an error or a log line.
"""

from __future__ import annotations

import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.caching import Cacheable
from schemas.errors import AccessDenied, SecretUnusable, StoreUnavailable
from stores.caching import Cache, Lookup

if TYPE_CHECKING:
    from config.sections import ParameterSection

CACHED_FOR = 300.0
"""Seconds that a value is used before it is asked for again."""

SCRUB_KEY = "scrub-key"
"""The key that personal values are hashed with."""

_SHORTEST_KEY = 16
_MOST = 256


@dataclass(frozen=True)
class _Parameter(Cacheable):
    """A value as it is cached; its ``repr`` does not show it."""

    value: str = field(repr=False)


class ParameterStore(ABC):
    """Secrets by name. Adapters say how one is fetched; the base looks at variables, and caches."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cache = self._new_cache()

    def get(self, name: str) -> str:
        """The value. Raises ``SecretUnusable`` that says how to set it, if there is none."""
        return self._cache.get(name, lambda: _Parameter(self._look_up(name))).value

    def __getstate__(self) -> dict[str, Any]:
        """What travels to other processes: where secrets are, never a secret."""
        return {name: value for name, value in self.__dict__.items() if name != "_cache"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache = self._new_cache()

    def tell_of_lookups(self, told: Callable[[Lookup], None]) -> None:
        """Have ``told`` hear how each look-up goes; what is cached is forgotten."""
        self._cache = Cache(_MOST, CACHED_FOR, self._clock, told)

    def _new_cache(self) -> Cache[str, _Parameter]:
        return Cache(_MOST, CACHED_FOR, self._clock)

    def _look_up(self, name: str) -> str:
        return os.environ.get(_variable(name)) or self._fetch(name)

    @abstractmethod
    def _fetch(self, name: str) -> str:
        """The value as it is now. Raises ``SecretUnusable`` if there is none."""


def _variable(name: str) -> str:
    return "LETHE_" + name.upper().replace("-", "_")


class EnvironmentParameters(ParameterStore):
    """Variables are all there is: ``scrub-key`` is ``LETHE_SCRUB_KEY``, and so on."""

    def _fetch(self, name: str) -> str:
        variable = _variable(name)
        raise SecretUnusable(
            f"the parameter {name!r} is not set: set the variable {variable}", parameter=name
        )


class FileParameters(ParameterStore):
    """One file a parameter, readable by its owner alone; made with a random value when missing.

    For one person's machine: whoever loses the folder loses the way to find hashed subjects.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._folder = folder.expanduser()

    def _fetch(self, name: str) -> str:
        path = self._folder / name
        try:
            return path.read_text().strip() if path.exists() else self._make(path)
        except OSError as error:
            raise AccessDenied(f"{path}: cannot be read or made: {error.strerror}") from error

    def _make(self, path: Path) -> str:
        """Written aside and linked into place, so that two that race agree on one value."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        return path.read_text().strip()


class SsmParameters(ParameterStore):
    """SecureString parameters below a prefix, decrypted by SSM."""

    def __init__(
        self, prefix: str, client: Any = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._prefix = prefix.rstrip("/") + "/"
        self._client = client

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_client": None}

    def _fetch(self, name: str) -> str:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        full = self._prefix + name
        try:
            self._client = self._client or boto3.client("ssm")
            answer = self._client.get_parameter(Name=full, WithDecryption=True)
        except ClientError as error:
            raise _refusal(name, full, error.response["Error"]["Code"]) from None
        except BotoCoreError as error:
            kind = type(error).__name__
            raise StoreUnavailable(f"SSM cannot be asked for {full}: {kind}") from None
        return str(answer["Parameter"]["Value"])


def open_parameters(section: ParameterSection) -> ParameterStore:
    """The parameter store that the settings name. Does no I/O."""
    if section.source == "env":
        return EnvironmentParameters()
    if section.source == "ssm":
        return SsmParameters(section.prefix)
    return FileParameters(section.folder)


def scrub_key(store: ParameterStore) -> bytes:
    """The scrubbing key. Raises ``SecretUnusable`` if it is too short to be one."""
    key = store.get(SCRUB_KEY).encode()
    if len(key) < _SHORTEST_KEY:
        raise too_short(SCRUB_KEY, _SHORTEST_KEY)
    return key


def too_short(name: str, least: int) -> SecretUnusable:
    """The error for a parameter that has fewer bytes than a key needs."""
    message = f"the parameter {name!r} must have at least {least} bytes"
    return SecretUnusable(message, parameter=name)


def _refusal(name: str, full: str, code: str) -> Exception:
    if code == "ParameterNotFound":
        message = f"SSM has no parameter {full}: create it as a SecureString"
        return SecretUnusable(message, parameter=name)
    if code in {"AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"}:
        return AccessDenied(f"SSM does not allow reading {full}: check the role's rights")
    return StoreUnavailable(f"SSM did not give {full}: {code}")
