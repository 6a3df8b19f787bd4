"""Subject hashes: by which subjects are told apart where none may stand in plain.

Of an identity there are three, all made with keys that are derived from the lake's scrub key:

- **exact**: HMAC-SHA256 of its type and normalised value. It decides, and is slow to make.
- **stored**: as a field that is scrubbed by hash holds the value (``transforms.scrub``).
- **near**: 64 bits of a multiplying hash with a secret seed, made of whole columns at once. It is
  no cryptographic hash: two values may share it, and whoever holds many hashes and values may learn
  the seed. So it only says which values are worth a look, and a file of such hashes is as
  confidential as the data beside it.

A **tail** is made in the same way, but of a value's last eight bytes alone, of an email of those
before its ``@``: it costs least, and is made where a value stands, without reading all of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import Suppressed
from schemas.errors import Invalid
from schemas.identities import KEEPS_CASE, normalised, normalised_value
from transforms.normalise import normalised_column, plain_text
from transforms.scrub import Scrubber, ScrubKey

Near = npt.NDArray[np.uint64]

_PURPOSE = b"lethe lake subjects"
_AT_ONCE = 8192
"""Values hashed at once: what they take stays in the processor's cache."""

_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_LAST_SHIFT = np.uint64(29)
_PLUS = np.uint8(ord("+"))
_CASE = np.uint8(32)
_CASES = np.uint64(0x2020202020202020)
_TAIL = 8
"""Bytes of a value that its tail is made of."""

_END_SHIFT = np.uint64(56)
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
"""By how many bytes of a word belong to a value: the mask that leaves them."""


@dataclass(frozen=True)
class NearForms:
    """The near hashes of some values; of those at the places ``tagged`` also without their tag."""

    near: Near
    tagged: npt.NDArray[np.int64]
    untagged: Near


@dataclass(frozen=True)
class SubjectHasher:
    """Makes the hashes of a lake's subjects. ``key`` is the lake's scrub key.

    With ``plus_addressing`` what follows a ``+`` in an email's local part makes no difference.
    """

    key: bytes = field(repr=False)
    plus_addressing: bool = False

    @staticmethod
    def of(key: ScrubKey, plus_addressing: bool = False) -> SubjectHasher:
        """With the key that is kept there. Raises ``UsageError`` as ``ScrubKey.scrubber`` does."""
        return SubjectHasher(key.scrubber().key, plus_addressing)

    @cached_property
    def fingerprint(self) -> str:
        """Tells keys apart, 16 hexadecimal digits; says nothing else of this one."""
        return self._digest("fingerprint")[:16]

    def near_column(self, values: Any, kind: IdentityType) -> Near:
        """The near hashes of a column's values, in order, nulls left out.

        Takes an array of any of Arrow's types of text, and dictionaries of them.
        """
        if pa.types.is_dictionary(values.type):
            return self._near_dictionary(values, kind)
        texts = plain_text(values)
        return self._near_texts(texts.drop_null() if texts.null_count else texts, kind)

    def near_forms(self, values: Any, kind: IdentityType) -> NearForms:
        """As ``near_column``, and of emails with a tag also those of the addresses without it.

        So one column serves those who compare with plus addressing and those who do not.
        """
        plain, without_tags = self._ways
        texts = plain_text(values).drop_null()
        near, tagged = plain.near_column(texts, kind), _tagged(texts, kind)
        if not len(tagged):
            return NearForms(near, tagged, near[:0])
        untagged = without_tags.near_column(texts.take(pa.array(tagged)), kind)
        return NearForms(near, tagged, untagged)

    def near(self, identity: Identity) -> tuple[int, ...]:
        """The near hashes under which a column may hold a plain identity: as it is, and stored.

        None of one that is given as a digest: of it only the exact values can tell.
        """
        return self.near_each([identity])[0]

    def near_each(self, identities: Sequence[Identity]) -> list[tuple[int, ...]]:
        """As ``near``, of many at once."""
        found: list[tuple[int, ...]] = [()] * len(identities)
        for kind in {one.type for one in identities}:
            forms = [
                (place, form)
                for place, one in enumerate(identities)
                if one.type is kind and one.format is IdentityFormat.RAW
                for form in self._forms(one)
            ]
            hashes = self.near_column(pa.array([form for _, form in forms], pa.string()), kind)
            for (place, _), hash_ in zip(forms, hashes.tolist(), strict=True):
                found[place] += (hash_,)
        return found

    def tails(self, words: Near) -> Near:
        """The tails of values that end with these bytes: of a short one, zeros follow its last.

        They are those of the normalised values if the bytes are ASCII without white space, and,
        but for ``ß``, if they are letters of Latin-1 in Unicode's form NFC.
        """
        found = words | _CASES
        found ^= self._tail_seed
        found *= _MULTIPLIER
        found ^= found >> _HALF
        found *= _GOLDEN
        return found

    def ends(self, octets: Near) -> Near:
        """Eight bits, by which values are told apart by their last byte alone."""
        return self.tails(octets) >> _END_SHIFT

    def exact(self, identity: Identity) -> str:
        """The exact hash of an identity, 64 hexadecimal digits."""
        form = identity.format
        kind = identity.type if form is IdentityFormat.RAW else f"{identity.type}:{form}"
        return self._exact(kind, normalised(identity, self.plus_addressing))

    def exact_values(self, values: Any, kind: IdentityType) -> list[str]:
        """The exact hashes of values; "" of a null. For few: each takes some microseconds."""
        texts = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
        column = normalised_column(texts, kind, self.plus_addressing)
        return ["" if text is None else self._exact(kind, text) for text in column.to_pylist()]

    def exact_each(self, values: Iterable[str], kind: IdentityType) -> Iterator[str]:
        """As ``exact``, of plain identities of one type: of many, in half of the time."""
        key, begin = self._derived, f"exact\0{kind}\0".encode()
        for value in values:
            text = normalised_value(value, kind, self.plus_addressing)
            content = begin + text.encode("utf-8", "surrogatepass")
            yield hmac.digest(key, content, "sha256").hex()

    def suppressed(self, identity: Identity, expires_at: datetime | None = None) -> Suppressed:
        """The identity as a list of suppressed ones has it.

        Raises ``Invalid`` if it is given as a digest: rows cannot be told by that as they come.
        """
        return self.suppressed_each([identity], expires_at)[0]

    def suppressed_each(
        self, identities: Sequence[Identity], expires_at: datetime | None = None
    ) -> list[Suppressed]:
        """As ``suppressed``, of many at once."""
        for one in identities:
            _check_raw(one)
        stored = map(self._stored, identities)
        nears, tails = self.near_each(identities), self._tails_each(identities)
        return [
            Suppressed(
                one.type,
                self.exact(one),
                form,
                near,
                expires_at,
                self.plus_addressing,
                *its_tails,
                stored_untagged=next(iter(others), None),
            )
            for one, near, its_tails, (form, *others) in zip(
                identities, nears, tails, stored, strict=True
            )
        ]

    def _tails_each(
        self, identities: Sequence[Identity]
    ) -> list[tuple[tuple[int, ...], tuple[int, ...], bool]]:
        """Of each the tails of what a column may hold it as, what its last byte says, and whether
        its tail is beyond ASCII."""
        forms = [self._tail_bytes(one) for one in identities]
        words = [int.from_bytes(form, "little") for some in forms for form in some]
        tails = iter(self.tails(np.array(words, np.uint64)).tolist())
        ends = self.ends(np.array([plain[-1] for plain, *_ in forms], np.uint64)).tolist()
        return [
            (tuple(islice(tails, len(some))), (end,), not some[0].isascii())
            for some, end in zip(forms, ends, strict=True)
        ]

    def _tail_bytes(self, identity: Identity) -> list[bytes]:
        """What tails are made of, the plain value first; of an email that is its local part."""
        plain, *stored = self._forms(identity)
        if identity.type is IdentityType.EMAIL:
            plain = plain.rpartition("@")[0] or plain
        return [form.encode()[-_TAIL:] for form in (plain, *stored)]

    def _forms(self, identity: Identity) -> Iterable[str]:
        """The texts that a column may hold a plain identity as, each once."""
        plain = normalised(identity, self.plus_addressing)
        return dict.fromkeys([plain, *self._stored(identity)])

    def _stored(self, identity: Identity) -> tuple[str, ...]:
        return stored_forms(identity, Scrubber(self.key), self.plus_addressing)

    def _exact(self, kind: str, text: str) -> str:
        return self._digest("exact", kind, text)

    def _digest(self, *words: str) -> str:
        # A dead letter may hold halves of surrogate pairs, which stand for no character.
        content = "\0".join(words).encode("utf-8", "surrogatepass")
        return hmac.digest(self._derived, content, "sha256").hex()

    @cached_property
    def _ways(self) -> tuple[SubjectHasher, SubjectHasher]:
        """Without plus addressing, and with it."""
        return SubjectHasher(self.key), SubjectHasher(self.key, plus_addressing=True)

    @cached_property
    def _derived(self) -> bytes:
        return hmac.digest(self.key, _PURPOSE, "sha256")

    @cached_property
    def _tail_seed(self) -> np.uint64:
        return np.uint64(int(self._digest("tail")[:16], 16))

    def _seed(self, kind: IdentityType) -> np.uint64:
        return np.uint64(int(self._digest("near", kind)[:16], 16))

    def _near_dictionary(self, values: Any, kind: IdentityType) -> Near:
        if values.dictionary.null_count:
            return self.near_column(values.dictionary_decode(), kind)
        places = values.indices.drop_null().to_numpy(zero_copy_only=False)
        return self.near_column(values.dictionary, kind)[places]

    def _near_texts(self, texts: Any, kind: IdentityType) -> Near:
        seed = self._seed(kind)
        parts = [self._near_part(part, kind, seed) for part in _parts(texts)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def _near_part(self, texts: Any, kind: IdentityType, seed: np.uint64) -> Near:
        data, offsets = bytes_of(texts)
        if not _is_plain(data) or (self.plus_addressing and kind is IdentityType.EMAIL):
            data, offsets = bytes_of(normalised_column(texts, kind, self.plus_addressing))
        elif kind not in KEEPS_CASE:
            data = _lowered(data)
        return _hashed(data, offsets, seed)


def stored_forms(
    identity: Identity, scrubber: Scrubber, plus_addressing: bool = False
) -> tuple[str, ...]:
    """How a field that is scrubbed by hash may hold a plain identity: the hash of the value as it
    was given, and behind it that of the normalised one if it is another.

    With ``plus_addressing`` rows of the address without its tag are the subject's too.
    """
    values = (identity.value, normalised(identity, plus_addressing))
    return tuple(dict.fromkeys(map(scrubber.hash, values)))


def _tagged(texts: Any, kind: IdentityType) -> npt.NDArray[np.int64]:
    """Where values are that may be emails with a tag."""
    if kind is not IdentityType.EMAIL or not (bytes_of(texts)[0] == _PLUS).any():
        return np.zeros(0, np.int64)
    return np.flatnonzero(pc.match_substring(texts, "+").to_numpy(zero_copy_only=False))


def _check_raw(identity: Identity) -> None:
    if identity.format is not IdentityFormat.RAW:
        raise Invalid(
            f"an identity that is given as {identity.format} cannot be suppressed: give the plain "
            "value, or none is kept from coming back"
        )


def _parts(texts: Any) -> Iterator[Any]:
    for start in range(0, len(texts), _AT_ONCE):
        yield texts.slice(start, _AT_ONCE)


def bytes_of(texts: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all texts laid end to end, and where each begins and the last one ends."""
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, places, content = texts.buffers()
    ends = np.frombuffer(places, kind)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(b"" if content is None else content, np.uint8)[ends[0] : ends[-1]]
    return data, (ends - ends[0]).astype(np.int64, copy=False)


def _is_plain(data: npt.NDArray[np.uint8]) -> bool:
    """Whether there is nothing but ASCII, and neither white space nor a control character."""
    return not data.size or (int(data.min()) > 0x20 and int(data.max()) < 0x80)


def _lowered(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    is_capital = (data - np.uint8(ord("A"))) < np.uint8(26)
    # To multiply takes a third of the time that a shift takes: numpy has no vector shift of bytes.
    return data | (is_capital.view(np.uint8) * _CASE) if is_capital.any() else data


def _hashed(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], seed: np.uint64) -> Near:
    """A hash of each value: eight bytes after another are mixed into it, of all values at once."""
    words = _words(data)
    lengths = np.diff(offsets)
    found = lengths.astype(np.uint64) * _GOLDEN ^ seed
    for begin in range(0, int(lengths.max(initial=0)), 8):
        _mix(found, words, offsets[:-1] + begin, lengths - begin)
    found *= _GOLDEN
    found ^= found >> _LAST_SHIFT
    return found


def _mix(
    found: Near, words: Near, places: npt.NDArray[np.int64], left: npt.NDArray[np.int64]
) -> None:
    """Take the words at ``places`` in, of which ``left`` bytes belong to the values."""
    word = words[np.minimum(places, len(words) - 1)]
    word &= _FIRST_BYTES[np.clip(left, 0, 8)]
    word ^= found
    word *= _MULTIPLIER
    word ^= word >> _HALF
    np.copyto(found, word, where=left > 0)


def _words(data: npt.NDArray[np.uint8]) -> Near:
    """The eight bytes that begin at each byte, as numbers; nothing is copied for each."""
    padded = np.zeros(len(data) + 8, np.uint8)
    padded[: len(data)] = data
    return np.ndarray((len(data) + 1,), "<u8", padded, 0, (1,))
