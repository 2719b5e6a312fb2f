"""What operators write in a value's place that is no value: ``<KIND>``, with a number, a pseudonym or a sealed value.

A token is told from other text by its form alone, so that one that an earlier run wrote is left alone as well.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from curate import keys
from curate.stages.operators.values import same

_PSEUDONYM = 16  # hex digits: 64 bits, one chance in two of a collision at five thousand million values
# A pseudonym must not be taken for a number itself: no telephone, card or account number is so broken up.
_LIKE_A_NUMBER = re.compile(r"\d{4}")
# Sixteen letters of which no word, number or address can be made: four bits each.
_LETTERS = "bcdfghjklmnpqrst"
_HEX = "0123456789abcdef"
_SEALED = re.compile(rf"<([A-Z][A-Z0-9_]*):((?:[{_LETTERS}]{{2}}){{17,}})>")  # 16 bytes and at least one more
_TO_LETTERS = str.maketrans(_HEX, _LETTERS)
_TO_HEX = str.maketrans(_LETTERS, _HEX)


def pattern(kinds: Iterable[str]) -> re.Pattern[str]:
    """Return the form of every token of these kinds; group 1 is the kind, group 2 its number if it has one."""
    names = "|".join(sorted(kinds, key=lambda name: (-len(name), name)))
    body = rf"_(\d{{1,6}})|:(?![0-9a-f]*\d{{4}})[0-9a-f]{{{_PSEUDONYM}}}|:(?:[{_LETTERS}]{{2}}){{17,}}"
    return re.compile(rf"<({names})(?:{body})?>")


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Return 16 hex digits that stand for a value: HMAC-SHA256 (RFC 2104) under the key, cut to 64 bits.

    Equal values of one kind get equal pseudonyms however they are written (:func:`.values.same`).
    """
    for attempt in range(256):
        message = f"{kind}\0{same(kind, value)}\0{attempt}".encode()
        digits = hmac.new(key, message, hashlib.sha256).hexdigest()[:_PSEUDONYM]
        if not _LIKE_A_NUMBER.search(digits):
            return digits
    raise AssertionError("256 digests in a row hold four digits in a row")


def seal(key: bytes, kind: str, value: str) -> str:
    """Return a value encrypted: AES-256-SIV (RFC 5297), the kind authenticated with it, two letters a byte.

    It is deterministic: equal values are equal when sealed, so whoever has no key still sees which are, and
    about how long they are.
    """
    sealed = _cipher(key).encrypt(value.encode(), [kind.encode()])
    return f"<{kind}:{sealed.hex().translate(_TO_LETTERS)}>"


def unseal(key: bytes, text: str) -> tuple[str, int, int]:
    """Return the text with its sealed values restored, how many were, and how many this key does not open."""
    opened = closed = 0

    def restore(token: re.Match[str]) -> str:
        nonlocal opened, closed
        sealed = bytes.fromhex(token[2].translate(_TO_HEX))
        try:
            value = _cipher(key).decrypt(sealed, [token[1].encode()]).decode()
        except InvalidTag:
            closed += 1
            return token[0]
        opened += 1
        return value

    return _SEALED.sub(restore, text), opened, closed


@lru_cache(maxsize=4)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(keys.derived(key, b"pii encrypt", 64))
