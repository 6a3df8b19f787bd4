"""The docs say what the program does: their commands are run, their links followed.

In a ``console`` block, a line that starts with ``$ `` is a command and what follows is what it
prints; a line ``...`` stands for lines left out. A command must end with status 0, or with the one
that an ``echo $?`` after it shows. Each line shown must be among those printed, numbers aside.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from runners.cli import build_app
from schemas.changes import ErrorCode
from schemas.contacts import Reason
from tests.emulators import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    kinesis_client,
    make_bucket,
    moto_url,
    s3_client,
)

__all__ = ["moto_url"]

ROOT = Path(__file__).parents[2]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
WITH_COMMANDS = [doc for doc in DOCS if "```console" in doc.read_text("utf-8")]
NOT_RUN = ("aws",)
"""Programs whose lines are shown and not run."""

PRINTS_ELSEWHERE = {"schemas.md"}
"""Guides whose output other tests hold to the code."""

HOME = "/home/ana"
"""What the docs say where the folder of the reader stands."""


@dataclass
class Command:
    line: str
    shown: list[str]
    status: int = 0


@pytest.fixture
def folder(moto_url: str) -> Iterator[Path]:
    """What the docs' reader has: the examples, some schemas and two buckets."""
    # What a guide ends may still write as the folder goes.
    with tempfile.TemporaryDirectory(prefix="lethe-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        shutil.copy(ROOT / "schemas" / "records" / "demand.avsc", folder)
        make_refunds(folder)
        make_drift(folder / "drift")
        make_buckets(moto_url)
        make_stream(moto_url)
        yield folder
        end_processes(folder)


def end_processes(folder: Path) -> None:
    """End what a guide has started, should it not have come to the line that does."""
    for started in folder.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(started.read_text()), signal.SIGTERM)


def make_refunds(folder: Path) -> None:
    """The example of ``schemas.md``, and a newer one that is not compatible."""
    guide = (ROOT / "docs" / "schemas.md").read_text("utf-8")
    first = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)[0]
    for name, text in (("old", first), ("new", first.replace('"scale": 2', '"scale": 4'))):
        (folder / name).mkdir()
        (folder / name / "refund.avsc").write_text(text)


def make_drift(lake: Path) -> None:
    """A lake with a file that is none."""
    damaged = lake / "type=sale" / "date=2026-01-02" / "a.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not Parquet")


def make_buckets(url: str) -> None:
    client = s3_client(url)
    known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in {"acme-changes", "acme-lake"} - known:
        make_bucket(url, name)
    content = (ROOT / "examples" / "kinesis-records.ndjson").read_bytes()
    client.put_object(Bucket="acme-changes", Key="2026/01/changes.ndjson", Body=content)


def make_stream(url: str) -> None:
    """The stream ``changes`` with the changes of an example, if it is not there yet."""
    client = kinesis_client(url)
    if "changes" in client.list_streams()["StreamNames"]:
        return
    client.create_stream(StreamName="changes", ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName="changes", WaiterConfig={"Delay": 1})
    for line in (ROOT / "examples" / "kinesis-records.ndjson").read_bytes().splitlines():
        client.put_record(StreamName="changes", Data=line, PartitionKey="1")


def commands(doc: Path) -> Iterator[Command]:
    for block in re.findall(r"```console\n(.*?)```", doc.read_text("utf-8"), re.DOTALL):
        yield from with_statuses(commands_of(block))


def commands_of(block: str) -> Iterator[Command]:
    """The commands of a block; one may go on in further lines by a backslash or a here-document."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        ended = re.search(r"<<'(\w+)'", line)
        while line.endswith("\\") or (ended and not line.endswith("\n" + ended[1])):
            line += "\n" + shown.pop(0)
        yield Command(line, [text for text in shown if text.strip() not in {"", "..."}])


def with_statuses(found: Iterator[Command]) -> Iterator[Command]:
    last: Command | None = None
    for command in found:
        if command.line == "echo $?":
            assert last is not None
            last.status = int(command.shown[0])
            continue
        if last is not None:
            yield last
        last = command
    if last is not None:
        yield last


def run(command: Command, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    env = {
        **own,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "COLUMNS": "120",
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
    return subprocess.run(
        ["bash", "-c", command.line],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def essence(line: str) -> str:
    """A line without what differs from run to run: run ids, digests, numbers, widths."""
    hidden = re.sub(r"\d{8}T\d{6}-[0-9a-f]+-[0-9a-f]+|[0-9a-f]{8,}|\d[\d.,:]*", "#", line)
    return " ".join(hidden.split())


@pytest.mark.parametrize("doc", WITH_COMMANDS, ids=lambda doc: doc.name)
def test_commands_do_what_the_doc_shows(doc: Path, folder: Path, moto_url: str) -> None:
    if doc.name == "schemas.md":
        (folder / "drift").rename(folder / "lake")
    for command in commands(doc):
        if command.line.startswith(NOT_RUN):
            continue
        result = run(command, folder, moto_url)
        assert result.returncode == command.status, (command.line, result.stderr[-1500:])
        if doc.name not in PRINTS_ELSEWHERE:
            assert_shown(command, (result.stdout + result.stderr).replace(str(folder), HOME))


def assert_shown(command: Command, printed: str) -> None:
    lines = {essence(line) for line in printed.splitlines()}
    missing = [line for line in command.shown if essence(line) not in lines]
    assert not missing, (command.line, missing, printed)


def test_every_kind_of_status_is_shown_somewhere() -> None:
    """That is, the notation above is in use and not passed over."""
    shown = {command.status for doc in WITH_COMMANDS for command in commands(doc)}
    assert shown == {0, 1, 2, 3}


def commands_under(group: typer.core.TyperGroup, path: str = "lethe") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands_under(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def every_command() -> dict[str, Any]:
    group = typer.main.get_command(build_app())
    assert isinstance(group, typer.core.TyperGroup)
    return dict(commands_under(group))


def every_option() -> list[tuple[str, str]]:
    found = ((name, one.params) for name, one in every_command().items())
    return [(name, o) for name, params in found for p in params for o in p.opts if o[:2] == "--"]


@pytest.mark.parametrize("command", every_command())
def test_command_is_documented(command: str) -> None:
    assert any(command in doc.read_text("utf-8") for doc in DOCS)


@pytest.mark.parametrize(("command", "option"), every_option())
def test_option_is_documented(command: str, option: str) -> None:
    """In a document that speaks of its command."""
    said = re.compile(rf"{option}(?![\w-])")
    texts = [doc.read_text("utf-8") for doc in DOCS]
    assert any(said.search(text) for text in texts if " ".join(command.split()[:3]) in text)


@pytest.mark.parametrize("reason", [*Reason])
def test_reason_is_explained(reason: str) -> None:
    guide = (ROOT / "docs" / "enrich.md").read_text("utf-8")
    table = guide.partition("## Reasons")[2].partition("## The API")[0]
    assert f"`{reason}`" in table


@pytest.mark.parametrize("code", [*ErrorCode])
def test_error_code_is_explained(code: str) -> None:
    guide = (ROOT / "docs" / "dead-letters.md").read_text("utf-8")
    assert re.search(rf"^\| `{code}` \| .+ \| .+ \|$", guide, re.MULTILINE)


def test_every_field_of_a_dead_letter_is_explained() -> None:
    """As the examples make them."""
    guide = (ROOT / "docs" / "dead-letters.md").read_text("utf-8")
    shown = re.search(r"^\{\n(.*?)^\}$", guide, re.DOTALL | re.MULTILINE)
    assert shown is not None
    names = re.findall(r'^ +"(\w+)":', shown[1], re.MULTILINE)
    table = guide.partition("## A line")[2].partition("## Codes")[0]
    assert names
    assert all(f"`{name}`" in table for name in names)


def links() -> Iterator[tuple[Path, str]]:
    for doc in DOCS:
        text = re.sub(r"```.*?```", "", doc.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target:
                yield doc, target


def anchors(doc: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", doc.read_text("utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    ("doc", "target"), [*links()], ids=lambda part: part if isinstance(part, str) else part.name
)
def test_link_leads_somewhere(doc: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = (doc.parent / path).resolve() if path else doc
    assert linked.exists()
    assert not anchor or anchor in anchors(linked)


def test_every_document_is_linked_from_another() -> None:
    linked = {(doc.parent / target.partition("#")[0]).resolve() for doc, target in links()}
    folders = {path for path in linked if path.is_dir()}
    lost = [doc for doc in DOCS if doc not in linked and doc.parent not in folders]
    assert lost == [ROOT / "README.md"]
