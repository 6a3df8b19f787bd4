"""``lethe mock-api``"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from runners.commands import options as shared


def command(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")],
    host: Annotated[str, typer.Option("--host", help="Listen at this address.")] = "127.0.0.1",
    latency: Annotated[
        str | None, typer.Option("--latency", help="Time before an answer: 50ms.")
    ] = None,
    error_rate: Annotated[
        float, typer.Option("--error-rate", help="Share of calls answered 500, from 0 to 1.")
    ] = 0.0,
    throttle: Annotated[
        str | None, typer.Option("--throttle", help="Answer 429 beyond so many calls: 200/s.")
    ] = None,
    malformed: Annotated[
        float, typer.Option("--malformed", help="Share of calls answered with garbage.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What it knows of contacts.")] = 0,
) -> None:
    """Serve an enrichment API to try things with; PUT /settings changes it while it runs."""
    from runners.mock_api.answers import MockApi
    from runners.mock_api.settings import MockSettings, checked
    from runners.mock_server import serve

    settings = MockSettings(
        latency=0.0 if latency is None else shared.parse_seconds("--latency", latency),
        error_rate=error_rate,
        throttle=None if throttle is None else shared.parse_rate("--throttle", throttle),
        malformed=malformed,
    )
    api = MockApi(checked(settings), seed, time.monotonic)

    def ready(at: int) -> None:
        print(f"mock API at http://{host}:{at}", flush=True)

    serve(lambda asked: api.reply(asked.method, asked.path, asked.body), host, port, ready)
