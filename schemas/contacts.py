"""Contacts: what a row of a contact file is, what becomes of it, and what may be wrong with it.

    row of the file ──> Row ──> sound: asked for at the API ──> Result enriched, or failed
                         └───> faulty: never sent ────────────> Result failed

Every row becomes one result, in the order of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

MAX_ID = 200
"""Characters of an id, at least one."""

MAX_VALUE = 10_000
"""Characters of a text."""

MAX_FIELDS = 100
"""Fields of a contact."""

MAX_ROW = 1 << 20
"""Bytes of a row as it stands in the file."""

MAX_EMAIL = 254
"""Characters of an address (RFC 5321, 4.5.3.1.3, less its angle brackets)."""

ID_FIELDS = ("id", "contactId")
"""The fields that may hold a contact's id; the first that is there does."""


class Reason(StrEnum):
    """Why a contact was not enriched."""

    INVALID_JSON = "invalid_json"
    INVALID_CSV = "invalid_csv"
    INVALID_ENCODING = "invalid_encoding"
    NOT_AN_OBJECT = "not_an_object"
    WRONG_COLUMNS = "wrong_columns"
    TOO_LONG = "too_long"
    TOO_MANY_FIELDS = "too_many_fields"
    MISSING_ID = "missing_id"
    INVALID_VALUE = "invalid_value"
    REJECTED = "rejected"
    API_ERROR = "api_error"
    API_TIMEOUT = "api_timeout"
    INVALID_ANSWER = "invalid_answer"
    NO_RESULT = "no_result"
    SUPPRESSED = "suppressed"


class Status(StrEnum):
    """What became of a contact."""

    ENRICHED = "enriched"
    FAILED = "failed"


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of a contact file; ``line`` is where it begins, counted from 1.

    A row with a ``reason`` is faulty, at ``field`` if it is one field's fault. Of a faulty row
    ``id`` and ``contact`` are there as far as they could be read. ``contact`` is a JSON object, and
    ``sent`` the one that the API gets, if that is another. ``digest`` is the XXH3 (128
    bits) of contact and reason in a canonical form, the same for the same contact in any format.
    """

    line: int
    id: str | None
    contact: msgspec.Raw | None
    reason: Reason | None = None
    field: str | None = None
    sent: msgspec.Raw | None = None
    digest: bytes = b""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of a row: a line of the output. Of an enriched one, ``reason`` is None.

    ``contact`` and ``enrichment`` are JSON objects or None; as they are read, they are decoded.
    """

    line: int
    id: str | None
    status: Status
    reason: Reason | None
    field: str | None
    contact: Any
    enrichment: Any


@dataclass(frozen=True)
class Part:
    """Rows that belong together: the batches ``first`` up to ``first + batches``.

    Where parts are read from the input itself, this one is its ``size`` bytes from ``start`` on,
    and begins at ``line``.
    """

    number: int
    first: int
    batches: int
    start: int = 0
    size: int = 0
    line: int = 1

    @property
    def numbers(self) -> range:
        """The numbers of its batches."""
        return range(self.first, self.first + self.batches)


@dataclass(frozen=True)
class InputIdentity:
    """Which bytes were read, so that another run can tell that they still are the same."""

    uri: str
    size: int
    etag: str


class ContactFormat(StrEnum):
    """What a contact file can be."""

    ARRAY = "array"
    NDJSON = "ndjson"
    CSV = "csv"


@dataclass(frozen=True)
class LineFormat:
    """How a line of a file is read on its own: NDJSON, or CSV with these columns."""

    format: ContactFormat
    header: tuple[str, ...] = ()
    delimiter: str = ","


@dataclass(frozen=True)
class EnrichmentPlan:
    """All that must not change while a file is being enriched, and what was found in it.

    ``id`` tells the plan from all others. ``batches`` hold ``batch_size`` rows each, the last
    fewer. Parts are read from the input as ``lines`` says; if that is None, they were set aside.
    ``suppresses`` says that contacts of some may have to be left out.
    """

    id: str
    input: InputIdentity
    mapping: Mapping[str, str]
    batch_size: int
    contacts: int
    batches: int
    parts: tuple[Part, ...]
    lines: LineFormat | None = None
    suppresses: bool = False


@dataclass(frozen=True)
class BatchSummary:
    """What a finished batch holds; ``columns`` are the fields seen, with their kinds of values.

    A kind is ``bool``, ``int``, ``float`` or ``text``.
    """

    contacts: int
    by_reason: Mapping[str, int] = field(default_factory=dict)
    contact_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    enrichment_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.by_reason.values())


@dataclass(frozen=True)
class EnrichmentReport:
    """What was done. ``contacts == enriched + failed``, always.

    ``batches`` are all of the file, ``kept_batches`` those that an earlier run had finished.
    ``calls`` are this run's requests to the API, repeats included; ``retries`` the repeats.
    ``digest`` is the SHA-256 of the rows' digests, in their order.
    """

    contacts: int
    enriched: int
    failed: int
    by_reason: Mapping[str, int]
    batches: int
    kept_batches: int
    calls: int
    retries: int
    seconds: float
    digest: str

    @property
    def error_rate(self) -> float:
        return self.failed / self.contacts if self.contacts else 0.0


@dataclass(frozen=True)
class Receipt:
    """What a finished run made its output of, and its report."""

    input: InputIdentity
    mapping: Mapping[str, str]
    report: EnrichmentReport
