"""The hostile corpus is complete and says of itself what is true."""

from __future__ import annotations

import json
import runpy
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.changes import ErrorCode

CORPUS = Path(__file__).parents[2] / "data" / "hostile"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CORPUS / "expected.json").read_text())
ABOUT = {"README.md", "expected.json", "large.py"}
BUILT = {"record-too-large.ndjson", "gzip-bomb.ndjson.gz"}


def input_files() -> set[str]:
    files = {path.name for path in CORPUS.iterdir() if path.is_file()}
    return {name for name in files if not name.startswith(".")} - ABOUT


def test_every_case_has_a_file_and_an_expectation() -> None:
    assert input_files() | BUILT == set(EXPECTED)


def test_every_case_is_in_the_table() -> None:
    table = (CORPUS / "README.md").read_text()
    assert [name for name in EXPECTED if f"| `{name}` |" not in table] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_every_record_read_is_delivered_or_a_dead_letter(name: str) -> None:
    case = EXPECTED[name]
    assert case["read"] == case["delivered"] + sum(case["dead_letters"].values())


def test_every_code_that_data_alone_can_cause_has_a_case() -> None:
    covered = {code for case in EXPECTED.values() for code in case["dead_letters"]}
    assert set(ErrorCode) - covered == {ErrorCode.UNKNOWN_FIELD}  # an error by policy only


def test_the_cut_gzip_ends_inside_its_third_record() -> None:
    packed = (CORPUS / "truncated-gzip.ndjson.gz").read_bytes()
    unpacking = zlib.decompressobj(wbits=31)
    *whole, partial = unpacking.decompress(packed).split(b"\n")
    assert not unpacking.eof
    assert [type(json.loads(line)) for line in whole] == [dict, dict]
    assert len(partial) > 100


def test_large_cases_are_large_only_when_read(tmp_path: Path) -> None:
    build: Callable[[Path], list[Path]] = runpy.run_path(str(CORPUS / "large.py"))[
        "build_large_cases"
    ]
    built = {path.name: path.stat().st_size for path in build(tmp_path)}
    assert set(built) == BUILT
    assert built["record-too-large.ndjson"] > 20_000_000
    assert built["gzip-bomb.ndjson.gz"] < 500_000
