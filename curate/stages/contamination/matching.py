"""The index of evaluation items, and how much of an item a record holds.

Every question and every answer is a *part*, matched in one of three ways (n: the recipe's ``ngram``):

* ``ngrams``: by its words (NFKC, case folded, punctuation dropped). A word counts where one of the n-grams of the
  part that it stands in stands anywhere in the record. It weighs as much as the commonest of these n-grams: 1 over
  the number of distinct items that hold it (inverse document frequency), and nothing where more than :data:`MOST`
  items, or records of the files named as common, hold it. So a template weighs little up to its last word: by the
  rarest n-gram, those that reach from it into what is an item's own would lend it their weight.
* ``whole``: by all its words as one, where it is shorter than n words or made of n-grams that many items hold: they
  stand in a row in the record, or of fewer than n words are a line or a turn of it.
* ``verbatim``: where its words alone say too little, or are those of other items with other signs, as of a sum or a
  row of brackets, by all characters but white space, quotes and ``.,;:!?``: so too.

A part of little weight must be held almost whole (:func:`needed`): of a template with a gap of two words, eight of
nine are no sign.

A part that says too little for any of these is in the index only to tell what else a record has of its item.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels import folding, text

Kind: TypeAlias = Literal["question", "answer"]
How: TypeAlias = Literal["ngrams", "whole", "verbatim", "beside"]
Ints: TypeAlias = npt.NDArray[np.int64]

SCALE = 2**20  # of weights, which are whole numbers: sums are the same in any order
MOST = 50  # items that may hold an n-gram that still counts: what more hold is their template
CONTENT = 4  # distinct words with a letter, function words aside, without which words say too little …
SIGNS, CHARACTERS = 4, 16  # … and of what is told verbatim, signs and digits, and characters in all
ANSWER = 16  # words of an answer that is looked for by itself: shorter ones are right for many questions …
SHARED = 3  # … as is what stands in the answers of more items than this
HEAVY = 40  # words of full weight from which on a part may be held in the share that the recipe names
PARTS = pa.schema(
    [
        ("item", pa.int32()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("kind", pa.string()),
        ("how", pa.string()),
        ("words", pa.string()),  # a space between each two
        ("bare", pa.string()),  # :func:`bare_of`; null where it is never compared
        ("weights", pa.list_(pa.int64())),  # of each word; null where the part is not told by n-grams
    ]
)
_ARRAYS = ("hashes", "weights", "first", "targets", "totals", "members", "member_parts")
_NAME = "parts.arrow"
_LINES = re.compile(r"[\r\n]")
_ENDS = str.maketrans(dict.fromkeys(".,;:!?\"'‘’“”„«»`"))


class Match(NamedTuple):
    """What a record holds of a part."""

    overlap: float  # share of the part's weight
    words: int  # of the part, that stand in the record
    of: int  # words of the part


class Index:
    """Evaluation items, ready to be found. Its arrays may be mapped from files."""

    def __init__(self, ngram: int, parts: pa.Table, arrays: dict[str, Any]) -> None:
        from curate.kernels import contamination

        self.ngram, self._table, self._arrays = ngram, parts, arrays
        self.keys = contamination.keys(*(arrays[name] for name in _ARRAYS[:4]))
        self.totals: Ints = arrays[
            "totals"
        ]  # [targets] weight of all words of a part told by n-grams, else 0
        columns = {name: parts.column(name) for name in PARTS.names}
        self.item: list[int] = columns["item"].to_pylist()
        self.kind: list[Kind] = columns["kind"].to_pylist()
        self.how: list[How] = columns["how"].to_pylist()
        self._columns = columns
        self.beside: dict[int, list[int]] = {}
        for place, how in enumerate(self.how):
            if how == "beside":
                self.beside.setdefault(self.item[place], []).append(place)

    def parts_of(self, target: int) -> list[int]:
        """Return the parts that a target of the kernel stands for."""
        members = self._arrays["members"]
        found: list[int] = self._arrays["member_parts"][members[target] : members[target + 1]].tolist()
        return found

    def place(self, part: int) -> tuple[str, int]:
        """Return the file and the line of a part's item."""
        return self._columns["file"][part].as_py(), self._columns["line"][part].as_py()

    def tellable(self) -> dict[tuple[str, int], set[str]]:
        """Return of each item, by file and line, which of its parts can be told by themselves."""
        found: dict[tuple[str, int], set[str]] = defaultdict(set)
        columns = (self._columns[name].to_pylist() for name in ("file", "line", "kind", "how"))
        for file, line, kind, how in zip(*columns, strict=True):
            found[file, line] |= set() if how == "beside" else {kind}
        return found

    def match(self, part: int, held: Held, overlap: float) -> Match | None:
        """Return what a record holds of a part that it may hold; null where that is less than the overlap."""
        spelled: str = self._columns["words"][part].as_py()
        words = spelled.split(" ")
        how = self.how[part]
        if how == "ngrams":
            return self._by_ngrams(part, words, held, overlap)
        if how == "whole":
            whole = f" {spelled} " in held.words
        elif how == "verbatim":
            bare: str = self._columns["bare"][part].as_py()
            short = len(words) < self.ngram
            whole = bare in held.lines if short else f" {spelled} " in held.words and held.has_apart(bare)
        else:
            bare = self._columns["bare"][part].as_py()
            whole = bool(spelled) and f" {spelled} " in held.response and bare in held.bare[0]
        return Match(1.0, len(words), len(words)) if whole else None

    def _by_ngrams(self, part: int, words: list[str], held: Held, overlap: float) -> Match | None:
        weights = np.array(self._columns["weights"][part].as_py(), np.int64)
        n = self.ngram
        grams = (f" {' '.join(words[at : at + n])} " for at in range(len(words) - n + 1))
        found = covered(np.fromiter((gram in held.words for gram in grams), bool, len(words) - n + 1), n)
        share, total = int(weights[found].sum()) / int(weights.sum()), weights.sum(keepdims=True)
        if share < needed(total, overlap)[0]:
            return None
        return Match(round(share, 4), int(found.sum()), len(words))

    def save(self, folder: Path) -> None:
        """Write the index into a folder."""
        with pa.OSFile(str(folder / _NAME), "wb") as file, pa.ipc.new_file(file, PARTS) as writer:
            writer.write_table(self._table)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", self._arrays[name])

    @classmethod
    def load(cls, folder: Path, ngram: int) -> Index:
        """Map an index from the folder that it was written to."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in _ARRAYS}
        return cls(ngram, pa.ipc.open_file(pa.memory_map(str(folder / _NAME))).read_all(), arrays)


class Held:
    """What a record holds, as parts are compared with it. Made for the few records that may hold one."""

    def __init__(self, texts: Sequence[str], words: Sequence[str], answering: Sequence[bool]) -> None:
        self._texts = texts
        self.words = "\n".join(f" {one} " for one in words)  # no n-gram reaches over the end of a text
        self.response = "\n".join(f" {one} " for one, said in zip(words, answering, strict=True) if said)

    @cached_property
    def _folded(self) -> list[str]:
        return [folding.fold(one) for one in self._texts]

    @cached_property
    def bare(self) -> tuple[str, frozenset[int]]:
        """Return the texts, bare, apart by a line break, and where in them lines begin."""
        pieces, starts, size = [], set(), 0
        for folded in self._folded:
            for line in _LINES.split(folded):
                starts.add(size)
                pieces.append(bare_of(line))
                size += len(pieces[-1])
            pieces.append("\n")
            size += 1
        return "".join(pieces), frozenset(starts)

    @cached_property
    def lines(self) -> frozenset[str]:
        """Return the lines and the whole texts, each of them bare."""
        return frozenset(bare_of(one) for folded in self._folded for one in (folded, *_LINES.split(folded)))

    def has_apart(self, bare: str) -> bool:
        """Tell whether the texts have this where no sign goes on, in the same line, what is a sign at its ends."""
        text, starts = self.bare
        at = text.find(bare)
        while at >= 0:
            end = at + len(bare)
            before = at not in starts and _is_sign(text[at - 1]) and _is_sign(bare[0])
            after = end not in starts and _is_sign(text[end]) and _is_sign(bare[-1])
            if not (before or after):
                return True
            at = text.find(bare, at + 1)
        return False


def _is_sign(char: str) -> bool:
    return char != "\n" and not char.isalnum()


def bare_of(folded: str) -> str:
    """Return a folded text without white space and without the signs that end sentences and their parts."""
    return "".join(folded.translate(_ENDS).split())


def signs(bare: str) -> int:
    """Return how many characters are no letters."""
    return sum(not char.isalpha() for char in bare)


def needed(totals: Ints, overlap: float) -> npt.NDArray[np.float64]:
    """Return the share of parts of these weights that must be held: the overlap, and more where they weigh little.

    overlap + (1 - overlap) * (1 - words / HEAVY), words: the weight in words of full weight, HEAVY at most.
    """
    words = np.minimum(totals / (SCALE * HEAVY), 1.0)
    share: npt.NDArray[np.float64] = overlap + (1.0 - overlap) * (1.0 - words)
    return share


def covered(found: npt.NDArray[np.bool_], ngram: int) -> npt.NDArray[np.bool_]:
    """Return which words [grams + n - 1] stand in an n-gram that was found [grams]."""
    padded = np.pad(found, ngram - 1)
    words = np.lib.stride_tricks.sliding_window_view(padded, ngram)
    return np.asarray(words.any(axis=1), np.bool_)


def least(weights: Ints, ngram: int) -> Ints:
    """Return for each word [grams + n - 1] the least weight of the n-grams [grams] that it stands in."""
    padded = np.pad(weights, ngram - 1, constant_values=SCALE)
    words: Ints = np.lib.stride_tricks.sliding_window_view(padded, ngram).min(axis=1)
    return words


def words_of(texts: pa.Array) -> list[str]:
    """Return the words of each text, a space between each two."""
    from curate.kernels import contamination, reading

    n = len(texts)
    data, offsets = text.buffers(pc.fill_null(texts.cast(pa.large_string()), ""))
    turns = reading.Turns(
        data, offsets[:-1], offsets[1:], np.zeros(n, np.bool_), np.zeros(n, np.uint8), np.arange(n + 1)
    )
    how, todo = folding.characters(), np.ones(n, np.bool_)
    out, bounds, written = np.empty(0, np.uint8), np.zeros((n, 2), np.int64), np.zeros(1, np.int64)

    def step(turns: Any, room: Any, first: int) -> int:
        nonlocal out
        larger = np.empty(room.times * (3 * int(offsets[-1]) + 1024), np.uint8)
        larger[: written[0]] = out[: written[0]]
        out = larger
        done: int = contamination.words_alone(turns, how, room, first, todo, out, bounds, written)
        return done

    text.read(turns, todo, step)
    return [out[start:end].tobytes().decode() for start, end in bounds.tolist()]


def found_in(index: Index, turns: Any, records: int, overlap: float) -> Iterator[tuple[int, int]]:
    """Yield the records that may hold a target, each with the target, in order. turns: curate.kernels.reading."""
    from curate.kernels import contamination
    from curate.kernels.words import MOST_NGRAM

    table, how = index.keys, folding.characters()
    # A shared n-gram covers n words, at its weight at most: the sum can only be too large, never too small.
    needs = (needed(index.totals, overlap) * index.totals).astype(np.int64) // index.ngram
    met, seen = np.zeros(len(table.keys), np.int64), np.zeros(len(needs), np.int64)
    score, touched = np.empty(len(seen), np.int64), np.empty(len(seen), np.int64)
    ring, written = np.empty(MOST_NGRAM, np.uint64), np.zeros(2, np.int64)
    todo, out = np.ones(records, np.bool_), np.empty((0, 2), np.int64)

    def step(turns: Any, room: Any, first: int) -> int:
        nonlocal out
        larger = np.empty((written[0] + room.times * (len(seen) + 1024), 2), np.int64)
        larger[: written[0]] = out[: written[0]]
        out = larger
        done: int = contamination.screen(
            turns,
            index.ngram,
            table,
            needs,
            how,
            room,
            ring,
            first,
            todo,
            met,
            seen,
            score,
            touched,
            out,
            written,
        )
        return done

    text.read(turns, todo, step)
    yield from sorted(map(tuple, out[: written[0]].tolist()))
