"""Rewriting Parquet files of any kind without the rows of subjects."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from tests.unit.schemas.record_types import array, record, record_type
from transforms.erasure.matching import IdentityMatcher
from transforms.erasure.parquet import count_parquet, rewrite_parquet
from transforms.erasure.parquet_footer import NotParquet
from transforms.erasure.redaction import Redaction
from transforms.erasure.rewritten import Rewritten
from transforms.scrub import Scrubber

KEY = b"a key of sixteen bytes and more"
EMAIL = {"name": "email", "type": "string", "subject": "email", "pii": "email"}
MAIL = {"name": "mail", "type": ["null", "string"], "subject": "email"}
TYPE = record_type(EMAIL, {"name": "people", "type": array(record("person", MAIL))})
SUBJECT = "subject@acme.example"


def matcher(*emails: str) -> IdentityMatcher:
    identities = (Identity(IdentityType.EMAIL, email) for email in emails or [SUBJECT])
    return IdentityMatcher(tuple(identities), Scrubber(KEY))


def file(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def rewritten(
    content: bytes, *emails: str, redaction: Redaction | None = None
) -> tuple[Rewritten, bytes]:
    out = io.BytesIO()
    told = rewrite_parquet(io.BytesIO(content), out, TYPE, matcher(*emails), redaction)
    return told, out.getvalue()


def read(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content)).combine_chunks()


def emails(places: Sequence[int], rows: int) -> pa.Array:
    """Emails of so many rows, of which those in these places are the subject's."""
    return pa.array([SUBJECT if n in places else f"user{n}@acme.example" for n in range(rows)])


def without(table: pa.Table, places: Sequence[int]) -> pa.Table:
    kept = [n for n in range(len(table)) if n not in places]
    return table.take(pa.array(kept, pa.int64())).combine_chunks()


def metadata(content: bytes) -> Any:
    return pq.read_metadata(io.BytesIO(content))


def every_type(rows: int) -> pa.Table:
    """A table with a column of each type, with nulls."""
    n = range(rows)
    person = pa.struct([("mail", pa.string()), pa.field("age", pa.int32(), nullable=False)])
    people = [None if k % 5 == 0 else [{"mail": None, "age": k}, None][: k % 3] for k in n]
    maybe = [k % 3 != 0 for k in n]
    required = pa.field("a", pa.int64(), nullable=False)
    columns = {
        "people": pa.array(people, pa.list_(person)),
        "ns": pa.array([k * 10**9 + k for k in n], pa.timestamp("ns")),
        "us": pa.array([-k for k in n], pa.timestamp("us", "UTC")),
        "ms": pa.array(list(n), pa.timestamp("ms")),
        "price": pa.array([Decimal(k - 5) / 4 for k in n], pa.decimal128(12, 2)),
        "huge": pa.array([Decimal(k) for k in n], pa.decimal256(50, 3)),
        "word": pa.array(["ab"[k % 2] for k in n]).dictionary_encode(),
        "map": pa.array([[(f"k{k}", k)] for k in n], pa.map_(pa.string(), pa.int64())),
        "struct": pa.array([{"a": k} if k % 3 else None for k in n], pa.struct([required])),
        "unsigned": pa.array([2**64 - 1 - k for k in n], pa.uint64()),
        "small": pa.array([2**32 - 1 - k for k in n], pa.uint32()),
        "half": pa.array([float(k) for k in n], pa.float16()),
        "flag": pa.array(maybe),
        "fixed": pa.array([bytes([k % 256] * 5) for k in n], pa.binary(5)),
        "time": pa.array(list(n), pa.time64("us")),
        "date": pa.array(list(n), pa.date32()),
        "large": pa.array([str(k) for k in n], pa.large_string()),
        "nothing": pa.nulls(rows),
    }
    masked = {
        name: column if name in {"people", "struct", "word", "nothing"} else _some(column, maybe)
        for name, column in columns.items()
    }
    return pa.table(masked)


def _some(column: pa.Array, kept: list[bool]) -> pa.Array:
    return pc.if_else(pa.array(kept), column, pa.scalar(None, column.type))


OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "second-version": {"data_page_version": "2.0", "compression": "zstd"},
    "no-dictionary": {"use_dictionary": False, "compression": "gzip"},
    "page-index": {"write_page_index": True, "use_dictionary": ["word"]},
    "int96": {"use_deprecated_int96_timestamps": True, "compression": "none"},
    "brotli": {"compression": "brotli"},
    "lz4-without-statistics": {"compression": "lz4", "write_statistics": False},
    "encodings": {
        "use_dictionary": False,
        "column_encoding": {"email": "DELTA_BYTE_ARRAY", "us": "DELTA_BINARY_PACKED"},
    },
    "bloom": {"bloom_filter_options": {"email": {"ndv": 100}}},
    "integer-decimals": {"store_decimal_as_integer": True},
    "old-lists": {"use_compliant_nested_type": False},
    "without-arrow-schema": {"store_schema": False},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_survivors_of_any_format_are_equal_value_by_value(name: str) -> None:
    places = [3, 4, 11, 25, 29]
    content = file(
        every_type(40).append_column("email", emails(places, 40)),
        row_group_size=10,
        **OPTIONS[name],
    )
    told, after = rewritten(content)
    assert told == Rewritten(40, 5, 35)
    assert read(after).equals(without(read(content), places), check_metadata=True)


FACTS = (
    "path_in_schema physical_type compression encodings is_stats_set has_dictionary_page "
    "has_offset_index has_column_index"
).split()


@pytest.mark.parametrize("name", OPTIONS)
def test_column_is_stored_as_it_was(name: str) -> None:
    content = file(
        every_type(40).append_column("email", emails([3, 25], 40)),
        row_group_size=10,
        **OPTIONS[name],
    )
    before, after = metadata(content), metadata(rewritten(content)[1])
    assert after.schema.equals(before.schema)
    for group in range(before.num_row_groups):
        assert stored(after.row_group(group)) == stored(before.row_group(group))


def stored(group: Any) -> list[list[Any]]:
    columns = [group.column(place) for place in range(group.num_columns)]
    facts = [[getattr(column, fact) for fact in FACTS] for column in columns]
    return [[set(f) if isinstance(f, tuple) else f for f in one] for one in facts]


def test_columns_of_one_name_are_told_apart() -> None:
    columns = [emails([1], 9), pa.array(range(9)), pa.array(["x"] * 9)]
    content = file(pa.table(columns, names=["email", "same", "same"]))
    told, after = rewritten(content)
    assert told.matched == 1
    assert (
        pq.ParquetFile(io.BytesIO(after))
        .read()
        .equals(without(pq.ParquetFile(io.BytesIO(content)).read(), [1]))
    )


def test_columns_too_large_to_go_together_are_those_they_were() -> None:
    large = pa.array([bytes([n]) * 500_000 for n in range(12)])
    table = pa.table({"a": large, "email": emails([7], 12), "b": large, "c": pa.array(range(12))})
    content = file(table, compression="zstd", use_dictionary=False)
    _, after = rewritten(content)
    assert read(after).equals(without(table, [7]))


def test_what_the_footer_says_is_kept() -> None:
    field = pa.field("email", pa.string(), metadata={"PARQUET:field_id": "7"})
    schema = pa.schema([field], metadata={"owner": "sales"})
    content = file(pa.table([emails([1], 4)], schema=schema))
    before, after = metadata(content), metadata(rewritten(content)[1])
    assert after.metadata == before.metadata
    assert (after.created_by, after.format_version) == (before.created_by, before.format_version)
    assert after.schema.to_arrow_schema().field("email").metadata == {b"PARQUET:field_id": b"7"}


def test_row_groups_keep_their_boundaries_and_empty_ones_disappear() -> None:
    content = file(pa.table({"email": emails([0, 10, 11, 12, 13, 14], 20)}), row_group_size=5)
    after = metadata(rewritten(content)[1])
    rows = [after.row_group(group).num_rows for group in range(after.num_row_groups)]
    assert rows == [4, 5, 5]
    assert after.num_rows == 14


def test_row_groups_without_a_match_are_copied_as_they_are() -> None:
    content = file(pa.table({"email": emails([7], 20)}), row_group_size=5, compression="none")
    chunk = metadata(content).row_group(3).column(0)
    start = chunk.dictionary_page_offset
    assert content[start : start + chunk.total_compressed_size] in rewritten(content)[1]


def test_nothing_of_the_subject_is_left_in_the_bytes() -> None:
    for options in OPTIONS.values():
        table = pa.table({"email": emails([1, 2, 8], 10), "us": pa.nulls(10, pa.int64())})
        content = file(table, row_group_size=5, **{**options, "compression": "none"})
        assert SUBJECT.encode() in content
        assert SUBJECT.encode() not in rewritten(content)[1]


def test_statistics_are_those_of_the_rows_that_remain() -> None:
    table = pa.table(
        {"email": emails([0, 9], 10), "price": pa.array(range(10), pa.decimal128(9, 2))}
    )
    stats = metadata(rewritten(file(table))[1]).row_group(0).column(1).statistics
    assert (stats.min, stats.max) == (Decimal(1), Decimal(8))


def asked(content: bytes, folder: Path, query: str) -> Any:
    """What DuckDB answers; ``t`` is the file."""
    path = folder / "t.parquet"
    path.write_bytes(content)
    return duckdb.execute(query.replace("t.parquet", str(path))).fetchall()


def test_bloom_filter_still_finds_the_others(tmp_path: Path) -> None:
    table = pa.table({"email": emails([3], 10)})
    after = rewritten(file(table, bloom_filter_options={"email": {"ndv": 10}}))[1]
    query = "SELECT count(*) FROM 't.parquet' WHERE email = 'user4@acme.example'"
    assert asked(after, tmp_path, query) == [(1,)]
    query = "SELECT count(*) FROM parquet_bloom_probe('t.parquet', 'email', 'user4@acme.example')"
    assert asked(after, tmp_path, query) == [(1,)]


def test_other_readers_see_the_survivors(tmp_path: Path) -> None:
    table = every_type(30).drop_columns(["half", "nothing"]).append_column("email", emails([7], 30))
    content = file(table, row_group_size=10, write_page_index=True)
    everything = "SELECT * FROM 't.parquet' ORDER BY email"
    before = asked(content, tmp_path, everything)
    after = asked(rewritten(content)[1], tmp_path, everything)
    assert after == [row for row in before if row[-1] != SUBJECT]


def test_files_of_duckdb_are_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "duck.parquet"
    duckdb.execute(
        "COPY (SELECT CASE WHEN i % 7 = 0 THEN 'subject@acme.example' ELSE 'u' || i END AS email, "
        "i::HUGEINT AS h, i::DECIMAL(18, 3) AS d, uuid() AS id, [i, NULL] AS l, {'a': i} AS s, "
        "MAP {'k': i} AS m, INTERVAL (i) DAY AS iv, i::UTINYINT AS u, TIMESTAMP '2026-01-01' AS ts "
        f"FROM range(100) r(i)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 30)"
    )
    content = path.read_bytes()
    told, after = rewritten(content)
    assert told == Rewritten(100, 15, 85)
    everything = "SELECT * FROM 't.parquet' ORDER BY h"
    before = asked(content, tmp_path, everything)
    assert asked(after, tmp_path, everything) == [row for row in before if row[0] != SUBJECT]


SPARK = Path(__file__).parents[2] / "data" / "spark"
"""Written by Spark 3.5, with times in INT96 (of the years 1 and 9999, too); one as old Spark did,
with other names and shapes of lists, and decimals in bytes."""


@pytest.mark.parametrize("name", ["int96.parquet", "int96-legacy.parquet"])
def test_files_of_spark_are_rewritten(name: str, tmp_path: Path) -> None:
    content = (SPARK / name).read_bytes()
    told, after = rewritten(content)
    assert told == Rewritten(20, 4, 16)
    everything = "SELECT * FROM 't.parquet' ORDER BY d9"
    before = asked(content, tmp_path, everything)
    assert asked(after, tmp_path, everything) == [row for row in before if row[0] != SUBJECT]


@pytest.mark.parametrize("name", ["int96.parquet", "int96-legacy.parquet"])
def test_files_of_spark_keep_their_layout(name: str) -> None:
    content = (SPARK / name).read_bytes()
    before, after = metadata(content), metadata(rewritten(content)[1])
    assert after.schema.equals(before.schema)
    kept = ["path_in_schema", "physical_type", "compression", "is_stats_set", "has_offset_index"]
    for place in range(before.num_columns):
        old, new = before.row_group(0).column(place), after.row_group(0).column(place)
        assert [getattr(new, fact) for fact in kept] == [getattr(old, fact) for fact in kept]


@pytest.mark.parametrize("places", [[], range(4)])
def test_nothing_is_written_if_none_or_all_are_the_subjects(places: Sequence[int]) -> None:
    content = file(pa.table({"email": emails(places, 4)}), row_group_size=2)
    assert rewritten(content) == (Rewritten(4, len(places), 4 - len(places)), b"")


@pytest.mark.parametrize("table", [pa.table({"email": emails([], 0)}), pa.table({"x": [1]})])
def test_file_without_rows_or_subjects_is_left_alone(table: pa.Table) -> None:
    assert rewritten(file(table)) == (Rewritten(len(table), 0, len(table)), b"")


def test_counting_finds_what_rewriting_takes_out() -> None:
    content = file(pa.table({"email": emails([0, 7, 19], 20)}), row_group_size=5)
    assert count_parquet(io.BytesIO(content), TYPE, matcher()) == Rewritten(20, 3, 17)


def test_row_goes_by_one_of_many_nested_values() -> None:
    people = [[{"mail": "a@x.org"}, {"mail": SUBJECT}], None, [], [None, {"mail": "b@x.org"}]]
    kind = pa.list_(pa.struct([("mail", pa.string())]))
    table = pa.table({"people": pa.array(people, kind)})
    told, after = rewritten(file(table))
    assert told.matched == 1
    assert read(after).equals(without(table, [0]))


def test_redacted_values_are_null_where_they_may_be() -> None:
    table = pa.table({"email": emails([1], 3), "n": [1, 2, 3]})
    told, after = rewritten(file(table), redaction=Redaction(KEY))
    assert told == Rewritten(3, 1, 3)
    assert read(after)["email"].to_pylist() == ["user0@acme.example", None, "user2@acme.example"]
    assert read(after)["n"].to_pylist() == [1, 2, 3]


def test_redacted_values_are_hashed_where_they_must_be_something() -> None:
    schema = pa.schema([pa.field("email", pa.string(), nullable=False)])
    content = file(pa.table([emails([1], 3)], schema=schema))
    after = rewritten(content, redaction=Redaction(KEY))[1]
    hidden = read(after)["email"][1].as_py()
    assert hidden.startswith("hmac-sha256:")
    assert hidden != Scrubber(KEY).hash(SUBJECT)
    assert rewritten(after, redaction=Redaction(KEY))[0].matched == 0


def test_redaction_takes_what_the_type_did_not_know() -> None:
    extra = [f'{{"email": "{SUBJECT}"}}', '{"email": "a@x.org"}']
    content = file(pa.table({"extra": extra}))
    told, after = rewritten(content, redaction=Redaction(KEY))
    assert told.matched == 1
    assert read(after)["extra"].to_pylist() == [None, extra[1]]


def test_nested_values_are_redacted_in_the_subjects_rows_alone() -> None:
    people = [[{"mail": SUBJECT, "n": 1}, None], [{"mail": "b@x.org", "n": 2}]]
    kind = pa.list_(pa.struct([("mail", pa.string()), ("n", pa.int64())]))
    content = file(pa.table({"people": pa.array(people, kind)}))
    after = read(rewritten(content, redaction=Redaction(KEY))[1])
    assert after["people"].to_pylist() == [[{"mail": None, "n": 1}, None], people[1]]


def test_columns_that_are_not_personal_are_copied_when_rows_are_redacted() -> None:
    table = pa.table({"email": emails([1], 3), "n": pa.array([1, 2, 3])})
    content = file(table, compression="none", use_dictionary=False)
    chunk = metadata(content).row_group(0).column(1)
    start = chunk.data_page_offset
    after = rewritten(content, redaction=Redaction(KEY))[1]
    assert content[start : start + chunk.total_compressed_size] in after


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.uint32(), pa.decimal128(3, 2), pa.float16(), pa.binary(4), pa.bool_()]
)
def test_numbers_that_must_be_something_become_zero(kind: pa.DataType) -> None:
    one = {pa.binary(4): b"1234", pa.bool_(): True}.get(kind, 1)
    phone = pa.array([one] * 3, kind)
    schema = pa.schema([pa.field("phone", kind, nullable=False), ("email", pa.string())])
    content = file(pa.table([phone, emails([1], 3)], schema=schema))
    out = io.BytesIO()
    kept = record_type(EMAIL, {"name": "phone", "type": "long", "pii": "phone"})
    rewrite_parquet(io.BytesIO(content), out, kept, matcher(), Redaction(KEY))
    first, hidden, last = read(out.getvalue())["phone"].to_pylist()
    assert hidden in {0, bytes(4)}
    assert first == last == phone[0].as_py()


def test_sorted_rows_stay_sorted_and_redacted_ones_are_not_said_to_be() -> None:
    by = [pq.SortingColumn(0)]
    content = file(pa.table({"email": emails([1], 9)}), row_group_size=3, sorting_columns=by)
    redacted = metadata(rewritten(content, redaction=Redaction(KEY))[1])
    assert [redacted.row_group(n).sorting_columns for n in range(2)] == [(), tuple(by)]
    assert metadata(rewritten(content)[1]).row_group(0).sorting_columns == tuple(by)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(8) + b"PAR1", bytes(100)])
def test_what_is_no_parquet_file_is_an_error(content: bytes) -> None:
    with pytest.raises(NotParquet):
        rewritten(content)


def test_damaged_file_is_an_error_that_repeats_nothing_of_it() -> None:
    content = bytearray(file(pa.table({"email": emails([1], 1000)}), compression="none"))
    content[4:60] = b"\xff" * 56
    with pytest.raises(NotParquet) as caught:
        rewritten(bytes(content))
    assert "@" not in str(caught.value)


LETTERS = st.sampled_from(["a@x", "b@x", "c@x", "A@X ", None])
PEOPLE = st.none() | st.lists(st.none() | st.fixed_dictionaries({"mail": LETTERS}), max_size=2)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "email": LETTERS,
            "people": PEOPLE,
            "price": st.none() | st.decimals(-9, 9, places=2),
            "word": st.none() | st.text(max_size=3),
            "at": st.none() | st.integers(-(2**62), 2**62),
        }
    ),
    max_size=20,
)
SCHEMA = pa.schema(
    {
        "email": pa.string(),
        "people": pa.list_(pa.struct({"mail": pa.string()})),
        "price": pa.decimal128(9, 2),
        "word": pa.dictionary(pa.int32(), pa.string()),
        "at": pa.timestamp("ns"),
    }
)


@settings(max_examples=40)
@given(
    ROWS,
    st.sets(st.sampled_from(["a@x", "b@x"])),
    st.integers(1, 7),
    st.sampled_from(sorted(OPTIONS)),
)
def test_rows_after_are_the_rows_before_without_the_subjects(
    rows: list[dict[str, Any]], subjects: set[str], size: int, option: str
) -> None:
    options = {"use_dictionary": ["word"]} if option == "encodings" else OPTIONS[option]
    if option == "int96":
        rows = [{**row, "at": None} for row in rows]
    table = pa.Table.from_pylist(rows, SCHEMA)
    content = file(table, row_group_size=size, **options)
    told, after = rewritten(content, *(subjects or ["nobody@x"]))
    gone = [n for n, row in enumerate(rows) if subjects & set(_identities(row))]
    assert told == Rewritten(len(rows), len(gone), len(rows) - len(gone))
    if told.matched and told.rows_after:
        assert decoded(read(after)).equals(without(decoded(read(content)), gone))
        assert rewritten(after, *subjects)[0].matched == 0


def decoded(table: pa.Table) -> pa.Table:
    """The table with words instead of a dictionary, which may hold words of no row."""
    place = table.schema.get_field_index("word")
    return table.set_column(place, "word", table["word"].cast(pa.string()))


def _identities(row: dict[str, Any]) -> list[str]:
    mails = [row["email"], *(one["mail"] for one in row["people"] or [] if one)]
    return [mail.strip().lower() for mail in mails if mail is not None]


def test_text_that_is_no_utf8_hides_nothing_and_stops_nothing() -> None:
    encoded = pa.array([b"M\xfcller@acme.example", SUBJECT.encode(), b"\xff", None], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 4, encoded.buffers())
    told, after = rewritten(file(pa.table({"email": broken})))
    assert told == Rewritten(4, 1, 3)
    kept = [b"M\xfcller@acme.example", b"\xff", None]
    assert read(after)["email"].cast(pa.binary()).to_pylist() == kept
