"""``lethe generate`` on the command line, and the files it leaves."""

from __future__ import annotations

import bz2
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd
from typer.testing import CliRunner

from runners.cli import build_app
from runners.commands.generate import app
from runners.generate import changes, contacts
from runners.generate.output import write_file
from schemas.errors import StoreError, UsageError

PLAIN = b"".join(changes(300, 5, "export", 0.2))


def generate(*arguments: str) -> None:
    CliRunner().invoke(app, arguments, catch_exceptions=False)


def unpack(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".zst":
        return zstd.decompress(data)
    return {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)(data)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_changes_are_written_and_compressed_by_suffix(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"made.ndjson{suffix}"
    options = f"--count 300 --seed 5 --input-format export --hostile 0.2 --out {out}"
    generate("changes", *options.split())
    assert unpack(out) == PLAIN


def test_contacts_are_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "contacts.ndjson"
    generate("contacts", "--count", "20", "--seed", "5", "--out", str(out))
    assert out.read_bytes() == b"".join(contacts(20, 5))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
def test_two_runs_write_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_file(first, iter([PLAIN]))
    write_file(second, iter([PLAIN]))
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_run_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    out = tmp_path / "made.ndjson"
    out.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_file(out, failing())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {out.name: b"old"}


def test_nothing_shows_under_the_name_before_the_end(tmp_path: Path) -> None:
    out = tmp_path / "made.ndjson"
    seen: list[str] = []

    def watched() -> Iterator[bytes]:
        yield b"one"
        seen.extend(path.name for path in tmp_path.iterdir())

    write_file(out, watched())
    assert [name[0] for name in seen] == ["."]


def test_a_folder_that_cannot_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        write_file(tmp_path / "file" / "made.ndjson", iter([b""]))


def test_writing_to_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder"):
        write_file(tmp_path, iter([b""]))


def test_a_pipe_is_not_put_out_of_its_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="a pipe"):
        write_file(pipe, iter([b""]))
    assert pipe.is_fifo()


def test_a_link_stays(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    write_file(link, iter([b"made"]))
    assert (link.is_symlink(), (tmp_path / "file").read_bytes()) == (True, b"made")


@pytest.mark.parametrize(
    "words",
    [
        "generate contacts --count 1 --out -",
        "deliver x --lake lake --report -",
        "erase --lake lake --subject email=a@b.example --certificate -",
        "export --lake lake --subject email=a@b.example --out -",
        "dsr learn-risk --out -",
    ],
)
def test_output_by_the_name_of_standard_input_is_refused(words: str) -> None:
    command, *rest = words.split()
    with pytest.raises(UsageError, match="-: name a file"):
        CliRunner().invoke(build_app(command), [command, *rest], catch_exceptions=False)


def test_a_bad_share_writes_no_file(tmp_path: Path) -> None:
    out = tmp_path / "made.ndjson"
    with pytest.raises(UsageError):
        generate("changes", "--count", "1", "--hostile", "2", "--out", str(out))
    assert not out.exists()
