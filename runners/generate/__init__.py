"""Generated inputs: change records in every format that Lethe reads, and contacts.

The same arguments give the same bytes on every run, machine and supported Python, and one seed
gives the same changes in every format. Memory does not grow with the count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from runners.generate.contacts import draw_contacts
from runners.generate.formats import SHAPES, FileFormat, Shape
from runners.generate.hostile import with_hostile
from runners.generate.records import Change, draw_changes
from schemas.errors import UsageError

__all__ = ["FileFormat", "changes", "contacts"]

_CHUNK = 100_000
_EVENT = 100

_Written = tuple[Change, bytes]


def changes(count: int, seed: int, fmt: str, hostile: float = 0.0) -> Iterator[bytes]:
    """The bytes of a file with ``count`` change records, in chunks of 100 kB or a little more.

    Records of the types ``demand`` (40 %), ``notification`` (30 %), ``event`` and ``sale``, with
    ``updatedAt`` on 30 dates of January 2026. ``fmt`` is an ``FileFormat`` or its name. About
    ``hostile`` (0 to 1) of the records are replaced by broken ones. Raises ``UsageError``.
    """
    _check_count(count)
    if not 0 <= hostile <= 1:
        raise UsageError(f"the share of hostile records must lie in 0..1, not {hostile}")
    form = _format(fmt)
    shape = SHAPES[form]
    drawn = draw_changes(count, seed, shape.dialect)
    written = with_hostile(drawn, form, shape, seed, hostile) if hostile else _whole(drawn, shape)
    return _chunks(_members(written, shape), shape.separator)


def contacts(count: int, seed: int) -> Iterator[bytes]:
    """The bytes of a file with ``count`` contacts, one JSON object a line, in chunks.

    Raises ``UsageError`` for a negative count.
    """
    _check_count(count)
    return _chunks(draw_contacts(count, seed), b"\n")


def _check_count(count: int) -> None:
    if count < 0:
        raise UsageError(f"the count must not be negative, and {count} is")


def _format(name: str) -> FileFormat:
    try:
        return FileFormat(name)
    except ValueError:
        known = ", ".join(FileFormat)
        raise UsageError(f"there is no input format {name!r}; choose one of {known}") from None


def _whole(drawn: Iterable[Change], shape: Shape) -> Iterator[_Written]:
    render = shape.render
    return ((change, render(change).encode()) for change in drawn)


def _members(written: Iterator[_Written], shape: Shape) -> Iterator[bytes]:
    """What a separator stands between: records, or Lambda events of up to 100 records."""
    wrap = shape.wrap
    if wrap is None:
        return (record for _, record in written)
    wrapped = (wrap(change, record) for change, record in written)
    return (b'{"Records":[' + b",".join(group) + b"]}" for group in _groups(wrapped, _EVENT))


def _chunks(members: Iterator[bytes], separator: bytes) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    for member in members:
        pending.append(member)
        size += len(member)
        if size >= _CHUNK:
            yield separator.join([*pending, b""])
            pending, size = [], 0
    yield separator.join([*pending, b""])


def _groups(members: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    return iter(lambda: list(islice(members, size)), [])
