"""py3langid's naive Bayes model, compiled: many times faster, and the same on every machine.

On the first 200 characters of texts of 1 KB, 10 microseconds instead of py3langid's 150.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.jit import cache, kernel, part
from curate.kernels.text import buffers

Array: TypeAlias = Any  # numba sees arrays of many types; Model states them

LANES = 16
"""Texts that the automaton walks through side by side: with one, 300 characters take 7 microseconds, with 8 or more 2.
From 8 to 32 it makes no difference that could be measured."""
# py3langid 0.4.0 keeps log probabilities from -15 to -2.7 in half precision: multiples of 1 / _UNIT above _LEAST.
# What is added to all languages alike does not matter.
_UNIT, _LEAST = 512, -15


class Model(NamedTuple):
    """py3langid's model: an automaton that finds n-grams of bytes, and what each says of each language."""

    moves: npt.NDArray[np.uint32]  # [rows, 256] the next state, by row of the state and byte
    rows: npt.NDArray[np.uint16]  # [states] which row is a state's
    features: npt.NDArray[np.int32]  # [states] the n-gram that is whole in this state, or -1
    table: npt.NDArray[np.uint16]  # [n-grams, languages] (log probability - _LEAST) * _UNIT
    prior: npt.NDArray[np.float64]  # [languages] log probability, but for a constant, as it is in py3langid
    codes: npt.NDArray[np.str_]  # [languages] py3langid's codes; two languages have two entries each


class Compiled(NamedTuple):
    """What of the model the kernels see."""

    moves: Array
    rows: Array
    features: Array
    table: Array
    prior: Array


class Lanes(NamedTuple):
    """Where the automaton stands in texts side by side."""

    states: npt.NDArray[np.int64]  # [LANES]
    ends: npt.NDArray[np.int64]  # [LANES] of what is written of each


def model_file() -> Path:
    """Return the file of py3langid's model, without importing py3langid (0.2 s)."""
    import importlib.util

    spec = importlib.util.find_spec("py3langid")
    if spec is None or spec.origin is None:
        raise ImportError("py3langid is not installed")
    return Path(spec.origin).parent / "data" / "model.npz.xz"


@lru_cache(maxsize=1)
def model() -> Model:
    """Return the model, read-only.

    Unpacking takes 0.9 s, so it is kept unpacked (68 MB) beside the compiled kernels, under the hash of the
    packed file and of this file, which says how it is laid out: the kernels trust it. Processes map it into
    memory: they share one copy, and start with it in 20 ms.
    """
    made_of = model_file().read_bytes() + Path(__file__).read_bytes()
    name = hashlib.sha256(made_of).hexdigest()[:16]
    kept = Path(cache()).parent / f"py3langid-{name}"
    with contextlib.suppress(OSError, EOFError, ValueError):  # not there, or not whole: made anew
        return Model(*(np.asarray(np.load(kept / f"{field}.npy", mmap_mode="r")) for field in Model._fields))
    made = _unpacked()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept.mkdir(parents=True, exist_ok=True)
        for field, array in made._asdict().items():
            unfinished = kept / f"{field}.{os.getpid()}"
            with unfinished.open("wb") as file:
                np.save(file, array)
            unfinished.replace(kept / f"{field}.npy")
    return made


def _unpacked() -> Model:
    from py3langid import modelio

    table, prior, codes, moves, rows, features = modelio.load_model(model_file())
    scaled = (table.astype(np.float32) - _LEAST) * _UNIT
    whole = scaled.astype(np.uint16)
    if not np.array_equal(whole, scaled):
        raise ValueError(f"{model_file().name} is not as py3langid 0.4.0 has it: curate needs that version")
    made = Model(
        np.array(moves, np.uint32).reshape(-1, 256),
        np.array(rows, np.uint16),
        np.array(features, np.int32),
        np.ascontiguousarray(whole),
        prior.astype(np.float64),
        np.array(codes),
    )
    for array in made:
        array.flags.writeable = False
    return made


def probabilities(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Return what py3langid gives each language: string or large_string [n] without nulls → [n, languages].

    That is ``LanguageIdentifier(norm_probs=True)`` of py3langid 0.4.0, before it joins a language's two entries:
    a text in capitals is made small, a text is brought to NFC; with c(f) how often n-gram f occurs in its
    bytes, score(l) = prior(l) + sum over f of log(1 + c(f)) log P(f | l); the probabilities are the softmax of
    score / sqrt(bytes), where all scores are 0 for a text without any known n-gram. py3langid adds in single
    precision, in an order that depends on the processor; here it is double precision, in the text's order: the
    two differ by 3e-5 at the most, and in no label, on 2,500 texts in 75 languages.
    """
    known = model()
    data, offsets = buffers(_prepared(texts).cast(pa.large_string()))
    n = len(offsets) - 1
    compiled = Compiled(known.moves, known.rows, known.features, known.table, known.prior)
    trail, lengths = np.empty(offsets[-1] + 1, np.int32), np.empty(n, np.int64)
    walk(data, offsets, compiled, Lanes(*np.empty((2, LANES), np.int64)), trail, lengths)
    weights = np.log1p(np.arange(lengths.max(initial=0) + 2, dtype=np.float64)) / _UNIT
    counts, once = np.zeros(len(known.table), np.int32), np.empty(len(known.prior), np.int32)
    out = np.empty((n, len(known.prior)), np.float64)
    score(offsets, trail, lengths, compiled, weights, counts, once, out)
    return out


def _prepared(texts: pa.Array) -> pa.Array:
    changed = {}
    for place, text in enumerate(texts.to_pylist()):
        lowered = text.lower() if text.isupper() else text
        normal = unicodedata.normalize("NFC", lowered)
        if normal != text:
            changed[place] = normal
    if not changed:
        return texts
    return pa.array(
        [changed.get(place, text) for place, text in enumerate(texts.to_pylist())], pa.large_string()
    )


@kernel
def walk(data: Array, offsets: Array, known: Any, lanes: Any, trail: Array, lengths: Array) -> None:
    """Write the n-grams of each text, in its order: lengths[k] of them to ``trail`` from offsets[k] on.

    Each step waits for memory, so the automaton walks through LANES texts side by side.
    """
    for first in range(0, len(lengths), LANES):
        width = min(LANES, len(lengths) - first)
        longest = np.int64(0)
        for k in range(width):
            lanes.states[k] = 0
            lanes.ends[k] = offsets[first + k]
            longest = max(longest, offsets[first + k + 1] - offsets[first + k])
        for step in range(longest):
            for k in range(width):
                i = offsets[first + k] + step
                if i < offsets[first + k + 1]:
                    state = np.int64(known.moves[known.rows[lanes.states[k]], data[i]])
                    lanes.states[k] = state
                    trail[lanes.ends[k]] = known.features[state]
                    lanes.ends[k] += known.features[state] >= 0
        for k in range(width):
            lengths[first + k] = lanes.ends[k] - offsets[first + k]


@part
def _exp(x: float) -> float:
    """Return e^x for x <= 0, 4e-18 at the least; off by 1e-11 of it. Sums and products only: no machine differs."""
    x = max(x, -40.0) / 64.0
    power = 1.0
    for k in range(12, 0, -1):
        power = 1.0 + power * x / k
    for _ in range(6):
        power *= power
    return power


@kernel
def score(
    offsets: Array, trail: Array, lengths: Array, known: Any, weights: Array, counts: Array, once: Array, out: Array,
) -> None:  # fmt: skip
    """Write the probabilities of each text to out [n, languages]. counts [n-grams] is 0, and is so again."""
    languages = len(once)
    for text in range(len(out)):
        row = out[text]
        start, end = offsets[text], offsets[text] + lengths[text]
        for k in range(languages):
            row[k] = known.prior[k] if end > start else 0.0
            once[k] = 0
        for i in range(start, end):
            counts[trail[i]] += 1
        for i in range(start, end):
            count = counts[trail[i]]
            counts[trail[i]] = 0
            line = known.table[trail[i]]
            if count == 1:  # most: whole numbers, exact in any order
                for k in range(languages):
                    once[k] += np.int32(line[k])
            elif count > 1:
                for k in range(languages):
                    row[k] += weights[count] * line[k]
        best = -np.inf
        for k in range(languages):
            row[k] += weights[1] * once[k]
            best = max(best, row[k])
        scale = 1.0 / math.sqrt(max(offsets[text + 1] - offsets[text], 1))
        total = 0.0
        for k in range(languages):
            row[k] = _exp((row[k] - best) * scale)
        for k in range(languages):
            total += row[k]
        for k in range(languages):
            row[k] /= total
