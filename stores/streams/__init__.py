"""Streams: where change records arrive one after another, in shards.

``parse_address`` reads the address of a stream, ``open_stream`` gives a client of it.
"""

from __future__ import annotations

from schemas.streams import StreamAddress
from stores.streams.address import default_region, parse_address
from stores.streams.port import Answer, IteratorExpired, StreamClient

__all__ = [
    "Answer",
    "IteratorExpired",
    "StreamClient",
    "default_region",
    "open_stream",
    "parse_address",
]


def open_stream(address: StreamAddress) -> StreamClient:
    """A client of the stream. Does no I/O."""
    # The AWS SDK takes as long to load as a small delivery takes to run.
    from stores.streams.kinesis import KinesisClient

    return KinesisClient(address)
