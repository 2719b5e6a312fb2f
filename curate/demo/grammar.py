"""Text from phrase banks: repeatable choices, and templates with slots.

A template may hold slots and alternatives: ``"Sow {name} in [March|April]."`` Code and values that are put
into a slot are never read as templates themselves.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def bank(name: str) -> dict[str, Any]:
    """Return a phrase bank: banks/<name>.toml, read once."""
    return tomllib.loads((Path(__file__).parent / "banks" / f"{name}.toml").read_text(encoding="utf-8"))


class Draw:
    """Choices that depend on a seed and a name alone.

    Only ``Random.random`` is used: it is the one method whose sequence Python promises to keep for a seed
    (library reference, random, "Notes on Reproducibility"); ``choice`` and ``sample`` are free to change.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._random = random.Random(f"{seed}/{name}")

    def below(self, n: int) -> int:
        """Return an integer of 0 … n - 1."""
        return int(self._random.random() * n)

    def between(self, low: int, high: int) -> int:
        """Return an integer of low … high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, p: float) -> bool:
        """Return True with probability p."""
        return self._random.random() < p

    def pick(self, values: Sequence[T]) -> T:
        """Return one of the values."""
        return values[self.below(len(values))]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """Return the values in another order (Fisher and Yates)."""
        out = list(values)
        for i in range(len(out) - 1, 0, -1):
            j = self.below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out

    def some(self, values: Sequence[T], k: int) -> list[T]:
        """Return k different values in the order in which they stand."""
        chosen = set(self.shuffled(range(len(values)))[:k])
        return [value for i, value in enumerate(values) if i in chosen]

    def fill(self, template: str, /, **slots: object) -> str:
        """Choose between alternatives, then put the slots in. Raises KeyError for a slot without a value."""
        plain = _ALTERNATIVES.sub(lambda match: self.pick(match[1].split("|")), template)
        return _SLOT.sub(lambda match: str(slots[match[1]]), plain)


def sentence(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def join(*parts: str) -> str:
    """Join what is not empty with spaces."""
    return " ".join(part for part in parts if part)


def listed(lines: Sequence[str]) -> str:
    """Return lines as a numbered list."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
