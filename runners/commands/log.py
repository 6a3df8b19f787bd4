"""``lethe log``"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.commands import options as shared

if TYPE_CHECKING:
    from stores.log import Commit


_SOURCES_SHOWN = 3


def command(
    lake: shared.Lake,
    after: Annotated[int, typer.Option("--after", min=0, help="Only commits above this.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One commit a line, in full.")] = False,
) -> None:
    """Show the lake's commits: what was delivered when, and from which positions.

    The table shows the first sources by their last name; --json has all, in full.
    """
    import msgspec

    from config.settings import load_settings
    from stores.log import DeliveryLog

    log = DeliveryLog(shared.build_store(load_settings(), lake))
    if as_json:
        for commit in log.commits(after=after):
            typer.echo(msgspec.json.encode(commit).decode())
        return
    _print_table(list(log.commits(after=after)))


def _print_table(commits: list[Commit]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("commit", "time (UTC)", "kind"):
        table.add_column(name)
    for name in ("read", "delivered", "dead letters", "files"):
        table.add_column(name, justify="right")
    table.add_column("sources, up to byte")
    for commit in commits:
        table.add_row(*_row(commit))
    Console().print(table)


def _row(commit: Commit) -> list[str]:
    counts: dict[str, Any] = commit.counts
    return [
        str(commit.number),
        f"{commit.committed_at:%Y-%m-%d %H:%M:%S}",
        commit.kind,
        f"{counts['read']:,}",
        f"{counts['delivered']:,}",
        f"{counts['dead_letters']:,}",
        f"{len(commit.files):,}",
        "\n".join([*_files(commit), *_streams(commit)]),
    ]


def _files(commit: Commit) -> list[str]:
    shown = commit.sources[:_SOURCES_SHOWN]
    lines = [f"{source.uri.rpartition('/')[2]} {source.resume:,}" for source in shown]
    if len(commit.sources) > _SOURCES_SHOWN:
        lines.append(f"and {len(commit.sources) - _SOURCES_SHOWN:,} more")
    return lines


def _streams(commit: Commit) -> list[str]:
    """How many shards of each stream were read on; ``--json`` has their positions."""
    read = Counter(shard.source.split("/")[-2] for shard in commit.shards)
    return [
        f"{name}: {count:,} {'shard' if count == 1 else 'shards'}" for name, count in read.items()
    ]
