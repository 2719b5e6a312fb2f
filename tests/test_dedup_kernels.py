"""The fast path of deduplication equals its slow, readable twin."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from unittest import mock

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import dedup

from curate.kernels import chars, cluster, compiled, jit, minhash, sets, text
from curate.kernels.minhash import Bands

U64_MAX = 2**64 - 1
# Text that meets every rule: several scripts, marks, spaces of many kinds, what NFKC and case folding change.
PIECES = [
    "a",
    "B",
    " ",
    "  ",
    "\n",
    "\u00a0",
    "\u3000",
    "ß",
    "İ",
    "ﬁ",
    "é",
    "e\u0301",
    "\u0301",
    "ǅ",
    "中",
    "文",
]
PIECES += ["か", "\u304b\u3099", "\u30fc", "ｶ", "กิ", "ปู", "हिन्दी", "한", "\u1112\u1161\u11ab", "!", "_", "7"]
PIECES += ["😀", "❤\ufe0f", "ﷺ", "\x1c"]
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
HASHES = st.one_of(st.integers(0, U64_MAX), st.sampled_from([0, 1, U64_MAX, 1 << 32, (1 << 32) - 1]))


def normalised(texts: list[str]) -> pa.LargeStringArray:
    return text.normalise(pa.array(texts, pa.string()))


def flat(sets: list[list[int]]) -> tuple[text.Hashes, text.Offsets]:
    offsets = np.zeros(len(sets) + 1, np.int64)
    np.cumsum([len(members) for members in sets], out=offsets[1:])
    return np.array([member for members in sets for member in members], np.uint64), offsets


@given(st.lists(TEXTS, max_size=6), st.integers(0, 2))
@settings(deadline=None)
def test_normalising_equals_the_twin_also_on_a_slice(texts: list[str], skipped: int) -> None:
    expected = [dedup.normalise(one) for one in texts]
    assert normalised(texts).to_pylist() == expected
    assert text.normalise(pa.array(texts, pa.string()).slice(skipped)).to_pylist() == expected[skipped:]


def test_every_character_is_normalised_as_by_the_twin_alone_and_between_letters() -> None:
    alone = [chr(code) for codes in chars.ASSIGNED for code in codes if not 0xD800 <= code < 0xE000]
    between = [f"E{char}a\u0301" for char in alone]
    for texts in (alone, between):
        got = normalised(texts).to_pylist()
        assert [one for one, new in zip(texts, got, strict=True) if new != dedup.normalise(one)] == []


def test_a_null_text_is_normalised_to_an_empty_one() -> None:
    assert text.normalise(pa.array([None, "A"], pa.string())).to_pylist() == ["", "a"]


def test_character_classes_follow_python_and_the_characters_names() -> None:
    table = chars.classes()
    wrong = []
    for code in (code for codes in chars.ASSIGNED for code in codes):
        is_word, is_mark, unspaced = dedup.nature(chr(code))
        if is_word:
            expected = chars.ALONE if unspaced else chars.WORD
        else:
            expected = chars.SPACE if chr(code).isspace() else chars.MARK if is_mark else chars.BREAK
        if table[code] != expected:
            wrong.append(f"U+{code:04X}")
    assert wrong == []


@given(
    st.lists(TEXTS, max_size=5),
    st.integers(1, 6),
    st.sampled_from([text.PROMPT, text.RESPONSE]),
    st.booleans(),
)
@settings(deadline=None)
@example(["a b c d e", "中文字符测", "กิปู", "😀", "", "c++", "c#", "a b c d"], 5, text.RESPONSE, False)
@example(["[ < ( > ] )", "a+b=c·2", "(((((", "é\u0301 +\u0301 x", "c#"], 3, text.RESPONSE, True)
def test_shingles_equal_the_twins(texts: list[str], ngram: int, salt: np.uint64, symbols: bool) -> None:
    clean = normalised(texts)
    hashes, offsets = text.shingles(clean, ngram, salt, symbols=symbols)
    got = [hashes[a:b].tolist() for a, b in pairwise(offsets)]
    assert got == [dedup.shingles(one, ngram, int(salt), symbols) for one in clean.to_pylist()]


@pytest.mark.parametrize(
    ("script", "sentence", "words"),
    [
        ("chinese", "今天天气很好", ["今", "天", "天", "气", "很", "好"]),
        ("japanese", "カタカナと漢字", ["カ", "タ", "カ", "ナ", "と", "漢", "字"]),
        ("thai, vowel signs with their letter", "ที่นี่", ["ที่", "นี่"]),
        ("hindi, one word with its signs", "हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("korean has spaces", "한국어 문장", ["한국어", "문장"]),
        ("mixed", "GPT模型v2", ["gpt", "模", "型", "v2"]),
    ],
)  # fmt: skip
def test_words_follow_the_script(script: str, sentence: str, words: list[str]) -> None:
    clean = dedup.normalise(sentence)
    assert dedup.words(clean) == [dedup.normalise(word) for word in words]
    hashes, _ = text.shingles(normalised([sentence]), 1)
    assert hashes.tolist() == dedup.shingles(clean, 1)
    assert len(hashes) == len(words)


@pytest.mark.parametrize(
    ("one", "other"), [("C", "C++"), ("-24", "24"), ("😀", "😂"), ("ปี", "ปู"), ("yes", "yes yes")]
)
def test_short_texts_are_compared_exactly(one: str, other: str) -> None:
    hashes, offsets = text.shingles(normalised([one, other, f" {one.upper()}\n"]), 5)
    assert offsets.tolist() == [0, 1, 2, 3]
    assert hashes[0] != hashes[1]
    assert hashes[0] == hashes[2]


def test_a_short_text_never_equals_a_shingle_of_a_long_one_and_parts_never_meet() -> None:
    clean = normalised(["a b c d e", "a b c d"])
    found = [text.shingles(clean, 5, salt)[0].tolist() for salt in (text.PROMPT, text.RESPONSE)]
    assert len({*found[0], *found[1]}) == 4
    assert not {*found[0], *found[1]} & {*text.shingles(clean, 4)[0].tolist()}


def test_shingle_hashes_use_all_64_bits_and_do_not_collide_in_a_long_text() -> None:
    clean = normalised([" ".join(f"w{i}" for i in range(200_004))])
    hashes, _ = text.shingles(clean, 5)
    assert len(np.unique(hashes)) == 200_000  # 32 bits would lose about five of them
    assert np.bitwise_or.reduce(hashes) == U64_MAX


@given(st.lists(st.lists(HASHES, max_size=20), max_size=4), st.integers(1, 130), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_signatures_are_datasketchs_bit_for_bit(sets: list[list[int]], num_perm: int, seed: int) -> None:
    got = minhash.signatures(*flat(sets), num_perm, seed)
    for members, signature in zip(sets, got, strict=True):
        theirs = datasketch.MinHash(num_perm, seed, scheme="affine32", hashfunc=lambda shingle: shingle >> 32)
        theirs.update_batch(members)
        assert signature.tolist() == theirs.hashvalues.tolist() == dedup.signature(members, num_perm, seed)


def test_the_minima_of_131072_shingles_need_no_matrix_of_that_size() -> None:
    hashes = np.random.default_rng(0).integers(0, U64_MAX, 131_072, np.uint64)
    offsets = np.array([0, len(hashes)])
    minhash.signatures(hashes[:1], np.array([0, 1]), 256)
    tracemalloc.start()
    minhash.signatures(hashes, offsets, 256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the matrix would take 134 MB


@pytest.mark.parametrize(
    ("bands", "rows", "chance"), [(14, 8, 0.92), (20, 13, 0.68), (9, 13, 0.40), (8, 16, 0.20)]
)
def test_the_chance_to_become_candidates_at_08_is_what_other_bandings_hide(
    bands: int, rows: int, chance: float
) -> None:
    assert Bands(bands, rows).probability(0.8) == pytest.approx(chance, abs=0.005)


@given(st.floats(0.3, 1), st.floats(0.5, 0.99), st.integers(32, 512))
def test_bands_meet_the_recall_at_the_threshold_and_one_row_more_would_not(
    similarity: float, recall: float, num_perm: int
) -> None:
    cut = minhash.solve(similarity, recall, num_perm)
    assert cut.probability(similarity) >= recall
    assert cut.bands * cut.rows <= num_perm
    if cut.rows < num_perm:
        assert Bands(num_perm // (cut.rows + 1), cut.rows + 1).probability(similarity) < recall


def test_the_default_banding_and_its_curve() -> None:
    assert minhash.solve(0.8, 0.95) == (18, 7)
    curve = minhash.s_curve(18, 7)
    assert curve[0] == (0.0, 0.0)
    assert curve[-1] == (1.0, 1.0)
    assert dict(curve)[0.8] == pytest.approx(0.98554, abs=1e-5)
    assert [chance for _, chance in curve] == sorted(chance for _, chance in curve)


def test_an_impossible_recall_is_an_error_that_names_what_would_do() -> None:
    with pytest.raises(ValueError, match="num_perm of 29 or more"):
        minhash.solve(0.1, 0.95, 8)
    assert minhash.solve(0.1, 0.95, 29) == (29, 1)


def test_a_small_set_is_similar_only_to_itself() -> None:
    assert [minhash.small_set_limit(t) for t in (0.1, 0.5, 0.8, 0.9)] == [0, 0, 3, 8]
    sets = [[1, 2, 3], [3, 3, 2, 1, 1], [1, 2, 4], [1, 2, 3, 4], [9, 8, 7, 6], [], [0], [U64_MAX]]
    digests = minhash.small_set_digests(*flat(sets), 0.8).tolist()
    assert digests[0] == digests[1]
    assert digests[3] == digests[4] == 0
    assert len(set(digests)) == len(sets) - 2


def test_no_shingle_hash_and_no_band_key_is_special() -> None:
    keys = np.array([0, 5, U64_MAX, 0, 7, U64_MAX], np.uint64)
    groups = cluster.buckets(keys)
    assert groups[0] == groups[3] >= 0
    assert groups[2] == groups[5] >= 0
    assert groups[0] != groups[2]
    assert groups[[1, 4]].tolist() == [-1, -1]
    hashes, offsets = flat([[0, U64_MAX, 0], [U64_MAX, 0], []])
    bounds = np.empty_like(offsets)
    compiled.sort_sets(hashes, offsets, bounds)
    assert hashes[:4].tolist() == [0, U64_MAX, 0, U64_MAX]
    assert bounds.tolist() == [0, 2, 4, 4]
    assert compiled.jaccard(hashes, 0, 2, 2, 4, 0.8) == 1.0
    assert compiled.jaccard(hashes, 0, 2, 4, 4, 0.8) == -1.0
    assert compiled.jaccard(hashes, 4, 4, 4, 4, 0.8) == 1.0


SMALL_SETS = st.sets(st.integers(0, 9), max_size=8)


@given(SMALL_SETS, SMALL_SETS, st.sampled_from([0.1, 0.25, 0.5, 2 / 3, 0.8, 1.0]))
@settings(deadline=None)
def test_jaccard_is_exact_at_and_around_the_threshold(
    one: set[int], other: set[int], threshold: float
) -> None:
    hashes, offsets = flat([sorted(one), sorted(other)])
    expected = float(dedup.jaccard(one, other))
    got = compiled.jaccard(hashes, offsets[0], offsets[1], offsets[1], offsets[2], threshold)
    assert got == (expected if expected >= threshold else -1.0)


def bounds_of(offsets: text.Offsets) -> text.Offsets:
    """Return the bounds [n, VIEWS + 1] of records whose views lie one after the other."""
    views = sets.VIEWS
    return np.column_stack([offsets[:-1].reshape(-1, views), offsets[views::views]])


FOUR_SETS = st.tuples(SMALL_SETS, SMALL_SETS, SMALL_SETS, SMALL_SETS)


@given(st.lists(FOUR_SETS, max_size=12), st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([0, 4, 100]))
@settings(deadline=None)
def test_clusters_are_those_of_brute_force_when_all_records_meet(
    records: list[tuple[set[int], ...]], threshold: float, short: int
) -> None:
    hashes, offsets = flat([sorted(view) for record in records for view in record])
    together = np.zeros((len(records), 1), np.int32)
    with mock.patch.object(cluster, "SHORT", short):
        got = cluster.represent(together, np.array([1]), hashes, bounds_of(offsets), threshold, 1000)

    def alike(i: int, j: int) -> Fraction:
        one, other = records[i], records[j]
        for part in (0, 1):
            least = threshold if min(len(one[part]), len(other[part])) < short else threshold / 2
            if float(dedup.jaccard(one[part + 2], other[part + 2])) < least:
                return Fraction(-1)
        return dedup.similarity(one[:2], other[:2])

    expected = dedup.represent(len(records), threshold, alike)
    dropped = np.flatnonzero(got.kept_by >= 0).tolist()
    assert {i: (int(got.kept_by[i]), float(got.similarity[i].min())) for i in dropped} == {
        i: (kept, float(best)) for i, (kept, best) in expected.items()
    }
    assert got.capped == got.skipped == 0


def test_what_a_large_bucket_leaves_out_is_counted() -> None:
    members = [[10 * i + k for k in range(4)] for i in range(6)]  # nothing in common …
    members.append(list(members[0]))  # … but with the first, which has left the window
    hashes, offsets = flat([view for one in members for view in (one, [], one, [])])
    bounds = bounds_of(offsets)
    together = np.zeros((7, 1), np.int32)
    wide = cluster.represent(together, np.array([1]), hashes, bounds, 0.8, 6)
    assert (wide.kept_by[6], wide.capped, wide.skipped) == (0, 0, 0)
    narrow = cluster.represent(together, np.array([1]), hashes, bounds, 0.8, 2)
    assert (narrow.kept_by[6], narrow.capped, narrow.skipped) == (-1, 1, 1 + 2 + 3 + 4)


def test_compiled_code_is_cached_beside_the_source_else_in_the_users_cache_else_in_a_fresh_folder(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()  # a folder cannot be made below a file, not even by root
    assert jit.cache_folder(tmp_path / "package", tmp_path / "cache") is None
    assert jit.cache_folder(blocked / "x", tmp_path / "cache") == tmp_path / "cache" / "curate" / "numba"
    fresh = jit.cache_folder(blocked / "x", blocked / "y")
    assert fresh is not None
    assert fresh.is_dir()
    assert fresh != jit.cache_folder(blocked / "x", blocked / "y")


def test_importing_the_stages_loads_no_compiler() -> None:
    code = (
        "import sys, curate.stages.minhash, curate.stages.exact; print({'numba', 'scipy'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
