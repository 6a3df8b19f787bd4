"""One DynamoDB table: what is asked of it, asked again where that helps, and what it refuses.

The SDK's own retries are off, so that there is one layer of them: throttling, conflicts between
transactions, and answers that never came are met with full jitter. A transaction that is sent again
carries the same client request token, so that it is done once though an answer was lost.
"""

from __future__ import annotations

import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection
from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from schemas.errors import AccessDenied, StoreError, StoreUnavailable, UsageError
from stores.state.dynamo.address import DynamoAddress
from stores.state.dynamo.items import Item, Key, Value, key_of, read_item
from stores.state.dynamo.writes import Write, expression_terms, wire_key

T = TypeVar("T")

MOST_WRITES = 100
"""How many writes DynamoDB takes in one transaction."""

_MOST_READ = 100
_MOST_DELETED = 25
_ATTEMPTS = 10
_PATIENCE_SECONDS = 15.0
"""After so long no further attempt is made."""

_CONNECTIONS = 64
_CONNECT_SECONDS = 3.0
_READ_SECONDS = 8.0

_CANCELED = "TransactionCanceledException"
_BUSY = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "Throttling",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_BUSY_REASONS = {
    "None",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "ThrottlingError",
    "TransactionConflict",
}
_DENIED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_UNREACHABLE = (HTTPClientError, NoConnection)


class Refused(Exception):
    """Conditions did not hold, and nothing was written; by place, whether a write's was one."""

    def __init__(self, failed: Sequence[bool], found: Sequence[Item | None]) -> None:
        super().__init__("conditions did not hold")
        self.failed = failed
        self.found = found
        """What is there, of those whose conditions did not hold."""


class _Unprocessed(Exception):
    """The table did only some of what was asked."""


class DynamoTable:
    """A table, by its address; may be used by several threads, of one process.

    All methods raise ``StoreUnavailable``, ``AccessDenied`` and ``StoreError``, with no value in
    them.
    """

    def __init__(self, address: DynamoAddress) -> None:
        """Raises ``UsageError`` if nothing says which region it is in. Does no I/O."""
        self.address = address
        self._client = self._asking(lambda: _client(address))

    def transact(self, writes: Sequence[Write]) -> None:
        """Do all or nothing, once. Raises ``Refused`` if a condition does not hold."""
        actions, token = [write.action(self.address.table) for write in writes], str(uuid.uuid4())
        try:
            self._ask("transact_write_items", TransactItems=actions, ClientRequestToken=token)
        except ClientError as error:
            raise _refusal(error) from None

    def get(self, key: Key) -> Item | None:
        answer = self._ask("get_item", self._named(Key=wire_key(key), ConsistentRead=True))
        return read_item(answer["Item"]) if answer.get("Item") else None

    def get_all(self, keys: Sequence[Key]) -> list[Item]:
        """The items of those keys that are there, in the order of the keys."""
        found: dict[Key, Item] = {}
        for start in range(0, len(keys), _MOST_READ):
            found.update(self._get_some(keys[start : start + _MOST_READ]))
        return [found[key] for key in keys if key in found]

    def query(self, condition: str, index: str | None = None, **options: Any) -> Iterator[Item]:
        """Items in the order of their sort keys; pages are fetched as they are needed.

        Options: ``values``, ``filtered`` (a condition that they have to meet), ``newest_first``
        and ``page`` (how many are looked at in one request).
        """
        for answer in self._pages(self._question(condition, index, **options)):
            yield from map(read_item, answer["Items"])

    def count(self, condition: str, index: str | None = None, **options: Any) -> int:
        """How many items ``query`` would give."""
        question = {**self._question(condition, index, **options), "Select": "COUNT"}
        return sum(answer["Count"] for answer in self._pages(question))

    def add(self, write: Write) -> Item:
        """Do an update at once, without a condition, and give its attributes as they are now.

        It may be done twice if an answer is lost.
        """
        request = self._named(**write.arguments(), ReturnValues="UPDATED_NEW")
        return read_item(self._ask("update_item", request)["Attributes"])

    def delete_all(self, keys: Iterable[Key]) -> None:
        """Delete items, without a condition; repeatable."""
        wanted = list(keys)
        for start in range(0, len(wanted), _MOST_DELETED):
            some = wanted[start : start + _MOST_DELETED]
            self._delete_some([{"DeleteRequest": {"Key": wire_key(key)}} for key in some])

    def description(self) -> dict[str, Any] | None:
        """What DynamoDB says of the table, None if there is none."""
        return self._retried(self._description)

    def create(self, request: Mapping[str, Any]) -> None:
        """Make the table. No error if somebody else has just made it."""
        exists = self._client.exceptions.ResourceInUseException

        def attempt() -> None:
            with suppress(exists):
                self._client.create_table(**request)

        self._retried(attempt)

    def close(self) -> None:
        self._client.close()

    def _ask(self, what: str, request: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """A request, again if it met something that passes; one refused is a ``ClientError``."""
        method = getattr(self._client, what)
        return self._retried(lambda: method(**(request or {}), **more))

    def _description(self) -> dict[str, Any] | None:
        try:
            found = self._client.describe_table(TableName=self.address.table)
        except self._client.exceptions.ResourceNotFoundException:
            return None
        return dict(found["Table"])

    def _get_some(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """All of these, though the table may give them a few at a time."""
        found: dict[Key, Item] = {}
        wanted = {"Keys": [wire_key(key) for key in dict.fromkeys(keys)], "ConsistentRead": True}
        request = {self.address.table: wanted}

        def attempt() -> None:
            nonlocal request
            answer = self._client.batch_get_item(RequestItems=request)
            items = map(read_item, answer["Responses"].get(self.address.table, ()))
            found.update((key_of(item), item) for item in items)
            request = answer.get("UnprocessedKeys") or {}
            if request:
                raise _Unprocessed

        self._retried(attempt)
        return found

    def _delete_some(self, requests: list[dict[str, Any]]) -> None:
        request = {self.address.table: requests}

        def attempt() -> None:
            nonlocal request
            request = self._client.batch_write_item(RequestItems=request).get("UnprocessedItems")
            if request:
                raise _Unprocessed

        self._retried(attempt)

    def _question(
        self,
        condition: str,
        index: str | None,
        *,
        values: Mapping[str, Value],
        filtered: str = "",
        newest_first: bool = False,
        page: int | None = None,
    ) -> dict[str, Any]:
        return self._named(
            KeyConditionExpression=condition,
            ScanIndexForward=not newest_first,
            **expression_terms(f"{condition} {filtered}", values),
            **({"ConsistentRead": True} if index is None else {"IndexName": index}),
            **({"FilterExpression": filtered} if filtered else {}),
            **({"Limit": page} if page else {}),
        )

    def _pages(self, question: dict[str, Any]) -> Iterator[Any]:
        answer = self._ask("query", question)
        yield answer
        while "LastEvaluatedKey" in answer:
            answer = self._ask("query", question, ExclusiveStartKey=answer["LastEvaluatedKey"])
            yield answer

    def _named(self, **request: Any) -> dict[str, Any]:
        return {"TableName": self.address.table, **request}

    def _retried(self, work: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(_PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=0.02, max=1.0),
            reraise=True,
        )
        return self._asking(lambda: retrying(work))

    def _asking(self, work: Callable[[], T]) -> T:
        """Turn what the SDK raises into the store's errors, but for a condition's refusal."""
        try:
            return work()
        except ClientError as error:
            if _is_refusal(error):
                raise
            raise self._answered(error) from None
        except BotoCoreError as error:
            raise self._failed(error) from None
        except _Unprocessed:
            raise StoreUnavailable(f"{self._name}: it is throttled: raise its capacity") from None

    @property
    def _name(self) -> str:
        return f"state store {self.address}"

    def _answered(self, error: Any) -> StoreError:
        code = code_of(error)
        if code in _DENIED:
            return AccessDenied(f"{self._name} answered {code}: check the credentials and rights")
        if _is_passing(error):
            return StoreUnavailable(f"{self._name} answered {code} to every attempt")
        if code == "ResourceNotFoundException":
            return StoreError(f"{self._name}: there is no such table, or not as it has to be")
        return StoreError(f"{self._name} answered {code}")

    def _failed(self, error: Any) -> StoreError | UsageError:
        kind = type(error).__name__
        if isinstance(error, NoRegionError):
            return UsageError("state.url: nothing says in which region: add ?region=REGION")
        if isinstance(error, _NO_CREDENTIALS):
            return AccessDenied(f"{self._name}: no usable credentials ({kind}): set them up")
        if isinstance(error, _UNREACHABLE):
            return StoreUnavailable(f"{self._name} gave no whole answer to any attempt ({kind})")
        return StoreError(f"{self._name}: the request cannot be made ({kind})")


def code_of(error: Any) -> str:
    """DynamoDB's code of a ``ClientError``; of a canceled transaction, one that says why."""
    code = str(error.response.get("Error", {}).get("Code", "unknown"))
    others = sorted(set(_reasons(error)) - {"None"})
    return others[0] if code == _CANCELED and others else code


def _reasons(error: Any) -> list[str]:
    return [str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())]


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, ClientError) and "ConditionalCheckFailed" in _reasons(error)


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may fare better later."""
    if isinstance(error, ClientError):
        return _is_busy(error)
    return isinstance(error, (*_UNREACHABLE, _Unprocessed))


def _is_busy(error: Any) -> bool:
    if error.response.get("Error", {}).get("Code") == _CANCELED:
        return bool(_reasons(error)) and set(_reasons(error)) <= _BUSY_REASONS
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status >= 500 or code_of(error) in _BUSY


def _refusal(error: Any) -> Refused:
    reasons = error.response["CancellationReasons"]
    failed = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
    found = [read_item(reason["Item"]) if reason.get("Item") else None for reason in reasons]
    return Refused(failed, found)


def _client(address: DynamoAddress) -> Any:
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
    )
    session = boto3.session.Session(region_name=address.region)
    client = session.client("dynamodb", endpoint_url=address.endpoint, config=config)
    client.meta.events.register("before-parse.dynamodb", _check_whole)
    return client


def _check_whole(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse an answer that is not whole; the SDK itself takes it for one without items."""
    body, headers = response_dict["body"], response_dict["headers"]
    length, checksum = headers.get("Content-Length"), headers.get("x-amz-crc32")
    whole = length is None or len(body) == int(length)
    if not whole or (checksum is not None and zlib.crc32(body) != int(checksum)):
        raise ConnectionClosedError(endpoint_url="")
