"""The ``lethe`` command."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from runners.commands import deliver, generate, log, replay, schemas
from runners.logs import configure_logs
from schemas.errors import LetheError

app = typer.Typer(
    help="Change records into a data lake that can forget a person.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(generate.app, name="generate", help="Make realistic data to try things with.")
app.add_typer(schemas.app, name="schemas", help="Record types and what is derived from them.")
app.command("deliver")(deliver.deliver)
app.command("replay")(replay.replay)
app.command("log")(log.show_log)


def main() -> None:
    """Run the command; a ``LetheError`` becomes its message and its exit status."""
    configure_logs()
    try:
        app()
    except LetheError as error:
        _fail(error)
    except KeyboardInterrupt:
        print("interrupted: nothing half-done was left", file=sys.stderr)
        _leave(130)
    except BrokenPipeError:
        _leave(141)


def _fail(error: LetheError) -> Any:
    print(f"error: {error.message}", file=sys.stderr)
    _leave(error.exit_status)


def _leave(status: int) -> None:
    """Exit without the interpreter's tidying up, which costs as much as a small delivery."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
