"""When two spellings are one value."""

from __future__ import annotations

import unicodedata

# Signs tell these apart; in all others they only group.
_SIGNS_COUNT = frozenset({"EMAIL_ADDRESS", "IP_ADDRESS", "URL"})
_NORTH_AMERICAN = 11  # digits of such a telephone number that is written with its country code, 1


def same(kind: str, value: str) -> str:
    """Return what all spellings of a value share.

    Neither case counts nor Unicode's compatibility forms (NFKC), nor, but in addresses, spaces and signs; nor the
    country code 1 before a telephone number.
    """
    folded = unicodedata.normalize("NFKC", value).casefold()
    if kind in _SIGNS_COUNT:
        return folded
    bare = "".join(filter(str.isalnum, folded))
    if kind == "PHONE_NUMBER" and len(bare) == _NORTH_AMERICAN and bare.startswith("1"):
        return bare[1:]
    return bare
