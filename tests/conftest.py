"""How property tests are run: at random by hand, the same every time in integration."""

from __future__ import annotations

import os

from hypothesis import settings

# A machine that is busy with something else is no failure of the code.
settings.register_profile("by-hand", deadline=None)
settings.register_profile("integration", deadline=None, derandomize=True)
settings.load_profile("integration" if "CI" in os.environ else "by-hand")
