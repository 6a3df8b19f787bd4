"""The shapes in which change records reach a file, one for each input that Lethe reads.

Kinesis: "Working with DynamoDB and Kinesis Data Streams" in the DynamoDB developer guide. Lambda
events: "Using AWS Lambda with Kinesis" and "... with DynamoDB" in the Lambda developer guide.
Exports: "DynamoDB table export output format". Debezium: the change event of its connectors,
without the schema wrapper.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from runners.generate.images import Dialect
from runners.generate.records import Change

REGION = "eu-west-1"
ACCOUNT = "123456789012"
TABLE = "ticketing-prod"
_STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/ticketing-changes"
_TABLE_ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}/stream/2025-11-03T09:12:44.210"
_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/ticketing-changes"
_SHARD = "shardId-000000000000"
_BY_TTL = '{"type":"Service","principalId":"dynamodb.amazonaws.com"}'
_OPERATIONS = {"INSERT": "c", "MODIFY": "u", "REMOVE": "d"}


class FileFormat(StrEnum):
    """What a generated file can be: the inputs of ``lethe deliver``, told apart by its reader."""

    KINESIS = "kinesis"
    LAMBDA_KINESIS = "lambda-kinesis"
    LAMBDA_DYNAMODB = "lambda-dynamodb"
    EXPORT = "export"
    INCREMENTAL_EXPORT = "incremental-export"
    CONCATENATED = "concatenated"
    DEBEZIUM = "debezium"


@dataclass(frozen=True)
class Shape:
    """How one format is written.

    ``render`` gives a change record on its own. Where ``wrap`` is set, it makes that record a
    member of a Lambda event, and ``separator`` stands between events, else between records.
    """

    render: Callable[[Change], str]
    wrap: Callable[[Change, bytes], bytes] | None = None
    separator: bytes = b"\n"
    dialect: Dialect = Dialect.TYPED


def kinesis_record(change: Change) -> str:
    """A change as DynamoDB puts it on a Kinesis data stream."""
    images = _images(change)
    identity = _BY_TTL if change.by_ttl else "null"
    return (
        f'{{"awsRegion":"{REGION}","eventID":"{_uuid(change.event_id)}",'
        f'"eventName":"{change.event}","userIdentity":{identity},'
        f'"recordFormat":"application/json","tableName":"{TABLE}",'
        f'"dynamodb":{{"ApproximateCreationDateTime":{change.time_ms},'
        f'"Keys":{{"id":{{"S":"{change.id}"}}}}{images},"SizeBytes":{len(images)}}},'
        f'"eventSource":"aws:dynamodb"}}'
    )


def stream_record(change: Change) -> str:
    """A change as DynamoDB Streams hands it to a Lambda function; its time is in seconds."""
    images = _images(change)
    identity = f',"userIdentity":{_BY_TTL}' if change.by_ttl else ""
    return (
        f'{{"eventID":"{change.event_id}","eventName":"{change.event}","eventVersion":"1.1",'
        f'"eventSource":"aws:dynamodb","awsRegion":"{REGION}",'
        f'"dynamodb":{{"ApproximateCreationDateTime":{change.time_ms // 1000},'
        f'"Keys":{{"id":{{"S":"{change.id}"}}}}{images},'
        f'"SequenceNumber":"{_sequence(change):021d}","SizeBytes":{len(images)},'
        f'"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventSourceARN":"{_TABLE_ARN}"{identity}}}'
    )


def export_item(change: Change) -> str:
    """The item alone; a full export knows no deletions, so a removed one is still there."""
    return f'{{"Item":{change.new or change.old}}}'


def incremental_record(change: Change) -> str:
    return (
        f'{{"Metadata":{{"WriteTimestampMicros":{{"N":"{change.time_ms}000"}}}},'
        f'"Keys":{{"id":{{"S":"{change.id}"}}}}{_images(change)}}}'
    )


def debezium_event(change: Change) -> str:
    source = (
        f'{{"version":"3.0.0.Final","connector":"postgresql","name":"ticketing",'
        f'"ts_ms":{change.time_ms},"snapshot":"false","db":"ticketing","schema":"public",'
        f'"table":"{change.type}","txId":{change.number + 501},"lsn":{_sequence(change)}}}'
    )
    return (
        f'{{"before":{change.old or "null"},"after":{change.new or "null"},"source":{source},'
        f'"op":"{_OPERATIONS.get(change.event, "x")}","ts_ms":{change.time_ms + 120}}}'
    )


def _in_kinesis_event(change: Change, record: bytes) -> bytes:
    sequence = f"4964{_sequence(change):052d}"
    head = (
        f'{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"{change.event_id.upper()}",'
        f'"sequenceNumber":"{sequence}","data":"'
    )
    seconds, millis = divmod(change.time_ms, 1000)
    tail = (
        f'","approximateArrivalTimestamp":{seconds}.{millis:03d}}},'
        f'"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{_SHARD}:{sequence}",'
        f'"eventName":"aws:kinesis:record","invokeIdentityArn":"{_ROLE_ARN}",'
        f'"awsRegion":"{REGION}","eventSourceARN":"{_STREAM_ARN}"}}'
    )
    return head.encode() + b2a_base64(record, newline=False) + tail.encode()


def _in_stream_event(_change: Change, record: bytes) -> bytes:
    return record


def _images(change: Change) -> str:
    new = f',"NewImage":{change.new}' if change.new else ""
    return f'{new},"OldImage":{change.old}' if change.old else new


def _sequence(change: Change) -> int:
    return 100_000_000_000_000 + 137 * change.number


def _uuid(digits: str) -> str:
    """The digits as a random UUID (RFC 9562, version 4)."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


SHAPES = {
    FileFormat.KINESIS: Shape(kinesis_record),
    FileFormat.LAMBDA_KINESIS: Shape(kinesis_record, wrap=_in_kinesis_event),
    FileFormat.LAMBDA_DYNAMODB: Shape(stream_record, wrap=_in_stream_event),
    FileFormat.EXPORT: Shape(export_item),
    FileFormat.INCREMENTAL_EXPORT: Shape(incremental_record),
    FileFormat.CONCATENATED: Shape(kinesis_record, separator=b""),
    FileFormat.DEBEZIUM: Shape(debezium_event, dialect=Dialect.PLAIN),
}
