"""How all tests are run: property tests at random by hand and the same every time in integration.

The AWS SDK reads its descriptions of services, megabytes of JSON, anew for every client, and tests
make thousands: here each file is read once a process.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from hypothesis import settings

# A machine that is busy with something else is no failure of the code.
settings.register_profile("by-hand", deadline=None)
settings.register_profile("integration", deadline=None, derandomize=True)
settings.load_profile("integration" if "CI" in os.environ else "by-hand")

_LONGEST = "tests/unit/test_docs.py"

_read = functools.cache(JSONFileLoader().load_file)


def _read_once(_: JSONFileLoader, path: str) -> Any:
    return _read(path)


JSONFileLoader.load_file = _read_once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file; whole processes follow, and the shortest come last.

    So no process is left with a long file when the others have nothing to do any more.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
