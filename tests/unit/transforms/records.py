"""Change records as text, and what becomes of them."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from schemas.changes import Block, ChangeBatch, InputFormat
from schemas.fields import RecordType
from schemas.registry import Registry, build_record_type, load_registry
from transforms.decode import Decoder, UnknownFields
from transforms.validate import validate

REGISTRY = load_registry()
DECODER = Decoder(REGISTRY)

DEMAND: dict[str, Any] = {
    "id": {"S": "D-1"},
    "type": {"S": "demand"},
    "version": {"N": "1"},
    "createdAt": {"S": "2026-01-02T03:04:05Z"},
    "updatedAt": {"S": "2026-01-02T03:04:05Z"},
    "eventId": {"S": "tm-1"},
    "userId": {"S": "u-1"},
    "email": {"S": "ana@example.com"},
    "quantity": {"N": "2"},
    "maxPrice": {"N": "99.50"},
    "currency": {"S": "EUR"},
    "sections": {"L": [{"S": "A"}, {"S": "B"}]},
    "status": {"S": "OPEN"},
}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def demand(**changes: Any) -> str:
    """A demand's image, with attributes changed; one changed to None is left out."""
    image = {**DEMAND, **changes}
    return compact({name: value for name, value in image.items() if value is not None})


def change(image: str, event: str = "INSERT", **members: Any) -> bytes:
    """A change record around an image's text, with more members in its envelope."""
    place = "OldImage" if event == "REMOVE" else "NewImage"
    head = compact({"eventID": "c-1", "eventName": event, **members})[:-1]
    keys = '"Keys":{"id":{"S":"D-1"}}'
    return f'{head},"dynamodb":{{{keys},"{place}":{image}}}}}'.encode()


def kinesis_event(records: Iterable[bytes]) -> bytes:
    wrapped = [
        {"kinesis": {"partitionKey": "p", "data": base64.b64encode(record).decode()}}
        for record in records
    ]
    return compact({"Records": wrapped}).encode()


def stream_event(records: Iterable[bytes]) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"


def block(*documents: bytes, fmt: InputFormat = InputFormat.CHANGE) -> Block:
    starts = np.cumsum([0, *(len(document) + 1 for document in documents)])
    return Block("file", fmt, list(documents), 0, int(starts[-1]), starts[:-1])


def decode(
    *documents: bytes,
    fmt: InputFormat = InputFormat.CHANGE,
    policy: UnknownFields = UnknownFields.KEEP,
) -> ChangeBatch:
    decoder = DECODER if policy is UnknownFields.KEEP else Decoder(REGISTRY, None, policy)
    return decoder.decode(block(*documents, fmt=fmt))


def deliver(*documents: bytes, registry: Registry = REGISTRY) -> ChangeBatch:
    """Decoded and validated."""
    return validate(Decoder(registry).decode(block(*documents)))


def codes(batch: ChangeBatch) -> list[str]:
    """The error codes of the rejects, by where they stood."""
    ordered = sorted(batch.rejects, key=lambda reject: reject.origin)
    return [reject.fault.code.value for reject in ordered]


def faults(batch: ChangeBatch) -> Counter[tuple[str, str | None]]:
    return Counter((reject.fault.code.value, reject.fault.field) for reject in batch.rejects)


def column(batch: ChangeBatch, name: str) -> list[Any]:
    (changes,) = batch.typed
    return list(changes.columns[name].to_pylist())


def type_with(*fields: dict[str, Any]) -> RecordType:
    """A record type ``probe`` with these fields besides those that every type has."""
    instant = {"type": "long", "logicalType": "timestamp-micros"}
    own = [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "updated_at", "source": "updatedAt", "type": instant, "partition": True},
    ]
    return build_record_type({"type": "record", "name": "probe", "fields": [*own, *fields]})


def probe(**attributes: Any) -> bytes:
    """A change of type ``probe``."""
    image = {
        "id": {"S": "1"},
        "type": {"S": "probe"},
        "version": {"N": "1"},
        "updatedAt": {"S": "2026-01-02T03:04:05Z"},
        **attributes,
    }
    return change(compact(image))
