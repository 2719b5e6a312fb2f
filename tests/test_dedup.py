"""What `exact` and `minhash` drop, what they keep, and why."""

from __future__ import annotations

import pickle
import random
import re
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reference import dedup, sketches
from reference.sketches import chat

from curate import record
from curate.engine.local import LocalEngine
from curate.kernels import parts, text
from curate.record import Batch
from curate.stages.dedup.resolved import Resolved
from curate.stages.exact import Exact
from curate.stages.minhash import MinHash

WORDS = ["river", "stone", "window", "garden", "market", "copper", "violin"]
WORDS += ["letter", "harbour", "winter", "engine", "pepper", "lantern", "meadow"]
LONG = " ".join(f"{a} {b}" for a in WORDS[:7] for b in WORDS[7:])  # 98 words


def changed(text: str, *places: int) -> str:
    """Return the text with the words at these places replaced."""
    words = text.split()
    for place in places:
        words[place] = "changed" + str(place).translate(str.maketrans("0123456789", "abcdefghij"))
    return " ".join(words)


def said(barrier: Any, batches: Sequence[Batch]) -> dict[str, dict[str, Any]]:
    """Run a barrier on batches that are one unit each."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = sketches.resolve(barrier, [[batch] for batch in batches], Path(scratch))
        return sketches.judge(stage, batches)


def dropped(barrier: Any, records: Sequence[dict[str, Any]]) -> set[int]:
    """Return the positions, from 0, of the records that the barrier drops."""
    found = said(barrier, [sketches.batch(records)])
    return {index for index, line in enumerate(found.values()) if line["action"] == "drop"}


def near(**options: Any) -> MinHash:
    return MinHash(MinHash.Options(**options))


def exact(**options: Any) -> Exact:
    return Exact(Exact.Options(**options))


TOKENS = st.lists(st.sampled_from(["one", "two", "three", "-", "4", "五", "ÉTÉ"]), max_size=12).map(" ".join)


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=2, max_size=12), st.sampled_from([0.3, 0.5, 0.8]))
@settings(deadline=None, max_examples=40)
def test_every_dropped_record_has_a_kept_twin_that_is_similar_in_both_parts(
    pairs: list[tuple[str, str]], threshold: float
) -> None:
    def sets(pair: tuple[str, str]) -> list[set[int]]:
        return [set(dedup.shingles(dedup.normalise(part), 2)) for part in pair]

    records = [chat(*pair) for pair in pairs]
    found = list(said(near(similarity=threshold, recall=0.9, ngram=2), [sketches.batch(records)]).values())
    for pair, line in zip(pairs, found, strict=True):
        if line["action"] == "drop":
            twin = int(line["kept_id"].rsplit("/", 1)[1]) - 1
            assert found[twin]["action"] == "keep"
            true = dedup.similarity(sets(pair), sets(pairs[twin]))
            assert float(true) == line["score"] >= threshold
            assert line["fact:cluster"] == found[twin]["fact:cluster"] is not None
            assert all(float(true) >= threshold for true in by_symbols(pair, pairs[twin]))


def by_symbols(one: Sequence[str], other: Sequence[str]) -> list[Fraction]:
    """Return the similarity of each part of two records where every symbol is a word."""
    return [
        dedup.jaccard(*(set(dedup.shingles(dedup.normalise(text), 2, symbols=True)) for text in part))
        for part in zip(one, other, strict=True)
    ]


BRACKETS = "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: "


def test_puzzles_that_differ_in_symbols_alone_survive() -> None:
    logic = [
        "( not not True and not False ) is",
        "not not ( True ) and not False is",
        "not (not True) and False is",
    ]
    records = [chat(text, "True") for text in logic]
    records += [chat(BRACKETS + sequence, "]") for sequence in ("[ < > ( )", "[ ( ) { }", "< > [ { } < >")]
    records += [
        chat(f"What is 17 {sign} 4, and then 3 {sign} 2 after that?", "See the table.") for sign in "+-*"
    ]
    assert dropped(near(), records) == set()


def test_punctuation_makes_no_long_text_a_different_one() -> None:
    words = LONG.split()
    lines = [
        "\n".join(" ".join(words[i : i + 14]) + "." for i in range(0, 98, 14)),
        LONG.replace(" ", ", ", 9),
    ]
    assert len(dropped(near(), [{"text": LONG}, {"text": lines[0]}, {"text": lines[1]}])) == 2


def test_a_chain_of_lookalikes_does_not_collapse() -> None:
    chain = [changed(LONG, *range(5, 5 + step)) for step in (0, 3, 6, 9, 12)]
    sets = [set(dedup.shingles(text, 5)) for text in chain]
    assert all(dedup.jaccard(a, b) >= 0.8 for a, b in pairwise(sets))
    assert dedup.jaccard(sets[0], sets[-1]) < 0.8
    order = sorted(range(5), key=lambda i: -len(chain[i]))  # no two are of one length
    expected = dedup.represent(5, 0.8, lambda i, j: dedup.jaccard(sets[order[i]], sets[order[j]]))
    assert dropped(near(), [{"text": text} for text in chain]) == {order[i] for i in expected}
    assert len(expected) == 3  # connected components would drop four


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("best", ["an end", "the middle"])
def test_the_middle_of_a_chain_falls_to_an_end_or_both_ends_fall_to_it(
    order: tuple[int, ...], best: str
) -> None:
    chain = [changed(LONG, 20, 21, 22, 23, 24), LONG, changed(LONG, 70, 71, 72, 73, 74)]
    sets = [set(dedup.shingles(text, 5)) for text in chain]
    close = [float(dedup.jaccard(sets[a], sets[b])) >= 0.8 for a, b in ((0, 1), (1, 2), (0, 2))]
    assert close == [True, True, False]
    licenses = ["CC-BY-4.0", "CC0-1.0" if best == "the middle" else "CC-BY-SA-4.0", "CC-BY-4.0"]
    records = [{"text": chain[place], "license": licenses[place]} for place in order]
    gone = {order[index] for index in dropped(near(), records)}
    assert gone == ({0, 2} if best == "the middle" else {1})


def test_short_records_fall_only_to_the_same_text() -> None:
    texts = [
        "yes",
        "Yes ",
        "yes.",
        "no",
        "C",
        "C++",
        "C#",
        "-24",
        "24",
        "2 + 2",
        "2 - 2",
        "one two three",
        "one two",
    ]
    assert dropped(near(), [{"text": text} for text in texts]) in ({0}, {1})
    assert dropped(exact(), [{"text": text} for text in texts]) in ({0}, {1})


def test_records_of_fewer_words_than_a_shingle_are_neither_merged_nor_skipped() -> None:
    texts = [f"answer {n}" for n in range(200)] * 2
    assert len(dropped(near(), [{"text": text} for text in texts])) == 200


def test_empty_records_equal_each_other_and_nothing_else() -> None:
    texts = [{"text": text} for text in ("", "  \n", None, "!", "a")]
    for barrier in (near(), exact()):
        assert len(dropped(barrier, texts)) == 2
        assert dropped(barrier, texts) < {0, 1, 2}
    chats = [chat("", ""), chat("", ""), chat("", "a"), chat("a", ""), {"messages": None}, {"messages": []}]
    assert len(dropped(near(), chats)) == 3
    assert len(dropped(exact(), chats)) == 2  # no turns at all is not two empty turns


def test_records_without_a_word_are_compared_exactly() -> None:
    texts = ["😀", "😂", "❤️", "✈️", "...", "…", "!!!", "😀 "]
    # NFKC spells the ellipsis with three dots.
    assert len(dropped(near(), [{"text": text} for text in texts])) == 2


CHINESE = "今天天气很好我们一起去公园散步看到了很多花和鸟还有小孩子在草地上跑来跑去大家都高兴晚上回家看书睡觉"
JAPANESE = (
    "昨日は雨が降っていたので家で本を読みながらコーヒーを飲んでいましたが夕方になると晴れて散歩に出かけました"
)
THAI = "วันนี้อากาศดีมากเราไปเดินเล่นที่สวนสาธารณะด้วยกันและได้เห็นดอกไม้กับนกมากมายเด็กๆวิ่งเล่นอยู่บนสนามหญ้าทุกคนมีความสุข"


@pytest.mark.parametrize(
    ("text", "edited", "other"),
    [
        (CHINESE, CHINESE.replace("睡觉", "休息"), CHINESE[::-1]),
        (JAPANESE, JAPANESE.replace("出かけました", "出かけた"), JAPANESE[::-1]),
        (THAI, THAI.replace("ความสุข", "ความสนุก"), "".join(reversed(dedup.words(THAI)))),
    ],
    ids=["chinese", "japanese", "thai"],
)
def test_near_duplicates_are_found_in_scripts_without_spaces(text: str, edited: str, other: str) -> None:
    gone = dropped(near(), [{"text": text}, {"text": edited}, {"text": other}])
    assert gone in ({0}, {1})


def test_long_conversations_that_differ_in_one_number_survive_unless_numbers_do_not_count() -> None:
    called = f"{LONG} Calculator(3*4) {LONG}"
    records = [
        chat(LONG, called),
        chat(LONG, called.replace("3*4", "3*5")),
        chat(f"{LONG} type 1", called),
        chat(f"{LONG} type 2", called),
        chat(LONG, called.replace("window", "windows", 1)),
        chat(LONG, called.replace("3*4", "4 * 3")),
    ]
    assert dropped(near(), records) == {0, 4}  # for the longest of the same numbers
    assert len(dropped(near(numbers=False), records)) == 5
    assert len(dropped(near(on="response"), [records[2], records[3]])) == 1
    documents = [{"text": one["messages"][1]["content"]} for one in records[:2]]
    assert len(dropped(near(), documents)) == 1


@pytest.mark.parametrize("on", ["both", "prompt", "response", "whole"])
def test_number_keys_are_equal_where_the_sets_of_numbers_are(on: parts.On) -> None:
    chance = random.Random(3)
    pieces = ["1", "23", "7", "a", " ", "é", "0", "x" * 9, "-", "12345678", "/", ":", "\u0663"]
    talks = [["".join(chance.choices(pieces, k=chance.randrange(9))) for _ in range(2)] for _ in range(800)]
    found = parts.Shingling(5, on, numbers=True).number_keys(sketches.batch([chat(*talk) for talk in talks]))
    twins = []
    for talk in talks:
        sides = [frozenset(re.findall("[0-9]+", one)) for one in talk]
        chosen = {
            "both": tuple(sides),
            "prompt": sides[0],
            "response": sides[1],
            "whole": sides[0] | sides[1],
        }
        twins.append(chosen[on])
    assert len(set(zip(found.tolist(), twins, strict=True))) == len(set(twins)) == len(set(found.tolist()))


def test_thousands_of_one_templates_answers_survive() -> None:
    rng = random.Random(3)
    labels = [chat(f"{LONG} Question:", f"{rng.choice(WORDS)} {n}") for n in range(2000)]
    stories = [chat(f"{LONG} Question:", " ".join(rng.choices(WORDS, k=40))) for _ in range(300)]
    with tempfile.TemporaryDirectory() as scratch:
        batch = sketches.batch([*labels, *stories])
        stage = sketches.resolve(near(), [[batch]], Path(scratch))
        assert all(line["action"] == "keep" for line in sketches.judge(stage, [batch]).values())
        assert isinstance(stage, Resolved)
        assert stage.summary["verified_pairs"] <= 300 * 299 / 2  # short answers never meet


def test_one_answer_to_different_questions_survives_unless_only_responses_count() -> None:
    answers = [chat(f"{' '.join(random.Random(n).choices(WORDS, k=30))}?", LONG) for n in range(20)]
    assert dropped(near(), answers) == set()
    assert len(dropped(near(on="response"), answers)) == 19
    assert dropped(near(on="prompt"), answers) == set()


def test_on_decides_what_must_be_similar() -> None:
    one, same_prompt = chat(LONG, LONG), chat(changed(LONG, 3), " ".join(reversed(LONG.split())))
    assert dropped(near(on="both"), [one, same_prompt]) == set()
    assert len(dropped(near(on="prompt"), [one, same_prompt])) == 1
    assert dropped(near(on="response"), [one, same_prompt]) == set()
    short_prompt = [chat("tell me", LONG), chat("go on", changed(LONG, 3))]
    assert dropped(near(on="both"), short_prompt) == set()
    assert len(dropped(near(on="whole"), short_prompt)) == 1


@pytest.mark.parametrize("on", ["prompt", "response", "both"])
def test_records_that_lack_the_part_asked_for_are_judged_by_the_other(on: str) -> None:
    bare = [{"text": f"{n} {text}"} for n, text in enumerate((LONG, " ".join(reversed(LONG.split()))))]
    assert dropped(near(on=on), bare) == set()
    unanswered = [chat(one["text"], "") for one in bare] + [chat("", one["text"]) for one in bare]
    assert dropped(near(on=on), unanswered) == set()


def test_evidence_names_the_twin_the_similarities_and_the_cluster_and_no_text() -> None:
    batch = sketches.batch([chat(LONG, LONG), chat(changed(LONG, 3, 40), changed(LONG, 90))])
    first, second = said(near(), [batch]).values()
    kept, gone = (first, second) if first["action"] == "keep" else (second, first)
    evidence = orjson.loads(gone["evidence"])
    assert gone["reason"] == "minhash/near-duplicate"
    assert set(evidence) == {"similarity", "prompt_similarity", "response_similarity", "kept", "cluster"}
    assert (
        evidence["similarity"]
        == gone["score"]
        == evidence["prompt_similarity"]
        < evidence["response_similarity"]
    )
    assert evidence["kept"].replace("#", "/") == gone["kept_id"].removeprefix("s/")
    assert evidence["cluster"] == kept["fact:cluster"] == gone["fact:cluster"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"text": LONG, "license": "CC0-1.0"}, {"text": LONG + " and more", "license": "CC-BY-SA-4.0"}),
        ({"text": LONG, "license": "CC-BY-NC-4.0"}, {"text": LONG, "license": None}),
        ({"text": LONG + " and more"}, {"text": LONG}),
        ({"text": LONG, "source": "a"}, {"text": LONG, "source": "b"}),
        ({"text": LONG, "_path": "a"}, {"text": LONG, "_path": "b"}),
        ({"text": LONG, "_row": 9}, {"text": LONG, "_row": 10}),
    ],
    ids=["license", "known license", "length", "source", "file", "row"],
)  # fmt: skip
def test_the_survivor_has_fewest_obligations_then_the_most_text_then_the_first_place(
    better: dict[str, Any], worse: dict[str, Any]
) -> None:
    lines = [{"id": "better", "_row": 1, **better}, {"id": "worse", "_row": 2, **worse}]
    for order in (lines, lines[::-1]):
        found = said(near(), [sketches.batch([line]) for line in order])
        assert (found["worse"]["action"], found["worse"]["kept_id"]) == ("drop", "better")


@pytest.mark.parametrize("make", [near, exact])
@pytest.mark.parametrize(
    ("prefer", "stays"),
    [
        (["license", "quality", "longest"], "rated"),
        (["quality"], "rated"),
        (["longest", "quality"], "spaced"),
        (["shortest"], "rated"),
        (["shortest", "license"], "free"),
    ],
)
def test_which_record_stays_is_the_recipe_s_choice(make: Any, prefer: list[str], stays: str) -> None:
    lines: dict[str, dict[str, Any]] = {
        "free": {"text": LONG, "license": "CC0-1.0", "quality": None},
        "rated": {"text": LONG, "license": "CC0-1.0" if len(prefer) == 3 else "MIT", "quality": 0.5},
        "spaced": {"text": LONG.replace(" ", "  "), "license": "MIT", "quality": 0.25},
    }
    if prefer == ["shortest"]:
        lines["free"]["text"] = LONG.replace(" ", "   ", 1)
    batches = []
    for row, (name, line) in enumerate(lines.items(), 1):
        scores = pa.array([line.pop("quality")], pa.float64())
        batch = sketches.batch([{"id": name, "_row": row, **line}], path=f"{name}.jsonl")
        batches.append(record.with_column(batch, "quality", scores))
    found = said(make(prefer=prefer), batches)
    assert [name for name, line in found.items() if line["action"] == "keep"] == [stays]


def test_of_texts_as_good_and_as_long_one_stays_whatever_their_order_and_place() -> None:
    stayed = set()
    for lines in permutations([f"{letter}{LONG}" for letter in "abc"]):
        batch = sketches.batch([{"text": line} for line in lines])
        found = said(near(), [batch])
        stayed |= {lines[i] for i, line in enumerate(found.values()) if line["action"] == "keep"}
    assert len(stayed) == 1


def corpus(records: int = 120) -> list[Batch]:
    """Return batches of three files, of documents and conversations, with many near and exact duplicates."""
    rng = random.Random(11)
    texts = [" ".join(rng.choices(WORDS, k=rng.choice([3, 20, 60]))) for _ in range(records)]
    texts += [changed(text, 1) for text in texts[::3]] + [text.upper() for text in texts[::5]]
    rng.shuffle(texts)
    third = len(texts) // 3
    return [
        sketches.batch([{"text": text} for text in texts[:third]], "a", "x.jsonl"),
        sketches.batch([{"text": text} for text in texts[third : 2 * third]], "a", "y.jsonl"),
        sketches.batch([chat("go", text) for text in texts[2 * third :]], "b", "x.jsonl"),
    ]


@pytest.mark.parametrize("barrier", [near(), exact()], ids=["minhash", "exact"])
def test_the_answer_is_the_same_for_any_order_of_files_and_size_of_batches(
    barrier: Any, tmp_path: Path
) -> None:
    batches = corpus()
    cut = [[b.slice(start, 7) for start in range(0, b.num_rows, 7)] for b in batches]
    layouts = [
        [[b] for b in batches],
        [[b] for b in reversed(batches)],
        cut,
        [[piece] for pieces in reversed(cut) for piece in reversed(pieces)],
    ]
    files, summaries = [], []
    for number, units in enumerate(layouts):
        (tmp_path / str(number)).mkdir()
        stage = sketches.resolve(barrier, units, tmp_path / str(number))
        assert isinstance(stage, Resolved)
        files.append(Path(stage.file).read_bytes())
        summaries.append(stage.summary)
    assert summaries[0]["dropped"] > 10
    assert all(file == files[0] for file in files)
    assert all(summary == summaries[0] for summary in summaries)
    one = sketches.judge(stage, batches)
    assert sketches.judge(pickle.loads(pickle.dumps(stage)), [piece for unit in cut for piece in unit]) == one


def test_the_answer_is_the_same_with_two_worker_processes(tmp_path: Path) -> None:
    units = [[batch] for batch in corpus(30)]
    files = []
    with LocalEngine(2) as two:
        for name, engine in (("one", None), ("two", two)):
            (tmp_path / name).mkdir()
            stage = sketches.resolve(near(), units, tmp_path / name, engine)
            assert isinstance(stage, Resolved)
            files.append(Path(stage.file).read_bytes())
    assert files[0] == files[1]
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["minhash.decisions.arrow"]


def test_records_are_told_apart_by_place_when_ids_repeat() -> None:
    lines = [
        {"id": "same", "text": text} for text in (LONG, changed(LONG, 4) + " more", "something else entirely")
    ]
    batch = sketches.batch(lines)
    with tempfile.TemporaryDirectory() as scratch:
        stage = sketches.resolve(near(), [[batch]], Path(scratch))
        assert stage.judge(batch).action.to_pylist() == ["drop", "keep", "keep"]


def test_a_large_cluster_and_a_capped_bucket_are_reported(tmp_path: Path) -> None:
    rng = random.Random(2)
    copies = [{"text": f"{LONG} {n}"} for n in range(12)]
    half = " ".join(rng.choices(WORDS, k=60))
    cousins = [{"text": f"{half} {' '.join(rng.choices(WORDS, k=25))}"} for _ in range(40)]
    batch = sketches.batch([*copies, *cousins])
    stage = sketches.resolve(near(max_cluster=10, max_bucket=2), [[batch]], tmp_path)
    assert isinstance(stage, Resolved)
    found = {finding["reason"]: finding for finding in stage.findings}
    large, capped = found["minhash/large-cluster"], found["minhash/capped-bucket"]
    kept = [
        key
        for key, line in sketches.judge(stage, [batch]).items()
        if line["fact:cluster"] and not line["reason"]
    ]
    assert (large["severity"], large["count"], large["examples"]) == ("warning", 1, kept)
    assert capped["count"] == stage.summary["capped_buckets"] > 0
    assert stage.summary["largest_cluster"] == 12
    assert stage.summary["dropped"] == 11
    assert not any(line["text"][:9] in finding["message"] for line in copies for finding in stage.findings)


def test_a_corpus_without_duplicates_or_records_resolves_to_a_stage_that_keeps_all(tmp_path: Path) -> None:
    batch = sketches.batch([{"text": "one"}, {"text": "two"}])
    for barrier in (near(), exact()):
        for units in ([[batch]], [[batch.slice(0, 0)]], []):
            stage = sketches.resolve(barrier, units, tmp_path)
            verdict = stage.judge(batch)
            assert verdict.action.to_pylist() == ["keep", "keep"]
            assert verdict.facts is not None
            assert verdict.facts.column(0).type == pa.string()
            assert verdict.facts.column(0).null_count == 2


def turns(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def test_exact_sees_through_case_white_space_and_spelling_but_not_through_roles_or_turns() -> None:
    same = [
        turns(("user", "Straße  ﬁve"), ("assistant", "É\u00a0A")),
        turns(("user", " STRASSE five\n"), ("assistant", "e\u0301 a")),
    ]
    other = [
        turns(("system", "strasse five"), ("assistant", "é a")),
        turns(("user", "strasse five é a")),
        turns(("user", "strasse five"), ("assistant", "é"), ("assistant", "a")),
        turns(("user", "strasse"), ("assistant", "five é a")),
    ]
    found = said(exact(), [sketches.batch([*same, *other])])
    lines = list(found.values())
    assert sorted(line["action"] for line in lines[:2]) == ["drop", "keep"]
    assert {line["action"] for line in lines[2:]} == {"keep"}
    gone = next(line for line in lines if line["action"] == "drop")
    assert (gone["reason"], gone["score"]) == ("exact/duplicate", 1.0)
    assert lines[0]["fact:exact_cluster"] == lines[1]["fact:exact_cluster"] is not None


def test_exact_cannot_be_fooled_by_text_that_looks_like_a_turn() -> None:
    records = [turns(("user", "a"), ("user", "b")), turns(("user", "auserb")), turns(("usera", "userb"))]
    assert dropped(exact(), records) == set()


def test_exact_never_equates_a_document_with_a_conversation() -> None:
    batches = [sketches.batch([{"text": "a b"}]), sketches.batch([turns(("", "a b"))], path="g.jsonl")]
    assert {line["action"] for line in said(exact(), batches).values()} == {"keep"}


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([*record.ROLES]), st.text("aB \né", max_size=5)), max_size=4),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2),
)
@settings(deadline=None)
def test_prompts_and_responses_are_those_of_the_record_module(
    conversations: list[list[tuple[str, str]]], skipped: int
) -> None:
    batch = sketches.batch([turns(*conversation) for conversation in conversations]).slice(skipped)
    found = parts.Shingling(2, "both").sets(batch)
    for side, salt, part in zip(record.prompts_and_responses(batch), text.SALTS, (0, 1), strict=True):
        got = [found.hashes[bounds[part] : bounds[part + 1]].tolist() for bounds in found.bounds]
        assert got == [
            list(dict.fromkeys(dedup.shingles(dedup.normalise(one), 2, int(salt)))) for one in side
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": 0.0}, "greater than 0"),
        ({"similarity": 0.1, "num_perm": 8}, "num_perm of 29 or more"),
        ({"on": "answer"}, "'both', 'prompt', 'response' or 'whole'"),
        ({"simlarity": 0.8}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        near(**options)


def test_versions_name_the_tables_that_answers_depend_on() -> None:
    import unicodedata

    for stage in (MinHash, Exact):
        assert unicodedata.unidata_version in stage.version
