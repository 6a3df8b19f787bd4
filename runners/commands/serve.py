"""``lethe serve``"""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from config.service import ServiceSection
    from config.settings import Settings

_NEEDED = ("flask", "flask_openapi", "flask_openapi_swagger", "flask_sock", "gunicorn")
_BACKLOG = 1024


def command(
    host: Annotated[
        str | None, typer.Option("--host", help="Listen at this address (default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="Listen here (default: 8080); 0 takes a free one."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Processes (default: 2).")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=2, max=2000, help="Threads a process (default: 64)."),
    ] = None,
) -> None:
    """Serve the HTTP API: on SQLite and a local folder, unless settings say otherwise."""
    from config.settings import load_settings

    _require_extra()
    _set({"HOST": host, "PORT": port, "WORKERS": workers, "THREADS": threads})
    settings = load_settings()
    settings.service.require_keys()
    _prepare(settings)
    listener = _listen(settings.service)
    _announce(listener)
    _become_gunicorn(listener)


def _require_extra() -> None:
    from schemas.errors import UsageError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the service needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'lethe[service]'"
        )


def _set(options: dict[str, str | int | None]) -> None:
    """Options become variables: so they override the settings here and in the workers alike."""
    given = {f"LETHE_SERVICE__{name}": value for name, value in options.items()}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})


def _prepare(settings: Settings) -> None:
    """Bring the tables up to date, once, before several workers look at them."""
    from runners.runs import state_of

    state_of(settings).close()


def _listen(service: ServiceSection) -> socket.socket:
    """Listen from now on, so that whoever reads the address can connect to it.

    Raises ``UsageError`` if the address is taken or not one of this machine.
    """
    from schemas.errors import UsageError

    try:
        family, *_, address = socket.getaddrinfo(
            service.host, service.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        where = f"{service.host}:{service.port}"
        raise UsageError(f"cannot listen on {where}: {error.strerror}") from None


def _announce(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    print(f"serving the API at {url}", f"its documentation is at {url}/openapi/", sep="\n")


def _become_gunicorn(listener: socket.socket) -> None:
    """gunicorn takes this process's place, so that signals and exit statuses are its own."""
    listener.set_inheritable(True)
    os.environ["LETHE_SERVICE__PORT"] = str(listener.getsockname()[1])
    sys.stdout.flush()
    words = [
        "--config=python:service.gunicorn_settings",
        f"--bind=fd://{listener.fileno()}",
        "service.wsgi:application()",
    ]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *words])
