"""Kinesis Data Streams, through boto3; written against the service's API reference.

The SDK's own retries are off: the readers wait and ask again themselves, shard by shard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import boto3
import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection

from schemas.errors import AccessDenied, InputError, LetheError, StoreError, StoreUnavailable
from schemas.streams import Shard, Start, StartKind, StreamAddress
from stores.objects.s3_client import code_of, status_of
from stores.streams.answers import DECODED, AnswerParserFactory, RecordsAnswer
from stores.streams.port import Answer, IteratorExpired

RECORDS = 10_000
"""The most records that the service gives in an answer."""

_CONNECT_SECONDS = 5
_READ_SECONDS = 30
_CONNECTIONS = 32

_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_UNREACHABLE = (HTTPClientError, NoConnection)
_BUSY = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ThrottlingException",
    "RequestTimeout",
    "ResourceInUseException",  # the stream is being created
    "ExpiredNextTokenException",  # a listing took too long; the next attempt begins it anew
}
_DENIED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "KMSAccessDeniedException",
    "KMSOptInRequired",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
}
_KEYS = {"KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"}


@dataclass(frozen=True)
class KinesisClient:
    """A stream of the service, reached with the credentials that boto3 finds."""

    address: StreamAddress

    def list_shards(self) -> list[Shard]:
        pages: list[dict[str, Any]] = [self._ask("list_shards", StreamName=self.address.name)]
        while token := pages[-1].get("NextToken"):
            pages.append(self._ask("list_shards", NextToken=token))
        return [_shard(entry) for page in pages for entry in page["Shards"]]

    def retention(self) -> timedelta:
        answer = self._ask("describe_stream_summary", StreamName=self.address.name)
        return timedelta(hours=answer["StreamDescriptionSummary"]["RetentionPeriodHours"])

    def iterator(self, shard_id: str, after: str | None, start: Start) -> str:
        place = _place(after, start)
        answer = self._ask(
            "get_shard_iterator", StreamName=self.address.name, ShardId=shard_id, **place
        )
        return str(answer["ShardIterator"])

    def read(self, iterator: str) -> Answer:
        answer = self._ask("get_records", ShardIterator=iterator, Limit=RECORDS)
        return _answer(answer[DECODED], answer["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def _ask(self, operation: str, **arguments: Any) -> Any:
        client = _client(self.address.region, self.address.endpoint, os.getpid())
        with self._asking(operation):
            return getattr(client, operation)(**arguments)

    @contextmanager
    def _asking(self, operation: str) -> Iterator[None]:
        """Turn the SDK's errors into the project's."""
        try:
            yield
        except ClientError as error:
            raise self._refusal(operation, code_of(error), status_of(error)) from error
        except BotoCoreError as error:
            raise self._failure(operation, error) from error
        except msgspec.MsgspecError as error:
            raise StoreUnavailable(f"{self._where(operation)} gave no whole answer") from error

    def _where(self, operation: str) -> str:
        return f"stream {self.address.name} in {self.address.region}: {operation}"

    def _refusal(self, operation: str, code: str, status: int) -> LetheError:
        where = f"{self._where(operation)} was answered {code}"
        if code == "ExpiredIteratorException":
            return IteratorExpired(f"{where}: a new iterator is needed")
        if code == "ResourceNotFoundException":
            return InputError(
                f"there is no stream {self.address.name} in {self.address.region} "
                f"({operation} was answered {code}): check its name and region"
            )
        if code in _BUSY or status >= 500 or status == 429:
            return StoreUnavailable(f"{where}: try again later")
        if code in _DENIED or status in {401, 403}:
            return AccessDenied(f"{where}: check the credentials and what they may do")
        if code in _KEYS:
            return AccessDenied(f"{where}: check the key that the stream is encrypted with")
        return StoreError(f"{where} (HTTP {status}): check the address and the start")

    def _failure(self, operation: str, error: Exception) -> StoreError:
        where, kind = self._where(operation), type(error).__name__
        if isinstance(error, _NO_CREDENTIALS):
            return AccessDenied(f"{where}: no usable credentials ({kind}): set them up")
        if isinstance(error, _UNREACHABLE):
            service = self.address.endpoint or "Kinesis"
            return StoreUnavailable(
                f"{where}: {service} gave no whole answer ({kind}): check the endpoint and the "
                "network, then try again"
            )
        return StoreError(f"{where}: the request cannot be made ({kind})")


def _shard(entry: dict[str, Any]) -> Shard:
    parents = (entry.get("ParentShardId"), entry.get("AdjacentParentShardId"))
    hashes, sequences = entry["HashKeyRange"], entry["SequenceNumberRange"]
    return Shard(
        shard_id=entry["ShardId"],
        parents=tuple(parent for parent in parents if parent),
        first_hash=int(hashes["StartingHashKey"]),
        last_hash=int(hashes["EndingHashKey"]),
        first_sequence=sequences["StartingSequenceNumber"],
        last_sequence=sequences.get("EndingSequenceNumber"),
    )


def _place(after: str | None, start: Start) -> dict[str, Any]:
    if after is not None:
        return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
    if start.kind is StartKind.AT_TIMESTAMP:
        return {"ShardIteratorType": start.kind.value, "Timestamp": start.moment}
    return {"ShardIteratorType": start.kind.value}


def _answer(answer: RecordsAnswer, date: str | None) -> Answer:
    answered = datetime.now(UTC) if date is None else parsedate_to_datetime(date)
    records = answer.Records
    return Answer(
        documents=[record.Data for record in records],
        sequences=tuple([record.SequenceNumber for record in records]),
        arrived=_arrival(records[-1].ApproximateArrivalTimestamp, answered) if records else None,
        iterator=answer.NextShardIterator,
        behind=answer.MillisBehindLatest or 0,
        answered=answered,
    )


def _arrival(seconds: float | None, answered: datetime) -> datetime:
    return answered if seconds is None else datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=16)
def _client(region: str, endpoint: str | None, process: int) -> Any:  # noqa: ARG001 - cache key
    """One client a process: a forked child must not share its parent's connections."""
    core = botocore.session.get_session()
    core.register_component("response_parser_factory", AnswerParserFactory())
    session = boto3.session.Session(botocore_session=core, region_name=region)
    return session.client("kinesis", endpoint_url=endpoint, config=_config())


def _config() -> Any:
    return Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},
    )
