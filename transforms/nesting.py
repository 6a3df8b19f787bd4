"""Nesting: how deep the arrays and objects of a JSON document stand within each other."""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def nests_deeper(document: bytes, levels: int) -> bool:
    """Whether there are more levels than these. The document need not be sound."""
    if document.count(b"[") + document.count(b"{") <= levels:
        return False
    return _depth(document) > levels


def _depth(document: bytes) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(document):
        first = document[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
    return deepest
