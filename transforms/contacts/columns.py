"""Columns: what a table of results looks like, when it is known only as results come.

The table's own columns come first, then ``contact.<field>``, then ``enrichment.<field>``, each in
the order in which the fields were first seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from schemas.contacts import BatchSummary, Result

OWN = ("line", "id", "status", "reason", "field")

Kinds = Mapping[str, tuple[str, ...]]
"""Names with the kinds of values seen under them: bool, int, float or text."""

_ARROW = {
    ("bool",): pa.bool_(),
    ("int",): pa.int64(),
    ("float",): pa.float64(),
    ("float", "int"): pa.float64(),
}
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_SIGNED_NUMBER = re.compile(r"[+-]\d+(\.\d+)?")


def summary_of(results: Iterable[Result], with_columns: bool) -> BatchSummary:
    """The counts of a finished batch; its columns only ``with_columns``, as finding them costs."""
    contacts, by_reason = 0, dict[str, int]()
    contact_columns, enrichment_columns = dict[str, set[str]](), dict[str, set[str]]()
    for result in results:
        contacts += 1
        if result.reason is not None:
            by_reason[result.reason] = by_reason.get(result.reason, 0) + 1
        if with_columns:
            _note(contact_columns, _decoded(result.contact))
            _note(enrichment_columns, result.enrichment)
    return BatchSummary(contacts, by_reason, _kinds(contact_columns), _kinds(enrichment_columns))


def _decoded(contact: Any) -> Mapping[str, Any] | None:
    return msgspec.json.decode(contact) if isinstance(contact, msgspec.Raw) else contact


def merged(first: Kinds, second: Kinds) -> dict[str, tuple[str, ...]]:
    """The columns of two pieces of a table."""
    names = dict.fromkeys([*first, *second])
    return {name: tuple(sorted({*first.get(name, ()), *second.get(name, ())})) for name in names}


def arrow_schema(contact: Kinds, enrichment: Kinds) -> pa.Schema:
    """The Arrow schema of a table: a column of one kind of values has its type, else text."""
    own = [pa.field(name, pa.int64() if name == "line" else pa.string()) for name in OWN]
    fields = [
        pa.field(f"{side}.{name}", _ARROW.get(seen, pa.string()))
        for side, kinds in (("contact", contact), ("enrichment", enrichment))
        for name, seen in kinds.items()
    ]
    return pa.schema(own + fields)


def arrow_values(results: list[Result], contact: Kinds, enrichment: Kinds) -> list[list[Any]]:
    """The values of the columns of ``arrow_schema``, column by column."""
    own = [[getattr(result, name) for result in results] for name in OWN]
    return [
        *own,
        *(_values([result.contact for result in results], contact)),
        *(_values([result.enrichment for result in results], enrichment)),
    ]


def csv_row(result: Result, contact: Kinds, enrichment: Kinds) -> list[str]:
    """The cells of a result; none of them is a formula to a spreadsheet."""
    own = [_cell(getattr(result, name)) for name in OWN]
    sides = ((result.contact, contact), (result.enrichment, enrichment))
    return own + [_cell((side or {}).get(name)) for side, kinds in sides for name in kinds]


def csv_header(contact: Kinds, enrichment: Kinds) -> list[str]:
    """The names of the columns, as harmless as the cells."""
    sides = (("contact", contact), ("enrichment", enrichment))
    return [*OWN, *(f"{side}.{name}" for side, kinds in sides for name in kinds)]


def neutralised(text: str) -> str:
    """The text behind an apostrophe if a spreadsheet would compute it, as OWASP's "CSV Injection"
    advises. A signed number, such as a telephone number, is none."""
    if text.startswith(_FORMULA) and not _SIGNED_NUMBER.fullmatch(text):
        return "'" + text
    return text


def restored(cell: str) -> str:
    """A cell as it was before it was ``neutralised``."""
    return cell[1:] if cell.startswith("'") and cell.startswith(_FORMULA, 1) else cell


def _note(columns: dict[str, set[str]], values: Mapping[str, Any] | None) -> None:
    for name, value in (values or {}).items():
        kinds = columns.setdefault(name, set())
        if value is not None:
            kinds.add(_kind(value))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and _SMALLEST <= value <= _LARGEST:
        return "int"
    return "float" if isinstance(value, float) else "text"


def _kinds(columns: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(kinds)) for name, kinds in columns.items()}


def _values(sides: list[dict[str, Any] | None], kinds: Kinds) -> list[list[Any]]:
    return [
        _column([(side or {}).get(name) for side in sides], _ARROW.get(seen))
        for name, seen in kinds.items()
    ]


def _column(values: list[Any], kind: pa.DataType | None) -> list[Any]:
    """The values of a column of this type, of text if it is None.

    An integer that no double is becomes the nearest one, as it does to most who read JSON.
    """
    if kind is None:
        return [value if value is None else _text(value) for value in values]
    if kind == pa.float64():
        return [value if value is None else float(value) for value in values]
    return values


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return neutralised(value) if isinstance(value, str) else _text(value)
