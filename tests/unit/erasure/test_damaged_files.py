"""Files that are damaged anywhere: each look says so, and none stops at them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from schemas.erasure import FileKind
from stores.lake_files import LakeFile
from stores.objects import LocalObjectStore
from tests.erasing import EMAIL, OTHER, site
from transforms.erasure.files import Unreadable, count_file, look_again
from transforms.erasure.search import Wanted
from transforms.erasure.second_look import SecondLook

IDENTITIES = (Identity(IdentityType.EMAIL, EMAIL),)
ROWS = [{"email": EMAIL, "u": "00000000-0000-0000-0000-00000000002a"}, {"email": OTHER, "u": ""}]
SCHEMA = {
    "type": "record",
    "name": "visit",
    "fields": [{"name": name, "type": "string"} for name in ("email", "u")],
}


def parquet(codec: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS * 20), out, compression=codec)
    return out.getvalue()


def avro(codec: str) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, SCHEMA, ROWS * 20, codec)
    return out.getvalue()


FILES = {
    **{f"{codec}.parquet": parquet(codec) for codec in ("none", "snappy", "zstd")},
    **{f"{codec}.avro": avro(codec) for codec in ("null", "deflate", "snappy", "zstandard", "xz")},
    "c.csv.gz": gzip.compress(f"email\n{EMAIL}\n{OTHER}\n".encode()),
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_damage_is_said_and_nothing_else_goes_wrong(
    tmp_path: Path, name: str, where: float, byte: int, cut: bool
) -> None:
    content = bytearray(FILES[name])
    place = int(4 + where * (len(content) - 4))
    content[place:] = b"" if cut else bytes([byte]) + content[place + 1 :]
    store = LocalObjectStore(tmp_path)
    parts = site(store)
    search = Wanted(parts.scrub_key, parts.registry, IDENTITIES).search()
    reader = SecondLook.for_identities(parts.scrub_key, parts.registry, IDENTITIES).open()
    for kind in ("visit", "unknown"):
        info = store.put(f"type={kind}/date=2026-01-02/{name}", bytes(content))
        file = LakeFile(info, FileKind.DATA, kind, None)
        assert EMAIL not in said(lambda one: count_file(one, store, search), file)
        assert EMAIL not in said(lambda one: look_again(reader, one, store), file)


def said(look: Callable[[LakeFile], object], file: LakeFile) -> str:
    """What is said of a file that cannot be read; nothing of one that can."""
    try:
        look(file)
    except Unreadable as error:
        return str(error)
    return ""
