"""The stage quality: its counts are those of the readable twin, its thresholds hold where a rule is asked."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from reference import quality as twin

from curate.kernels import measuring
from curate.record import MESSAGES, Batch
from curate.stage import Verdict
from curate.stages.quality import Quality
from curate.stages.scoring import quality_scores

STOP = ("the", "be", "to", "of", "and", "that", "have", "with")
PIECES = (
    *(
        "the",
        "and,",
        "Of",
        "THE.",
        "(with)",
        "a",
        "b",
        "a b c",
        "the cat sat on the mat.",
        "42",
        "_",
        "thethethe",
    ),
    *(
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\u2028",
        "\u3000",
        "\x1c",
        "\x00",
        "...",
        "…",
        "....",
        ".",
        "!",
        '?"',
        "。",
    ),
    *("東", "京", "ก็", "é", "e\u0301", "\u0301", "ß", "Σ", "🙂", "\U00020000"),
    *("#", "{", "}", "- ", "•", "```", "~~~", "x=1;", "*", "'"),
)
SENTENCE = "Eighty sailors mended sails and ropes on the quay while gulls cried above them. "


def conversations(*turns: list[tuple[str, str]], **facts: Any) -> Batch:
    rows = [[{"role": role, "content": content} for role, content in one] for one in turns]
    return pa.record_batch({"messages": pa.array(rows, MESSAGES), **facts})


def documents(*texts: str, **facts: Any) -> Batch:
    return pa.record_batch({"text": pa.array(texts, pa.string()), **facts})


def judged(batch: Batch, **options: Any) -> Verdict:
    verdict = Quality(Quality.Options(**options)).judge(batch)
    verdict.check("quality", batch.append_column("id", pa.array(["x"] * batch.num_rows)))
    return verdict


def reasons(batch: Batch, **options: Any) -> set[str]:
    verdict = judged(batch, **options)
    found = {*verdict.reason.drop_null().to_pylist(), *(one.reason for one in verdict.also)}
    return {one.removeprefix("quality/") for one in found}


def scores(batch: Batch) -> list[dict[str, float | None]]:
    found: list[dict[str, float | None]] = quality_scores.scores(batch).to_pylist()
    return found


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_those_of_the_readable_twin(seed: int) -> None:
    rng = random.Random(seed)
    pieces = rng.choices(PIECES, k=rng.randrange(1, 12))
    texts = [
        "".join(rng.choice(pieces) + rng.choice(["", " ", "", "\n"]) for _ in range(rng.randrange(60)))
        for _ in range(20)
    ]
    said = np.array([rng.random() < 0.6 for _ in texts])
    first = np.array(sorted([0, 20, *(rng.randrange(21) for _ in range(6))]), np.int64)
    found = measuring.measure(pa.array(texts), first, said, STOP)
    for text, row, answer in zip(texts, found.counts.tolist(), said, strict=True):
        wanted = twin.measure(text, STOP)
        if not answer:
            wanted |= {name: 0 for name in wanted if name.startswith(("top", "again"))}
        assert dict(zip(measuring.COUNTS, row, strict=True)) == wanted, text
    for record, copied in enumerate(found.copied.tolist()):
        own = range(first[record], first[record + 1])
        prompts, answers = [texts[i] for i in own if not said[i]], [texts[i] for i in own if said[i]]
        assert copied == twin.copied(prompts, answers)


def test_scores_do_not_depend_on_the_batch() -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices(PIECES, k=rng.randrange(80))) for _ in range(40)]
    turns = [
        [(rng.choice(["user", "assistant", "system"]), text) for text in texts[i : i + 3]] for i in range(30)
    ]
    for batch in (documents(*texts), conversations(*turns)):
        parts = [batch.slice(start, 7) for start in range(0, batch.num_rows, 7)]
        assert scores(batch) == [one for part in parts for one in scores(part)]


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_the_readable_twin(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [*PIECES, "Lorem ipsum", "JavaScript", "We use cookies.", "[", "]"]
    texts = ["".join(rng.choices(pieces, k=rng.randrange(50))) for _ in range(40)]
    turns = [
        [(rng.choice(["user", "assistant", "tool"]), text) for text in texts[i : i + 3]] for i in range(30)
    ]
    wanted = [twin.scores(text, STOP) for text in texts]
    assert [{name: one[name] for name in twin.NAMES} for one in scores(documents(*texts))] == wanted
    wanted = [twin.scores(one, STOP) for one in turns]
    assert [{name: one[name] for name in twin.NAMES} for one in scores(conversations(*turns))] == wanted
    formed = {*quality_scores.NAMES} - {*twin.NAMES}
    assert formed == {"broken_json", "only_urls"}  # the tests below hold these to examples


def test_a_ratio_is_rounded_half_up_to_four_decimals() -> None:
    over, under = np.array([1, 2, 1, 1, 0]), np.array([3, 3, 20_000, 0, 7])
    found = quality_scores.ratio(over, under).tolist()
    assert found[:3] == [0.3333, 0.6667, 0.0001]
    assert np.isnan(found[3])
    assert found[4] == 0


def test_repetition_is_that_of_the_answer_that_repeats_most_and_all_else_of_all_answers() -> None:
    loop = "It is so. " * 40
    [found] = scores(
        conversations([("user", "Hi"), ("assistant", SENTENCE), ("user", "Go on"), ("assistant", loop)])
    )
    [alone] = scores(conversations([("user", "Hi"), ("assistant", loop)]))
    assert found["repeated_10_grams"] == alone["repeated_10_grams"]
    assert (alone["repeated_10_grams"] or 0) > 0.9
    assert found["words"] == 14 + 120
    assert found["prompt_words"] == 3


def test_a_conversation_without_an_answer_has_no_scores_of_one() -> None:
    [found] = scores(conversations([("user", "Name a river.")]))
    assert found["words"] is None
    assert found["prompt_words"] == 3
    assert reasons(conversations([("user", "Name a river.")])) == set()


def test_rules_for_prose_leave_code_and_scripts_without_spaces_alone() -> None:
    code = "for (int i = 0; i < n; ++i) { total += values[i]; }\n" * 30
    unspaced = "東京は日本の首都である。" * 10
    assert "gopher-few-words" not in reasons(documents(code)) | reasons(documents(unspaced))
    assert "gopher-few-words" in reasons(documents("A short note."))
    fenced = f"{SENTENCE * 5}\n```\n{'x = 1' * 100}\n```\n"
    assert scores(documents(fenced))[0]["fenced"] == pytest.approx(0.58, abs=0.1)
    assert scores(documents(fenced))[0]["words"] == scores(documents(SENTENCE * 5))[0]["words"]


def test_a_rule_of_one_language_is_asked_of_records_found_to_be_in_it() -> None:
    text = "buy cheap sails online " * 20
    english, other = (pa.array([code]) for code in ("en", "nb"))
    assert "gopher-stop-words" in reasons(documents(text, **{"fact:language": english}))
    assert "gopher-stop-words" not in reasons(documents(text, **{"fact:language": other}))
    assert "gopher-stop-words" not in reasons(documents(text))


def test_packs_thresholds_and_actions_are_the_recipes() -> None:
    short = documents("A short note.")
    assert "gopher-few-words" in reasons(short)
    assert "gopher-few-words" not in reasons(short, thresholds={"gopher-few-words": 3})
    assert "gopher-few-words" not in reasons(short, packs=["fineweb"])
    assert judged(short, actions={"gopher-few-words": "drop"}).action.to_pylist() == ["drop"]
    kept = judged(short, actions={"gopher-few-words": "keep"}, packs=["gopher"])
    assert kept.action.to_pylist() == ["keep"]
    assert kept.facts is not None
    assert kept.facts.column("quality")[0]["words"].as_py() == 3


def test_what_a_decision_tells_is_the_score_and_its_threshold() -> None:
    verdict = judged(documents("A short note."))
    assert verdict.score[0].as_py() == 3
    assert verdict.evidence[0].as_py() == '{"below":50.0,"score":"words"}'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": {"gopher-few-word": 3}}, "did you mean 'gopher-few-words'"),
        ({"actions": {"c4-sentences": "drop"}}, "of the pack c4, which is not asked; add it to packs"),
        ({"actions": {"loop": "edit"}}, "Input should be"),
        (
            {"thresholds": {"gopher-few-words": float("nan")}},
            "no number; 'actions: {gopher-few-words: keep}'",
        ),
        ({"packs": []}, "packs is empty"),
    ],
)
def test_a_rule_that_is_not_asked_is_an_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Quality.Options(**options)


@pytest.mark.parametrize(
    ("prompt", "answer", "broken"),
    [
        ("As JSON, please.", '{"a": [1]}', 0.0),
        ("As JSON, please.", '{"a": 1}\n{"a": 2}', 0.0),
        ("As JSON, please.", "{'a': 1}", 1.0),
        ("As JSON, please.", "So:\n```json\n{'a': 1}\n```", 1.0),
        ("As JSON, please.", "So:\n```python\nprint(1)\n```", None),
        ("As JSON, please.", "I cannot.", None),
        ("Which set?", "{a}", None),
    ],
)
def test_json_is_read_where_it_was_asked_for(prompt: str, answer: str, broken: float | None) -> None:
    [found] = scores(conversations([("user", prompt), ("assistant", answer)]))
    assert found["broken_json"] == broken


@pytest.mark.parametrize(
    ("answers", "only"),
    [
        (["https://example.org/a www.example.org/b\n"], 1.0),
        (["https://example.org/a", "See https://example.org/a"], 0.0),
        (["See https://example.org/a"], 0.0),
        ([""], 0.0),
    ],
)
def test_an_answer_of_addresses_and_nothing_else_is_told(answers: list[str], only: float) -> None:
    [found] = scores(conversations([("user", "Where?"), *(("assistant", answer) for answer in answers)]))
    assert found["only_urls"] == only
