"""The last line of defence of the logs: what looks like personal data or a secret is taken out.

Code that writes a log line passes nothing personal to it; this is for the day when it does. It goes
by shape (an address with its ``@``, a card number by its check digit) and by the name of a field.
A national phone number or a social security number written as bare digits has no shape that would
tell it from a count, so only its field's name, or a word such as "phone" before it, gives it away.

    redacted({"event": "sent to ana@example.com", "tries": 3})
    {"event": "sent to [email]", "tries": 3}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

EMAIL, PHONE, CARD, SSN, SECRET = "[email]", "[phone]", "[card]", "[ssn]", "[secret]"

_DEEPEST = 8
_TOO_DEEP = "[too deep]"

_SUSPICIOUS = re.compile(
    r"@|%40|\uff20|u0040|eyj|lk_|sk[_-]|gh[opsu]_|xox|akia|asia|://|bearer|basic|key|secret|token"
    r"|passw|passphrase|pwd|auth|signature|credential|cookie"
)
"""What no harmless short text has, in small letters: it spares most texts all else."""

_MANY_DIGITS = re.compile(r"\d(?:[ ()./-]{0,2}\d){6}")

_AT = r"(?:@|%40|\uff20|\\{1,2}u0040)"
_EMAIL = re.compile(
    rf'(?:"[^"\n]{{1,64}}"|[^\s@<>()\[\],;:"\\\uff20]{{1,64}}){_AT}'
    r"(?:\[[0-9A-Za-z.:]{2,60}\]|(?:[\w-]{1,63}\.){1,126}(?:[^\W\d_]|xn--)[\w-]{1,62})"
)

_SECRET_NAMES = (
    r"(?:x[_-])?api[_-]?keys?|(?:client|shared|signing)[_-]?secret|secret(?:[_-]?(?:access[_-]?)?key)?"
    r"|passw(?:or)?d|pwd|passphrase|(?:access|refresh|id|session|security|auth)[_-]?token|token"
    r"|access[_-]?key(?:[_-]?id)?|(?:set-)?cookie|(?:proxy-)?authorization"
    r"|x-amz-(?:signature|credential|security-token)|signature"
)
_SECRETS = (
    (re.compile(r"(?i)\b(bearer|basic)[ \t]+[\w.~+/=-]{6,}"), rf"\1 {SECRET}"),
    (re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*){1,4}"), SECRET),
    (re.compile(r"(?<![A-Za-z0-9])(?:lk_|sk[_-](?:live_|test_)?|gh[opsu]_)[\w-]{12,}"), SECRET),
    (re.compile(r"(?<![A-Za-z0-9])xox[abeprs]-[\w-]{8,}"), SECRET),
    (re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"), SECRET),
    (re.compile(r"(://)[^\s/@:]{0,64}:[^\s/@]{1,256}@"), rf"\1{SECRET}@"),
    (
        re.compile(rf"(?i)\b({_SECRET_NAMES})([\"']?\s*[=:]\s*[\"']?)(?!\[)[^\s\"',;&)\]}}]{{4,}}"),
        rf"\1\2{SECRET}",
    ),
)

_UUID = re.compile(
    r"(?<![0-9A-Fa-f])([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?![0-9A-Fa-f])"
)
_CARD = re.compile(
    r"(?<!\d)(?:\d{13,19}|\d{1,7}(?: \d{1,7}){1,12}|\d{1,7}(?:-\d{1,7}){1,12})(?!\d)"
)
_GROUP = re.compile(r"\d+")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]*")

_SSN = (
    re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}([ -])(?!00)\d\d\1(?!0000)\d{4}(?![\w-]|\.\d)"),
    re.compile(r"(?i)(?<![a-z])(?:ssn|social.security.(?:no|number|#))\W{0,5}\d{9}(?!\d)"),
)

_PHONE = (
    re.compile(r"(?<!\d)\+\d(?:[ ()./-]{0,2}\d){6,14}(?!\d)"),
    re.compile(r"(?<![\w.-])00[1-9]\d{9,12}(?![\w-])"),
    re.compile(r"(?<![\w.-])00[ ]?[1-9]\d{0,2}(?:[ ./-]\d{1,8}){2,5}(?![\w-])"),
    re.compile(
        r"(?<![\w.-])(?:1[ .-])?\(?[2-9]\d\d(?:\)[ .-]?|[ .-])\d{3}[ .-]\d{4}(?![\w-]|\.\d)"
    ),
    re.compile(r"(?<!\w)\(0?\d{2,5}\)[ ./-]?\d{2,8}(?:[ ./-]\d{2,6}){0,3}(?![\w-])"),
    re.compile(r"(?<![\w.:-])0[1-9]\d{0,3}[ /-]\d{5,8}(?![\w:-])"),
    re.compile(r"(?<![\w.:-])0[1-9]\d{0,3}(?:[ ]\d{2,4}){2,4}(?![\w:-])"),
    re.compile(
        r"(?i)(?<![a-z])(?:tele)?(?:phone|tel|mobile|cell|fax|sms|whatsapp)[a-z]{0,8}\.?"
        r"(?:[ _]?(?:no|number))?[\"']?\.?\s{0,3}[:=]?\s{0,3}[\"']?"
        r"\(?\d(?:[ ()./-]{0,2}\d){6,14}(?!\d)"
    ),
)  # fmt: skip

_NUMBER = r"(?:_?(?:no|number))?"
_BY_NAME = (
    (re.compile(rf"(?i)^(?:{_SECRET_NAMES}|secrets?|credentials?|private_?key)$"), SECRET),
    (re.compile(r"(?i)e-?mails?(?:_?address(?:es)?)?$"), EMAIL),
    (re.compile(rf"(?i)(?:phones?|msisdn|(?:^|[_-])(?:mobile|cell|fax|tel)){_NUMBER}$"), PHONE),
    (re.compile(rf"(?i)(?:(?:^|[_-])ssn|social_?security{_NUMBER})$"), SSN),
    (re.compile(rf"(?i)(?:^|credit_?|debit_?|payment_?)(?:card{_NUMBER}|pan)$"), CARD),
)


def redacted(value: Any, depth: int = 0) -> Any:
    """A copy of ``value`` without what looks personal or secret, of plain types only.

    What is neither a number nor a text nor made of such becomes its redacted ``str``.
    """
    kind = type(value)
    if kind is str:
        return redacted_text(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return _redacted_number(value)
    if depth == _DEEPEST:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        return _redacted_mapping(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, depth + 1) for item in value]
    return redacted_text(_as_text(value))


def redacted_text(text: str) -> str:
    """The text with a mark in place of all that looks like personal data or a secret."""
    if _SUSPICIOUS.search(text.lower()) is not None:
        text = _EMAIL.sub(EMAIL, text)
        for pattern, mark in _SECRETS:
            text = pattern.sub(mark, text)
    return _without_numbers(text) if _MANY_DIGITS.search(text) else text


def _without_numbers(text: str) -> str:
    """The text without numbers of people; a UUID stays whole, for its digits mean nothing."""
    parts = _UUID.split(text)
    parts[::2] = map(_without_numbers_of_people, parts[::2])
    return "".join(parts)


def _without_numbers_of_people(text: str) -> str:
    text = _CARD.sub(_without_cards, text)
    for pattern in _SSN:
        text = pattern.sub(SSN, text)
    for pattern in _PHONE:
        text = pattern.sub(PHONE, text)
    return text


def _redacted_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    found = {}
    for key, item in value.items():
        name, mark = _name(key if type(key) is str else _as_text(key))
        is_shown = mark is None or item is None or type(item) is bool
        # A secret is never a number, but the token of a lease is one.
        is_shown = is_shown or (mark is SECRET and type(item) is int)
        found[name] = redacted(item, depth + 1) if is_shown else mark
    return found


@lru_cache(maxsize=2048)
def _name(key: str) -> tuple[str, str | None]:
    """A field's name as it may be shown, and the mark that takes its value's place, if any."""
    marks = (mark for pattern, mark in _BY_NAME if pattern.search(key))
    return redacted_text(key), next(marks, None)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("latin-1")
    try:
        return str(value)
    except Exception as error:
        return f"[no text: {type(error).__name__}]"


def _redacted_number(value: int) -> int | str:
    if -(10**12) < value < 10**12 or abs(value) >= 10**19:
        return value
    return CARD if _is_card(str(abs(value))) else value


def _without_cards(found: re.Match[str]) -> str:
    """The digits without card numbers, which begin and end where groups of digits do."""
    if _is_part_of_digest(found):
        return found[0]
    groups = list(_GROUP.finditer(found[0]))
    for first, last in combinations_with_replacement(range(len(groups)), 2):
        if _is_card("".join(group[0] for group in groups[first : last + 1])):
            before, after = found[0][: groups[first].start()], found[0][groups[last].end() :]
            return before + CARD + _CARD.sub(_without_cards, after)
    return found[0]


def _is_part_of_digest(found: re.Match[str]) -> bool:
    """Whether it stands within a long hexadecimal number, where such digits mean nothing."""
    text, start = found.string, found.start()
    head = _HEXADECIMAL.match(text[max(0, start - 64) : start][::-1])
    tail = _HEXADECIMAL.match(text, found.end(), found.end() + 64)
    around = (head.end() if head else 0) + (tail.end() - tail.start() if tail else 0)
    return around > 0 and around + len(found[0]) >= 24


def _is_card(digits: str) -> bool:
    if not 13 <= len(digits) <= 19 or not _is_issued(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 * (number > 9)
    return total % 10 == 0


def _is_issued(digits: str) -> bool:
    """Whether a card number may begin so: 3 to 6, or Mastercard's 2221 to 2720."""
    return 3 <= int(digits[0]) <= 6 or 2221 <= int(digits[:4]) <= 2720


def redact_event(_logger: Any, _method: str, event: Any) -> Any:
    """The structlog processor."""
    return redacted(event)
