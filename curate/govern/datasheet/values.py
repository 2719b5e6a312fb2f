"""A view of the manifest that knows where everything stands, and the values that documents show.

Every value carries the JSON pointers (RFC 6901) of what it was taken from and how: so each number of a document
can be traced to the manifest, by a reader and by a test.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

NOTHING = "–"  # stands for a share of nothing
# Characters that are not seen but act: controls, those that turn the direction of what follows, and what no XML holds.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Value:
    """Text that comes from the manifest.

    of says how it comes from what stands at the pointers: nothing for the value itself; ``key`` for the last part
    of the pointer; ``a/b`` for a share of two, ``share N`` for that of the sum of the first N in the sum of the
    others, ``share N K`` in the sum of what all entries of a list have under K; ``sum`` and ``sum K`` likewise;
    ``mean`` for a over b; ``len`` for the number of entries, ``len-N`` of those not shown, ``count`` for the number
    of pointers; ``absent`` for the zero of what is not there, ``none W`` for that of a list without the word W; ``in``
    for text that is an entry; ``json``, ``percent``, ``percent0``, ``percent2``, ``effect``, ``decimal``, ``chance``
    and ``hash`` for another way to write one value.
    """

    text: str
    pointers: tuple[str, ...]
    of: str = ""
    raw: Any = None
    code: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", visible(self.text))

    @property
    def is_number(self) -> bool:
        """Tell whether the value is a number: one to be linked with its evidence."""
        return isinstance(self.raw, int | float) and not isinstance(self.raw, bool)

    def as_code(self) -> Value:
        """Return the value to be set as code."""
        return replace(self, code=True)


class Held:
    """Part of the manifest, and its JSON pointer."""

    __slots__ = ("pointer", "value")

    def __init__(self, value: Any, pointer: str = "") -> None:
        self.value = value
        self.pointer = pointer

    def __getitem__(self, key: str | int) -> Held:
        return Held(self.value[key], f"{self.pointer}/{escaped(key)}")

    def get(self, *keys: str | int) -> Held | None:
        """Return what stands below, None where any of the keys is missing."""
        held: Held = self
        for key in keys:
            if isinstance(held.value, Mapping) and key in held.value:
                held = held[key]
            else:
                return None
        return held

    def below(self, key: str) -> Sequence[Held]:
        """Return the entries of a list or mapping below; none if it is missing."""
        found = self.get(key)
        return () if found is None else tuple(found)

    def __iter__(self) -> Iterator[Held]:
        keys: Iterable[Any] = self.value if isinstance(self.value, Mapping) else range(len(self.value))
        return (self[key] for key in keys)

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    @property
    def key(self) -> str:
        """Return the last part of the pointer as it stands in the manifest."""
        return self.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def escaped(key: str | int) -> str:
    """Return a key as a part of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")


def written(value: object) -> str:
    """Return a value as a reader wants it: numbers in groups of three or with four digits, text in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


def visible(text: str) -> str:
    """Return text with each character that is not seen, but acts, as its code point: data writes no document."""
    return _UNSEEN.sub(lambda found: f"U+{ord(found[0]):04X}", text)


def show(held: Held) -> Value:
    """Return a number, or text as it is."""
    return Value(written(held.value), (held.pointer,), raw=held.value)


def name(held: Held) -> Value:
    """Return the key that an entry of a mapping stands under."""
    return Value(held.key, (held.pointer,), "key", held.key)


def code(held: Held) -> Value:
    """Return text to be set as code; what is no text as canonical JSON."""
    if isinstance(held.value, str):
        return show(held).as_code()
    return Value(canonical(held.value).decode(), (held.pointer,), "json", None, True)


def short_hash(held: Held) -> Value:
    """Return the first sixteen digits of a hash."""
    return Value(f"{held.value[:16]}…", (held.pointer,), "hash", held.value, True)


def percent(held: Held, digits: int = 1) -> Value:
    """Return a share as a percentage of one decimal, of none, or of two."""
    of = "percent" if digits == 1 else f"percent{digits}"
    return Value(f"{held.value:.{digits}%}", (held.pointer,), of, held.value)


def effect(held: Held) -> Value:
    """Return a relative effect as a percentage of two decimals, with its sign."""
    return Value(signed(held.value), (held.pointer,), "effect", held.value)


def signed(value: float) -> str:
    """Return a share as a percentage of two decimals, with its sign; what rounds to zero has none."""
    text = f"{value:+.2%}".replace("-", "−")
    return text if any(digit in text for digit in "123456789") else text[1:]


def decimal(held: Held) -> Value:
    """Return a number with two decimals."""
    return Value(f"{held.value:.2f}", (held.pointer,), "decimal", held.value)


def chance(held: Held) -> Value:
    """Return a chance with four decimals, rounded down: only what is certain reads as certain."""
    return Value(f"{math.floor(held.value * 1e4) / 1e4:.4f}", (held.pointer,), "chance", held.value)


def share(part: Held | Value, whole: Held | Value) -> Value:
    """Return part of whole as a percentage; either may be a sum."""
    part, whole = (show(one) if isinstance(one, Held) else one for one in (part, whole))
    pointers = (*part.pointers, *whole.pointers)
    numerator, denominator = part.raw, whole.raw
    if not denominator:
        return Value(NOTHING, pointers, f"share {len(part.pointers)}")
    ratio = numerator / denominator
    if whole.of.startswith("sum "):
        of = f"share {len(part.pointers)} {whole.of[4:]}"
    else:
        of = "a/b" if len(pointers) == 2 and part.of in ("", "absent") else f"share {len(part.pointers)}"
    return Value(f"{ratio:.1%}", pointers, of, ratio)


def total(parts: Iterable[Held]) -> Value:
    """Return a sum."""
    held = tuple(parts)
    amount = sum(part.value for part in held)
    return Value(written(amount), tuple(part.pointer for part in held), "sum", amount)


def total_of(entries: Held, key: str) -> Value:
    """Return the sum of what all entries of a list have under a key."""
    amount = sum(entry.value[key] for entry in entries)
    return Value(written(amount), (entries.pointer,), f"sum {key}", amount)


def count(held: Held, shown: int = 0) -> Value:
    """Return the number of entries, or of those beyond the ones shown."""
    left = len(held) - shown
    return Value(written(left), (held.pointer,), f"len-{shown}" if shown else "len", left)


def absent(held: Held, *keys: str) -> Value:
    """Return the zero of what is missing below."""
    return Value("0", (held.pointer + "".join(f"/{escaped(key)}" for key in keys),), "absent", 0)


def none(held: Held, word: str) -> Value:
    """Return the zero of a list in which no entry has this word."""
    return Value("0", (held.pointer,), f"none {word}", 0)


def at(manifest: Any, pointer: str) -> Any:
    """Return what stands at a pointer. Raises KeyError or IndexError where nothing does."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        manifest = manifest[int(key)] if isinstance(manifest, list) else manifest[key]
    return manifest


def settled(manifest: Any) -> Any:
    """Return the manifest as its file has it: lists for tuples, text for dates."""
    return orjson.loads(orjson.dumps(manifest))


def canonical(value: Any) -> bytes:
    """Return a value as canonical JSON: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def sha256(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()
