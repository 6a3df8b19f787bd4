"""Small batches of rows, made through the real decoder."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from schemas.changes import Block, ChangeBatch, InputFormat
from schemas.registry import Registry, load_registry
from transforms.compute import compute_fields
from transforms.decode import Decoder
from transforms.mark import mark_changes
from transforms.validate import validate

REGISTRY: Registry = load_registry()


def event(number: int, updated: str, **changes: Any) -> bytes:
    """A change record of a show."""
    image = {
        "id": {"S": f"E-{number}"},
        "type": {"S": "event"},
        "version": {"N": "1"},
        "createdAt": {"S": "2026-01-01T00:00:00Z"},
        "updatedAt": {"S": updated},
        "name": {"S": f"Show {number}"},
        "venueId": {"S": "V-1"},
        "startsAt": {"S": "2026-03-01T19:00:00Z"},
        "onSale": {"BOOL": True},
        "capacity": {"N": "100"},
        **changes,
    }
    record = {
        "eventID": f"change-{number}",
        "eventName": "INSERT",
        "dynamodb": {"ApproximateCreationDateTime": 1767312000000, "NewImage": image},
    }
    return json.dumps(record, separators=(",", ":")).encode()


def sale(number: int, email: str) -> bytes:
    return event(
        number,
        "2026-01-02T10:00:00Z",
        type={"S": "sale"},
        orderId={"S": "O-1"},
        userId={"S": f"U-{number}"},
        email={"S": email},
        quantity={"N": "1"},
        total={"N": "9.50"},
        currency={"S": "EUR"},
        soldAt={"S": "2026-01-02T10:00:00Z"},
    )


def block(documents: list[bytes], source: str = "file", start: int = 0) -> Block:
    lengths = np.array([len(document) + 1 for document in documents], np.int64)
    starts = start + np.cumsum(lengths) - lengths
    end = start + int(lengths.sum())
    return Block(source, InputFormat.CHANGE, documents, start, end, starts)


def batch(documents: list[bytes], source: str = "file", start: int = 0) -> ChangeBatch:
    """The documents decoded, validated, marked and computed."""
    decoded = Decoder(REGISTRY).decode(block(documents, source, start))
    return compute_fields(mark_changes(validate(decoded)))
