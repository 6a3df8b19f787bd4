"""Where state is kept, as the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import load_settings
from runners.runs import state_folder, state_of
from schemas.errors import UsageError


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name in ("URL", "FOLDER", "KEEP_DAYS"):
        monkeypatch.delenv(f"LETHE_STATE__{name}", raising=False)


def test_state_is_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ana")
    assert state_folder(load_settings()) == Path("/home/ana/.local/state/lethe")


def test_the_desktops_state_folder_is_used_if_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder(load_settings()) == Path("/state/lethe")


def test_a_mac_has_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "Application Support" in str(state_folder(load_settings()))


def test_without_a_url_it_is_a_file_in_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path))
    state_of(load_settings()).close()
    assert (tmp_path / "state.db").exists()


def test_a_url_wins_over_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LETHE_STATE__FOLDER", str(tmp_path / "folder"))
    monkeypatch.setenv("LETHE_STATE__URL", f"sqlite:///{tmp_path / 'own.db'}")
    state_of(load_settings()).close()
    assert [path.name for path in tmp_path.glob("*.db")] == ["own.db"]


def test_the_url_is_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_STATE__URL", "postgresql://lethe:hidden-word@host/lethe")
    settings = load_settings()
    assert "hidden-word" not in repr(settings) + settings.model_dump_json()


def test_nothing_is_kept_for_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_STATE__KEEP_DAYS", "0")
    with pytest.raises(UsageError, match=r"state\.keep_days"):
        load_settings()
