"""How all tests are run: property tests at random by hand and the same every time in integration.

The AWS SDK reads its descriptions of services, megabytes of JSON, anew for every client, and tests
make thousands: here each file is read once a process.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from botocore.loaders import JSONFileLoader
from hypothesis import settings

# A machine that is busy with something else is no failure of the code.
settings.register_profile("by-hand", deadline=None)
settings.register_profile("integration", deadline=None, derandomize=True)
settings.load_profile("integration" if "CI" in os.environ else "by-hand")

_read = functools.cache(JSONFileLoader().load_file)


def _read_once(_: JSONFileLoader, path: str) -> Any:
    return _read(path)


JSONFileLoader.load_file = _read_once
