"""Ways to break a change record, as producers, pipes and disks have broken them.

A breakage spoils the item's *image*, the *change* around it, or the *bytes* of the written record.
``_BREAKAGES`` says which of them do not fit a format, because they would harm a neighbour there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from runners.generate.formats import FileFormat, Shape
from runners.generate.images import Dialect
from runners.generate.records import Change

Image = dict[str, Any]
Breakage = Callable[[Change, Shape], bytes]


def with_hostile(
    changes: Iterable[Change], fmt: FileFormat, shape: Shape, seed: int, rate: float
) -> Iterator[tuple[Change, bytes]]:
    """Each change with its written record, about ``rate`` of them broken.

    The changes that stay whole are byte for byte those of a file without hostile records.
    """
    rand = random.Random(seed ^ 0x4C65746865).random  # its own, so the changes stay the same
    breakages = breakages_of(fmt)
    for change in changes:
        if rand() < rate:
            yield change, breakages[int(rand() * len(breakages))](change, shape)
        else:
            yield change, shape.render(change).encode()


def breakages_of(fmt: FileFormat) -> list[Breakage]:
    """Every breakage that costs a file of this format the broken record and no other."""
    return [breakage for breakage, unfit in _BREAKAGES if fmt not in unfit]


def _of_image(spoil: Callable[[Image, Dialect], str | None]) -> Breakage:
    """Spoils both images; ``spoil`` changes the image, or returns text no image can give."""

    def spoil_text(text: str | None, dialect: Dialect) -> str | None:
        if text is None:
            return None
        image = json.loads(text)
        return spoil(image, dialect) or _compact(image)

    def broken(change: Change, shape: Shape) -> bytes:
        new, old = (spoil_text(text, shape.dialect) for text in (change.new, change.old))
        # A byte that is not UTF-8 is held in text as Python's surrogate escapes hold it.
        return shape.render(change._replace(new=new, old=old)).encode(errors="surrogateescape")

    return broken


def _of_change(spoil: Callable[[Change], Change]) -> Breakage:
    return lambda change, shape: shape.render(spoil(change)).encode()


def _of_bytes(spoil: Callable[[bytes], bytes]) -> Breakage:
    return lambda change, shape: spoil(shape.render(change).encode())


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: str, dialect: Dialect) -> Any:
    return {"S": value} if dialect is Dialect.TYPED else value


def _number(digits: str, dialect: Dialect) -> Any:
    return {"N": digits} if dialect is Dialect.TYPED else int(digits)


def _wrong_type(image: Image, dialect: Dialect) -> None:
    image["version"] = {"BOOL": True} if dialect is Dialect.TYPED else True


def _missing_field(image: Image, _dialect: Dialect) -> None:
    del image["createdAt"]


def _unknown_type(image: Image, dialect: Dialect) -> None:
    image["type"] = _text("coupon", dialect)


def _type_that_climbs(image: Image, dialect: Dialect) -> None:
    image["type"] = _text("../../etc/demand", dialect)


def _out_of_range(image: Image, dialect: Dialect) -> None:
    image["quantity" if "quantity" in image else "version"] = _number("0", dialect)


def _too_many_digits(image: Image, dialect: Dialect) -> None:
    image["version"] = _number("9" * 39, dialect)


def _not_a_number(image: Image, dialect: Dialect) -> None:
    image["version"] = {"N": "NaN"} if dialect is Dialect.TYPED else "NaN"


def _impossible_date(image: Image, dialect: Dialect) -> None:
    image["updatedAt"] = _text("2026-02-30T10:00:00.000Z", dialect)


def _no_zone(image: Image, dialect: Dialect) -> None:
    image["updatedAt"] = _text("2026-01-15T10:00:00", dialect)


def _far_date(image: Image, dialect: Dialect) -> None:
    image["updatedAt"] = _text("1899-12-31T23:59:59.999Z", dialect)


def _too_long(image: Image, dialect: Dialect) -> None:
    image["id"] = _text("x" * 5_000, dialect)


def _empty_id(image: Image, dialect: Dialect) -> None:
    image["id"] = _text("", dialect)


def _lone_surrogate(image: Image, dialect: Dialect) -> str:
    return _with_raw_id(image, dialect, "D-\\ud800")


def _invalid_utf8(image: Image, dialect: Dialect) -> str:
    return _with_raw_id(image, dialect, "D-\udcff\udcfe")  # written as the bytes FF FE


def _nul_byte(image: Image, dialect: Dialect) -> str:
    return _with_raw_id(image, dialect, "D-\x00")


def _with_raw_id(image: Image, dialect: Dialect, raw: str) -> str:
    """The image with an id that no JSON encoder would let through."""
    image["id"] = _text("put-it-here", dialect)
    return _compact(image).replace("put-it-here", raw)


def _duplicate_key(image: Image, dialect: Dialect) -> str:
    return f'{{"version":{_compact(_number("7", dialect))},{_compact(image)[1:]}'


def _missing_images(change: Change) -> Change:
    return change._replace(new=None, old=None)


def _remove_without_old_image(change: Change) -> Change:
    return change._replace(event="REMOVE", new=None, old=None)


def _unknown_event_name(change: Change) -> Change:
    return change._replace(event="UPSERT")


def _bad_json(record: bytes) -> bytes:
    return record.replace(b":", b"=", 1)


def _cut(record: bytes) -> bytes:
    return record[: len(record) // 2]


def _not_json(_record: bytes) -> bytes:
    return b"upstream request timeout"


_IMAGES = (
    _wrong_type,
    _missing_field,
    _unknown_type,
    _type_that_climbs,
    _out_of_range,
    _too_many_digits,
    _not_a_number,
    _impossible_date,
    _no_zone,
    _far_date,
    _too_long,
    _empty_id,
    _lone_surrogate,
    _duplicate_key,
)

# Each with the formats it does not fit: an export's line holds nothing but the item, and an
# incremental export no event name; broken JSON would take a whole Lambda event with it, and a
# missing end the next record where no newline follows.
_NO_LINES = frozenset({FileFormat.CONCATENATED, FileFormat.LAMBDA_DYNAMODB})
_NO_EVENT_NAME = frozenset({FileFormat.EXPORT, FileFormat.INCREMENTAL_EXPORT})
_BREAKAGES: tuple[tuple[Breakage, frozenset[FileFormat]], ...] = (
    *((_of_image(spoil), frozenset[FileFormat]()) for spoil in _IMAGES),
    (_of_change(_missing_images), frozenset({FileFormat.EXPORT})),
    (_of_change(_remove_without_old_image), frozenset({FileFormat.EXPORT})),
    (_of_change(_unknown_event_name), _NO_EVENT_NAME),
    (_of_image(_invalid_utf8), frozenset({FileFormat.LAMBDA_DYNAMODB})),
    (_of_image(_nul_byte), frozenset({FileFormat.LAMBDA_DYNAMODB})),
    (_of_bytes(_bad_json), frozenset({FileFormat.LAMBDA_DYNAMODB})),
    (_of_bytes(_cut), _NO_LINES),
    (_of_bytes(_not_json), _NO_LINES),
)
