"""What the cascade calls a text's language, and that its kernels say what their slow twins say."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pycld2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import prose as twin

from curate import rules
from curate.kernels import bayes, wordlists
from curate.kernels.prose import SIZE, prose
from curate.kernels.signs import refused
from curate.stages.detectors import NOT_LINGUISTIC, UNDETERMINED, Guess
from curate.stages.detectors.cascade import FUNCTION_WORDS, Cascade, languages

ENGLISH = "The library opens at nine in the morning and closes when the last reader has gone home at night."
FRENCH = "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier lecteur est rentré chez lui."
HINDI = "rajesh ne kal bazar men taaji sabji kharidi aur phir apne dost ke ghar jakar khana khaya"


def detect(*texts: str) -> list[Guess]:
    return Cascade().detect(prose(pa.array(texts, pa.string())).texts)


@lru_cache(maxsize=1)
def examples() -> list[tuple[str, str]]:
    """Return texts in some hundred languages with their codes."""
    return [(rule.id, text) for rule in rules.load("languages").rules for text in rule.match]


# --- prose ---

WORDS = "the The THE www. www a@b.co :// f(x) é e\u0301 \u0301 İ Ⱥ ǅ 東京 は 한국어 नमस्ते ไทย 😀 👩\u200d👩 ß Σ ς K ſ"
SIGNS = "``` `` ` https:// http://a.b/c naïve(x)é “a” 1 42 ² Ⅷ _ , . — @"
GAPS = [
    "\0",
    "\x1c",
    "\x85",
    "\ufdd0",
    "\uffff",
    "\U0001fffe",
    "\U0001e900",
    "\u200b",
    "\u00a0",
    "\u3000",
    "\r\n",
    " ",
]
FRAGMENTS = [*WORDS.split(), *SIGNS.split(), *GAPS]


def long_texts() -> Iterator[str]:
    """Yield texts about and above every limit, of few kinds of fragment each."""
    rng = random.Random(1)
    for _ in range(120):
        few = rng.sample(FRAGMENTS, rng.randrange(1, len(FRAGMENTS)))
        if rng.random() < 0.5:
            few = [fragment for fragment in few if "`" not in fragment] or ["a"]
        count = rng.choice([10, 300, 3000])
        yield "".join(rng.choice(few) + rng.choice(("", " ", "b", "xy ")) for _ in range(count))
    yield "".join(f"{chr(code)}{code % 10}" for code in range(0x4E00, 0x5E00))  # one word, in 2,048 pieces
    yield "".join(f"{chr(code)}1" for code in range(0xA1, 0x7FF) if code != 0x378)


def check(texts: Sequence[str]) -> None:
    found = prose(pa.array(texts, pa.string()))
    ours = zip(found.texts.to_pylist(), found.letters.tolist(), found.natural.tolist(), strict=True)
    for text, answer in zip(texts, ours, strict=True):
        assert answer == twin.prose(text), repr(text[:200])


def test_prose_equals_its_twin_on_long_texts() -> None:
    check([*long_texts()])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        max_size=30,
    )
)
def test_prose_equals_its_twin_on_anything(pieces: list[str]) -> None:
    check(["".join(pieces), " ".join(pieces)])


def test_prose_is_the_same_in_any_kind_of_array() -> None:
    texts = [ENGLISH, None, "", "Zürich ```x = 1``` Ö", FRENCH * 9, "42"]
    whole = prose(pa.array(texts, pa.string())).texts.to_pylist()
    assert whole[1:4] == ["", "", "Zürich Ö"]
    large = pa.array(["x", *texts, "y"], pa.large_string()).slice(1, len(texts))
    assert prose(large).texts.to_pylist() == whole
    assert prose(pa.array(texts, pa.string()).slice(2, 3)).texts.to_pylist() == whole[2:5]
    assert prose(pa.array([], pa.string())).texts.to_pylist() == []
    assert max(map(len, whole)) <= SIZE


def test_prose_leaves_nothing_that_cld2_refuses() -> None:
    texts = [f"one {chr(code)} two{chr(code)}three" for code in refused()]
    for text in prose(pa.array(texts)).texts.to_pylist():
        assert text == "one two three"
        pycld2.detect(text)
    kept = {code for code in refused() if chr(code) not in "\t\n\f\r"}
    for code in kept:
        with pytest.raises(pycld2.error):
            pycld2.detect(f"one {chr(code)} two")


def test_sums_are_natural_and_tables_are_not() -> None:
    rows = "\n".join(f"{n * 7.31:.2f},{n * 1.7:.2f},{n}" for n in range(9))
    sums = "Tom sold 48/2 = <<48/2=24>>24 clips in May.\nTom sold 48+24 = <<48+24=72>>72 clips.\n#### 72"
    found = prose(pa.array([f"length,width,age\n{rows}", sums, "```\n" + ENGLISH]))
    assert found.natural[0] < 0.4 < 0.6 < found.natural[1]
    assert found.texts.to_pylist()[1:] == ["Tom sold clips in May.", ""]
    assert found.letters[2] == found.natural[2] == 0


# --- the second opinion: py3langid's answers ---


@lru_cache(maxsize=1)
def py3langid() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def mixed_texts(count: int) -> list[str]:
    """Return texts in many languages, whole and cut, joined, in capitals, with letters and marks apart."""
    rng = random.Random(2)
    known = [text for _, text in examples()]
    made = [
        "",
        "a",
        "É",
        "E\u0301",
        "42 1/2",
        "ǅ",
        "\0\x01",
        "漢字かな",
        *(chr(code) for code in range(0x20, 0x250, 7)),
    ]
    while len(made) < count:
        text = " ".join(rng.choices(known, k=rng.choice((1, 1, 2, 5))))
        start = rng.randrange(len(text))
        text = text[start : start + rng.choice((5, 12, 40, 200, 900))]
        made.append(rng.choice((str, str, str.upper, lambda text: unicodedata.normalize("NFD", text)))(text))
    return made


def test_second_opinion_equals_py3langid() -> None:
    texts = mixed_texts(2500)
    theirs = np.array([py3langid()._decide(text) for text in texts])
    ours = bayes.probabilities(pa.array(texts))
    for first, second in py3langid()._alias_pairs:  # a language's two entries, which py3langid joins
        ours[:, first] += ours[:, second]
        ours[:, second] = 0.0
    assert np.abs(ours - theirs).max() < 5e-5  # theirs is single precision, in an order of the processor's
    second, first = np.sort(theirs, axis=1)[:, -2:].T
    clear = first - second > 1e-4
    assert clear.mean() > 0.9  # the others have no n-gram, or two languages alike
    assert np.array_equal(ours.argmax(axis=1)[clear], theirs.argmax(axis=1)[clear])


def test_second_opinion_is_py3langids_formula_to_nine_places() -> None:
    from py3langid.langid import visit_counts

    known = py3langid()
    texts = mixed_texts(400)
    ours = bayes.probabilities(pa.array(texts))
    table, prior = known.nb_ptc.astype(np.float64), known.nb_pc.astype(np.float64)
    for text, row in zip(texts, ours, strict=True):
        data = known._encode(text)
        visits = visit_counts(known.tk_nextmove, known._rowbase, known.tk_output, data) or {}
        score = prior * bool(visits) + sum(np.log1p(n) * table[gram] for gram, n in visits.items())
        chances = np.exp((score - score.max()) / np.sqrt(max(len(data), 1)))
        assert row == pytest.approx(chances / chances.sum(), abs=1e-9)


def test_model_is_kept_unpacked_and_made_anew_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bayes.model()
    monkeypatch.setattr(bayes, "cache", lambda: str(tmp_path / "kernels"))
    bayes.model.cache_clear()
    try:
        bayes.model()
        (kept,) = tmp_path.glob("py3langid-*/moves.npy")
        whole = kept.read_bytes()
        kept.write_bytes(whole[:5000])
        for _ in range(2):  # the second time from what was kept
            bayes.model.cache_clear()
            found = bayes.model()
            for name in bayes.Model._fields:
                assert np.array_equal(getattr(found, name), getattr(expected, name))
                assert not getattr(found, name).flags.writeable
        assert kept.read_bytes() == whole
    finally:
        bayes.model.cache_clear()


def test_a_model_that_other_code_has_kept_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bayes.py").write_bytes(Path(bayes.__file__).read_bytes() + b"# laid out otherwise")
    monkeypatch.setattr(bayes, "cache", lambda: str(tmp_path / "kernels"))
    for source in (bayes.__file__, str(tmp_path / "bayes.py")):
        monkeypatch.setattr(bayes, "__file__", source)
        bayes.model.cache_clear()
        bayes.model()
    bayes.model.cache_clear()
    assert len([*tmp_path.glob("py3langid-*")]) == 2


# --- function words ---


def test_function_words_tell_their_own_examples() -> None:
    assert rules.check(rules.load("function_words")) == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["the", "THE", "“It’s", "don't!", "clip", "-", "né", "is", "…", "of,"]), max_size=20
    )
)
def test_listed_words_are_counted_as_a_set_would(words: list[str]) -> None:
    listed = {"the", "it's", "don't", "is", "of"}
    bare = [word.strip(twin.PUNCTUATION).lower().replace("’", "'") for word in words]
    expected = [sum(bool(word) for word in bare), sum(word in listed for word in bare)]
    texts, table = pa.array([" ".join(words)]), wordlists.table(listed)
    assert wordlists.count(texts, table).tolist() == [expected]
    assert wordlists.count(texts, table, 2)[0, 1] == min(expected[1], 2)


# --- the cascade ---


def test_every_language_of_the_table_is_told_from_its_examples() -> None:
    known = languages()
    told = [
        (code, guess)
        for (code, text), guess in zip(examples(), detect(*(t for _, t in examples())), strict=True)
    ]
    able = [(code, guess) for code, guess in told if code in known]
    assert len(able) > 100
    assert sum(code == guess.language for code, guess in able) >= 0.97 * len(able)
    assert {guess.language for _, guess in told} <= {*known, UNDETERMINED, NOT_LINGUISTIC}


def test_codes_are_ours_not_the_detectors() -> None:
    known = languages()
    assert known["he"] == ("he", "iw")
    assert known["zh"] == ("wuu", "yue", "zh", "zh-Hant")
    assert known["no"] == ("no",)
    assert {"nn", "tl", "jv", "bs", "hr", "sr", "mi", "ki"} <= set(known)
    assert not {"nb", "iw", "tlh", "zzp", "un", "zxx", "arz"} & set(known)


def test_same_answer_in_any_order_and_batch_size() -> None:
    texts = [*mixed_texts(300), ENGLISH, HINDI, "", "42"]
    expected = dict(zip(texts, detect(*texts), strict=True))
    random.Random(3).shuffle(texts)
    for size in (1, 7, 100):
        for at in range(0, len(texts), size):
            some = texts[at : at + size]
            assert detect(*some) == [expected[text] for text in some]


def test_agreement_is_surer_than_disagreement() -> None:
    both, name = detect(ENGLISH, "Karin Toyota Berlin Samsung")
    assert both.language == "en"
    assert both.confidence is not None
    assert both.confidence > 0.99
    assert name.confidence is None or name.confidence < 0.65


def test_english_needs_its_function_words() -> None:
    table = "name city street country phone birthday company position height color"
    chant = "the name of the city and its street, a country by phone"
    hindi, columns, running, few = detect(HINDI, table, chant, "Thank you, good night")
    assert hindi.language != "en"
    assert columns == Guess(UNDETERMINED, None)
    assert running.language == few.language == "en"
    assert FUNCTION_WORDS < 0.1


def test_where_there_is_no_language_none_is_told() -> None:
    letters = " ".join("".join(random.Random(n).choices("bcdfghjklmnpqrstvwxz", k=9)) for n in range(9))
    assert detect("", "42 - 17", letters) == [
        Guess(UNDETERMINED, None),
        Guess(UNDETERMINED, None),
        Guess(NOT_LINGUISTIC, None),
    ]
    assert Cascade().detect(pa.array([], pa.string())) == []


def test_control_characters_do_no_harm_even_where_prose_has_not_blanked_them() -> None:
    (guess,) = Cascade().detect(pa.array([ENGLISH.replace(" ", " \x01\ufdd0 ")]))
    assert guess.language == "en"


def test_a_language_that_only_cld2_knows_is_told() -> None:
    (guess,) = detect(
        "Ko te kaupapa o te hui nei ko te whakatau i ngā take nui mō te iwi, ā, kua tae mai ngā tāngata katoa."
    )
    assert guess.language == "mi"
    assert guess.confidence is not None
    assert guess.confidence > 0.8


def test_shares_show_both_languages_of_a_mixed_text() -> None:
    mixed, alone = detect(f"{ENGLISH} {ENGLISH[:40]} {FRENCH}", ENGLISH)
    assert dict(mixed.shares).keys() == {"en", "fr"}
    assert sum(share for _, share in mixed.shares) <= 1.0
    assert [code for code, _ in alone.shares] == ["en"]
