"""What languages the language stage takes a record to be in, and what it does about them."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from pydantic import ValidationError

import curate
from curate import recipe, rules
from curate.errors import RecipeError
from curate.kernels.prose import prose
from curate.record import MESSAGES, Batch
from curate.stage import Verdict
from curate.stages import detectors
from curate.stages.detectors.known import aliases
from curate.stages.detectors.telling import LEAST, SURE
from curate.stages.language import FACTS, Language, identify

PACK = rules.load("languages")
ENGLISH = (
    "The library opens at nine in the morning and closes again when the last reader has gone home at night."
)
FRENCH = "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier lecteur est rentré chez lui."
CODE = "def area(w, h):\n    if w < 0 or h < 0:\n        raise ValueError(w)\n    return w * h * _k[0]\n"
TABLE = "| 12 | 3.5 | 881 |\n| 7 | 2.25 | 904 |\n| 61 | 0.5 | 377 |"


def documents(texts: Sequence[str]) -> Batch:
    ids = [f"test/{i}" for i in range(len(texts))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})


def conversations(*talks: Sequence[tuple[str, str]]) -> Batch:
    messages = [[{"role": role, "content": content} for role, content in talk] for talk in talks]
    ids = [f"test/{i}" for i in range(len(talks))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "messages": pa.array(messages, MESSAGES)})


def asked(prompt: str, response: str) -> list[tuple[str, str]]:
    return [("user", prompt), ("assistant", response)]


def judge(batch: Batch, **options: Any) -> Verdict:
    verdict = Language(Language.Options(**options)).judge(batch)
    verdict.check("language", batch)
    return verdict


def fact(verdict: Verdict, name: str) -> list[Any]:
    assert verdict.facts is not None
    return list(verdict.facts.column(name).to_pylist())


def rows(verdict: Verdict) -> list[dict[str, Any]]:
    assert verdict.facts is not None
    return list(verdict.facts.to_pylist())


# --- the rule pack ---


def test_every_language_tells_its_own_examples_from_its_neighbours() -> None:
    assert rules.check(PACK) == []
    assert len(PACK.rules) >= 150


def test_norwegian_is_text_in_the_pack_not_false() -> None:
    assert PACK.rule("no").data["macro"] == {"codes": ["no", "nor"], "members": ["nn"]}


# --- determinism ---


def sample_texts() -> list[str]:
    examples = [text for rule in PACK.rules[::2] for text in (*rule.match, *rule.no_match)]
    return [*dict.fromkeys([*examples, "42", "", CODE, ENGLISH + " " + FRENCH, FRENCH[:40] + ENGLISH[:40]])]


def test_same_answer_in_any_order_batch_size_and_thread() -> None:
    texts = sample_texts()
    expected = dict(zip(texts, rows(judge(documents(texts))), strict=True))
    shuffled = random.Random(5).sample(texts, len(texts))
    assert rows(judge(documents(shuffled))) == [expected[text] for text in shuffled]
    for text in texts[::9]:
        assert rows(judge(documents([text]))) == [expected[text]]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: identify("", text)[:2], texts))
    assert found == [(expected[text]["language"], expected[text]["language_score"]) for text in texts]


def test_conversations_are_judged_alike_alone_and_together() -> None:
    texts = sample_texts()
    talks = [asked(*pair) for pair in zip(texts, texts[3:], strict=False)]
    talks += [
        [("system", a), *asked(b, c), *asked(c, a)]
        for a, b, c in zip(texts[::7], texts[1::7], texts[2::7], strict=False)
    ]
    expected = rows(judge(conversations(*talks)))
    order = random.Random(6).sample(range(len(talks)), len(talks))
    shuffled = rows(judge(conversations(*(talks[place] for place in order))))
    assert shuffled == [expected[place] for place in order]
    for place in order[::11]:
        assert rows(judge(conversations(talks[place]))) == [expected[place]]
    sliced = conversations(*talks).slice(3, 20)
    assert rows(judge(sliced)) == expected[3:23]


def test_same_answer_in_a_fresh_process_with_another_hash_seed() -> None:
    script = (
        "import sys, orjson; from curate.stages.language import identify;"
        "texts = orjson.loads(sys.stdin.buffer.read());"
        "print(ascii([identify('', text) for text in texts]))"
    )
    texts = sample_texts()[::5]
    answers = subprocess.run(
        [sys.executable, "-c", script],
        input=orjson.dumps(texts),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert answers.stdout.decode().strip() == ascii([identify("", text) for text in texts])


# --- what is judged ---


def test_a_sum_that_repeats_one_word_is_in_the_language_of_the_others() -> None:
    work = "Elsa had 40 marbles - 3 - 5 = <<40-3-5=32>>32 marbles.\nElsa then gained 12 marbles + 32 = "
    work += (
        "<<12+32=44>>44 marbles.\nAt dinner Elsa received 2 * 5 marbles from Susie = <<2*5=10>>10 marbles.\n"
    )
    work += "In total Elsa had 44 marbles + 10 = <<44+10=54>>54 marbles.\n#### 54"
    assert identify("How many marbles did Elsa end the day with?", work).language == "en"


def test_a_response_that_is_torn_is_judged_with_its_prompt() -> None:
    pasta = "Spaghetti, fettuccine, rigatoni, linguine, bucatini"
    torn = identify("", pasta)
    assert torn.language != "en"
    assert torn.confidence is not None
    assert torn.confidence < SURE, "the example must be in doubt"
    assert identify("Name five sorts of pasta that are sold in Italy, please.", pasta).language == "en"


def test_a_clear_response_decides_whatever_its_prompt() -> None:
    assert identify(ENGLISH * 5, FRENCH).language == "fr"
    assert identify("Translate this into French: " + ENGLISH, FRENCH[:50]).language == "fr"


def test_only_the_first_six_hundred_characters_of_prose_decide() -> None:
    words = rules.load("function_words").rule("en").data["words"].split()
    long = ENGLISH + " " + " ".join(f"{a} {b}" for a, b in itertools.pairwise(words))
    assert len(long) > 600
    assert identify("", long + FRENCH * 200)[:2] == identify("", long)[:2]


def test_addresses_and_code_say_nothing_of_the_language() -> None:
    noise = "https://example.org/le/chemin/vers/la/page/de/la/ville contact@bibliotheque.example"
    told = identify("", f"{noise}\n```\nla = le + du * des\n```\n{ENGLISH}")
    assert (told.language, told.letters) == ("en", identify("", ENGLISH).letters)


@pytest.mark.parametrize("text", ["42", "", "   ", "Yes.", "\U0001f642"])
def test_too_little_language_is_undetermined_flagged_and_kept(text: str) -> None:
    verdict = judge(documents([text]), allow=["en"], response=["en"])
    assert verdict.action.to_pylist() == ["flag"]
    assert verdict.reason.to_pylist() == ["language/undetermined"]
    told = {"language": "und", "language_turns": ["und"], "language_response": "und" if text else None}
    assert rows(verdict) == [dict.fromkeys(FACTS.names) | told]


@pytest.mark.parametrize("text", [CODE, TABLE, f"```\n{CODE}```", "https://example.org/a/b/c/d", CODE * 50])
def test_code_tables_and_addresses_are_not_linguistic(text: str) -> None:
    verdict = judge(documents([text]), allow=["en"])
    assert verdict.action.to_pylist() == ["flag"]
    assert verdict.reason.to_pylist() == ["language/not-linguistic"]
    assert (fact(verdict, "language"), fact(verdict, "language_score")) == (["zxx"], [None])


@pytest.mark.parametrize(
    ("unsure", "action"), [("keep", "flag"), ("quarantine", "quarantine"), ("drop", "drop")]
)
def test_unsure_says_what_becomes_of_records_that_are_not_told(unsure: str, action: str) -> None:
    verdict = judge(documents(["42", CODE, ENGLISH]), unsure=unsure)
    assert verdict.action.to_pylist() == [action, action, "keep"]


def test_capitals_are_read_like_other_letters() -> None:
    assert identify("", ENGLISH.upper()).language == "en"
    assert identify("", FRENCH.upper()).language == "fr"


@pytest.mark.parametrize("engine", ["cascade", "langdetect"])
def test_chinese_without_hangul_or_kana_is_neither_korean_nor_japanese(engine: detectors.Engine) -> None:
    poem = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"
    assert identify("", poem, engine).language == "zh"


# --- conversations ---


@pytest.mark.parametrize("response", ["42", "Paris", CODE, "Bhutan, Peru, Laos", ""])
def test_a_response_that_tells_nothing_is_judged_by_its_prompt(response: str) -> None:
    verdict = judge(conversations(asked(ENGLISH + " When does it open?", response)), allow=["en"])
    assert verdict.action.to_pylist() == ["keep"]
    assert fact(verdict, "language") == ["en"]


def test_all_assistant_turns_count_together() -> None:
    talk = [*asked(ENGLISH, FRENCH[:50]), *asked(ENGLISH, FRENCH[50:])]
    verdict = judge(conversations(talk))
    assert fact(verdict, "language") == fact(verdict, "language_response") == ["fr"]


def test_every_turn_and_part_is_told() -> None:
    talk = [("system", "Be brief."), *asked(FRENCH, ENGLISH), *asked("42", CODE)]
    (told,) = rows(judge(conversations(talk)))
    assert told["language_turns"] == ["und", "fr", "en", "und", "zxx"]
    assert (told["language_prompt"], told["language_response"]) == ("fr", "en")
    assert told["language_prompt_score"] > SURE < told["language_response_score"]
    assert told["language"] == "en"


def test_share_and_second_language_are_weighted_by_letters() -> None:
    batch = conversations(asked("Translate this into French: " + ENGLISH, FRENCH), asked(ENGLISH, ENGLISH))
    translated, plain = rows(judge(batch))
    letters = prose(pa.array(["Translate this into French: " + ENGLISH, FRENCH])).letters.tolist()
    assert translated["language_share"] == pytest.approx(letters[1] / sum(letters), abs=1e-6)
    assert translated["language_second"] == "en"
    assert translated["language_second_share"] == pytest.approx(letters[0] / sum(letters), abs=1e-6)
    assert translated["language_mixed"] is True
    assert (plain["language_share"], plain["language_mixed"]) == (1.0, False)
    assert (plain["language_second"], plain["language_second_share"]) == (None, None)


def test_a_document_in_two_languages_is_mixed_and_one_with_a_foreign_word_is_not() -> None:
    mixed, plain = rows(judge(documents([f"{FRENCH} {ENGLISH}", ENGLISH + " Déjà vu, said Zoë."])))
    assert mixed["language_mixed"] is True
    assert {mixed["language"], mixed["language_second"]} == {"en", "fr"}
    assert mixed["language_share"] + mixed["language_second_share"] == pytest.approx(1.0)
    assert (plain["language"], plain["language_mixed"]) == ("en", False)


def test_thresholds_move_without_detecting_again() -> None:
    texts = [f"{FRENCH} {ENGLISH[:size]}" for size in range(0, 100, 10)]
    told = rows(judge(documents(texts)))
    for mixed in (0.05, 0.2, 0.35, 0.5):
        again = [(row["language_second_share"] or 0.0) >= mixed for row in told]
        assert fact(judge(documents(texts), mixed=mixed), "language_mixed") == again
    assert {row["language_mixed"] for row in told} == {True, False}


# --- decisions ---


def test_a_language_that_is_not_allowed_is_dropped_with_evidence() -> None:
    verdict = judge(documents([ENGLISH, FRENCH]), allow=["en", "nb"])
    assert verdict.action.to_pylist() == ["keep", "drop"]
    assert verdict.reason.to_pylist() == [None, "language/not-allowed"]
    confidence = fact(verdict, "language_score")[1]
    assert verdict.score.to_pylist() == [None, confidence]
    evidence = orjson.loads(verdict.evidence[1].as_py())
    assert evidence == {"language": "fr", "confidence": confidence, "allow": ["en", "no"]}


def test_without_lists_every_language_stays() -> None:
    assert judge(documents([ENGLISH, FRENCH])).action.to_pylist() == ["keep", "keep"]
    whatever = judge(documents([ENGLISH, FRENCH]), allow="any", prompt="any", response=None)
    assert whatever.action.to_pylist() == ["keep", "keep"]


def test_prompt_and_response_are_constrained_apart() -> None:
    batch = conversations(
        asked("Traduis en anglais : " + FRENCH, ENGLISH),  # translation data
        asked("Translate into French: " + ENGLISH, FRENCH),
        asked(ENGLISH, ENGLISH),
        asked(FRENCH, "42"),  # a response that is not told
    )
    responses = judge(batch, response=["en"], prompt="any")
    assert responses.reason.to_pylist() == [None, "language/response-not-allowed", None, None]
    assert responses.action.to_pylist() == ["keep", "drop", "keep", "keep"]
    prompts = judge(batch, prompt=["en"])
    not_allowed = "language/prompt-not-allowed"
    assert prompts.reason.to_pylist() == [not_allowed, None, None, not_allowed]
    evidence = orjson.loads(prompts.evidence[0].as_py())
    assert (evidence["language"], evidence["allow"]) == ("fr", ["en"])
    assert judge(documents([ENGLISH, FRENCH]), response=["en"]).action.to_pylist() == ["keep", "drop"]
    assert judge(documents([FRENCH]), prompt=["en"]).action.to_pylist() == ["keep"]


def test_a_record_may_break_several_rules_and_each_is_noted() -> None:
    verdict = judge(conversations(asked(FRENCH, FRENCH)), allow=["en"], prompt=["en"], response=["en"])
    assert verdict.reason.to_pylist() == ["language/not-allowed"]
    noted = [decision.reason for decision in verdict.also]
    assert noted == ["language/prompt-not-allowed", "language/response-not-allowed"]


@pytest.mark.parametrize("action", ["flag", "quarantine", "drop"])
def test_mixed_records_are_kept_unless_asked_otherwise(action: str) -> None:
    batch = conversations(asked(ENGLISH, FRENCH), asked(ENGLISH, ENGLISH))
    kept = judge(batch)
    assert (kept.action.to_pylist(), kept.reason.to_pylist()) == (["keep", "keep"], [None, None])
    verdict = judge(batch, mixed_action=action)
    assert verdict.action.to_pylist() == [action, "keep"]
    assert verdict.reason.to_pylist() == ["language/mixed", None]
    assert verdict.score[0].as_py() == fact(verdict, "language_second_share")[0]


@pytest.mark.parametrize(
    ("option", "action"), [("keep", "flag"), ("quarantine", "quarantine"), ("drop", "drop")]
)
def test_below_min_confidence_is_low_confidence(option: str, action: str) -> None:
    doubtful = "Spaghetti, fettuccine, rigatoni, linguine, bucatini"
    confidence = identify("", doubtful).confidence
    assert confidence is not None
    assert confidence < 0.95, "the example must be in doubt"
    verdict = judge(documents([doubtful]), allow=["en"], min_confidence=0.95, low_confidence=option)
    assert verdict.action.to_pylist() == [action]
    assert verdict.reason.to_pylist() == ["language/low-confidence"]
    assert verdict.score.to_pylist() == [confidence]
    assert fact(verdict, "language_turns") == [["und"]]


def test_norwegian_is_both_its_languages_and_each_alone() -> None:
    texts = [PACK.rule("no").match[0], PACK.rule("nn").match[0], ENGLISH]
    expected = {
        "no": ["keep", "keep"],
        "nor": ["keep", "keep"],
        "nb": ["keep", "drop"],
        "NN": ["drop", "keep"],
    }
    for code, actions in expected.items():
        assert judge(documents(texts), allow=[code]).action.to_pylist() == [*actions, "drop"]


# --- options ---

ERRORS = [
    ({"allow": [False]}, 'false is not a language code; for Norwegian write "no", in quotes: '),
    ({"allow": ["en-US"]}, "engine cascade cannot detect 'en-US'; did you mean 'en'?"),
    ({"allow": ["English"]}, "engine cascade cannot detect 'English'; did you mean 'en'?"),
    ({"allow": ["norwegan"]}, "engine cascade cannot detect 'norwegan'; did you mean 'no'?"),
    (
        {"engine": "langdetect", "prompt": ["eu"]},
        "engine langdetect cannot detect 'eu' (Basque); cascade, lid176 and lingua can: name that engine",
    ),
    ({"allow": ["jbo"]}, "engine cascade cannot detect 'jbo' (Lojban); lid176 can: name that engine"),
    (
        {"engine": "langdetect", "allow": ["qq"]},
        "engine langdetect cannot detect 'qq'; it knows af, ar, bg, ",
    ),
    ({"allow": ["any"]}, "'any' is no language; for every language write any, without brackets"),
    ({"allow": ["und"]}, "'und' is no language; option unsure says what becomes of records"),
    ({"response": [7]}, "engine cascade cannot detect 7; it knows "),
    ({"allow": "en"}, "must be a list of language codes, such as [en, fr], or any; is 'en'"),
    ({"allow": []}, "found no language; allowed: at least 1, or any; add one, or take it out"),
    (
        {"engine": "fasttext"},
        "engine fasttext needs a model; allowed: a fastText model's file, relative to the recipe's folder; "
        "add 'model: …'",
    ),
    (
        {"model": "lid.bin"},
        "found 'lid.bin' with engine cascade; only engine fasttext takes one; take it out",
    ),
]


@pytest.mark.parametrize(("options", "message"), ERRORS)
def test_a_language_that_cannot_be_detected_is_an_error_that_helps(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Language.Options(**options)
    assert caught.value.errors()[0]["msg"].startswith(f"Value error, {message}")


def test_errors_stand_in_the_recipe_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    head = (
        'curate: 1\nname: a\nversion: "1"\nsources:\n  - {name: a, files: [a.jsonl], license: MIT}\nstages:\n'
    )
    (tmp_path / "curate.yaml").write_text(
        f"{head}  - language:\n      engine: langdetect\n      allow: [en, eu]\n      mixed: 2\n"
    )
    with pytest.raises(RecipeError) as caught:
        recipe.load(tmp_path / "curate.yaml")
    assert list(caught.value.problems) == [
        "curate.yaml:9: stages[0].language.allow: engine langdetect cannot detect 'eu' (Basque); cascade, lid176 "
        "and lingua can: name that engine",
        "curate.yaml:10: stages[0].language.mixed: found 2; allowed: 0.5 or less; correct it",
    ]


def test_yaml_1_2_reads_a_bare_no_as_norwegian() -> None:
    from ruamel.yaml import YAML

    options = YAML(typ="safe", pure=True).load("{allow: [en, no]}")
    assert Language.Options(**options).allow == ("en", "no", "nn")


def test_aliases_are_resolved_once() -> None:
    codes = Language.Options(allow=["nb", "nob", "zh-TW", "EN", "eng", "fil"]).allow
    assert codes == ("no", "zh", "en", "tl")


# --- the contract ---


def test_facts_are_typed_when_the_batch_is_empty() -> None:
    for batch in (documents([]), conversations()):
        verdict = judge(batch, allow=["en"])
        assert verdict.facts is not None
        assert verdict.facts.schema == FACTS


def test_null_and_empty_conversations_are_undetermined() -> None:
    talks = pa.array(
        [None, [], [{"role": "assistant", "content": None}], [{"role": None, "content": ENGLISH}]], MESSAGES
    )
    verdict = judge(pa.record_batch({"id": ["a", "b", "c", "d"], "messages": talks}))
    assert fact(verdict, "language") == ["und", "und", "und", "en"]
    assert fact(verdict, "language_turns") == [[], [], ["und"], ["en"]]
    assert fact(verdict, "language_prompt") == [None, None, None, "en"]


def test_evidence_never_holds_the_text() -> None:
    verdict = judge(
        documents([FRENCH, "Zaragoza!", f"{ENGLISH} {FRENCH}"]), allow=["en"], mixed_action="flag"
    )
    for evidence in verdict.evidence.to_pylist():
        assert "bibliothèque" not in (evidence or "")
        assert "Zaragoza" not in (evidence or "")


def test_the_stage_survives_pickling() -> None:
    stage = pickle.loads(pickle.dumps(Language(Language.Options(allow=["fr"]))))
    assert stage.judge(documents([FRENCH])).action.to_pylist() == ["keep"]


def test_importing_the_stage_loads_no_detector_and_not_numba() -> None:
    heavy = {"fasttext", "langdetect", "lingua", "numba", "py3langid", "pycld2"}
    script = f"import sys, curate.stages.language; print({heavy!r} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# --- the release ---


def test_the_datasheet_says_what_was_told_and_what_that_is_worth(tmp_path: Path) -> None:
    texts = [ENGLISH, FRENCH, f"{ENGLISH} {FRENCH}", "42", CODE, FRENCH + " Encore une fois."]
    lines = [orjson.dumps({"text": text}) for text in texts]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "curate.yaml").write_text(
        'curate: 1\nname: a\nversion: "1"\nsources:\n  - {name: a, files: [a.jsonl], license: MIT}\n'
        "stages:\n  - language: {allow: [en]}\n"
    )
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    untold = {"source": "a", "judged": 6, "undetermined": 1, "not_linguistic": 1, "mixed": 1}
    mixed_kept = release.manifest["statistics"]["languages_untold"][0].pop("mixed_kept")
    assert release.manifest["statistics"]["languages_untold"] == [untold]
    text = (release.path / "datasheet.md").read_text()
    section = text[text.index("## Languages") :].split("\n## ")[0]
    measured = PACK.data["measured"]["cascade"]
    assert (
        f"): {measured['lingua_sentences']} % of sentences, {measured['word_pairs']} % of pairs of words"
        in section
    )
    assert "engine cascade (pycld2 " in section
    assert "| fr | a | 2 | 0 |" in section or "| fr | a | 3 | 0 |" in section
    assert f"| a | 6 | 1 (16.7%) | 1 (16.7%) | 1 (16.7%) | {mixed_kept} |" in section
    assert text.count("Languages are told by engine") == 1


# --- accuracy on real data ---


def test_accuracy_is_what_the_datasheet_says(real_data: Path) -> None:
    for name, file in (("lingua_sentences", "lingua_sentences"), ("word_pairs", "lingua_word-pairs")):
        with (real_data / "language" / f"{file}.jsonl.zst").open("rb") as stream:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(stream), encoding="utf-8")
            records = [orjson.loads(line) for line in lines]
        chosen = random.Random(1).sample(records, 9000)
        told = detectors.load("cascade").detect(prose(pa.array([record["text"] for record in chosen])).texts)
        right: dict[str, list[bool]] = {}
        for record, guess in zip(chosen, told, strict=True):
            right.setdefault(record["lang"], []).append(guess.language == aliases()[record["lang"]])
        accuracy = 100 * sum(sum(each) / len(each) for each in right.values()) / len(right)
        assert len(right) == 75
        assert accuracy == pytest.approx(PACK.data["measured"]["cascade"][name], abs=2.0)


def test_english_instructions_are_english(real_data: Path) -> None:
    for file in ("dolly_3k_alpagasus", "gsm8k_test"):
        with (real_data / "instruct" / f"{file}.jsonl.zst").open("rb") as stream:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(stream), encoding="utf-8")
            records = [orjson.loads(line) for line in lines]
        talks = [asked(f"{r['instruction']}\n\n{r['input'] or ''}", r["output"]) for r in records]
        verdict = judge(conversations(*talks), allow=["en"])
        kept = verdict.action.to_pylist().count("keep")
        assert kept >= 0.995 * len(talks)
        assert sum(fact(verdict, "language_mixed")) < 0.01 * len(talks)


def test_a_word_that_repeats_is_no_more_language_than_once() -> None:
    for text in ("Yes. " * 200, "hi\n\n" * 5000):
        assert identify("", text)[:2] == ("und", None)
    talk = [turn for _ in range(50) for turn in asked("ok", "ok")]
    assert judge(conversations(talk), allow=["en"]).reason.to_pylist() == ["language/undetermined"]


def test_a_language_told_of_prompt_and_response_together_has_a_share() -> None:
    batch = conversations(asked("What does BMW stand for?", "Bayerische Motoren Werke"))
    (told,) = rows(judge(batch, mixed_action="drop"))
    assert (told["language"], told["language_turns"]) == ("en", ["und", "de"]), "the example must be so"
    assert (told["language_share"], told["language_mixed"]) == (1.0, False)


def test_no_language_is_told_below_the_least_letters() -> None:
    words = ["Nous", "avons", "bien", "mangé", "hier", "soir"]
    told = [identify("", " ".join(words[:count])) for count in range(1, len(words) + 1)]
    assert [record.confidence is not None for record in told] == [record.letters >= LEAST for record in told]
