"""A command that is interrupted ends, wherever it is."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from apache_beam.utils.interactive_utils import is_in_ipython

from runners import cli


def test_interrupt_is_heard_while_beam_looks_for_a_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=cli._interrupt))
    with pytest.raises(SystemExit, match="interrupted"):
        is_in_ipython()
