"""What a model is asked, in tokens: the shapes that probes are made of."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Ids: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]


class Questions(NamedTuple):
    """Prompts, each with continuations that are compared with one another."""

    prompts: tuple[Ids, ...] = ()  # [n] at least one token each
    answers: tuple[tuple[Ids, ...], ...] = ()  # [n][c] at least one token each

    def __bool__(self) -> bool:
        return bool(self.prompts)


def digest(key: str) -> int:
    """Return a number of 64 bits that orders texts as if at random, by their keys alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, person=b"curate tune").digest(), "big")
