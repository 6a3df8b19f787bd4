"""A FIFO queue of AWS SQS, as far as requests need one, and silence for a while when it fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog

_AT_ONCE = 10
"""Messages of one call, of SQS's."""

_SILENT = 30.0
"""Seconds that a queue is left alone after it failed, so that it slows down nobody."""

_REGION = re.compile(r"^sqs\.([a-z0-9-]+)\.amazonaws\.com")

_log = structlog.get_logger()


class SqsFifo:
    """Calls of one queue, by any number of threads. What fails is logged, and gives nothing."""

    def __init__(
        self, url: str, client: Any = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._client = client
        self._monotonic = monotonic
        self._silent_until = float("-inf")
        self._opening = threading.Lock()

    @property
    def is_silent(self) -> bool:
        """Whether it failed a short while ago, and is not called."""
        return self._monotonic() < self._silent_until

    def send(self, body: str, group: str, once: str) -> None:
        """Send a message; of those with the same ``once`` in five minutes SQS keeps the first."""
        self._call(
            "send_message", MessageBody=body, MessageGroupId=group, MessageDeduplicationId=once
        )

    def receive(self, wait: int, hidden: int) -> list[tuple[str, str]]:
        """Some messages as handle and body; they come again unless deleted in ``hidden`` s."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=_AT_ONCE,
            WaitTimeSeconds=wait,
            VisibilityTimeout=hidden,
        )
        found = answer.get("Messages", ())
        return [(message["ReceiptHandle"], message["Body"]) for message in found]

    def delete(self, handles: Sequence[str]) -> None:
        """Messages that are not to come again."""
        for entries in _entries(handles):
            self._call("delete_message_batch", Entries=entries)

    def hide(self, seconds: Mapping[str, int]) -> None:
        """Have messages come again after so many seconds each."""
        for entries in _entries([*seconds]):
            timed = [
                {**entry, "VisibilityTimeout": seconds[entry["ReceiptHandle"]]} for entry in entries
            ]
            self._call("change_message_visibility_batch", Entries=timed)

    def _call(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        if self.is_silent:
            return {}
        try:
            answer: Mapping[str, Any] = getattr(self.client, name)(QueueUrl=self._url, **arguments)
        except ClientError as error:
            self._fall_silent(error.response["Error"]["Code"])
        except (BotoCoreError, ValueError) as error:  # the latter for an address that is none
            self._fall_silent(type(error).__name__)
        else:
            return answer
        return {}

    def _fall_silent(self, code: str) -> None:
        self._silent_until = self._monotonic() + _SILENT
        _log.warning("SQS fails: requests are found by their rows meanwhile", code=code)

    @property
    def client(self) -> Any:
        """What speaks to SQS, made when it is first needed."""
        with self._opening:
            if self._client is None:
                self._client = _client_of(self._url)
        return self._client


def _entries(handles: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Handles as entries of calls that take some at once."""
    for start in range(0, len(handles), _AT_ONCE):
        some = enumerate(handles[start : start + _AT_ONCE])
        yield [{"Id": str(place), "ReceiptHandle": one} for place, one in some]


def _client_of(url: str) -> Any:
    import boto3
    from botocore.config import Config

    place = urlsplit(url)
    region = _REGION.match(place.netloc)
    patience = Config(connect_timeout=1, read_timeout=4, retries={"total_max_attempts": 1})
    return boto3.session.Session().client(
        "sqs",
        endpoint_url=f"{place.scheme}://{place.netloc}",
        region_name=None if region is None else region[1],
        config=patience,
    )
