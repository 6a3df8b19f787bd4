"""What can be wrong with an engine.

LetheError
└── EngineError             an engine failed or does not answer
    ├── EngineMissing       it, or a program it needs, is not installed
    ├── EngineUnreachable   it, or a registry, does not answer (``retryable``)
    └── EngineDamaged       what was downloaded is not what its digest says
"""

from __future__ import annotations

from schemas.errors import LetheError


class EngineError(LetheError):
    """An engine failed."""

    code = "engine_error"


class EngineMissing(EngineError):
    """An engine, or a program that it needs, is not installed."""

    code = "engine_missing"


class EngineUnreachable(EngineError):
    """An engine or a registry does not answer; trying again may help."""

    code = "engine_unreachable"
    http_status = 503
    retryable = True


class EngineDamaged(EngineError):
    """What was downloaded does not have the digest that it should."""

    code = "engine_damaged"
