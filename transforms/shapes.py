"""Shapes: what attribute values, images and nested records look like to a walk in lockstep.

A shape is made from a field's reader (``transforms.columns``) and from the order in which
producers were seen to write attributes. It walks over the field in many images at once, and makes
of what was found the same column that the reader makes of decoded values.

Where values are nested, what was found in one is told by its place: it lies between the place of
its container and the place of the next. So columns are made for the ``places`` of containers.

Maps have no shape, their keys being data. Where one stands in an image, or anything else that is
not expected, the walk does not come to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import groupby
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from schemas.arrow import TIMESTAMP, arrow_type
from schemas.changes import ErrorCode
from transforms.columns import (
    Column,
    ImageReader,
    ListReader,
    Reader,
    RecordReader,
    RowFault,
    ScalarReader,
    TimeReader,
    faults_within,
)
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
from transforms.values import LATEST_MICROS, iso_of_millis

Path = tuple[str, ...]
Orders = Mapping[Path, Sequence[str]]
"""How the members of images and nested records follow each other, by path."""

ITEM = "[]"
"""Stands in a path for the items of a list."""

_MOST_ITEMS = 64
"""Items of a list that are walked over; documents with longer lists are read otherwise."""

_TAG = len('S":"')
"""From a scalar's type tag to its value."""
_CLOSING = template(b"}}")
_COMMA, _END, _END_OF_LIST = Literal(b","), Literal(b"}"), Literal(b"]}")


class Forms:
    """What may stand somewhere: one of ``forms``, after some of which more is to be walked."""

    def __init__(
        self,
        forms: Sequence[Template],
        within: Mapping[Template, Callable[[Walk], None]] = MappingProxyType({}),
    ) -> None:
        self.forms = tuple(forms)
        self.within = within

    def walk(self, walk: Walk) -> None:
        """Pass over a value, which must be there."""
        anywhere = np.ones(len(walk.at), np.bool_)
        walk.need(self.pass_over(walk, self.forms, anywhere))

    def pass_over(self, walk: Walk, forms: Sequence[Template], among: Mask) -> Mask:
        """Pass over a value where it stands in one of ``forms``, which are this shape's own.

        Only ``among`` some documents; says in which of them it stood.
        """
        left = among
        for form, own in zip(forms, self.forms, strict=True):
            if not np.count_nonzero(left):
                break
            mask = walk.fill(form, left)
            if own in self.within:
                _walk_within(walk, mask, self.within[own])
            left = left & ~mask
        return among & ~left


class Shape(Forms):
    """What an attribute value may look like, and how a column is made of what was found."""

    def places(self, finds: Finds) -> Places:
        """Where values of this shape were found, in order."""
        return finds.spans(*(form.place for form in self.forms)).begins

    def column(self, finds: Finds, places: Places) -> Column:
        """The values found in the containers at these places, at most one in each.

        ``finds`` are those of documents that were walked over to their ends.
        """
        raise NotImplementedError


def _walk_within(walk: Walk, mask: Mask, inner: Callable[[Walk], None]) -> None:
    rows = np.flatnonzero(mask)
    if len(rows):
        part = walk.part(rows)
        inner(part)
        walk.rejoin(rows, part)


class Member:
    """A named value in an object, which it may begin or not, or either."""

    def __init__(self, name: str, shape: Forms, required: bool, leads: bool, follows: bool) -> None:
        label = b'"%s":' % name.encode()
        self._shape = shape
        self._required = required
        self._leading = [form.after(b"{" + label) for form in shape.forms] if leads else []
        self._following = [form.after(b"," + label) for form in shape.forms] if follows else []

    @property
    def usual(self) -> Template | None:
        """The form that the member nearly always has, if there is such a form."""
        form, own = (self._following or self._leading)[0], self._shape.forms[0]
        is_usual = self._required or len(self._shape.forms) == 1
        return form if is_usual and own.key is None and own not in self._shape.within else None

    def walk(self, walk: Walk, begun: Places) -> None:
        """Pass over the member where it stands; ``begun`` is where each object begins."""
        passed = self.pass_over(walk, begun, np.ones(len(begun), np.bool_))
        if self._required:
            walk.need(passed)

    def pass_over(self, walk: Walk, begun: Places, among: Mask) -> Mask:
        """Pass over the member where it stands among some documents; says in which."""
        if not self._leading:
            return self._shape.pass_over(walk, self._following, among)
        leading = among & (walk.at == begun)
        passed = self._shape.pass_over(walk, self._leading, leading)
        if self._following:
            passed |= self._shape.pass_over(walk, self._following, among & ~leading)
        return passed


class Step(Protocol):
    """What is walked over in an object: a member, or members that depend on each other."""

    def walk(self, walk: Walk, begun: Places) -> None: ...


class Run:
    """Members of which each nearly always follows the one before: passed over all at once."""

    def __init__(self, members: Sequence[Member], usual: Template) -> None:
        self._members = members
        self.usual = usual

    def walk(self, walk: Walk, begun: Places) -> None:
        """Pass over the members, where they do not stand as usual one by one."""
        passed = walk.fill(self.usual, np.ones(len(begun), np.bool_))
        rows = np.flatnonzero(~passed & (walk.at != walk.text.nowhere))
        if len(rows):
            part = walk.part(rows)
            for member in self._members:
                member.walk(part, begun[rows])
            walk.rejoin(rows, part)


def walk_members(members: Sequence[Step], walk: Walk) -> None:
    """Pass over an object of these members, the last of which its end follows."""
    begun = walk.at
    for member in members:
        member.walk(walk, begun)
    walk.expect(_END)


class ScalarShape(Shape):
    """A string, a number or a binary."""

    def __init__(self, reader: ScalarReader, path: Path) -> None:
        self._reader: Any = reader
        self._value = value = (*path, reader.tag)
        super().__init__((_value_form(reader.tag, value), *_null(reader, path)))
        self.tag = reader.tag
        self.bare: Template | None = template(b'"', b'"', key=value)

    def column(self, finds: Finds, places: Places) -> Column:
        array, faults = self._reader.build_texts(texts_within(finds, self._value, places))
        return Column(array, 0, faults)


class TimeShape(ScalarShape):
    """A time: ISO 8601 text, or epoch milliseconds as a number."""

    def __init__(self, reader: TimeReader, path: Path) -> None:
        super().__init__(reader, path)
        either = Literal(b'{"S":"', b'{"N":"')
        form = Template((either, Literal(b'"}')), ((Hole.STRING, self._value),))
        self.forms = (form, *self.forms[1:])
        self.bare = None

    def column(self, finds: Finds, places: Places) -> Column:
        spans = finds.spans(self._value)
        is_millis = finds.text.byte(spans.begins - _TAG) == ord("N")
        if not np.count_nonzero(is_millis):
            return super().column(finds, places)
        rows = _before(places, spans.begins)
        iso, numbers = spans.chosen(~is_millis), spans.chosen(is_millis)
        try:
            micros = np.zeros(len(places), np.int64)
            micros[rows[~is_millis]] = self._reader.micros(finds.text.cut(iso))
            micros[rows[is_millis]] = _micros(finds.text, numbers)
        except pa.ArrowInvalid:
            return self._one_by_one(texts_within(finds, self._value, places), rows[is_millis])
        absent = np.ones(len(places), np.bool_)
        absent[rows] = False
        return Column(pa.array(micros, mask=absent).cast(TIMESTAMP), 0)

    def _one_by_one(self, texts: Any, rows: Places) -> Column:
        mixed, bad = texts.to_pylist(), []
        for row in rows.tolist():
            mixed[row] = iso_of_millis(mixed[row])
            if mixed[row] is None:
                bad.append(RowFault(row, ErrorCode.BAD_NUMBER))
        array, faults = self._reader.build(mixed)
        return Column(array, 0, faults + bad)


def _micros(text: Text, millis: Spans) -> Any:
    """Milliseconds as microseconds; raises ``pa.ArrowInvalid`` if they are no plain numbers."""
    if not (text.number_ends(millis.begins) == millis.ends).all():
        raise pa.ArrowInvalid("not plain digits")
    micros = text.cut(millis).cast(pa.int64()).to_numpy() * 1000
    if micros.max() > LATEST_MICROS:
        raise pa.ArrowInvalid("a value is out of range")
    return micros


class BooleanShape(Shape):
    def __init__(self, reader: ScalarReader, path: Path) -> None:
        self._true, self._false = (*path, "true"), (*path, "false")
        true = template(b'{"BOOL":true}', key=self._true)
        false = template(b'{"BOOL":false}', key=self._false)
        super().__init__((true, false, *_null(reader, path)))

    def column(self, finds: Finds, places: Places) -> Column:
        values, absent = np.zeros(len(places), np.bool_), np.ones(len(places), np.bool_)
        values[_containers(finds, self._true, places)] = True
        absent[_containers(finds, self._true, places)] = False
        absent[_containers(finds, self._false, places)] = False
        return Column(pa.array(values, mask=absent), 0)


class ListShape(Shape):
    """A list, or a set of scalars."""

    def __init__(self, reader: ListReader, path: Path, item: Shape) -> None:
        self._reader = reader
        self._item = item
        self._lists = lists = (*path, "L")
        empty, full = template(b'{"L":[]}', key=lists), template(b'{"L":[', key=lists)
        within = {full: _items_walker(item.walk)}
        if isinstance(item, ScalarShape) and item.bare is not None:
            a_set = template(b'{"%sS":[' % item.tag.encode(), key=lists)
            within[a_set] = _items_walker(partial(Walk.expect_form, form=item.bare))
        super().__init__((empty, *within, *_null(reader, path)), within)

    def column(self, finds: Finds, places: Places) -> Column:
        items, lists = self._item.places(finds), finds.spans(self._lists).begins
        column = self._item.column(finds, items)
        rows = _containers(finds, self._lists, places)
        owners = rows[_before(lists, items)]
        lengths = np.bincount(owners, minlength=len(places))
        absent = np.ones(len(places), np.bool_)
        absent[rows] = False
        faults = [RowFault(int(owners[f.row]), f.code, f.path) for f in column.faults]
        return Column(self._reader.nest(column.array, lengths, absent), 0, faults)


def _items_walker(walk_item: Callable[[Walk], None]) -> Callable[[Walk], None]:
    """What passes over items, one after the other in all lists at once, and their list's end."""

    def walk_items(walk: Walk) -> None:
        part, rows = walk.part(np.arange(len(walk.at))), np.arange(len(walk.at))
        walk.give_up()
        for _ in range(_MOST_ITEMS):
            walk_item(part)
            last = part.stands(_END_OF_LIST)
            walk.rejoin(rows[last], part.part(last).skipped(_END_OF_LIST))
            more = ~last & (part.at != part.text.nowhere)
            part, rows = part.part(more), rows[more]
            if not len(rows):
                return
            part.expect(_COMMA)

    return walk_items


class RecordShape(Shape):
    """A nested record."""

    def __init__(self, reader: RecordReader, path: Path, orders: Orders) -> None:
        self._reader = reader
        self._records = records = (*path, "M")
        self.image = ImageShape(reader.image, path, orders)
        opening = template(b'{"M":', key=records)
        usual = [opening.then(form).then(_CLOSING) for form in self.image.usual]
        super().__init__((*usual, opening, *_null(reader, path)), {opening: self._walk_record})

    def _walk_record(self, walk: Walk) -> None:
        self.image.walk(walk)
        walk.expect(_END)

    def column(self, finds: Finds, places: Places) -> Column:
        records = finds.spans(self._records).begins
        rows = _before(places, records)
        columns = self.image.columns(finds, records)
        return Column(
            self._reader.nest(columns, rows, len(places)), 0, faults_within(columns, rows)
        )


class TypeShape(Shape):
    """The type's own name, always the same."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__((template(b'{"S":"%s"}' % name.encode()),))

    def column(self, _finds: Finds, places: Places) -> Column:
        return Column(pa.repeat(self._name, len(places)), 0)


class ImageShape:
    """The attributes of an item's image or of a nested record, in the order of producers.

    ``type_name`` is given for an item's image, whose ``type`` has no other value. An image may
    only be walked over if all that it must have was seen in some.
    """

    def __init__(
        self, reader: ImageReader, path: Path, orders: Orders, type_name: str | None = None
    ) -> None:
        self._reader = reader
        self._shapes = {
            field.source: _shape(inner, (*path, field.source), orders)
            for field, inner in zip(reader.fields, reader.readers, strict=True)
        }
        if type_name is not None:
            self._shapes["type"] = TypeShape(type_name)
        required = {field.source for field in reader.fields if not field.nullable}
        seen = [name for name in orders.get(path, ()) if self._shapes[name] is not None]
        self._is_walkable = required <= set(seen)
        shapes = ((name, self._shapes[name]) for name in seen)
        self._steps = members_in_order([(n, shape, n in required) for n, shape in shapes if shape])

    @property
    def usual(self) -> list[Template]:
        """The form that the image nearly always has, up to its end, if there is one."""
        match self._steps:
            case [Run(usual=form)] if self._is_walkable:
                return [form]
        return []

    def walk(self, walk: Walk) -> None:
        """Pass over an image, which must be there."""
        if self._is_walkable:
            walk_members(self._steps, walk)
        else:
            walk.give_up()

    def columns(self, finds: Finds, places: Places) -> dict[str, Column]:
        """One column a field, by the field's lake name, of the images at these places."""
        return {
            field.name: shape.column(finds, places)
            if (shape := self._shapes[field.source])
            else Column(pa.nulls(len(places), arrow_type(field.kind)), 0)
            for field in self._reader.fields
        }


def members_in_order(named: Sequence[tuple[str, Forms, bool]]) -> list[Step]:
    """Members of these names, shapes, and whether they are required, in this order."""
    members, may_lead = [], True
    walkable = (member for member in named if member[1].forms)
    for place, (name, shape, required) in enumerate(walkable):
        members.append(Member(name, shape, required, leads=may_lead, follows=place > 0))
        may_lead = may_lead and not required
    return [step for usual, run in groupby(members, _is_usual) for step in _steps(usual, list(run))]


def _is_usual(member: Member) -> bool:
    return member.usual is not None


def _steps(usual: bool, members: list[Member]) -> Sequence[Step]:
    forms = [member.usual for member in members if member.usual is not None]
    return [Run(members, reduce(Template.then, forms))] if usual else members


def _shape(reader: Reader, path: Path, orders: Orders) -> Shape | None:
    match reader:
        case TimeReader():
            return TimeShape(reader, path)
        case ScalarReader() if reader.tag == "BOOL":
            return BooleanShape(reader, path)
        case ScalarReader():
            return ScalarShape(reader, path)
        case RecordReader():
            return RecordShape(reader, path, orders)
        case ListReader():
            item = _shape(reader.item, (*path, ITEM), orders)
            return None if item is None else ListShape(reader, path, item)
    return None


def _value_form(tag: str, key: Key) -> Template:
    return template(b'{"%s":"' % tag.encode(), b'"}', key=key)


def _null(reader: Reader, path: Path) -> tuple[Template, ...]:
    return (template(b'{"NULL":true}', key=(*path, "NULL")),) if reader.nullable else ()


def _before(places: Places, inner: Places) -> Places:
    """Which of the containers at ``places`` each of the ``inner`` places is in."""
    return np.searchsorted(places, inner, side="right") - 1


def _containers(finds: Finds, key: Key, places: Places) -> Places:
    return _before(places, finds.spans(key).begins)


def texts_within(finds: Finds, key: Key, places: Places) -> Any:
    """The texts found in the containers at ``places``, at most one in each; null where none is."""
    spans = finds.spans(key)
    texts = finds.text.cut(spans)
    if len(spans) == len(places):
        return texts
    numbers = np.full(len(places), -1)
    numbers[_before(places, spans.begins)] = np.arange(len(spans))
    return texts.take(pa.array(numbers, mask=numbers < 0))
