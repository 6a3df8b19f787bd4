"""Hypothesis strategies of images: valid attributes for every kind of field, and unknown ones."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from schemas.fields import (
    BooleanKind,
    BytesKind,
    DateKind,
    DecimalKind,
    EnumKind,
    Field,
    FloatKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    RecordKind,
    RecordType,
    StringKind,
    TimestampKind,
)

Attributes = st.SearchStrategy[dict[str, Any]]

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    # What a count of keys may mistake for one.
    st.sampled_from(['"a":{"S":"b"}', 'x" :', " : ", ":", '"', "\\", '"type":{"S":"sale"}', "a\\"]),
)


def whole_numbers(bits: int) -> st.SearchStrategy[str]:
    most = 2 ** (bits - 1) - 1
    return st.one_of(
        st.integers(-most - 1, most).map(str),
        st.integers(0, 99).map(lambda n: f"+{n}"),
        st.integers(0, 99).map(lambda n: f"00{n}.0"),
        st.integers(0, 9).map(lambda n: f"{n}E+2"),
    )


def decimals(kind: DecimalKind) -> st.SearchStrategy[str]:
    most = 10**kind.precision - 1
    return st.integers(-most, most).map(lambda n: format(Decimal(n).scaleb(-kind.scale), "f"))


moments = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
instants = st.one_of(
    moments.map(lambda m: {"S": m.isoformat().replace("+00:00", "Z")}),
    moments.map(lambda m: {"S": m.isoformat(" ")}),
    moments.map(lambda m: {"S": m.replace(microsecond=0).isoformat() + "+05:30"}).map(
        lambda a: {"S": a["S"].replace("+00:00+05:30", "+05:30")}
    ),
    st.integers(-(10**12), 10**14).map(lambda n: {"N": str(n)}),
)


def attribute(kind: Kind) -> Attributes:
    """Valid attribute values of a kind."""
    match kind:
        case StringKind():
            return texts.map(lambda text: {"S": text})
        case EnumKind(_, symbols):
            return st.sampled_from(symbols).map(lambda text: {"S": text})
        case BooleanKind():
            return st.booleans().map(lambda value: {"BOOL": value})
        case BytesKind():
            return st.binary(max_size=6).map(lambda b: {"B": base64.b64encode(b).decode()})
        case IntegerKind(bits):
            return whole_numbers(bits).map(lambda text: {"N": text})
        case FloatKind():
            return st.floats(-1e100, 1e100).map(lambda number: {"N": repr(number)})
        case DecimalKind():
            return decimals(kind).map(lambda text: {"N": text})
        case TimestampKind():
            return instants
        case DateKind():
            return moments.map(lambda m: {"S": m.date().isoformat()})
        case ListKind(item, nullable):
            return _lists(item, nullable)
        case MapKind(value, nullable):
            members = st.dictionaries(texts, _maybe_null(value, nullable), max_size=3)
            return members.map(lambda entries: {"M": entries})
        case RecordKind(_, fields):
            return members_of(fields).map(lambda entries: {"M": entries})


def _maybe_null(kind: Kind, nullable: bool) -> Attributes:
    return st.one_of(attribute(kind), st.just({"NULL": True})) if nullable else attribute(kind)


def _lists(item: Kind, nullable: bool) -> Attributes:
    plain: Attributes = st.lists(_maybe_null(item, nullable), max_size=3).map(lambda i: {"L": i})
    tag = {StringKind: "SS", IntegerKind: "NS", DecimalKind: "NS"}.get(type(item))
    if tag is None:
        return plain
    bare = attribute(item).map(lambda value: next(iter(value.values())))
    return st.one_of(plain, st.lists(bare, min_size=1, max_size=3).map(lambda i: {tag: i}))


def members_of(fields: tuple[Field, ...]) -> Attributes:
    required = {f.source: attribute(f.kind) for f in fields if not f.nullable}
    optional = {f.source: _maybe_null(f.kind, True) for f in fields if f.nullable}
    return st.fixed_dictionaries(required, optional=optional)


any_attribute: Attributes = st.recursive(
    st.one_of(
        texts.map(lambda text: {"S": text}),
        st.integers().map(lambda n: {"N": str(n)}),
        st.just({"NULL": True}),
        st.lists(texts, min_size=1, max_size=2).map(lambda items: {"SS": items}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda items: {"L": items}),
        st.dictionaries(texts, inner, max_size=2).map(lambda entries: {"M": entries}),
    ),
    max_leaves=4,
)

unknown_members = st.dictionaries(texts.map(lambda name: f"x {name}"), any_attribute, max_size=2)


@st.composite
def images(draw: st.DrawFn, record_type: RecordType) -> dict[str, Any]:
    """A valid image of a type, its attributes in any order, some of them unknown."""
    known = draw(members_of(record_type.image_fields))
    image = {**known, "type": {"S": record_type.name}, **draw(unknown_members)}
    return dict(draw(st.permutations(list(image.items()))))
