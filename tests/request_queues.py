"""Queues of SQS for tests, on an emulator."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from stores.queues.sqs import SqsQueue
from stores.queues.sqs_client import SqsFifo
from stores.state.dsr_port import DsrStore
from tests.emulators import sqs_client


@dataclass
class Fifo:
    """A new FIFO queue, and a plain client to look into it."""

    client: Any
    url: str

    @classmethod
    def at(cls, endpoint: str) -> Fifo:
        client = sqs_client(endpoint)
        made = client.create_queue(
            QueueName=f"lethe-{uuid.uuid4().hex}.fifo", Attributes={"FifoQueue": "true"}
        )
        return cls(client, f"{endpoint}/{made['QueueUrl'].partition('://')[2].partition('/')[2]}")

    def queue(self, requests: DsrStore) -> SqsQueue:
        """A queue on this one, as each process has its own; it does not wait."""
        return SqsQueue(requests, SqsFifo(self.url, self.client), wait=0)

    def send(self, body: str, group: str = "g") -> None:
        """A message that nobody of ours has put."""
        self.client.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=uuid.uuid4().hex,
        )

    def messages(self) -> list[dict[str, Any]]:
        """Those that are not hidden; they stay."""
        found = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            AttributeNames=["All"],
        )
        return [
            {**json.loads(one["Body"]), **one["Attributes"]} for one in found.get("Messages", ())
        ]

    def counts(self) -> tuple[int, int]:
        """Messages that wait, and that are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(told["Attributes"][names[0]]), int(told["Attributes"][names[1]])
