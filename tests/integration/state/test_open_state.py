"""Opening a SQL store: tables are made once, brought up to date, and errors are safe to show."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from schemas.access import Reach
from schemas.errors import StoreError, StoreUnavailable, UsageError
from schemas.runs import RunQuery
from stores.state.database import NEWEST, Database
from stores.state.migrate import alembic_config
from stores.state.sql import open_state
from stores.state.tables import METADATA
from tests.integration.state.records import run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(sql_url: str) -> str:
    return sql_url


def test_what_was_kept_is_there_when_it_is_opened_again(url: str) -> None:
    first = open_state(url)
    first.runs.add(run())
    first.close()
    assert open_state(url).runs.get("r1") == run()


def test_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    database = Database(url)
    database.open()
    differences = database.read(
        lambda connection: compare_metadata(MigrationContext.configure(connection), METADATA)
    )
    assert differences == []


def test_newest_migration_is_the_one_that_the_code_expects(url: str) -> None:
    open_state(url).close()
    config = Database(url).read(alembic_config)
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST


def test_many_processes_may_open_a_new_store_at_once(url: str) -> None:
    code = "import sys; from stores.state.sql import open_state; open_state(sys.argv[1])"
    command = [sys.executable, "-c", code, url]
    racers = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [racer.communicate(timeout=60)[1] for racer in racers] == [""] * 4


def test_a_store_of_a_newer_lethe_is_refused(url: str) -> None:
    open_state(url).close()
    newer = sa.text("UPDATE alembic_version SET version_num = 'of-tomorrow'")
    Database(url).write(lambda connection: connection.execute(newer))
    with pytest.raises(StoreError, match="newer Lethe"):
        open_state(url)


def test_opening_a_store_that_is_up_to_date_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    open_state(url).close()
    code = (
        "import sys; from stores.state.sql import open_state; open_state(sys.argv[1]);"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("url", ["state.db", "nosuch://host/db", "", "sqlite+nosuch:///x"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"state\.url"):
        open_state(url)


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_is_not_shown() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        open_state("postgresql://lethe:hidden-word@127.0.0.1:1/lethe")
    assert "hidden-word" not in caught.value.message
    assert "127.0.0.1" in caught.value.message


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        open_state(f"sqlite:///{tmp_path / 'file' / 'state.db'}")


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("no database" * 1000)
    with pytest.raises(StoreError, match=r"state\.db"):
        open_state(f"sqlite:///{tmp_path / 'state.db'}")


def test_a_write_waits_for_another_one(tmp_path: Path) -> None:
    """Longer than SQLite itself waits."""
    path = tmp_path / "state.db"
    state = open_state(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Thread(target=lambda: (time.sleep(1.5), other.execute("COMMIT"))).start()
    state.runs.add(run())
    assert state.runs.get("r1") is not None


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = open_state(f"sqlite:///{path}")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert state.runs.find(RunQuery(1), Reach(None)) == []
