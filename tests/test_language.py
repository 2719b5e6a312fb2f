"""What language the language stage takes a record to be in, and what it does about it."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import rules
from curate.record import MESSAGES, Batch
from curate.stage import Verdict
from curate.stages import language
from curate.stages.language import SURE, Language, identify

PACK = rules.load("languages")
ENGLISH = (
    "The library opens at nine in the morning and closes again when the last reader has gone home at night."
)
FRENCH = "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier lecteur est rentré chez lui."
CODE = "def area(w, h):\n    if w < 0 or h < 0:\n        raise ValueError(w)\n    return w * h * _k[0]\n"


def documents(texts: Sequence[str]) -> Batch:
    ids = [f"test/{i}" for i in range(len(texts))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})


def conversations(*talks: Sequence[tuple[str, str]]) -> Batch:
    messages = [[{"role": role, "content": content} for role, content in talk] for talk in talks]
    ids = [f"test/{i}" for i in range(len(talks))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "messages": pa.array(messages, MESSAGES)})


def judge(batch: Batch, **options: Any) -> Verdict:
    verdict = Language(Language.Options(**options)).judge(batch)
    verdict.check("language", batch)
    return verdict


def fact(verdict: Verdict, name: str) -> list[Any]:
    assert verdict.facts is not None
    return list(verdict.facts.column(name).to_pylist())


# --- the rule pack ---


def test_every_language_tells_its_own_examples_from_its_neighbours() -> None:
    assert rules.check(PACK) == []
    assert len(PACK.rules) >= 50


def test_the_table_names_every_language_of_the_engine_once() -> None:
    from curate.stages.detectors.langdetect import profiles

    listed = [code for rule in PACK.rules for code in rule.data["engines"]["langdetect"]]
    assert sorted(listed) == sorted(profiles().codes)


def test_norwegian_is_text_in_the_pack_not_false() -> None:
    assert PACK.rule("no").data["aliases"] == ["nb", "nn"]


# --- the detector: langdetect's answers, faster ---


@lru_cache(maxsize=1)
def langdetect_factory() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_json_profile(
        [path.read_text("utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())]
    )
    factory.set_seed(0)
    return factory


def langdetect_itself(text: str, impossible: frozenset[str] = frozenset()) -> dict[str, float]:
    """Ask langdetect's own code, which leaves out what it finds below 0.1."""
    from langdetect import LangDetectException

    factory = langdetect_factory()
    detector = factory.create()
    detector.append(text)
    detector.set_prior_map({code: float(code not in impossible) for code in factory.langlist})
    try:
        return {found.lang: found.prob for found in detector.get_probabilities()}
    except LangDetectException:
        return {}


def same_as_langdetect(text: str, impossible: frozenset[str] = frozenset()) -> bool:
    from curate.stages.detectors.langdetect import probabilities

    ours = {code: share for code, share in probabilities(text, impossible).items() if share > 0.1}
    return ours == pytest.approx(langdetect_itself(text, impossible), rel=1e-9)


def test_fast_detector_equals_langdetect_on_every_example() -> None:
    texts = [text for rule in PACK.rules for text in (*rule.match, *rule.no_match)]
    texts += [f"{a} {b}" for a, b in zip(texts, texts[7:], strict=False)]  # two languages: long searches
    different = [text for text in texts if not same_as_langdetect(text)]
    assert different == []


FRAGMENTS = (
    "the und ærlig NASA İstanbul l'eau Ünïcödé 東京 ニュース 한국어 Thì tiếng straße ΣΊΣΥΦΟΣ țară "
    "يوم ی e\u0301 ſ 12 ... \n \t \u00a0 \u2014 cD https://a.example/b?c me@mail.example A "
)
WORDS = st.sampled_from(FRAGMENTS.split(" "))


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60))
def test_fast_detector_equals_langdetect_on_anything(text: str) -> None:
    assert same_as_langdetect(text)
    assert same_as_langdetect(text, frozenset({"ja", "ko"}))


# --- determinism ---


def sample_texts() -> list[str]:
    examples = [text for rule in PACK.rules for text in (*rule.match, *rule.no_match)]
    return [*examples, "42", "", CODE, ENGLISH + " " + FRENCH, FRENCH[:40] + ENGLISH[:40]]


def test_same_answer_in_any_order_batch_size_and_thread() -> None:
    texts = sample_texts()
    whole = judge(documents(texts))
    expected = dict(
        zip(texts, zip(fact(whole, "language"), fact(whole, "language_score"), strict=True), strict=True)
    )
    shuffled = random.Random(5).sample(texts, len(texts))
    again = judge(documents(shuffled))
    assert list(zip(fact(again, "language"), fact(again, "language_score"), strict=True)) == [
        expected[text] for text in shuffled
    ]
    for text in texts[::9]:
        single = judge(documents([text]))
        assert (fact(single, "language")[0], fact(single, "language_score")[0]) == expected[text]
    with ThreadPoolExecutor(4) as threads:
        guesses = list(threads.map(lambda text: identify("", text)[:2], texts))
    assert guesses == [expected[text] for text in texts]


def test_same_answer_in_a_fresh_process_with_another_hash_seed() -> None:
    script = (
        "import sys, orjson; from curate.stages.language import identify;"
        "texts = orjson.loads(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(orjson.dumps([list(identify('', text)) for text in texts]))"
    )
    texts = sample_texts()[::5]
    answers = subprocess.run(
        [sys.executable, "-c", script],
        input=orjson.dumps(texts),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert orjson.loads(answers.stdout) == [list(identify("", text)) for text in texts]


# --- what is judged ---


def test_a_sum_that_repeats_one_word_is_in_the_language_of_the_others() -> None:
    work = "Elsa had 40 marbles - 3 - 5 = <<40-3-5=32>>32 marbles.\nElsa then gained 12 marbles + 32 = "
    work += (
        "<<12+32=44>>44 marbles.\nAt dinner Elsa received 2 * 5 marbles from Susie = <<2*5=10>>10 marbles.\n"
    )
    work += "In total Elsa had 44 marbles + 10 = <<44+10=54>>54 marbles.\n#### 54"
    assert identify("How many marbles did Elsa end the day with?", work).language == "en"


def test_a_response_that_is_torn_is_judged_with_its_prompt() -> None:
    work = "Annie spends 4*8=<<4*8=32>>32 dollars on hamburgers.\nAnnie spends 5*6=<<5*6=30>>30 dollars on "
    work += "milkshakes.\nAnnie spends 32+30=<<32+30=62>>62 dollars on hamburgers and milkshakes.\n#### 132"
    assert identify("", work).confidence < SURE  # type: ignore[operator]
    prompt = "Annie has some money. The restaurant next door sells hamburgers. How much money did she have at first?"
    assert identify(prompt, work).language == "en"


def test_a_clear_response_decides_whatever_its_prompt() -> None:
    assert identify(ENGLISH * 5, FRENCH).language == "fr"


def test_only_the_first_thousand_characters_of_prose_decide() -> None:
    long = ENGLISH * 20 + FRENCH * 200
    assert identify("", long)[:2] == identify("", ENGLISH * 20)[:2]


def test_a_cut_never_parts_a_letter_from_its_marks() -> None:
    marked = "e\u0301" * 600  # 1,200 characters, 600 letters
    assert language._cut(marked, 999) == "e\u0301" * 499
    assert language._cut(marked, 1000) == "e\u0301" * 500
    assert language._cut("\u0301" * 5, 3) == ""


def test_addresses_and_code_say_nothing_of_the_language() -> None:
    noise = "https://example.org/le/chemin/vers/la/page/de/la/ville contact@bibliotheque.example"
    guess = identify("", f"{noise}\n```\nla = le + du * des\n```\n{ENGLISH}")
    assert guess.language == "en"
    assert guess.letters == identify("", ENGLISH).letters


@pytest.mark.parametrize(
    "text", ["42", "", "   ", "Yes.", CODE, "| 12 | 3.5 |\n| 7 | 2.25 |", "https://example.org/a"]
)
def test_too_little_language_is_undetermined_flagged_and_kept(text: str) -> None:
    verdict = judge(documents([text]), allow=["en"])
    assert verdict.action.to_pylist() == ["flag"]
    assert verdict.reason.to_pylist() == ["language/undetermined"]
    assert (fact(verdict, "language"), fact(verdict, "language_score")) == (["und"], [None])


@pytest.mark.parametrize(
    ("unsure", "action"), [("keep", "flag"), ("quarantine", "quarantine"), ("drop", "drop")]
)
def test_unsure_says_what_becomes_of_undetermined_records(unsure: str, action: str) -> None:
    verdict = judge(documents(["42", ENGLISH]), unsure=unsure)
    assert verdict.action.to_pylist() == [action, "keep"]


def test_capitals_are_read_like_other_letters() -> None:
    assert identify("", ENGLISH.upper()).language == "en"
    assert identify("", FRENCH.upper()).language == "fr"


def test_chinese_without_hangul_or_kana_is_neither_korean_nor_japanese() -> None:
    poem = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"
    assert identify("", poem).language == "zh"


# --- conversations ---


def test_a_long_response_decides_whatever_the_prompt() -> None:
    batch = conversations([("user", "Translate this into French: " + ENGLISH), ("assistant", FRENCH)])
    verdict = judge(batch, allow=["en"])
    assert verdict.reason.to_pylist() == ["language/not-allowed"]
    assert fact(verdict, "language") == ["fr"]


@pytest.mark.parametrize("response", ["42", "Paris", CODE, "Bhutan, Peru, Laos", ""])
def test_a_response_that_tells_nothing_is_judged_by_its_prompt(response: str) -> None:
    batch = conversations([("user", ENGLISH + " When does it open?"), ("assistant", response)])
    verdict = judge(batch, allow=["en"])
    assert verdict.action.to_pylist() == ["keep"]
    assert fact(verdict, "language") == ["en"]


def test_all_assistant_turns_count_together() -> None:
    turns = [("user", ENGLISH), ("assistant", FRENCH[:50]), ("user", ENGLISH), ("assistant", FRENCH[50:])]
    assert fact(judge(conversations(turns)), "language") == ["fr"]


# --- decisions ---


def test_a_language_that_is_not_allowed_is_dropped_with_evidence() -> None:
    verdict = judge(documents([ENGLISH, FRENCH]), allow=["en", "no"])
    assert verdict.action.to_pylist() == ["keep", "drop"]
    assert verdict.reason.to_pylist() == [None, "language/not-allowed"]
    confidence = fact(verdict, "language_score")[1]
    assert verdict.score.to_pylist() == [None, confidence]
    evidence = orjson.loads(verdict.evidence[1].as_py())
    assert evidence == {"language": "fr", "confidence": confidence, "allow": ["en", "no"]}


def test_without_allow_every_language_stays() -> None:
    assert judge(documents([ENGLISH, FRENCH])).action.to_pylist() == ["keep", "keep"]


@pytest.mark.parametrize(
    ("option", "action"), [("keep", "flag"), ("quarantine", "quarantine"), ("drop", "drop")]
)
def test_below_min_confidence_is_low_confidence(option: str, action: str) -> None:
    mixed = FRENCH[:60] + " " + ENGLISH[:60]
    confidence = identify("", mixed).confidence
    assert confidence is not None
    assert confidence < 0.95, "the example must be in doubt"
    verdict = judge(documents([mixed]), allow=["en", "fr"], min_confidence=0.95, low_confidence=option)
    assert verdict.action.to_pylist() == [action]
    assert verdict.reason.to_pylist() == ["language/low-confidence"]
    assert verdict.score.to_pylist() == [confidence]


def test_norwegian_under_any_of_its_codes() -> None:
    bokmaal, nynorsk = PACK.rule("no").match
    for code in ("no", "nb", "NN"):
        verdict = judge(documents([bokmaal, nynorsk, ENGLISH]), allow=[code])
        assert verdict.action.to_pylist() == ["keep", "keep", "drop"]


# --- options ---


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ([False], 'write "no", in quotes'),
        (["en-US"], "did you mean 'en'?"),
        (["English"], "did you mean 'en'?"),
        (["norwegan"], "did you mean 'no'?"),
        (["eu"], "langdetect cannot detect 'eu'; it knows af, ar,"),
        ([7], "cannot detect 7"),
        ("en", "must be a list of language codes"),
        ([], "at least 1"),
    ],
)
def test_a_language_that_cannot_be_detected_is_an_error_that_helps(allow: object, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Language.Options(allow=allow)
    assert message in caught.value.errors()[0]["msg"]


def test_yaml_1_2_reads_a_bare_no_as_norwegian() -> None:
    from ruamel.yaml import YAML

    options = YAML(typ="safe", pure=True).load("{allow: [en, no]}")
    assert Language.Options(**options).allow == ("en", "no")


def test_aliases_are_resolved_once() -> None:
    assert Language.Options(allow=["nb", "nn", "no", "zh-TW", "EN"]).allow == ("no", "zh", "en")


# --- the contract ---


def test_facts_are_typed_when_the_batch_is_empty() -> None:
    for batch in (documents([]), conversations()):
        verdict = judge(batch, allow=["en"])
        assert verdict.facts is not None
        assert verdict.facts.schema == pa.schema(
            [("language", pa.string()), ("language_score", pa.float64())]
        )


def test_null_and_empty_conversations_are_undetermined() -> None:
    batch = pa.record_batch({"id": ["a", "b"], "messages": pa.array([None, []], MESSAGES)})
    assert fact(judge(batch), "language") == ["und", "und"]


def test_evidence_never_holds_the_text() -> None:
    verdict = judge(documents([FRENCH, "Zaragoza!"]), allow=["en"])
    for evidence in verdict.evidence.to_pylist():
        assert "bibliothèque" not in evidence
        assert "Zaragoza" not in evidence


def test_the_stage_survives_pickling() -> None:
    stage = pickle.loads(pickle.dumps(Language(Language.Options(allow=["fr"]))))
    assert stage.judge(documents([FRENCH])).action.to_pylist() == ["keep"]


def test_importing_the_stage_loads_neither_langdetect_nor_numba() -> None:
    script = "import sys, curate.stages.language; print({'langdetect', 'numba'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# --- accuracy on real data ---


def test_accuracy_on_labelled_sentences(real_data: Path) -> None:
    known = {rule.id for rule in PACK.rules}
    with (real_data / "language" / "lingua_sentences.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        records = [orjson.loads(line) for number, line in enumerate(lines) if number % 50 == 0]
    labelled = [
        (language.language_code(r["lang"]), r["text"]) for r in records if r["lang"] in {*known, "nb", "nn"}
    ]
    guesses = [(truth, identify("", text).language) for truth, text in labelled]
    told = [truth == found for truth, found in guesses if found != "und"]
    assert len(told) > 0.95 * len(labelled)
    assert sum(told) > 0.97 * len(told)
