"""Any lake, any subjects: what an erasure leaves is what was there, less the rows of these.

Two types in Parquet and Avro, one of them with subjects in records and lists, brought by several
deliveries; with values that differ in case and form alone, and with nulls. ``LETHE_EXAMPLES`` is
how many lakes are tried.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from config.settings import Settings, load_settings
from runners.commands.options import RuleOptions, build_rules
from runners.deliver import Delivery, run_round
from runners.direct import DirectRunner
from runners.erase import ErasureDone, ErasureOrder, close_erasure, open_site, run_erasure
from runners.forked_files import ForkedFiles
from schemas.dsr import Identity, IdentityType
from stores.inputs import InputOpener
from stores.lake_files import lake_files
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore
from stores.subject_index import may_hold
from transforms.index import probes_for
from transforms.subject_hashes import SubjectHasher
from transforms.write import CODECS, FileFormat, Output

EXAMPLES = int(os.environ.get("LETHE_EXAMPLES", "5"))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a lake takes too long to try it smaller
SCRUB_KEY = "only-for-tests-only-for-tests-32"

_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_MAIL = {"type": "string", "subject": "email"}


def _person(name: str) -> dict[str, Any]:
    mail = {"name": "mail", "type": ["null", "string"], "default": None, "subject": "email"}
    return {"type": "record", "name": name, "fields": [{"name": "name", "type": "string"}, mail]}


def _type(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    first = [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "at", "type": _MICROS, "partition": True},
    ]
    return {"type": "record", "name": name, "fields": [*first, *fields]}


STAY = _type(
    "stay",
    {"name": "host", "type": ["null", _person("host")], "default": None},
    {"name": "guests", "type": {"type": "array", "items": _person("guest")}},
    {"name": "price", "type": _PRICE},
)  # fmt: skip
CALL = _type(
    "call",
    {"name": "customer", "type": "string", "subject": "controller_customer_id"},
    {"name": "channel", "type": "string"},
    {"name": "to", **_MAIL, "subjectWhen": {"channel": "email"}},
    {"name": "hashed", "type": ["null", "string"], "default": None, "subject": "email",
     "pii": "email", "scrub": "hash"},
)  # fmt: skip

PEOPLE = ("ana", "ANA", "joana", "zoë", "zoe\u0308", "bo", "straße", "strasse")
mails = st.sampled_from([f"{name}@acme.example" for name in PEOPLE])
customers = st.sampled_from(["u-1", "U-1", "u-11", "u-2"])
text = st.text('ab ß\u0308,"', max_size=6)


@st.composite
def stays(draw: st.DrawFn) -> dict[str, Any]:
    guest = st.fixed_dictionaries({"name": text, "mail": st.none() | mails})
    return {
        "type": "stay",
        "host": draw(st.none() | guest),
        "guests": draw(st.lists(guest, max_size=3)),
        "price": draw(st.decimals(0, 10**6, places=2).map(str)),
    }


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "type": "call",
        "customer": draw(customers),
        "channel": draw(st.sampled_from(["email", "sms"])),
        "to": draw(mails),
        "hashed": draw(st.none() | mails),
    }


deliveries = st.lists(
    st.tuples(
        st.sampled_from(["parquet", "avro"]), st.lists(stays() | calls(), min_size=1, max_size=25)
    ),
    min_size=1,
    max_size=3,
)
subjects = st.lists(
    st.builds(Identity, st.just(IdentityType.EMAIL), mails)
    | st.builds(Identity, st.just(IdentityType.CONTROLLER_CUSTOMER_ID), customers),
    min_size=1,
    max_size=4,
    unique=True,
)


# --- A lake, and what it should be ------------------------------------------------------------


@dataclass(frozen=True)
class Lake:
    """A lake of its own settings, and the records that were delivered, by their ids."""

    folder: Path
    settings: Settings
    records: dict[str, dict[str, Any]]

    @property
    def store(self) -> LocalObjectStore:
        return LocalObjectStore(self.folder / "lake")

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All rows by the id of their record: each once, unless something is wrong."""
        found: dict[str, list[dict[str, Any]]] = {}
        for info in self.store.list("type="):
            for row in rows_in(info.key, self.store.read(info.key)):
                found.setdefault(row["id"], []).append(row)
        return found


@pytest.fixture(scope="module", autouse=True)
def _scrub_key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LETHE_SCRUB_KEY", SCRUB_KEY)
        yield


@contextmanager
def lake_of(delivered: Sequence[tuple[str, list[dict[str, Any]]]]) -> Iterator[Lake]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "types").mkdir()
        for schema in (STAY, CALL):
            (folder / "types" / f"{schema['name']}.avsc").write_text(json.dumps(schema))
        lake = Lake(folder, load_settings(), {})
        for number, (fmt, records) in enumerate(delivered):
            deliver(lake, number, fmt, records)
        yield lake


def deliver(lake: Lake, number: int, fmt: str, records: Sequence[dict[str, Any]]) -> None:
    source = lake.folder / f"{number}.ndjson"
    named = {f"{number}-{place}": record for place, record in enumerate(records)}
    lake.records.update(named)
    source.write_text("".join(json.dumps(change(*each)) + "\n" for each in named.items()))
    output = Output(FileFormat(fmt), CODECS[FileFormat(fmt)][0])
    rules = build_rules(lake.settings, RuleOptions(lake.folder / "types"))
    delivery = Delivery((str(source),), lake.store, InputOpener(), rules, output, workers=1)
    with DirectRunner(1) as runner, Path(os.devnull).open("w") as nowhere:
        run_round(delivery, runner, Console(file=nowhere))


def change(name: str, record: dict[str, Any]) -> dict[str, Any]:
    """The change that brings a record."""
    at = f"2026-01-0{1 + len(name) % 2}T10:00:00Z"
    item = {"id": name, "version": 1, "at": at, **record}
    return {
        "eventID": name,
        "eventName": "INSERT",
        "tableName": "table",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_767_225_600_000,
            "NewImage": {key: attribute(key, value) for key, value in item.items()},
        },
    }


def attribute(name: str, value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case dict():
            return {"M": {key: attribute(key, one) for key, one in value.items()}}
        case list():
            return {"L": [attribute(name, one) for one in value]}
        case _:
            return {"N" if name in {"version", "price"} else "S": str(value)}


def rows_in(path: str, content: bytes) -> list[dict[str, Any]]:
    if path.endswith(".avro"):
        return [dict(row) for row in fastavro.reader(io.BytesIO(content))]
    return list(pq.ParquetFile(io.BytesIO(content)).read(use_threads=False).to_pylist())


def names_one(record: dict[str, Any], wanted: Sequence[Identity]) -> bool:
    """Whether a record as it came is of a subject."""
    emails = {folded(one.value) for one in wanted if one.type is IdentityType.EMAIL}
    ids = {one.value for one in wanted if one.type is IdentityType.CONTROLLER_CUSTOMER_ID}
    if record["type"] == "stay":
        guests = [*record["guests"], *filter(None, [record["host"]])]
        return any(guest["mail"] and folded(guest["mail"]) in emails for guest in guests)
    to = record["to"] if record["channel"] == "email" else None
    # What makes no difference between two mails makes none between their hashes.
    mails = {folded(mail) for mail in (to, record["hashed"]) if mail}
    return record["customer"] in ids or bool(mails & emails)


def folded(mail: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", mail).casefold())


def erase(lake: Lake, wanted: Sequence[Identity]) -> ErasureDone:
    order = ErasureOrder(tuple((one,) for one in wanted), max_match_share=1.0)
    site = open_site(str(lake.folder / "lake"), lake.settings, lake.folder / "types")
    with ForkedFiles(1) as runner:
        done = run_erasure(order, site, runner)
    close_erasure(site, done)
    return done


# --- What has to hold -------------------------------------------------------------------------


@settings(max_examples=EXAMPLES, phases=PHASES)
@given(deliveries, subjects)
def test_rows_of_the_subjects_leave_and_all_others_are_as_they_were(
    delivered: list[tuple[str, list[dict[str, Any]]]], wanted: list[Identity]
) -> None:
    with lake_of(delivered) as lake:
        before = lake.rows()
        assert before.keys() == lake.records.keys()
        theirs = {name for name, one in lake.records.items() if names_one(one, wanted)}
        done = erase(lake, wanted)
        assert lake.rows() == {name: rows for name, rows in before.items() if name not in theirs}
        assert done.certificate.matched == len(theirs)


@settings(max_examples=EXAMPLES, phases=PHASES)
@given(deliveries, subjects)
def test_index_says_no_to_no_file_that_holds_a_subject(
    delivered: list[tuple[str, list[dict[str, Any]]]], wanted: list[Identity]
) -> None:
    with lake_of(delivered) as lake:
        site = open_site(str(lake.folder / "lake"), lake.settings, lake.folder / "types")
        probes = probes_for(wanted, site.registry, SubjectHasher.of(site.scrub_key))
        assert probes is not None
        files = lake_files(lake.store, DeliveryLog(lake.store))
        for file, is_suspect in may_hold(lake.store, files, probes):
            rows = rows_in(file.path, lake.store.read(file.path))
            assert is_suspect or not any(names_one(lake.records[one["id"]], wanted) for one in rows)
            assert file.is_as_logged


@settings(max_examples=EXAMPLES, phases=PHASES)
@given(deliveries, subjects)
def test_what_is_delivered_after_an_erasure_brings_no_subject_back(
    delivered: list[tuple[str, list[dict[str, Any]]]], wanted: list[Identity]
) -> None:
    with lake_of(delivered) as lake:
        erase(lake, wanted)
        others = lake.rows().keys()
        for number, (fmt, records) in enumerate(delivered, len(delivered)):
            deliver(lake, number, fmt, records)
        new = lake.rows().keys() - others
        assert not any(names_one(lake.records[name], wanted) for name in new)
        assert len(new) == sum(
            not names_one(one, wanted) for _, records in delivered for one in records
        )
