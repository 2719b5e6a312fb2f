"""Evaluation items made into an index (curate.stages.contamination.matching, which says what counts and how much)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate import rules
from curate.kernels import folding, text
from curate.kernels.text import SALTS, Hashes
from curate.stages.contamination.evals import Item
from curate.stages.contamination.matching import (
    ANSWER,
    CHARACTERS,
    CONTENT,
    MOST,
    PARTS,
    SCALE,
    SHARED,
    SIGNS,
    How,
    Index,
    Ints,
    bare_of,
    least,
    signs,
    words_of,
)


def build(items: Sequence[Item], ngram: int, common: Iterable[pa.Array] = ()) -> Index:
    """Index items. common: texts [n] of records in which what many hold is no sign of an item."""
    parts = [
        (number, kind, one)
        for number, item in enumerate(items)
        for kind, texts in (("question", item.questions), ("answer", item.answers))
        for one in dict.fromkeys(texts)
    ]
    column = pa.array([one for _, _, one in parts], pa.large_string())
    words = words_of(column)
    bare = [bare_of(folding.fold(one)) for _, _, one in parts]
    hashes, offsets = text.shingles(column, ngram, SALTS[1])
    counts = np.array([one.count(" ") + 1 if one else 0 for one in words], np.int64)
    grams = np.where(counts >= ngram, np.diff(offsets), 0)
    hashes = hashes[np.repeat(counts >= ngram, np.diff(offsets))]
    ends = np.concatenate([[0], np.cumsum(grams)])
    same = _same(items, parts, bare)
    weights = _weights(hashes, np.repeat(same, grams), ngram, common)
    spellings: dict[str, set[str]] = {}
    for spelled, signed in zip(words, bare, strict=True):
        spellings.setdefault(spelled, set()).add(signed)
    of_words = [least(weights[ends[place] : ends[place + 1]], ngram) for place in range(len(parts))]
    function_words = frozenset(rules.load("function_words").rules[0].data["words"].split())
    how: list[How] = []
    for place, (_, kind, _) in enumerate(parts):
        own = len(spellings[words[place]]) == 1
        how.append(_how(kind, words[place], bare[place], of_words[place], own, ngram, function_words))
    table = pa.table(
        {
            "item": pa.array([number for number, _, _ in parts], pa.int32()),
            "file": pa.array([items[number].file for number, _, _ in parts], pa.string()),
            "line": pa.array([items[number].line for number, _, _ in parts], pa.int64()),
            "kind": pa.array([kind for _, kind, _ in parts], pa.string()),
            "how": pa.array(how, pa.string()),
            "words": pa.array(words, pa.string()),
            "bare": pa.array(
                [one if way in ("verbatim", "beside") else None for one, way in zip(bare, how, strict=True)],
                pa.string(),
            ),
            "weights": pa.array(
                [one if way == "ngrams" else None for one, way in zip(of_words, how, strict=True)],
                pa.list_(pa.int64()),
            ),
        }
    ).cast(PARTS)
    return Index(ngram, table, _targets(words, how, hashes, weights, ends, of_words))


def _same(items: Sequence[Item], parts: Sequence[tuple[int, str, str]], bare: Sequence[str]) -> Ints:
    """Return for each part a number of its item, the same for items that are the same but for case and space."""
    digests: dict[int, Any] = {number: hashlib.sha256() for number in range(len(items))}
    for (number, kind, _), one in zip(parts, bare, strict=True):
        digests[number].update(f"{kind}\0{one}\0".encode())
    numbers: dict[bytes, int] = {}
    known = {item: numbers.setdefault(made.digest(), len(numbers)) for item, made in digests.items()}
    return np.array([known[number] for number, _, _ in parts], np.int64)


def _weights(hashes: Hashes, owners: Ints, ngram: int, common: Iterable[pa.Array]) -> Ints:
    """Return the weight of each n-gram; see the module's docstring."""
    distinct, inverse = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([inverse, owners]), axis=1)
    items = np.bincount(pairs[0], minlength=len(distinct))
    records = np.zeros(len(distinct), np.int64)
    for texts in common:
        found, offsets = text.shingles(texts, ngram, SALTS[1])
        place = np.minimum(np.searchsorted(distinct, found), max(len(distinct) - 1, 0))
        hit = distinct[place] == found if len(distinct) else np.zeros(len(found), bool)
        owner = np.repeat(np.arange(len(texts)), np.diff(offsets))
        held = np.unique(np.stack([place[hit], owner[hit]]), axis=1)[0]
        records += np.bincount(held, minlength=len(distinct))
    told = np.where((items <= MOST) & (records <= MOST), -(-SCALE // np.maximum(items, 1)), 0)
    found_weights: Ints = told[inverse].astype(np.int64)
    return found_weights


def _how(
    kind: str, words: str, bare: str, weights: Ints, own: bool, ngram: int, function_words: frozenset[str]
) -> How:
    """Return how a part is told. weights: of its words; own: whether no part differs from it by its
    signs alone."""
    listed = words.split(" ") if words else []
    telling = {word for word in listed if word not in function_words and any(map(str.isalpha, word))}
    total = int(weights.sum())
    if kind == "answer" and (len(listed) < ANSWER or total * SHARED < len(listed) * SCALE):
        return "beside"
    if len(telling) >= CONTENT and own:
        if len(listed) >= ngram and total >= ngram * SCALE // 2:  # half of an n-gram of its own
            return "ngrams"
        return "whole"
    if listed and len(bare) >= CHARACTERS and signs(bare) >= SIGNS:
        return "verbatim"
    return "beside"


def _targets(
    words: Sequence[str], how: Sequence[How], hashes: Hashes, weights: Ints, ends: Ints, of_words: Sequence[Ints]
) -> dict[str, Any]:  # fmt: skip
    """Return the arrays of the index: a target for each part told by n-grams, one for all others of equal words."""
    from curate.kernels import contamination

    groups: dict[tuple[str, bool], list[int]] = {}
    keys: list[Hashes] = []
    worth, held = [], []
    totals: list[int] = []
    members: list[list[int]] = []
    for place, way in enumerate(how):
        if way in ("whole", "verbatim"):
            groups.setdefault((words[place], ends[place] < ends[place + 1]), []).append(place)
        elif way == "ngrams":
            mine = slice(ends[place], ends[place + 1])
            counting = weights[mine] > 0  # each place of an n-gram, even where it stands there twice
            keys.append(hashes[mine][counting])
            worth.append(weights[mine][counting])
            held.append(np.full(int(counting.sum()), len(totals)))
            totals.append(int(of_words[place].sum()))
            members.append([place])
    short = [(spelled, own) for (spelled, is_long), own in groups.items() if not is_long]
    wholes = contamination.keys_of_wholes([spelled for spelled, _ in short])
    anchors = []
    for own in (own for (_, is_long), own in groups.items() if is_long):
        first, last = ends[own[0]], ends[own[0] + 1]
        anchors.append((hashes[first + int(weights[first:last].argmax())], own))  # the rarest of its n-grams
    for key, own in [*((key, own) for key, (_, own) in zip(wholes, short, strict=True)), *anchors]:
        keys.append(np.array([key], np.uint64))
        worth.append(np.zeros(1, np.int64))
        held.append(np.array([len(totals)]))
        totals.append(0)
        members.append(own)
    return _arrays(keys, worth, held, totals, members)


def _arrays(
    keys: list[Hashes], worth: list[Ints], held: list[Any], totals: list[int], members: list[list[int]]
) -> dict[str, Any]:
    flat = np.concatenate([np.empty(0, np.uint64), *keys])
    order = np.argsort(flat, kind="stable")
    distinct, first = np.unique(flat[order], return_index=True)
    weights = np.concatenate([np.empty(0, np.int64), *worth])
    weight = np.zeros(
        len(distinct), np.int64
    )  # the same in all targets, but nothing where it only leads to one
    np.maximum.at(weight, np.searchsorted(distinct, flat), weights)
    return {
        "hashes": distinct,
        "weights": weight,
        "first": np.append(first, len(flat)).astype(np.int64),
        "targets": np.concatenate([np.empty(0, np.int64), *held])[order].astype(np.int32),
        "totals": np.array(totals, np.int64),
        "members": np.cumsum([0, *map(len, members)]).astype(np.int64),
        "member_parts": np.array([part for own in members for part in own], np.int64),
    }
