"""Producers: how the change records of a source are written, learned from a few of them.

A producer writes the members of its records in an order of its own, and adds some to their
envelopes. ``Habits`` keeps what was seen: the order of members, by object, and what members that
are not read look like. From it come the shapes that a walk in lockstep expects. What was learned
decides how fast records are read, never what is made of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from schemas.fields import Field, Kind, ListKind, RecordKind
from transforms.columns import ImageReader
from transforms.envelopes import identity_is_ttl
from transforms.keys import is_plain_name
from transforms.lockstep import (
    Finds,
    Hole,
    Key,
    Literal,
    Mask,
    Places,
    Spans,
    Template,
    Text,
    Walk,
    template,
)
from transforms.shapes import ITEM, Forms, ImageShape, Member, members_in_order, walk_members

EVENT_NAME, CHANGE_ID, BY_TTL = "eventName", "eventID", "by ttl"
TIME = "ApproximateCreationDateTime"
"""Keys under which a walk finds what is read of an envelope; an event's is with its name."""

EVENTS = ("INSERT", "MODIFY", "REMOVE")
_IMAGES = ("NewImage", "OldImage")
_TYPE_MARK = b'"type":{"S":"'
_MOST_NAMES = 64
"""Members of an envelope that are learned."""
_MOST_VARIANTS = 4
"""How many ways to write a member that is not read are learned."""
_LONGEST_VARIANT = 512
_MOST_PLACES = 4
"""In how many places an image's type is looked for."""
_SAMPLE_ITEMS = 4
_ENVELOPE, _STREAM = ("envelope",), ("dynamodb",)
_IDENTITY = (*_ENVELOPE, "userIdentity")

_PART = re.compile(
    rb'"[^"]*"\s*:|(?P<STRING>"[^"]*")|(?P<NUMBER>(?:0|[1-9][0-9]*)(?=[,\]}\s]|\Z))|[-+.\w]+'
)
"""Names of members, strings, plain whole numbers, and other words."""
_EMPTY = Literal(b"")
_NOTHING = Template((_EMPTY,))
"""The form of what is walked over from its very beginning."""
_EVENT_FORMS = Forms([template(b'"%s"' % name.encode(), key=(EVENT_NAME, name)) for name in EVENTS])
_REQUIRED = ("eventName", "dynamodb")
"""What a change record must have; in this order, for the event tells which image is delivered."""

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Habits:
    """How change records were seen to be written."""

    def __init__(self, readers: Mapping[str, ImageReader]) -> None:
        self.readers = readers
        self.orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.variants: dict[tuple[str, ...], tuple[Template, ...]] = defaultdict(tuple)
        self.type_places: dict[str, tuple[int, ...]] = defaultdict(tuple)
        self.version = 0

    def learn(self, documents: Iterable[bytes]) -> None:
        """Learn from change records; from those that are none, nothing."""
        for document in documents:
            try:
                self._learn(document)
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError):
                continue

    def _learn(self, document: bytes) -> None:
        members = _decode_members(document)
        stream = _decode_members(members["dynamodb"])
        if b"\\" in document or len(members) + len(stream) > _MOST_NAMES:
            return
        self._learn_order(_ENVELOPE, members)
        self._learn_order(_STREAM, stream)
        for name, raw in members.items():
            self._learn_variant((*_ENVELOPE, name), bytes(raw))
        for name, raw in stream.items():
            if name in _IMAGES:
                self._learn_image(bytes(raw))
            else:
                self._learn_variant((*_STREAM, name), bytes(raw))

    def _learn_order(self, path: tuple[str, ...], names: Iterable[str]) -> None:
        order = merged(self.orders.get(path, ()), filter(is_plain_name, names))
        if order != self.orders.get(path) and len(order) <= _MOST_NAMES:
            self.orders[path] = order
            self.version += 1

    def _learn_variant(self, path: tuple[str, ...], raw: bytes) -> None:
        """How a member is written that is not read, and those of which only a few are expected."""
        form = _identity_form(raw) if path == _IDENTITY else _skeleton(raw)
        known = self.variants[path]
        if form is None or form in known or len(known) == _MOST_VARIANTS:
            return
        self.variants[path] = (*known, form)
        self.version += 1

    def _learn_image(self, raw: bytes) -> None:
        image = msgspec.json.decode(raw)
        name = image["type"]["S"]
        fields = self.readers[name].fields
        self._learn_place(name, raw.index(_TYPE_MARK + name.encode() + b'"'), raw)
        self._learn_members((name,), image, fields)

    def _learn_place(self, name: str, at: int, raw: bytes) -> None:
        """Where in its image a type stands, in quotes before it."""
        place, known = raw.count(b'"', 0, at), self.type_places[name]
        if place not in known and len(known) < _MOST_PLACES:
            self.type_places[name] = (*known, place)
            self.version += 1

    def _learn_members(
        self, path: tuple[str, ...], members: Mapping[str, Any], fields: Iterable[Field]
    ) -> None:
        kinds = {field.source: field.kind for field in fields}
        self._learn_order(path, (name for name in members if name in kinds))
        for name, attribute in members.items():
            if name in kinds:
                self._learn_nested((*path, name), attribute, kinds[name])

    def _learn_nested(self, path: tuple[str, ...], attribute: Any, kind: Kind) -> None:
        match kind, attribute:
            case RecordKind(_, fields), {"M": dict(members)}:
                self._learn_members(path, members, fields)
            case ListKind(item), {"L": list(items)}:
                for entry in items[:_SAMPLE_ITEMS]:
                    self._learn_nested((*path, ITEM), entry, item)


def _skeleton(raw: bytes) -> Template | None:
    """The text of a value with holes in place of the strings and numbers in it."""
    if len(raw) > _LONGEST_VARIANT:
        return None
    literals, holes, at = [], [], 0
    for part in _PART.finditer(raw):
        if part.lastgroup is not None:
            hole = Hole[part.lastgroup]
            inner = int(hole is Hole.STRING)
            holes.append((hole, None))
            literals.append(Literal(raw[at : part.start() + inner]))
            at = part.end() - inner
    return Template((*literals, Literal(raw[at:])), tuple(holes))


def _identity_form(raw: bytes) -> Template | None:
    """An identity as it is, word for word, if it surely says who it is."""
    by_ttl = identity_is_ttl(raw)
    if by_ttl is None or len(raw) > _LONGEST_VARIANT:
        return None
    return Template((Literal(raw),), key=BY_TTL if by_ttl else None)


def merged(order: Sequence[str], names: Iterable[str]) -> tuple[str, ...]:
    """An order with more names, each put after the one that it follows."""
    result, at = list(order), 0
    for name in names:
        if name not in result:
            result.insert(at, name)
        at = result.index(name) + 1
    return tuple(result)


class ChangeShape:
    """What a change record looks like, by the habits of producers."""

    def __init__(self, habits: Habits) -> None:
        self.images = {
            name: ImageShape(habits.readers[name], (name,), habits.orders, name)
            for name in habits.type_places
        }
        order = habits.orders.get(_ENVELOPE, ())
        stream = _Stream(habits, _Items(habits.type_places, self.images))
        forms = {
            **{name: Forms(habits.variants[(*_ENVELOPE, name)]) for name in order},
            "eventName": _EVENT_FORMS,
            "eventID": Forms([template(b'"', b'"', key=CHANGE_ID)]),
            "dynamodb": Forms([_NOTHING], {_NOTHING: stream.walk}),
        }
        self._members = members_in_order([(name, forms[name], name in _REQUIRED) for name in order])
        self._is_walkable = list(filter(_REQUIRED.__contains__, order)) == list(_REQUIRED)

    def walk(self, text: Text) -> Finds:
        """What is found in those documents that are change records of this shape."""
        walk = Walk.begin(text)
        if not self._is_walkable:
            walk.give_up()
        walk_members(self._members, walk)
        return walk.finds.within(walk.at == text.ends)


class _Stream:
    """The member ``dynamodb``, in which the images are."""

    def __init__(self, habits: Habits, items: _Items) -> None:
        order = habits.orders.get(_STREAM, ())
        place = min((order.index(name) for name in _IMAGES if name in order), default=len(order))
        forms = {name: Forms(habits.variants[(*_STREAM, name)]) for name in order}
        forms[TIME] = Forms([Template((_EMPTY, _EMPTY), ((Hole.NUMBER, TIME),))])
        self._before = members_in_order([(name, forms[name], False) for name in order[:place]])
        self._images = _Images(items, follows=len(self._before) > 0)
        self._after = [
            Member(name, forms[name], False, leads=False, follows=True)
            for name in order[place:]
            if forms[name].forms
        ]

    def walk(self, walk: Walk) -> None:
        walk_members([*self._before, self._images, *self._after], walk)


class _Images:
    """The image that is delivered, and after it perhaps the other, of which nothing is kept.

    The old image of a removal is delivered, and of all other events the new one.
    """

    def __init__(self, items: _Items, follows: bool) -> None:
        forms = Forms([_NOTHING])
        self._items = items
        self._new = Member("NewImage", forms, False, leads=True, follows=follows)
        self._old = Member("OldImage", forms, False, leads=True, follows=follows)
        self._other = Member("OldImage", forms, False, leads=False, follows=True)

    def walk(self, walk: Walk, begun: Places) -> None:
        removed = _removed(walk)
        old = self._old.pass_over(walk, begun, removed)
        new = self._new.pass_over(walk, begun, ~removed)
        walk.need(old | new)
        self._items.walk(walk)
        other = np.flatnonzero(self._other.pass_over(walk, begun, new))
        aside = walk.part(other, Finds(walk.text))
        self._items.walk(aside)
        walk.rejoin(other, aside)


def _removed(walk: Walk) -> Mask:
    """Which of the documents are removals."""
    removals = walk.finds.spans((EVENT_NAME, "REMOVE")).begins
    flags = np.zeros(len(walk.text.starts) + 1, np.bool_)
    flags[walk.text.document(removals)] = True
    chosen: Mask = flags[walk.text.document(walk.at)]
    return chosen


class _Items:
    """An item's image, of whatever type."""

    def __init__(
        self, places: Mapping[str, Iterable[int]], images: Mapping[str, ImageShape]
    ) -> None:
        self._types = [
            (image_key(name), place, Literal(_TYPE_MARK + name.encode() + b'"'), images[name])
            for name, known in places.items()
            for place in known
        ]

    def walk(self, walk: Walk) -> None:
        """Pass over an image, which must be there, as one of the type that it seems to be."""
        left = np.flatnonzero(walk.at != walk.text.nowhere)
        first = walk.quote
        for key, place, mark, image in self._types:
            at = walk.text.quotes.take(first[left] + place, mode="clip")
            mask = walk.text.stands(mark, at)
            rows, left = left[mask], left[~mask]
            part = walk.part(rows)
            walk.finds.add(key, Spans(part.at, part.at))
            image.walk(part)
            walk.rejoin(rows, part)
        of_no_type = walk.part(left)
        of_no_type.give_up()
        walk.rejoin(left, of_no_type)


def image_key(name: str) -> Key:
    """The key under which images of a type are found."""
    return ("image", name)
