"""gunicorn's own lines, written as all others are."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class RoutedLogger(Logger):
    """Leaves lines to the root logger, which makes events of them; see ``runners.logs``."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn, again whenever its settings are read."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
