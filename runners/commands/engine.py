"""``lethe engine``"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.commands.options import configured

if TYPE_CHECKING:
    from runners.engines.install import Engine

app = typer.Typer(help="Bring the engines that pipelines can run on.", no_args_is_help=True)


class EngineName(StrEnum):
    """An engine that is installed by name."""

    PRISM = "prism"
    FLINK = "flink"
    SPARK = "spark"


Folder = Annotated[
    Path | None, typer.Option("--folder", help="Where engines are kept, instead of the cache.")
]


@app.command("install")
def install_command(
    name: Annotated[EngineName, typer.Argument(help="Which one.")], folder: Folder = None
) -> None:
    """Bring an engine and its job server, if they are not there yet."""
    from config.settings import load_settings
    from runners.engines.install import engine_folder, install

    settings = load_settings().engines
    with _shown_progress(name) as progress:
        engine = install(name, engine_folder(settings, folder), settings, progress)
    _show([engine])


@app.command("list")
def list_command(folder: Folder = None) -> None:
    """Show the engines that are there."""
    from config.settings import load_settings
    from runners.engines.install import engine_folder, installed

    place = engine_folder(load_settings().engines, folder)
    engines = installed(place)
    if engines:
        _show(engines)
    else:
        typer.echo(f"no engine in {place}")


@app.command("worker-pool")
def worker_pool_command(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Listen here.")] = 50000,
    host: Annotated[str, typer.Option("--host", help="Listen at this address.")] = "127.0.0.1",
) -> None:
    """Start workers for the task manager or executor beside this, until SIGTERM."""
    from runners.engines.worker_pool import serve

    configured()
    serve(host, port)


def _show(engines: list[Engine]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("engine", "version", "job server", "folder"):
        table.add_column(title, overflow="fold")
    for engine in engines:
        table.add_row(engine.name, engine.version, f"Beam {engine.job_server}", str(engine.folder))
    Console().print(table)


@contextmanager
def _shown_progress(name: str) -> Iterator[Callable[[int], None]]:
    """What counts bytes that came; shown on standard error, and only to people.

    Of what is built here nothing is counted: the time is shown.
    """
    from rich.console import Console
    from rich.progress import (
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    amount = TimeElapsedColumn() if name == EngineName.PRISM else DownloadColumn()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), amount)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"installing {name}", total=None)
        yield lambda size: bar.advance(task, size)
