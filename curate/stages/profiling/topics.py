"""Topics: what a sample of the records is about, as clusters of their words, named by the words that tell them apart.

Of the records' distinct contents, those of the 8,192 least hashes are the sample: the same whatever the order of files
or the number of workers. A record is its first 400 words, each once, weighted by idf = ln(sample / records with it)
and made of length 1 (TF-IDF with a term frequency of 0 or 1; Salton and Buckley 1988); clusters are found by
spherical k-means (Dhillon and Modha 2001) from centers far apart (k-means++, Arthur and Vassilvitskii 2007), the
best of four trials. All of it in whole numbers: no order of summing, and no library's threads, change a byte.

What is named is common: a word of letters, in five different contents of the sample at least, and in most of them
written small, and no name of a person in rules/names.yaml unless it is a usual word, too; what stands in an address
(``@``, ``://``, ``www.``) is not read. So neither a name nor anything rare becomes a topic, or the noun of a task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import rules
from curate.kernels import terms
from curate.kernels.asking import UNIT as _ONE  # length of a record's vector, and of a center's
from curate.kernels.terms import ODDLY, SMALL
from curate.kernels.text import buffers
from curate.stages.profiling.lists import letters, room
from curate.stages.profiling.walked import Ints

SAMPLE = 8192  # records
WORDS = 400  # of a record, that count for its topic
COMMON = 5  # records of the sample in which a word that is named stands at least
LEAST_TOPIC = 20  # records of the sample that a topic has at least
_TERMS = 3000  # of the vocabulary
_OFTEN = 0.25  # share of the sample from which a word tells nothing
_LETTERS = range(3, 25)  # of a word of the vocabulary
_NAMED = 3  # words of a topic's name
_ADDRESS = ("@", "://", "www.")
_ROUNDS = 30  # of k-means; most settle within fifteen
_TRIALS = 4  # of which the one with the nearest centers counts
_SEED = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Topics:
    """What was learnt of a sample."""

    sampled: int = 0  # records
    common: tuple[str, ...] = ()  # words that may be named
    vocabulary: tuple[str, ...] = ()  # terms, each in COMMON records of the sample at least
    names: tuple[str, ...] = ()  # of topics, those of most records first
    sizes: tuple[int, ...] = ()  # records of the sample
    weights: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # [terms, topics]
    squares: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # [terms] of their idf


class _Counted(NamedTuple):
    """The words of a sample, and which record has which, each once."""

    words: list[str]
    records: Ints  # [words] that have it
    common: npt.NDArray[np.bool_]  # [words]
    word: Ints  # [pairs], by record …
    record: Ints


class _Vectors(NamedTuple):
    bounds: Ints  # [records + 1]
    terms: Ints
    values: Ints  # of length _ONE together


def learn(texts: list[str], topics: int) -> Topics:
    """Learn at most so many topics of a sample: of one text a record, in an order that depends on them alone."""
    counted = _count([_unaddressed(text) for text in texts])
    common = tuple(sorted(word for word, good in zip(counted.words, counted.common, strict=True) if good))
    chosen = _vocabulary(counted, len(texts))
    weight = np.array([_idf(len(texts), n) for n in counted.records[chosen].tolist()], np.int64)
    vectors = _vectors(counted, chosen, weight, len(texts))
    vocabulary = tuple(counted.words[word] for word in chosen.tolist())
    found = Topics(len(texts), common)
    wanted = min(topics, len(vectors.bounds) // (2 * LEAST_TOPIC))
    if wanted < 1 or not vocabulary:
        return found
    mine, centers = _cluster(vectors, wanted, len(vocabulary))
    named = counted.common[chosen]
    told = list(_named(vectors, mine, centers, vocabulary, named))
    told.sort(key=lambda one: (-one[1], one[0]))
    kept = [topic for _, _, topic in told]
    names, sizes = tuple(name for name, _, _ in told), tuple(size for _, size, _ in told)
    return Topics(len(texts), common, vocabulary, names, sizes, weight[:, None] * centers[:, kept], weight**2)


def _unaddressed(text: str) -> str:
    """Return a text without addresses: of e-mail and the web, and the handles of persons."""
    if not any(sign in text for sign in _ADDRESS):
        return text
    return " ".join(word for word in text.split() if not any(sign in word for sign in _ADDRESS))


def _people() -> frozenset[str]:
    """Return names of persons that are no usual words, in small letters."""
    pack = rules.load("names")
    listed = pack.rule("PERSON").data
    names = f"{listed['given']} {listed['surnames']}".lower().split()
    usual = f"{pack.data['common']} {rules.load('tasks').rule('tasks/noun').data['nouns']}".split()
    return frozenset(names) - set(usual)


def _idf(sample: int, records: int) -> int:
    return round(1024 * math.log(sample / records))


def _count(texts: list[str]) -> _Counted:
    """Count in how many records each word stands."""
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    own = room(int(np.diff(offsets).max(initial=0)))
    found = room(int(min(2 * len(data), 2 * WORDS * len(texts))))
    n = terms.walk_all(data, offsets[:-1], offsets[1:], WORDS, letters(), own, found)
    _, first, number = np.unique(found.hashes[:n], return_index=True, return_inverse=True)
    spelled = [
        data[a:b].tobytes().decode().lower()
        for a, b in zip(found.starts[first].tolist(), found.ends[first].tolist(), strict=True)
    ]
    pairs = np.unique(found.numbers[:n].astype(np.int64) * len(first) + number)
    small = (found.flags[:n] & SMALL) != 0
    written = np.unique(found.numbers[:n][small].astype(np.int64) * len(first) + number[small])
    counts = np.bincount(pairs % max(len(first), 1), minlength=len(first))
    smalls = np.bincount(written % max(len(first), 1), minlength=len(first))
    plain = np.array([word.isalpha() and len(word) in _LETTERS for word in spelled], np.bool_)
    plain &= (found.flags[first] & ODDLY) == 0
    people = _people()
    plain &= np.array([word not in people for word in spelled], np.bool_)
    common = plain & (counts >= COMMON) & (2 * smalls >= counts)
    return _Counted(spelled, counts, common, pairs % max(len(first), 1), pairs // max(len(first), 1))


def _vocabulary(counted: _Counted, sample: int) -> Ints:
    """Return the words that tell topics apart, those of most records first."""
    dull = {word for rule in rules.load("function_words").rules for word in _parted(rule.data["words"])}
    often = max(COMMON, int(_OFTEN * sample))
    good = [
        (-records, word, place)
        for place, (word, records) in enumerate(zip(counted.words, counted.records.tolist(), strict=True))
        if COMMON <= records <= often and len(word) in _LETTERS and word.isalpha() and word not in dull
    ]
    return np.array([place for _, _, place in sorted(good)[:_TERMS]], np.int64)


def _parted(words: str) -> list[str]:
    return words.replace("'", " ").split()


def _vectors(counted: _Counted, chosen: Ints, weight: Ints, sample: int) -> _Vectors:
    """Return the records that have a term, as vectors."""
    place = np.full(len(counted.words), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    held = place[counted.word] >= 0
    record, term = counted.record[held], place[counted.word[held]]
    squares = np.zeros(sample, np.int64)
    np.add.at(squares, record, weight[term] ** 2)
    lengths = np.array([math.isqrt(one) for one in squares.tolist()], np.int64)
    values = weight[term] * _ONE // np.maximum(lengths[record], 1)
    _, ends = np.unique(record, return_index=True)
    return _Vectors(np.append(ends, len(record)).astype(np.int64), term, values)


def _cluster(vectors: _Vectors, topics: int, size: int) -> tuple[Ints, Ints]:
    """Return each record's topic, and the centers [terms, topics], of the best of some trials."""
    trials = [_settled(vectors, topics, size, trial) for trial in range(_TRIALS)]
    _, mine, centers = max(trials, key=lambda one: one[0])
    return mine, centers


def _settled(vectors: _Vectors, topics: int, size: int, trial: int) -> tuple[int, Ints, Ints]:
    """Return how near all records are to their centers, each one's topic, and the centers [terms, topics]."""
    centers = _apart(vectors, topics, size, trial)
    mine = np.full(len(vectors.bounds) - 1, -1, np.int64)
    near = np.empty((len(mine), topics), np.int64)
    for _ in range(_ROUNDS):
        terms.liken(vectors.bounds, vectors.terms, vectors.values, centers, near)
        new = np.argmax(near, axis=1)
        if np.array_equal(new, mine):
            break
        mine = new
        centers = _centers(vectors, mine, topics, size)
    return int(near.max(axis=1).sum()), mine, centers


def _centers(vectors: _Vectors, mine: Ints, topics: int, size: int) -> Ints:
    """Return the sums of the topics' records, made of length _ONE."""
    sums = np.zeros((size, topics), np.int64)
    whose = np.repeat(mine, np.diff(vectors.bounds))
    np.add.at(sums, (vectors.terms, whose), vectors.values)
    lengths = np.array([math.isqrt(one) for one in (sums**2).sum(axis=0).tolist()], np.int64)
    found: Ints = sums * _ONE // np.maximum(lengths, 1)
    return found


def _apart(vectors: _Vectors, topics: int, size: int, trial: int) -> Ints:
    """Return first centers: records drawn one after the other, those far from all before more likely."""
    centers = np.zeros((size, topics), np.int64)
    nearest = np.zeros(len(vectors.bounds) - 1, np.int64)
    near = np.empty((len(nearest), 1), np.int64)
    chosen = _mixed(topics * trial) % len(nearest)
    for topic in range(topics):
        if topic:
            far = np.cumsum(np.maximum(_ONE * _ONE - nearest, 0) >> 14)
            chosen = int(np.searchsorted(far, _mixed(topics * trial + topic) % max(int(far[-1]), 1), "right"))
            chosen = min(chosen, len(far) - 1)  # where every record stands at a center: none is far
        a, b = vectors.bounds[chosen], vectors.bounds[chosen + 1]
        centers[vectors.terms[a:b], topic] = vectors.values[a:b]
        terms.liken(vectors.bounds, vectors.terms, vectors.values, centers[:, topic : topic + 1].copy(), near)
        nearest = np.maximum(nearest, near[:, 0])
    return centers


def _mixed(n: int) -> int:
    """Return the n-th number of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (_SEED * (n + 1)) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def _named(
    vectors: _Vectors, mine: Ints, centers: Ints, vocabulary: tuple[str, ...], common: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the size and the place of each topic that has enough records and enough common words."""
    whose = np.repeat(mine, np.diff(vectors.bounds))
    taken: set[str] = set()
    for topic in range(centers.shape[1]):
        size = int((mine == topic).sum())
        own = np.bincount(vectors.terms[whose == topic], minlength=len(vocabulary))
        good = np.flatnonzero(common & (own >= COMMON))
        order = sorted(good.tolist(), key=lambda term: (-int(centers[term, topic]), vocabulary[term]))
        name = ", ".join(vocabulary[term] for term in order[:_NAMED])
        if size >= LEAST_TOPIC and name and name not in taken:
            taken.add(name)
            yield name, size, topic


def summary(topics: Topics) -> dict[str, Any]:
    """Return what the manifest says of what was learnt: counts, and the topics' names."""
    return {
        "sampled": topics.sampled,
        "common_words": len(topics.common),
        "terms": len(topics.vocabulary),
        "topics": [
            {"topic": name, "sampled": size} for name, size in zip(topics.names, topics.sizes, strict=True)
        ],
    }
