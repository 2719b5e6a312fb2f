"""What each Unicode character is to the measures of quality (curate.kernels.measuring)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from curate.kernels import folding
from curate.kernels.chars import ALONE as BY_ITSELF
from curate.kernels.chars import ASSIGNED
from curate.kernels.chars import MARK as COMBINING
from curate.kernels.chars import SPACE as WHITE
from curate.kernels.chars import WORD as OF_WORD

CODE_SIGNS = "=(){}[];<>_\\|&$@^~`"
BULLETS = "-*\u2022\u2023\u25cf\u25cb\u25e6\u25aa\u25ab\u2219\u00b7\u2043"
CLOSERS = "\"')]}\u2019\u201d\u00bb\u300d\u300f\uff09*_"
SENTENCE_ENDS = ".?!\u2026\u061f\u06d4\u0964\u0965\u037e"
FULL_STOPS = "\u3002\uff01\uff1f\uff61"
LINE_ENDS = SENTENCE_ENDS + FULL_STOPS + "\"'\u2019\u201d\u00bb\u300d\u300f"

_bits = [np.uint16(1 << bit) for bit in range(13)]
(SPACE, WORD, ALONE, MARK, LETTER, UPPER, CASED, SIGN, BULLET, CLOSER, SENTENCE, FULL, ENDS) = _bits


@lru_cache(maxsize=1)
def marks() -> npt.NDArray[np.uint16]:
    """Return what every character is: [0x110000] of bits."""
    classes = folding.characters().classes
    found = np.zeros(0x110000, np.uint16)
    for kind, bits in ((WHITE, SPACE), (OF_WORD, WORD), (BY_ITSELF, WORD | ALONE), (COMBINING, WORD | MARK)):
        found[classes == kind] = bits
    for codes in ASSIGNED:
        chars = [*map(chr, codes)]
        for test, bit in ((str.isalpha, LETTER), (str.isupper, UPPER | CASED), (str.islower, CASED)):
            found[codes.start : codes.stop] |= np.where([test(one) for one in chars], bit, 0).astype(
                np.uint16
            )
    marks = (
        (CODE_SIGNS, SIGN),
        (BULLETS, BULLET),
        (CLOSERS, CLOSER),
        (SENTENCE_ENDS, SENTENCE),
        (FULL_STOPS, FULL),
        (LINE_ENDS, ENDS),
    )
    for signs, bit in marks:
        found[[ord(sign) for sign in signs]] |= bit
    return found
