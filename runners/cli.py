"""The ``lethe`` command."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any

import typer

from runners.logs import configure_logs
from schemas.errors import LetheError

COMMANDS = (
    "generate", "deliver", "replay", "log", "schemas", "schedule", "runs", "engine", "enrich",
    "mock-api", "mock-processor", "job", "serve", "token", "dsr", "audit", "compact", "erase",
    "verify-erasure", "index", "export",
)  # fmt: skip

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_NOBODY_READS = 141
"""Exit status of a command whose output nobody reads on, as a shell tells of SIGPIPE."""

HIDDEN = frozenset({"job"})
"""Commands that Lethe starts itself."""


def build_app(wanted: str | None = None) -> typer.Typer:
    """The application, with all commands or, if it is one of them, only ``wanted``.

    Loading one command's module takes far less time than loading all.
    """
    app = typer.Typer(
        help="Change records into a data lake that can forget a person.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        module = import_module(f"runners.commands.{name.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name, hidden=name in HIDDEN)(module.command)
    return app


def main() -> None:
    """Run the command; a ``LetheError`` becomes its message and its exit status."""
    configure_logs()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        build_app(next(iter(sys.argv[1:]), None))()
    except LetheError as error:
        _fail(error)
    except _Interrupted:
        print("interrupted: nothing half-done was left", file=sys.stderr)
        _leave(130)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # of which Typer and Rich make a 1
            _leave(_NOBODY_READS)
        raise
    except BrokenPipeError:
        _leave(_NOBODY_READS)
    except OSError as error:
        fail = _fail_for_room if error.errno in _NO_ROOM else _fail_by_bug
        fail(error)
    except Exception as error:
        _fail_by_bug(error)


class _Interrupted(SystemExit):
    """What ends a command at SIGINT.

    Typer would swallow a ``KeyboardInterrupt`` silently, and Beam, wherever it looks for a
    notebook, whatever is neither that nor a ``SystemExit``.
    """


def _interrupt(*_: object) -> None:
    # With a message, because Beam makes another exception of one without.
    raise _Interrupted("interrupted")


def _fail(error: LetheError) -> Any:
    print(f"error: {error.message}", file=sys.stderr)
    _leave(error.exit_status)


def _fail_for_room(error: OSError) -> Any:
    """Nobody can go on where nothing can be written, such as the file that is standard output."""
    where = error.filename or "the output"
    print(f"error: {where}: {error.strerror}: free some room", file=sys.stderr)
    _leave(1)


def _fail_by_bug(error: Exception) -> Any:
    """Say where it happened, and not the error's own message: it may hold values of a record."""
    text = "".join(traceback.format_exception(error))
    places = [line for line in text.splitlines() if line.startswith("  File ")]
    print(*places, sep="\n", file=sys.stderr)
    print(f"error: {type(error).__name__}: this is a mistake in Lethe: report it", file=sys.stderr)
    _leave(1)


def _leave(status: int) -> None:
    """Exit without the interpreter's tidying up, which costs as much as a small delivery."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
