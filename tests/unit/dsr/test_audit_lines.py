"""An entry or a checkpoint as a line, and back, to the byte."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.audit import AuditDraft, AuditHead, chained
from schemas.audit_lines import (
    checkpoint_line,
    entry_line,
    link_of,
    read_checkpoint_line,
    read_entry_line,
)
from tests.audit_logs import AT, KEYS, draft

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), JSON, max_size=3), st.text(), st.text())
def test_a_line_holds_the_link_of_its_entry(detail: Any, actor: str, resource: str) -> None:
    entry = chained(AuditDraft(actor, "org-1", "dsr.submitted", resource, detail), AT, AuditHead())
    line = entry_line(entry)
    assert line.count(b"\n") == 1
    assert read_entry_line(line) == link_of(entry)


@given(st.text(alphabet=st.characters(categories=["Cs", "L"])))
def test_half_a_surrogate_pair_is_written_as_an_escape(text: str) -> None:
    entry = chained(draft(0, note=text), AT, AuditHead())
    assert entry_line(entry).decode("utf-8")
    assert read_entry_line(entry_line(entry)) == link_of(entry)


def test_an_entrys_bytes_are_what_they_always_were() -> None:
    entry = chained(draft(7, count=1, note="\u00e4"), AT, AuditHead(6, "f" * 64))
    text = (
        '{"action":"dsr.changed","actor":"user-1","at":"2026-11-21T09:00:00.000007+00:00",'
        '"detail":{"count":1,"note":"\u00e4"},"organization":"org-1",'
        f'"previous":"{"f" * 64}","resource":"dsr:7","sequence":7}}'
    ).encode()
    digest = hashlib.sha256(text).hexdigest()
    assert entry_line(entry) == text[:-1] + f',"hash":"{digest}"}}\n'.encode()


def test_a_checkpoints_bytes_are_what_they_always_were() -> None:
    line = checkpoint_line(KEYS.sign(AuditHead(7, "f" * 64), AT)).decode()
    text, signature = line.split(',"signature":')
    assert text == (
        f'{{"at":"2026-11-21T09:00:00.000007+00:00","hash":"{"f" * 64}",'
        '"key_id":"10ba682c8ad13513","sequence":7,"statement":"lethe audit checkpoint"'
    )
    assert re.fullmatch(r'"[0-9a-f]{128}"}\n', signature)


@given(st.integers(0, 10**12), st.datetimes(), st.integers(-12, 12))
def test_a_checkpoint_is_read_back(sequence: int, at: datetime, hours: int) -> None:
    at = at.replace(tzinfo=timezone(timedelta(hours=hours))) if at.year in range(2, 9999) else AT
    known = KEYS.sign(AuditHead(sequence, "f" * 64), at.astimezone(UTC))
    assert read_checkpoint_line(checkpoint_line(known)) == known


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"sequence":1,"hash":"' + b"f" * 64 + b'"}\n',
        b'{"sequence":"1","previous":"","hash":"' + b"f" * 64 + b'"}\n',
        b"{" + b"[" * 9_999 + b',"hash":"' + b"f" * 64 + b'"}\n',
        b'{"at":7,"signature":"' + b"f" * 128 + b'"}\n',
        b'{"at":"now","signature":"' + b"f" * 128 + b'"}\n',
    ],
)
def test_garbage_is_neither_an_entry_nor_a_checkpoint(garbage: bytes) -> None:
    assert read_entry_line(garbage) is None
    assert read_checkpoint_line(garbage) is None


def test_a_checkpoint_written_otherwise_is_none() -> None:
    line = checkpoint_line(KEYS.sign(AuditHead(7, "f" * 64), AT))
    assert read_checkpoint_line(line.replace(b'"sequence":7', b'"sequence": 7')) is None
    assert read_checkpoint_line(line.rstrip()) is None
