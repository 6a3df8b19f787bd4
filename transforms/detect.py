"""Detect: which input format a file holds, from its content alone."""

from __future__ import annotations

import json
from typing import Any

from schemas.changes import InputFormat
from schemas.inputs import Framing
from transforms.framing import end_of_text

SNIFF = 256 * 1024
"""Bytes of decompressed content looked at."""

_LINES_LOOKED_AT = 50

BOM = b"\xef\xbb\xbf"


def detect_format(first: bytes) -> tuple[InputFormat, Framing]:
    """Format and framing of the file that begins with ``first``.

    Falls back to change records in lines, whose decoder names what is wrong with each.
    """
    text = first.removeprefix(BOM)
    for line in text.split(b"\n")[:_LINES_LOOKED_AT]:
        fmt = _format_of(line)
        if fmt is not None:
            return fmt, Framing.LINES
    start = len(text) - len(text.lstrip())
    stop = end_of_text(text, start)
    fmt = _format_of(text[start:stop]) if stop > 0 else None
    if fmt is not None:
        return fmt, Framing.STREAM
    return InputFormat.CHANGE, Framing.LINES


def manifest_keys(content: bytes) -> list[str] | None:
    """The data files that a DynamoDB export's ``manifest-files.json`` names; None if it is none.

    One JSON object a line, each with ``dataFileS3Key`` (Amazon DynamoDB Developer Guide,
    "DynamoDB table export output format").
    """
    keys = []
    for line in filter(None, map(bytes.strip, content.split(b"\n"))):
        value = _parse(line)
        if not isinstance(value, dict) or not isinstance(value.get("dataFileS3Key"), str):
            return None
        keys.append(value["dataFileS3Key"])
    return keys or None


def is_manifest_summary(content: bytes) -> bool:
    """Whether this is an export's ``manifest-summary.json``, which holds no records."""
    value = _parse(content)
    return isinstance(value, dict) and "manifestFilesS3Key" in value


def _format_of(text: bytes) -> InputFormat | None:
    value = _parse(text)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("Records"), list):
        return _event_format(value["Records"])
    if isinstance(value.get("dynamodb"), dict):
        return InputFormat.CHANGE
    if "Item" in value:
        return InputFormat.EXPORT
    if "Metadata" in value and "Keys" in value:
        return InputFormat.INCREMENTAL_EXPORT
    payload = value["payload"] if isinstance(value.get("payload"), dict) else value
    if "op" in payload and ("before" in payload or "after" in payload):
        return InputFormat.DEBEZIUM
    return None


def _event_format(records: list[Any]) -> InputFormat | None:
    for record in records:
        if isinstance(record, dict) and "kinesis" in record:
            return InputFormat.LAMBDA_KINESIS
        if isinstance(record, dict) and "dynamodb" in record:
            return InputFormat.LAMBDA_DYNAMODB
    return None


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
