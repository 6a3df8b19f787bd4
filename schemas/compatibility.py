"""Whether one version of a record type can take another's place.

Two sets of rules. Avro's, from "Schema Resolution" in the Avro 1.12 specification: can a reader
with one schema make sense of what was written with the other? And Lethe's: does the lake still
find and protect the people in rows that are already written?

``backward``: the new schema reads old rows. ``forward``: the old schema reads new rows.
``full``: both. Lethe's rules hold in every mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schemas.fields import RecordType, Scrub

Mode = Literal["backward", "forward", "full"]
Severity = Literal["error", "warning"]

AVRO_RULES = frozenset(
    "type name union field_without_default enum_symbols fixed_size decimal".split()
)
"""Rules of Avro's schema resolution."""

LETHE_RULES = frozenset("logical_type subject scrub partition limit".split())
"""Rules of Lethe's own, which Avro lets pass."""

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "enum", "fixed")
_STRENGTH = (Scrub.KEEP, Scrub.MASK, Scrub.HASH, Scrub.DROP)
_LOWER_LIMITS = ("minimum", "minLength")
_UPPER_LIMITS = ("maximum", "maxLength")


@dataclass(frozen=True)
class Incompatibility:
    """One change that breaks something, or (``warning``) may.

    ``path`` leads to it: ``items[].price`` is a field of the records in a list, ``{}`` stands for
    a map's values, and the empty path for the type itself. ``rule`` is one of ``AVRO_RULES`` or
    ``LETHE_RULES``.
    """

    path: str
    rule: str
    message: str
    severity: Severity = "error"


def check(old: RecordType, new: RecordType, mode: Mode) -> list[Incompatibility]:
    """Every incompatible change from ``old`` to ``new``, Avro's first; empty if there is none."""
    found: list[Incompatibility] = []
    if mode in ("backward", "full"):
        found += _Resolution("old", "new").resolve(old.avro, new.avro, "")
    if mode in ("forward", "full"):
        found += _Resolution("new", "old").resolve(new.avro, old.avro, "")
    return [*found, *_lethe_rules(old, new)]


@dataclass(frozen=True)
class _Resolution:
    """Reading with the ``reader`` schema what the ``writer`` schema wrote; both are labels."""

    writer: str
    reader: str

    def resolve(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        if isinstance(writer, list):
            for branch in writer:
                yield from self.resolve(branch, reader, path)
        elif isinstance(reader, list):
            yield from self._into_union(writer, reader, path)
        elif _type(writer) != _type(reader):
            yield from self._promote(writer, reader, path)
        else:
            yield from self._same_type(writer, reader, path)

    def _into_union(self, writer: Any, reader: list[Any], path: str) -> Iterator[Incompatibility]:
        branch = next((b for b in reader if _matches(writer, b)), None)
        if branch is None:
            taken = " or ".join(_describe(b) for b in reader)
            yield self._unreadable(path, "union", f"{_describe(writer)} is not {taken}")
        else:
            yield from self.resolve(writer, branch, path)

    def _promote(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        if _type(reader) in _PROMOTIONS.get(_type(writer), ()):
            yield from self._logical(writer, reader, path)
        else:
            message = f"{_describe(writer)} cannot become {_describe(reader)}"
            yield self._unreadable(path, "type", message)

    def _same_type(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        yield from self._logical(writer, reader, path)
        match _type(writer):
            case "array":
                yield from self.resolve(writer["items"], reader["items"], f"{path}[]")
            case "map":
                yield from self.resolve(writer["values"], reader["values"], f"{path}{{}}")
            case "record" | "enum" | "fixed" if not _same_name(writer, reader):
                message = f"{_describe(writer)} is not {_describe(reader)}, nor an alias of it"
                yield self._unreadable(path, "name", message)
            case "record":
                yield from self._record(writer, reader, path)
            case "enum":
                yield from self._enum(writer, reader, path)
            case "fixed" if writer["size"] != reader["size"]:
                message = f"fixed of {writer['size']} bytes is not one of {reader['size']}"
                yield self._unreadable(path, "fixed_size", message)

    def _record(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            inner = _join(path, field["name"])
            origin = next((written[name] for name in _names(field) if name in written), None)
            if origin is not None:
                yield from self.resolve(origin["type"], field["type"], inner)
            elif "default" not in field:
                message = f"the field is not in the {self.writer} schema and has no default"
                yield self._unreadable(inner, "field_without_default", message)

    def _enum(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        lost = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if lost and "default" not in reader:
            message = f"no symbol {', '.join(lost)} and no default for it"
            yield self._unreadable(path, "enum_symbols", message)

    def _logical(self, writer: Any, reader: Any, path: str) -> Iterator[Incompatibility]:
        ours, theirs = _logical_type(writer), _logical_type(reader)
        if ours != theirs:
            message = f"{_describe(writer)} would be taken for {_describe(reader)}"
            yield self._unreadable(path, "logical_type", message)
        elif ours == "decimal" and _digits(writer) != _digits(reader):
            message = f"{_describe(writer)} is not {_describe(reader)}"
            yield self._unreadable(path, "decimal", message)

    def _unreadable(self, path: str, rule: str, why: str) -> Incompatibility:
        return Incompatibility(
            path, rule, f"the {self.reader} schema cannot read {self.writer} rows: {why}"
        )


def _matches(writer: Any, reader: Any) -> bool:
    """Whether two schemas match as the specification says, before any of it is resolved."""
    if isinstance(writer, list) or isinstance(reader, list):
        return True
    kind = _type(writer)
    if kind != _type(reader):
        return _type(reader) in _PROMOTIONS.get(kind, ())
    if kind in _NAMED:
        return _same_name(writer, reader) and writer.get("size") == reader.get("size")
    inner = {"array": "items", "map": "values"}.get(kind)
    return inner is None or _matches(writer[inner], reader[inner])


def _type(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _logical_type(schema: Any) -> Any:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _digits(schema: Any) -> tuple[int, int]:
    return schema["precision"], schema.get("scale", 0)


def _names(named: Mapping[str, Any]) -> list[str]:
    """A field's or type's own name and then its aliases, without namespaces."""
    return [str(name).rpartition(".")[2] for name in (named["name"], *named.get("aliases", ()))]


def _same_name(writer: Any, reader: Any) -> bool:
    return _names(writer)[0] in _names(reader)


def _describe(schema: Any) -> str:
    logical = _logical_type(schema)
    if logical == "decimal":
        return "decimal({},{})".format(*_digits(schema))
    if logical is not None:
        return str(logical)
    return f"{_type(schema)} {_names(schema)[0]}" if _type(schema) in _NAMED else _type(schema)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _lethe_rules(old: RecordType, new: RecordType) -> Iterator[Incompatibility]:
    for path, before, after in _pairs(old.avro["fields"], new.avro["fields"], ""):
        yield from _subject_rule(path, before, after or {})
        yield from _partition_rule(path, before, after or {})
        if after is not None:
            yield from _scrub_rule(path, before, after)
            yield from _limit_rules(path, before, after)


Document = Mapping[str, Any]


def _pairs(
    old: list[Document], new: list[Document], path: str
) -> Iterator[tuple[str, Document, Document | None]]:
    """Each old field, at any depth, with the new field that goes by its name or alias."""
    aliases = {alias: field for field in new for alias in _names(field)[1:]}
    successors = aliases | {field["name"]: field for field in new}
    for before in old:
        after = successors.get(before["name"])
        inner = _join(path, before["name"])
        yield inner, before, after
        if after is not None:
            yield from _pairs(_members(before["type"]), _members(after["type"]), inner)


def _members(schema: Any) -> list[Document]:
    """The fields of the record that a type is, or holds in a union, list or map."""
    if isinstance(schema, list):
        return [field for branch in schema for field in _members(branch)]
    if not isinstance(schema, dict):
        return []
    inner = schema.get("items", schema.get("values"))
    return list(schema.get("fields", ())) if inner is None else _members(inner)


def _subject_rule(path: str, before: Document, after: Document) -> Iterator[Incompatibility]:
    subject, condition = before.get("subject"), after.get("subjectWhen", {}).items()
    if subject is None:
        return
    if after.get("subject") != subject:
        message = f"no longer names the subject by {subject}: an erasure would miss written rows"
        yield Incompatibility(path, "subject", message)
    elif not condition <= before.get("subjectWhen", {}).items():
        message = "names the subject in fewer rows: an erasure would miss written rows"
        yield Incompatibility(path, "subject", message)


def _partition_rule(path: str, before: Document, after: Document) -> Iterator[Incompatibility]:
    if before.get("partition") and not after.get("partition"):
        message = "no longer gives the partition date: old and new rows would lie by other dates"
        yield Incompatibility(path, "partition", message)


def _scrub_rule(path: str, before: Document, after: Document) -> Iterator[Incompatibility]:
    was, becomes = (Scrub(field.get("scrub", "keep")) for field in (before, after))
    if _STRENGTH.index(becomes) < _STRENGTH.index(was):
        message = f"scrub {was} weakened to {becomes}: more of the value would leave the pipeline"
        yield Incompatibility(path, "scrub", message)
    if "pii" in before and "pii" not in after:
        yield Incompatibility(path, "scrub", "no longer marked as personal data")


def _limit_rules(path: str, before: Document, after: Document) -> Iterator[Incompatibility]:
    for limit in (*_LOWER_LIMITS, *_UPPER_LIMITS, "pattern"):
        if _tightened(limit, before.get(limit), after.get(limit)):
            message = (
                f"{limit} {before.get(limit)} becomes {after[limit]}: written rows may break it"
            )
            yield Incompatibility(path, "limit", message, "warning")


def _tightened(limit: str, before: Any, after: Any) -> bool:
    if after is None or before == after:
        return False
    if before is None or limit == "pattern":
        return True
    return bool(after > before) if limit in _LOWER_LIMITS else bool(after < before)
