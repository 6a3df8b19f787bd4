"""Plan: which shards of which streams a round has to read, and from where.

A round goes from the positions in the delivery log up to the moment at which it was planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from beam_pipelines.deliver import Sources
from schemas.errors import UsageError
from schemas.stream_log import ShardState
from schemas.streams import ShardRange, Start, StreamAddress
from stores.streams import default_region, open_stream, parse_address
from stores.streams.address import SCHEME
from stores.streams.backoff import SystemClock, patiently
from transforms.shards import OnGap, RoundPlan, plan_round, shared_out
from transforms.stages import StreamTask

_log = structlog.get_logger()


@dataclass(frozen=True)
class StreamInput:
    """A stream to be delivered, and where its shards are read from that never were."""

    address: StreamAddress
    start: Start


def parse_inputs(inputs: Sequence[str]) -> tuple[tuple[str, ...], tuple[StreamInput, ...]]:
    """Files and streams, told apart. Raises ``UsageError`` for a bad address."""
    uris = [text for text in inputs if text.startswith(SCHEME)]
    region = default_region() if any("region=" not in uri for uri in uris) else None
    streams = tuple(StreamInput(*parse_address(uri, region)) for uri in uris)
    names = [(found.address.region, found.address.name) for found in streams]
    if len(set(names)) < len(names):
        raise UsageError("a stream is given twice: name each one once")
    return tuple(text for text in inputs if text not in uris), streams


def with_streams(
    sources: Sources,
    streams: Sequence[StreamInput],
    known: Mapping[str, ShardState],
    on_gap: OnGap,
    workers: int,
) -> Sources:
    """The sources with what is to be read of some streams, up to now, by so many workers.

    ``known`` is what the delivery log says of shards. Raises ``StreamGap`` if records may have
    expired unread and ``on_gap`` does not pass over that.
    """
    now = datetime.now(UTC)
    positions = {
        source: state.through for source, state in known.items() if state.through is not None
    }
    tasks = [
        StreamTask(stream.address, part)
        for stream in streams
        for part in shared_out(_plan(stream, positions, now, on_gap).tasks, workers)
    ]
    return replace(sources, shards=tuple(tasks), until=now, delivered=known)


def _plan(
    stream: StreamInput, positions: Mapping[str, ShardRange], now: datetime, on_gap: OnGap
) -> RoundPlan:
    client, clock = open_stream(stream.address), SystemClock()
    shards = patiently(client.list_shards, clock)
    retention = patiently(client.retention, clock)
    plan = plan_round(stream.address, shards, positions, stream.start, now, retention, on_gap)
    for gap in plan.gaps:
        _log.warning("passed over a gap", source=gap.source, until=gap.until.isoformat())
    return plan
