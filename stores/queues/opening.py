"""The queue that the settings name."""

from __future__ import annotations

from config.dsr import DsrSection, QueueKind
from stores.queues.port import RequestQueue
from stores.queues.rows import RowQueue
from stores.state.dsr_port import DsrStore


def open_queue(section: DsrSection, requests: DsrStore) -> RequestQueue:
    """The queue of these settings. Does no I/O."""
    if section.queue is QueueKind.STATE:
        return RowQueue(requests)
    # The AWS SDK takes its time to load.
    from stores.queues.sqs import SqsQueue
    from stores.queues.sqs_client import SqsFifo

    assert section.queue_url is not None, "checked by the settings"
    return SqsQueue(requests, SqsFifo(section.queue_url))
