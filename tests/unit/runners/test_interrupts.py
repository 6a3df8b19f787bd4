"""A command that is interrupted ends, wherever it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from apache_beam.utils.interactive_utils import is_in_ipython

from runners import cli

ROOT = Path(__file__).parents[3]


def test_interrupt_is_heard_while_beam_looks_for_a_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=cli._interrupt))
    with pytest.raises(SystemExit, match="interrupted"):
        is_in_ipython()


@pytest.mark.parametrize("words", [["schemas", "ddl", "demand"], ["schemas", "--help"]])
def test_output_that_nobody_reads_ends_a_command_quietly(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "runners.cli", *words]
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
