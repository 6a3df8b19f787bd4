"""Records read in lockstep: what is taken is taken rightly, and all that is doubtful is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from images import members_of
from records import block, change, codes, compact, demand

from schemas.changes import ChangeBatch
from schemas.registry import load_registry
from transforms import alike
from transforms.alike import AlikeReader
from transforms.decode import Decoder

REGISTRY = load_registry(Path(__file__).parents[3] / "examples" / "schemas")
TYPES = sorted(REGISTRY.types)
EVENTS = ("INSERT", "MODIFY", "REMOVE")
TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
ALIKE, ALONE = Decoder(REGISTRY), Decoder(REGISTRY)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alike, "FEWEST", 1)
        patch.setattr(alike, "_REST", 0)
        patch.setattr(ALONE.alike, "read", lambda records: ([], list(range(len(records)))))
        yield


def record(image: str, event: str = "INSERT", other: str | None = None, **members: Any) -> bytes:
    """A change record as Kinesis carries it."""
    new, old = ("OldImage", "NewImage") if event == "REMOVE" else ("NewImage", "OldImage")
    head = {"awsRegion": "eu-west-1", "eventID": "c-1", "eventName": event, "userIdentity": None}
    stream = f'"ApproximateCreationDateTime":1768484591372,"Keys":{{"id":{{"S":"D-1"}}}},"{new}":'
    stream += image + (f',"{old}":{other}' if other else "") + ',"SizeBytes":945'
    text = compact({**head, **members})[:-1]
    return f'{text},"dynamodb":{{{stream}}},"eventSource":"aws:dynamodb"}}'.encode()


def left(*documents: bytes, known: Sequence[bytes] = ()) -> list[bytes]:
    """Which documents are not taken by a reader that knows some."""
    reader = AlikeReader(ALIKE.readers)
    reader.read(known or [SOUND])
    return [documents[number] for number in reader.read(documents)[1]]


def outcome(batch: ChangeBatch) -> list[Any]:
    typed = {
        changes.record_type.name: [
            *changes.columns.items(),
            changes.event_name,
            changes.by_ttl,
            changes.change_time,
            changes.change_id,
            changes.document.tolist(),
        ]
        for changes in batch.typed
    }
    rejects = sorted(((r.origin, r.fault, r.original) for r in batch.rejects), key=repr)
    return [typed, rejects, batch.read, batch.filtered]


def assert_same(*documents: bytes) -> None:
    """The documents are read alike by the reader that learned from others before, and without."""
    taken, alone = (decoder.decode(block(*documents)) for decoder in (ALIKE, ALONE))
    assert outcome(taken) == outcome(alone)


IMAGE = demand()
SOUND = record(IMAGE)
VARIED = [
    SOUND,
    record(IMAGE, "MODIFY", demand(quantity={"N": "3"})),
    record(IMAGE, "REMOVE", userIdentity=TTL),
    record(demand(sections={"SS": ["A", "B"]}, phone={"S": "+1"}, updatedAt={"N": "17"})),
    record(demand(sections={"L": []}, phone={"NULL": True}, preferences={"M": {}})),
    record(demand(preferences={"M": {"aisle": {"BOOL": True}, "note": {"NULL": True}}})),
]


def test_records_that_were_seen_are_taken() -> None:
    assert left(*VARIED[:4], known=VARIED[:4]) == []


def test_parts_seen_in_several_records_are_taken_in_one() -> None:
    both = demand(
        sections={"SS": ["A"]}, phone={"S": "+1"}, preferences={"M": {"note": {"S": "x"}}}
    )
    assert left(record(both), known=[*VARIED, record(demand(preferences=NOTE))]) == []


NOTE = {"M": {"note": {"S": "x"}}}


def test_items_of_records_are_taken_in_order() -> None:
    assert_same(*VARIED, *VARIED)


DOUBTFUL: dict[str, Callable[[bytes], bytes]] = {
    "backslash": lambda text: text.replace(b"ana@", b"an\\u0061@"),
    "lone surrogate": lambda text: text.replace(b"ana@", b"an\\ud800@"),
    "escaped quote": lambda text: text.replace(b"ana@", b'\\"@'),
    "bare quote": lambda text: text.replace(b"ana@", b'"@'),
    "control character": lambda text: text.replace(b"ana@", b"an\x01@"),
    "null byte": lambda text: text.replace(b"ana@", b"an\x00@"),
    "broken UTF-8": lambda text: text.replace(b"ana@", b"an\xc3@"),
    "broken UTF-8 in what is not read": lambda text: text.replace(b"eu-west", b"\xff"),
    "key twice": lambda text: text.replace(b'"email":', b'"email":{"S":"x"},"email":'),
    "key twice in an envelope": lambda text: text.replace(
        b'"eventID":', b'"eventID":"x","eventID":'
    ),
    "type tag twice": lambda text: text.replace(b'"S":"ana', b'"S":"x","S":"ana'),
    "order": lambda text: text.replace(b'{"id":{"S":"D-1"},"type"', b'{"type"', 1),
    "unknown attribute": lambda text: text.replace(b'"email":', b'"mail":{"S":"x"},"email":'),
    "missing attribute": lambda text: text.replace(b'"email":{"S":"ana@example.com"},', b""),
    "number for a string": lambda text: text.replace(b'"S":"ana@example.com"', b'"S":5'),
    "N for S": lambda text: text.replace(b'"S":"ana', b'"N":"ana'),
    "NULL for what is required": lambda text: text.replace(
        b'"S":"ana@example.com"', b'"NULL":true'
    ),
    "white space": lambda text: text.replace(b'"email":', b'"email": '),
    "carriage return": lambda text: text + b"\r",
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "nothing": lambda _: b"",
    "two records": lambda text: text + text,
    "cut off": lambda text: text[:-1],
    "more": lambda text: text + b"}",
    "colon": lambda text: text.replace(b'"email":', b'"email";'),
    "comma after the last": lambda text: text.replace(b'"OPEN"}}', b'"OPEN"},}'),
    "comma for brace": lambda text: text.replace(b'"}},"SizeBytes"', b'"},,"SizeBytes"'),
    "leading zero": lambda text: text.replace(b":945", b":0945"),
    "fraction": lambda text: text.replace(b":1768484591372", b":1768484591.372"),
    "exponent": lambda text: text.replace(b":1768484591372", b":17e5"),
    "negative": lambda text: text.replace(b":1768484591372", b":-5"),
    "many digits": lambda text: text.replace(b":1768484591372", b":1768484591372000"),
    "no number": lambda text: text.replace(b":945", b":"),
    "event": lambda text: text.replace(b"INSERT", b"UPSERT"),
    "image of another event": lambda text: text.replace(b"INSERT", b"REMOVE"),
    "identity": lambda text: text.replace(b'"userIdentity":null', b'"userIdentity":{"type":"x"}'),
    "type": lambda text: text.replace(b'"demand"', b'"remand"'),
    "type twice": lambda text: text.replace(b'"version":', b'"type":{"S":"sale"},"version":'),
    "open list": lambda text: text.replace(b'{"S":"B"}]', b'{"S":"B"},]'),
    "mixed list": lambda text: text.replace(b'{"S":"B"}]', b'"B"]'),
    "long list": lambda text: text.replace(b'{"S":"B"}', b",".join([b'{"S":"B"}'] * 99)),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_not_as_expected_is_left(name: str) -> None:
    doubtful = DOUBTFUL[name](SOUND)
    assert doubtful != SOUND
    assert left(SOUND, doubtful, SOUND) == [doubtful]


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_left_is_read_as_ever(name: str) -> None:
    assert_same(SOUND, DOUBTFUL[name](SOUND), SOUND)


def test_broken_bytes_do_not_spoil_their_neighbours() -> None:
    taken = ALIKE.decode(block(SOUND, SOUND[:-9] + b"\xff", SOUND))
    assert codes(taken) == ["invalid_utf8"]
    assert len(taken.typed[0]) == 2


def test_a_value_may_be_very_long() -> None:
    assert left(record(demand(email={"S": "a" * 100_000}))) == []


def test_wrong_values_are_faults_of_their_rows() -> None:
    wrong = [{"quantity": {"N": "x"}}, {"updatedAt": {"N": "NaN"}}, {"updatedAt": {"S": "soon"}}]
    documents = [record(demand(**attributes)) for attributes in wrong]
    assert left(*documents) == []
    assert_same(SOUND, *documents, SOUND)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=60)
@given(data=st.data())
def test_records_are_read_in_lockstep_as_one_by_one(name: str, data: st.DataObject) -> None:
    images = members_of(REGISTRY[name].image_fields).map(
        lambda members: compact({**members, "type": {"S": name}})
    )
    changes = st.builds(record, images, st.sampled_from(EVENTS), st.none() | images)
    assert_same(*data.draw(st.lists(changes, min_size=1, max_size=6)))


PIECES = [b'"', b"\\", b"{", b"}", b",", b":", b"[", b"]", b"\0", b"\xff", b"0", b"null", b"true"]
PIECES += [b'"}', b"},", b'{"NULL":true}', b'{"L":[]}', b'"x":{"S":"y"},', b'"type":{"S":"sale"},']
PLACES = st.integers(0, 700)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(VARIED), PLACES, st.integers(0, 9), st.sampled_from(PIECES)),
        min_size=1,
        max_size=8,
    )
)
def test_damaged_records_are_read_in_lockstep_as_one_by_one(
    damages: list[tuple[bytes, int, int, bytes]],
) -> None:
    damaged = [text[:at] + piece + text[at + gone :] for text, at, gone, piece in damages]
    assert_same(*VARIED, *damaged, SOUND)


@settings(max_examples=100)
@given(st.permutations(list(json.loads(IMAGE).items())), st.data())
def test_any_order_of_attributes_is_read_in_lockstep_as_one_by_one(
    members: list[tuple[str, Any]], data: st.DataObject
) -> None:
    twice = data.draw(st.sampled_from(members))
    some = [compact(dict(members)), compact(dict(members[:-1]))]
    doubled = some[0][:-1] + "," + compact(dict([twice]))[1:]
    assert_same(*(record(image) for image in [*some, doubled, IMAGE]))


SALE = {
    **{name: json.loads(IMAGE)[name] for name in ("id", "version", "createdAt", "updatedAt")},
    **{name: json.loads(IMAGE)[name] for name in ("userId", "email", "quantity", "currency")},
    "type": {"S": "sale"},
    "total": {"N": "1"},
    "orderId": {"S": "O"},
    "soldAt": {"S": "2026-01-02T03:04:05Z"},
}
SEAT = {"section": {"S": "A"}, "row": {"S": "B"}, "seat": {"S": "1"}, "price": {"N": "2.50"}}


def sale(*items: dict[str, Any]) -> bytes:
    return record(compact({**SALE, "items": {"L": [{"M": item} for item in items]}}))


def test_nested_records_are_taken_and_read_as_one_by_one() -> None:
    documents = [sale(SEAT), sale(SEAT, SEAT, SEAT), sale(SEAT, {**SEAT, "price": {"N": "x"}})]
    assert left(*documents, known=documents[:1]) == []
    assert_same(*documents)


def test_what_a_nested_record_must_have_is_missed_though_no_other_had_it() -> None:
    halves = [sale({name: SEAT[name] for name in ("section", "row", "seat")})] * 3
    assert left(*halves, known=halves) == halves


def test_a_reader_learns_from_what_it_left() -> None:
    reader = AlikeReader(ALIKE.readers)
    reader.read([SOUND])
    assert reader.read([VARIED[2]])[1] == [0]
    assert reader.read([VARIED[2]])[1] == []


def test_few_records_are_left_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "FEWEST", 2)
    assert left(SOUND) == [SOUND]


def test_a_reader_rests_where_nothing_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "_REST", 3)
    reader = AlikeReader(ALIKE.readers)
    reader.read([SOUND])
    reader.read([b"{}"])
    assert [len(reader.read([SOUND])[1]) for _ in range(4)] == [1, 1, 0, 0]


def test_changes_of_other_envelopes_are_read_as_one_by_one() -> None:
    assert_same(*[change(IMAGE), change(IMAGE, "REMOVE"), change(IMAGE, tags=["a", 1, {"b": []}])])
