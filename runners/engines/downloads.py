"""Files of a Maven repository, whole and verified or not there at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.response import addinfourl

from runners.engines.errors import EngineDamaged, EngineUnreachable

TIMEOUT = 60.0
"""Seconds without a byte after which a registry is given up."""

_CHUNK = 1 << 20

Progress = Callable[[int], None]
"""Told the number of bytes of each piece that came."""


class NotPublished(EngineUnreachable):
    """The registry answers, and does not have the file."""

    code = "engine_not_published"
    retryable = False


def maven_digest(repository: str, path: str) -> str:
    """The SHA-1 that a Maven repository gives for a file.

    Raises ``NotPublished`` or ``EngineUnreachable``.
    """
    with _open(f"{repository}/{path}.sha1") as answer:
        return str(answer.read().decode("ascii").split()[0])


def download(url: str, target: Path, algorithm: str, digest: str, progress: Progress) -> None:
    """Bring a file, verified by its hexadecimal digest; ``target`` is written whole or not at all.

    Raises ``NotPublished``, ``EngineUnreachable`` or ``EngineDamaged``.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        found = _write(url, part, algorithm, progress)
        if found != digest:
            raise EngineDamaged(f"{url}: its {algorithm} is not the expected one: try again")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write(url: str, part: Path, algorithm: str, progress: Progress) -> str:
    hashed = hashlib.new(algorithm)
    with _open(url) as answer, part.open("wb") as out:
        try:
            while piece := answer.read(_CHUNK):
                hashed.update(piece)
                out.write(piece)
                progress(len(piece))
        except (TimeoutError, ConnectionError) as error:
            raise _unreachable(url, error) from error
    return hashed.hexdigest()


def _open(url: str) -> addinfourl:
    try:
        answer: addinfourl = urllib.request.urlopen(url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with suppress(OSError):
            error.close()
        if error.code == 404:
            raise NotPublished(f"{url}: is not there") from None
        raise _unreachable(url, error) from error
    except OSError as error:
        raise _unreachable(url, error) from error
    return answer


def _unreachable(url: str, error: Exception) -> EngineUnreachable:
    return EngineUnreachable(
        f"{url}: cannot be read ({error}): check the connection and HTTPS_PROXY, or set "
        "LETHE_ENGINES__MAVEN to a mirror"
    )
