"""What may be kept in a cache."""

from __future__ import annotations


class Cacheable:
    """A type that is derived from this may be cached: parameters, permissions, reference data.

    Nothing of a person or of a job is derived from it, so that neither can get into a cache.
    """

    __slots__ = ()
