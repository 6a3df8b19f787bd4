"""Names of domains, written in one way, so that two that are the same compare equal."""

from __future__ import annotations

import re

import idna

_DOMAIN = re.compile(r"(?=.{4,253}\Z)(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)+(?!-)[a-z0-9-]{2,63}(?<!-)")
"""Of RFC 1035, 2.3.1: two labels at least, in small letters, without a final dot."""


def domain_in_ascii(text: str) -> str:
    """A domain as protocols write it, in small letters; other scripts as A-labels (RFC 5890).

    It is a domain and nothing else: no port, user, path, final dot, or letter that ASCII has not.
    Raises ``ValueError``, which does not repeat the text.
    """
    domain = text.lower() if text.isascii() else ""
    if not _DOMAIN.fullmatch(domain):
        raise ValueError("must be a domain such as opendsr.example.com, and nothing beside it")
    return domain


def domain_of_people(text: str) -> str:
    """A domain as people write it, in any script (UTS 46), as ``domain_in_ascii`` gives it.

    Raises ``ValueError``.
    """
    try:
        return domain_in_ascii(idna.encode(text, uts46=True).decode())
    except idna.IDNAError:
        raise ValueError("must be a domain such as opendsr.example.com") from None
