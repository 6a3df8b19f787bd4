"""``lethe mock-processor``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runners.commands import options as shared


def command(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")],
    host: Annotated[str, typer.Option("--host", help="Listen at this address.")] = "127.0.0.1",
    domain: Annotated[
        str, typer.Option("--domain", help="Whose callbacks they are, and in its certificate.")
    ] = "processor.example",
    ca: Annotated[
        Path | None, typer.Option("--ca", help="Write the root certificate to trust to this file.")
    ] = None,
    credentials: Annotated[
        str | None, typer.Option("--credentials", help="KEY:SECRET that controllers have to give.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option("--latency", help="Time before an answer: 200ms.")
    ] = None,
    error_rate: Annotated[
        float, typer.Option("--error-rate", help="Share of calls answered 500, from 0 to 1.")
    ] = 0.0,
    lost: Annotated[
        float, typer.Option("--lost", help="Share of calls worked off, and the answer lost.")
    ] = 0.0,
    outage: Annotated[bool, typer.Option("--outage", help="Answer every call with 503.")] = False,
    step: Annotated[str, typer.Option("--step", help="Time from one status to the next.")] = "1s",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which calls go wrong.")] = 0,
) -> None:
    """Serve an OpenDSR processor to try things with; PUT /settings changes it while it runs."""
    from runners.mock_processor.answers import MockProcessor
    from runners.mock_processor.courier import Courier
    from runners.mock_processor.identity import ProcessorIdentity
    from runners.mock_processor.settings import ProcessorSettings, checked
    from runners.mock_server import serve
    from stores.streams.backoff import SystemClock

    settings = ProcessorSettings(
        latency=0.0 if latency is None else shared.parse_seconds("--latency", latency),
        error_rate=error_rate,
        lost=lost,
        outage=outage,
        step=shared.parse_seconds("--step", step),
    )
    identity = ProcessorIdentity(domain)
    processor = MockProcessor(checked(settings), identity, SystemClock(), seed, credentials)
    courier = Courier(processor)

    def ready(at: int) -> None:
        processor.address = f"http://{host}:{at}"
        if ca is not None:
            ca.write_bytes(identity.root)
        courier.start()
        print(f"mock processor at {processor.address}", flush=True)

    serve(courier.answer, host, port, ready)
    courier.stop()
