"""The fast path of deduplication equals its slow, readable twin."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from fractions import Fraction
from itertools import combinations, pairwise, zip_longest
from pathlib import Path
from unittest import mock

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import dedup, sketches

from curate.kernels import chars, cluster, folding, jit, minhash, parts, text
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
    st.sampled_from([*text.SALTS]),
    st.booleans(),
)
@settings(deadline=None)
@example(["a b c d e", "中文字符测", "กิปู", "😀", "", "c++", "c#", "a b c d"], 5, text.SALTS[1], False)
@example(["[ < ( > ] )", "a+b=c·2", "(((((", "é\u0301 +\u0301 x", "c#"], 3, text.SALTS[1], True)
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
    found = [text.shingles(clean, 5, salt)[0].tolist() for salt in text.SALTS]
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


@given(st.lists(HASHES, max_size=60))
@settings(deadline=None)
@example([0, 5, U64_MAX, 0, 7, U64_MAX])
@example([1] * 40)
def test_groups_are_those_of_equal_keys_and_no_key_is_special(keys: list[int]) -> None:
    with mock.patch.object(cluster, "_PART_KEYS", 4):
        found = cluster.group(np.array(keys, np.uint64))
    got = [part.tolist() for part in np.split(found.members, found.ends[:-1])] if len(found.ends) else []
    expected = [[i for i, other in enumerate(keys) if other == key] for key in set(keys)]
    assert sorted(got) == sorted(group for group in expected if len(group) > 1)


def test_buckets_of_the_same_members_are_looked_at_once() -> None:
    one = cluster.group(np.array([4, 4, 9, 9, 9], np.uint64))
    other = cluster.group(np.array([7, 7, 1, 2, 1], np.uint64))
    both = cluster.merge([one, other, cluster.group(np.empty(0, np.uint64))])
    got = [part.tolist() for part in np.split(both.members, both.ends[:-1])]
    assert sorted(got) == [[0, 1], [2, 3, 4], [2, 4]]


SMALL_SETS = st.sets(st.one_of(st.integers(0, 9), st.sampled_from([U64_MAX, 1 << 63, 3 << 60])), max_size=8)
FOUR_SETS = st.tuples(SMALL_SETS, SMALL_SETS, SMALL_SETS, SMALL_SETS)


def sets_of(records: list[tuple[set[int], ...]]) -> parts.Sets:
    """Return records' four sets as the kernels have them: prompts and responses have no shingle in common."""
    apart = [[{h ^ (part % 2 << 40) for h in view} for part, view in enumerate(record)] for record in records]
    hashes, offsets = flat([sorted(view) for record in apart for view in record])
    bounds = np.column_stack([offsets[:-1].reshape(-1, 4), offsets[4::4]])
    bitmaps = np.zeros((len(records), parts.BITMAP), np.uint64)
    for record, views in enumerate(apart):
        for place in {h >> 54 for view in views[:2] for h in view}:
            bitmaps[record, place // 64] |= np.uint64(1 << place % 64)
    return parts.Sets(hashes, bounds, bitmaps)


def together(records: list[tuple[set[int], ...]], threshold: float, window: int) -> cluster.Clustering:
    """Cluster records that all share one bucket, in their order."""
    order = np.arange(len(records))
    ends = np.array([len(records)] if records else [], np.int64)
    return cluster.represent(order, ends, order, sets_of(records), threshold, window)


@given(
    st.lists(FOUR_SETS, max_size=30), st.lists(st.integers(0, 9), min_size=30, max_size=30), st.integers(2, 4)
)
@settings(deadline=None)
def test_threads_share_the_records_out_and_change_nothing(
    records: list[tuple[set[int], ...]], keys: list[int], threads: int
) -> None:
    bands = [np.array(keys[: len(records)], np.uint64) // np.uint64(width) for width in (1, 3)]
    found = cluster.merge([cluster.group(band) for band in bands])
    order = np.arange(len(records))
    given = (found.members, found.ends, order, sets_of(records), 0.5, 5)
    alone, shared = cluster.represent(*given), cluster.represent(*given, threads=threads)
    assert alone.kept_by.tolist() == shared.kept_by.tolist()
    assert alone.similarity.tolist() == shared.similarity.tolist()
    assert alone[2:] == shared[2:]


@given(SMALL_SETS, SMALL_SETS, st.sampled_from([0.1, 0.25, 0.5, 2 / 3, 0.8, 1.0]))
@settings(deadline=None)
def test_jaccard_is_exact_at_and_around_the_threshold(
    one: set[int], other: set[int], threshold: float
) -> None:
    expected = float(dedup.jaccard(one, other))
    got = together([(one, set(), one, set()), (other, set(), other, set())], threshold, 1000)
    assert got.kept_by.tolist() == [-1, 0 if expected >= threshold else -1]
    assert got.similarity[1, 0] == (expected if expected >= threshold else 0)


@given(st.lists(FOUR_SETS, max_size=12), st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([0, 4, 100]))
@settings(deadline=None)
def test_clusters_are_those_of_brute_force_when_all_records_meet(
    records: list[tuple[set[int], ...]], threshold: float, short: int
) -> None:
    with mock.patch.object(cluster, "SHORT", short):
        got = together(records, threshold, 1000)

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
    members = [{10 * i + k for k in range(4)} for i in range(6)]  # nothing in common …
    members.append(set(members[0]))  # … but with the first, which has left the window
    records: list[tuple[set[int], ...]] = [(one, set(), one, set()) for one in members]
    wide = together(records, 0.8, 6)
    assert (wide.kept_by[6], wide.capped, wide.skipped) == (0, 0, 0)
    narrow = together(records, 0.8, 2)
    assert (narrow.kept_by[6], narrow.capped, narrow.skipped) == (-1, 1, 1 + 2 + 3 + 4)


@given(
    st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=6), st.sampled_from(["both", "prompt", "response"])
)
@settings(deadline=None)
def test_sets_are_the_twins_of_each_part(prompts: list[str], answers: list[str], on: parts.On) -> None:
    records = list(zip_longest(prompts, answers, fillvalue=""))
    if not records:
        return
    got = parts.Shingling(2, on).sets(sketches.batch([sketches.chat(*record) for record in records]))
    for bounds, bitmap, record in zip(got.bounds, got.bitmaps, records, strict=True):
        normal = [dedup.normalise(one) for one in record]
        if on != "both" and normal[0 if on == "prompt" else 1]:
            normal[1 if on == "prompt" else 0] = ""
        views = [dedup.shingles(one, 2, int(salt)) for one, salt in zip(normal, text.SALTS, strict=True)]
        views += [
            dedup.shingles(one, 2, int(salt), True) for one, salt in zip(normal, text.SALTS, strict=True)
        ]
        assert [got.hashes[a:b].tolist() for a, b in pairwise(bounds)] == [
            list(dict.fromkeys(v)) for v in views
        ]
        marked = {place for place in range(1024) if int(bitmap[place // 64]) >> place % 64 & 1}
        assert marked == {h >> 54 for view in views[:2] for h in view}


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(1, 4))
@settings(deadline=None)
def test_band_keys_are_equal_where_signature_and_small_sets_are(texts: list[str], rows: int) -> None:
    batch = sketches.batch([{"text": one} for one in texts])
    cut = Bands(8 // rows, rows)
    keys, _ = parts.Shingling(2, "both").band_keys(batch, 0.8, cut, 8, 1)
    sets = [sorted({*dedup.shingles(dedup.normalise(one), 2)}) for one in texts]
    drawn = [dedup.signature(members, 8, 1) for members in sets]
    for i, j in combinations(range(len(texts)), 2):
        small = min(len(sets[i]), len(sets[j])) <= minhash.small_set_limit(0.8)
        for band in range(cut.bands):
            part = slice(band * rows, (band + 1) * rows)
            same = drawn[i][part] == drawn[j][part] and (not small or sets[i] == sets[j])
            assert (keys[band, i] == keys[band, j]) == same


def test_an_empty_text_hashes_the_same_whatever_lies_behind_it() -> None:
    from curate.kernels import words

    hashes = set()
    for filler in (0, 7, 255):
        out = np.empty(1, np.uint64)
        data, nothing = np.full(128, filler, np.uint8), np.array([5, 5])
        words.hash_turns(data, nothing, np.array([0, 1]), np.full(128, filler, np.uint8), out)
        hashes.add(int(out[0]))
    empty = [parts.normal_keys(sketches.batch([sketches.chat("", f"x{i % 2}") for i in range(6)])).tolist()]
    assert len(hashes) == 1
    assert len({*empty[0]}) == 2


@pytest.mark.parametrize(("size", "shared", "threshold"), [(3, 2, 0.5), (9, 8, 0.8), (60, 54, 0.8)])
def test_the_screen_turns_away_no_more_than_it_says(size: int, shared: int, threshold: float) -> None:
    pairs = 20_000
    rng = np.random.default_rng(1)
    members = rng.integers(0, U64_MAX, (pairs, 2 * size - shared), np.uint64)
    sides = [members[:, :size], members[:, -size:]]
    drawn = [minhash.signatures(side.ravel(), np.arange(0, pairs * size + 1, size)) for side in sides]
    bits = [(one >> np.uint32(12)) & np.uint32(3) for one in drawn]
    agree = (bits[0] == bits[1]).sum(axis=1)
    assert shared / (2 * size - shared) >= threshold
    assert (agree < minhash.screen(threshold, 128).needed).mean() <= 5e-4


def test_a_slice_of_a_large_column_is_read_by_itself() -> None:
    column = pa.array(["x" * 1000] * 1000 + ["e\u0301 and"])
    data, offsets = text.buffers(column.cast(pa.large_string()).slice(1000))
    assert offsets.tolist() == [0, 7]
    assert len(data) == 7


def test_a_mark_behind_a_character_that_ends_in_one_is_ordered_as_by_the_twin() -> None:
    texts = ["\u037a\u0305", "a\u037a\u0305\u0334", "\u1fbd\u0e38"]
    assert normalised(texts).to_pylist() == [dedup.normalise(one) for one in texts]


def test_a_text_longer_than_the_room_and_one_that_needs_its_context_are_read_again() -> None:
    grows = "ﷺ" * 5000  # one character becomes eighteen
    marks = "e\u0301 " * 3000
    got, offsets = text.shingles(pa.array([grows, "a b", marks]), 2)
    for index, one in enumerate([grows, "a b", marks]):
        assert got[offsets[index] : offsets[index + 1]].tolist() == dedup.shingles(dedup.normalise(one), 2)


def test_a_text_of_many_words_and_one_endless_word_are_cut_in_blocks() -> None:
    texts = [" ".join(f"w{i}" for i in range(9000)), "x" * 200_000, "a " * 5000 + "y" * 70_000 + " b c"]
    got, offsets = text.shingles(pa.array(texts), 3)
    for index, one in enumerate(texts):
        assert got[offsets[index] : offsets[index + 1]].tolist() == dedup.shingles(dedup.normalise(one), 3)


def test_compiled_code_is_cached_beside_the_source_else_in_the_users_cache_else_in_a_fresh_folder(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()  # a folder cannot be made below a file, not even by root
    package = tmp_path / "package"
    assert jit.cache_folder(package, tmp_path / "cache") == package
    assert jit.cache_folder(blocked / "x", tmp_path / "cache") == tmp_path / "cache" / "curate" / "kernels"
    fresh = jit.cache_folder(blocked / "x", blocked / "y")
    assert fresh.is_dir()
    assert fresh != jit.cache_folder(blocked / "x", blocked / "y")


def test_a_change_in_any_kernel_file_gives_the_cache_another_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one")
    (tmp_path / "b.py").write_text("two")
    before = jit.version(tmp_path)
    assert before == jit.version(tmp_path)
    (tmp_path / "b.py").write_text("too")
    assert before != jit.version(tmp_path)


def test_the_table_of_characters_is_made_anew_where_what_was_kept_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "cache", lambda: str(tmp_path / "cache"))
    first = folding.characters.__wrapped__()
    (kept,) = (tmp_path / "cache").iterdir()
    again = folding.characters.__wrapped__()
    kept.write_bytes(kept.read_bytes()[:1000])
    repaired = folding.characters.__wrapped__()
    kept.write_bytes(b"")
    for table in (again, repaired, folding.characters.__wrapped__()):
        for name in folding.Characters._fields:
            assert np.array_equal(getattr(first, name), getattr(table, name))
    assert [*(tmp_path / "cache").iterdir()] == [kept]


def test_importing_the_stages_loads_no_compiler() -> None:
    code = (
        "import sys, curate.stages.minhash, curate.stages.exact; print({'numba', 'scipy'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
