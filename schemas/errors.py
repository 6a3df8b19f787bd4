"""Every error Lethe raises on purpose, in one tree.

    LetheError
    ├── UsageError            the caller asked for something that makes no sense   (exit 2)
    │   ├── SchemaError       a record schema cannot be used
    │   └── SecretUnusable    a secret is not set, or none that can be used
    ├── InputError            an input cannot be read, or changed under us         (exit 1)
    │   └── InputMissing      there is nothing there yet (``retryable``)
    ├── LakeError             the lake or its log is not in a usable state         (exit 1)
    ├── RequestError          the service refuses a request
    │   ├── NotAuthenticated  401: nobody knows who asks
    │   ├── Forbidden         403: they may not
    │   ├── NotFound          404: there is nothing, or nothing within their reach
    │   ├── Conflict          409: it does not go with what is there
    │   ├── TooLarge          413
    │   ├── UnsupportedType   415: the body is of a type that is not taken
    │   ├── Invalid           422: well formed, but a value is not what it has to be
    │   ├── RateLimited       429 (``retryable``)
    │   └── Unavailable       503: something that this needs does not answer (``retryable``)
    └── StoreError            an object store said no                              (exit 1)
        ├── ObjectMissing
        ├── ObjectExists      a create-if-absent lost the race
        ├── ObjectChanged     a conditional replace lost the race
        ├── AccessDenied
        ├── StoreFull
        └── StoreUnavailable  may succeed when tried again (``retryable``)

``message`` and ``details`` are safe to log and to show: no personal data is ever put in them.
Errors survive pickling, because Beam carries them between processes.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LetheError(Exception):
    """Base of all errors raised on purpose; ``message`` says what is wrong, where, what to do."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(kind: type[LetheError], message: str, details: dict[str, Any]) -> LetheError:
    return kind(message, **details)


class UsageError(LetheError):
    """The request cannot make sense: a bad option, or options that exclude each other."""

    code = "bad_usage"
    http_status = 400
    exit_status = 2


class SchemaError(UsageError):
    """A record schema is malformed or asks for what Lethe cannot do."""

    code = "bad_schema"


class SecretUnusable(UsageError):
    """A parameter is not set, or cannot be what it is for; ``details["parameter"]`` names it."""

    code = "secret_unusable"
    http_status = 503


class InputError(LetheError):
    """An input cannot be read, or is not what an earlier delivery read."""

    code = "bad_input"
    http_status = 422


class InputMissing(InputError):
    """An input leads to no file; one may yet come."""

    code = "input_missing"
    http_status = 404
    retryable = True


class LakeError(LetheError):
    """The lake or its delivery log is not in a state to be used."""

    code = "bad_lake"


class RequestError(LetheError):
    """The service refuses a request, which is not well formed or not allowed."""

    code = "bad_request"
    http_status = 400


class NotAuthenticated(RequestError):
    """There is no token or key, or it is not good."""

    code = "not_authenticated"
    http_status = 401


class Forbidden(RequestError):
    """Whoever asks is known, and may not."""

    code = "forbidden"
    http_status = 403


class NotFound(RequestError):
    """There is nothing of this id, or nothing that whoever asks may see."""

    code = "not_found"
    http_status = 404


class Conflict(RequestError):
    """The request does not go with what is there."""

    code = "conflict"
    http_status = 409


class TooLarge(RequestError):
    """The body, or a part of it, is larger than is taken."""

    code = "too_large"
    http_status = 413


class UnsupportedType(RequestError):
    """The body is of a media type that is not taken here."""

    code = "unsupported_type"
    http_status = 415


class Invalid(RequestError):
    """The request is well formed, but one of its values is not what it has to be."""

    code = "invalid"
    http_status = 422


class RateLimited(RequestError):
    """Too many requests; ``details["retry_after"]`` says after how many seconds to come back."""

    code = "rate_limited"
    http_status = 429
    retryable = True


class Unavailable(RequestError):
    """Something that this request needs does not answer now."""

    code = "unavailable"
    http_status = 503
    retryable = True


class StoreError(LetheError):
    """An object store refused or failed."""

    code = "store_error"


class ObjectMissing(StoreError):
    """There is no object under this key."""

    code = "object_missing"
    http_status = 404


class ObjectExists(StoreError):
    """A create-if-absent write found the key taken."""

    code = "object_exists"
    http_status = 409


class ObjectChanged(StoreError):
    """A conditional replace found another version of the object."""

    code = "object_changed"
    http_status = 412


class AccessDenied(StoreError):
    """The credentials or file permissions do not allow this."""

    code = "access_denied"
    http_status = 403


class StoreFull(StoreError):
    """The device or quota has no room left."""

    code = "store_full"
    http_status = 507


class StoreUnavailable(StoreError):
    """The store did not answer, or answered that it cannot now; trying again may help."""

    code = "store_unavailable"
    http_status = 503
    retryable = True
