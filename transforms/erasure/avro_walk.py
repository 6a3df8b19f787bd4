"""A walk through the rows of an Avro block: where each ends, and what is in chosen columns.

Nothing in a row says how long it is, so every field has to be passed over. That is most of the work
on an Avro file, and a reader that makes an object of each value, or asks of each field what type it
is, takes several times as long. So the walk is a function that is compiled for a file's schema, as
``dataclasses`` compiles its own. Of the schema nothing goes into its text but whole numbers::

    p += steps[data[p]] or step(data, p)    # a string: by its length, if that is a byte ...
    p = ends_2(data, p).end()               # two longs: by a regular expression

The encoding: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import groupby
from typing import Any

from transforms.avro_container import NotAvro
from transforms.erasure.avro_schema import UUID_AS_TEXT, Schema, definitions

Walk = Callable[[bytes, int], tuple[list[int], list[bytes], list[list[Any]]]]
"""From a block's bytes and its number of rows to where each ends, and the chosen columns: the bytes
that they are encoded in, row by row, and of columns of texts these, column by column."""

_WIDTHS = {"null": 0, "boolean": 1, "float": 4, "double": 8}
_FEW = 63
"""Branches of a union that are told apart by one byte."""

_STEPS = [0 if byte & 0x81 else 1 + (byte >> 1) for byte in range(256)]
"""How far it is over a string with its length, by the first byte; 0 if more has to be read."""

_NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_PASS_NUMBER = "p = p + 1 if data[p] < 0x80 else ends_1(data, p).end()"


def compiled_walk(
    schema: dict[str, Any], names: Collection[str], texts: Collection[str] = ()
) -> Walk:
    """The walk through rows of this bare schema that keeps these columns, in the schema's order.

    ``texts`` are those of them that are ``text_columns``, or some of these. It raises any exception
    for bytes that are no such rows; the last row has to end with them.
    """
    source = _Source(definitions(schema))
    body = ["p, ends, kept = 0, [], []", f"texts = [[] for _ in range({len(texts)})]"]
    body += [f"keep_{place} = texts[{place}].append" for place in range(len(texts))]
    steps, place = [], 0
    for field in schema["fields"]:
        if field["name"] in texts:
            steps += source.keep(field["type"], f"keep_{place}")
            place += 1
        elif field["name"] in names:
            steps += ["a = p", *source.skip(field["type"]), "kept.append(data[a:p])"]
        else:
            steps += source.skip(field["type"])
    body += ["for _ in range(rows):", *_indented([*steps, "ends.append(p)"])]
    return source.compiled(
        ["def walk(data, rows):", *_indented([*body, "return ends, kept, texts"])]
    )


def text_columns(schema: dict[str, Any], names: Collection[str]) -> list[str]:
    """Those of the columns whose values are all texts, symbols, or null."""
    known = definitions(schema)
    fields = (field for field in schema["fields"] if field["name"] in names)
    return [field["name"] for field in fields if _is_text(field["type"], known)]


def _is_text(schema: Schema, known: Mapping[str, Schema]) -> bool:
    if isinstance(schema, list):
        others = [branch for branch in schema if branch != "null"]
        return len(others) == 1 and len(schema) <= 2 and _is_text(others[0], known)
    if isinstance(schema, str):
        return schema == "string" or _is_text(known.get(schema), known)
    return schema is not None and (schema["type"] == "enum" or schema == UUID_AS_TEXT)


class _Source:
    """The text of functions that pass over values: ``p`` is the place in ``data``."""

    def __init__(self, known: Mapping[str, Schema]) -> None:
        self._known = known
        self._space: dict[str, Any] = {
            "number": _number, "length": _length, "steps": _STEPS, "step": _step,
            "ends_1": _ends(1),
        }  # fmt: skip
        self._functions: list[str] = []
        self._named: dict[str, str] = {}
        self._count = 0

    def compiled(self, walk: list[str]) -> Walk:
        """The function ``walk``, with all that it calls."""
        lines = self._merged([*self._functions, *walk])
        exec("\n".join(lines), self._space)  # made here, of whole numbers alone
        compiled: Walk = self._space["walk"]
        return compiled

    def _merged(self, lines: list[str]) -> Iterator[str]:
        """The lines, with numbers that follow one another passed over at one go."""
        for line, same in groupby(lines):
            count = len(list(same))
            if count == 1 or line.lstrip() != _PASS_NUMBER:
                yield from [line] * count
            else:
                self._space[f"ends_{count}"] = _ends(count)
                yield line.replace(_PASS_NUMBER, f"p = ends_{count}(data, p).end()")

    def skip(self, schema: Schema) -> list[str]:
        """The lines that pass over one value."""
        if isinstance(schema, list):
            return self._union([self.skip(branch) for branch in schema])
        if isinstance(schema, str):
            return self._named_type(schema) if schema in self._known else _scalar(schema)
        match schema["type"]:
            case "record" | "error":
                return [line for field in schema["fields"] for line in self.skip(field["type"])]
            case "array":
                return self._blocks(self.skip(schema["items"]))
            case "map":
                return self._blocks([*_scalar("string"), *self.skip(schema["values"])])
            case "fixed":
                return [f"p += {int(schema['size'])}"]
        return _scalar(schema["type"])

    def keep(self, schema: Schema, append: str) -> list[str]:
        """The lines that hand a text, a symbol, or None, to the function of this name."""
        if isinstance(schema, list):
            return self._union([self.keep(branch, append) for branch in schema])
        if schema == "null":
            return [f"{append}(None)"]
        known = self._known.get(schema) if isinstance(schema, str) else schema
        if known is not None and known["type"] == "enum":
            name = self._name()
            self._space[name] = known["symbols"]
            return [*_LENGTH, f"{append}({name}[n >> 1])"]
        return [*_LENGTH, f"{append}(data[p : p + (n >> 1)])", "p += n >> 1"]

    def _named_type(self, name: str) -> list[str]:
        """A call, for a type may hold itself."""
        if name not in self._named:
            self._named[name] = self._name()
            self._define(self._named[name], self.skip(self._known[name]))
        return [f"p = {self._named[name]}(data, p)"]

    def _union(self, branches: list[list[str]]) -> list[str]:
        lines = ["n = data[p]", "p += 1"]
        if len(branches) > _FEW:
            lines = ["n, p = length(data, p)"]
        for place, branch in enumerate(branches):
            lines.append(f"{'elif' if place else 'if'} n == {2 * place}:")
            lines += _indented(branch or ["pass"])
        lines += ["else:", *_indented(["raise ValueError"])]
        if branches[0]:
            return lines
        return ["if data[p]:", *_indented(lines), "else:", "    p += 1"]  # mostly null

    def _blocks(self, item: list[str]) -> list[str]:
        """A list or a map: blocks of items, of which some tell their size; most have but one."""
        name = self._name()
        body = [
            "count, p = number(data, p)",
            "while count:",
            *_indented(["if count > len(data):", *_indented(["raise ValueError"])]),
            *_indented(["if count < 0:"]),
            *_indented(_indented(["n, p = length(data, p)", "p += n >> 1"])),
            *_indented(["for _ in range(count):", *_indented(item or ["pass"])]),
            *_indented(["count, p = number(data, p)"]),
        ]
        self._define(name, body)
        return ["if data[p]:", *_indented([f"p = {name}(data, p)"]), "else:", "    p += 1"]

    def _define(self, name: str, body: list[str]) -> None:
        self._functions += [f"def {name}(data, p):", *_indented([*body, "return p"])]

    def _name(self) -> str:
        self._count += 1
        return f"skip_{self._count}"


_LENGTH = ["n = data[p]", "p += 1", "if n & 0x81:", "    n, p = length(data, p - 1)"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _scalar(kind: str) -> list[str]:
    if kind in {"string", "bytes"}:
        return ["p += steps[data[p]] or step(data, p)"]
    if kind in {"int", "long", "enum"}:
        return [_PASS_NUMBER]
    width = _WIDTHS[kind]
    return [f"p += {width}"] if width else []


def _ends(count: int) -> Callable[[bytes, int], Any]:
    """What matches so many numbers."""
    return re.compile(_NUMBER * count).match


def _step(data: bytes, place: int) -> int:
    """How far it is over a string and its length."""
    double, start = _length(data, place)
    return start - place + (double >> 1)


def _length(data: bytes, place: int) -> tuple[int, int]:
    """Twice a number that must not be negative, and where it ends."""
    number, place = _number(data, place)
    if number < 0:
        raise NotAvro("an Avro block holds a negative length: the file is damaged")
    return number << 1, place


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number, and where it ends."""
    whole = shift = 0
    while True:
        byte = data[place]
        place += 1
        whole |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (whole >> 1) ^ -(whole & 1), place
        shift += 7
