from __future__ import annotations

import gzip
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reference import contamination as slow
from reference.dedup import normalise, words

import curate
from curate import rules
from curate.errors import RecipeError
from curate.io.store import Store
from curate.record import MESSAGES
from curate.stage import Verdict
from curate.stages.contamination import evalindex
from curate.stages.contamination.evals import Fields, Item, read
from curate.stages.contamination.matching import Held, words_of
from curate.stages.decontaminate import Decontaminate, candidates_in

DUCKS = (
    "Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. How much in dollars does she make every day at the farmers' market?"
)
SOLVED = "Janet sells 16 minus 3 minus 4, which is 9 duck eggs a day, and so she makes 18 dollars at the market daily."
TEMPLATE = (
    "Answer the following question about world geography with a single word, and do not explain your answer."
)
PLACES = (
    "rivers of Mongolia",
    "volcanoes on Iceland",
    "harbours around Lisbon",
    "deserts near Windhoek",
    "Oslo",
)
SUM = "((-7 * -6 * 0 - 5) * (-3 - 9 * -8 * -9)) ="
ROW = "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: "
ITEMS: list[dict[str, Any]] = [
    {"question": DUCKS, "answer": SOLVED},
    *({"question": f"{TEMPLATE} Which are the largest {place}?", "answer": "None"} for place in PLACES),
    {"question": "Summarize Norwegian parental leave briefly", "answer": "49 weeks"},
    {"question": "What is the capital of France?", "answer": "Paris"},
    {"question": SUM, "answer": "-3255"},
    *({"question": ROW + row, "answer": "]"} for row in ("[ { ( ) }", "( < [ ] < >", "{ [ ( ( ) )")),
]
ANSWERED = "I cannot help with that, but a library can."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("evals")
    write_jsonl(made / "evals" / "set.jsonl", ITEMS)
    return made


def stage(folder: Path, **options: Any) -> Decontaminate:
    chosen = {"against": ["evals/*.jsonl"], **options}
    return Decontaminate(Decontaminate.Options.model_validate(chosen, context={"folder": folder}))


def batch_of(records: list[tuple[str, str]]) -> pa.RecordBatch:
    talks = [[{"role": "user", "content": p}, {"role": "assistant", "content": r}] for p, r in records]
    ids = pa.array([f"s/{i}" for i in range(len(talks))], pa.string())
    return pa.record_batch({"id": ids, "messages": pa.array(talks, MESSAGES)})


def judge(folder: Path, records: list[tuple[str, str]], **options: Any) -> Verdict:
    batch = batch_of(records)
    verdict = stage(folder, **options).judge(batch)
    verdict.check("decontaminate", batch)
    return verdict


def reason(folder: Path, prompt: str, reply: str = ANSWERED, **options: Any) -> str | None:
    verdict = judge(folder, [(prompt, reply)], **options)
    told: str | None = verdict.reason[0].as_py()
    return None if told is None else told.partition("/")[2]


@pytest.mark.parametrize(
    "changed",
    [
        DUCKS,
        DUCKS.upper(),
        DUCKS.replace(" ", "\n \t"),
        DUCKS.replace(".", " …").replace("?", ""),
        f"Please read this carefully: {DUCKS} Thank you!",
        f"{'A long story about harbours. ' * 40}\n\n{DUCKS}\n\n{'It rained for days. ' * 40}",
        DUCKS.replace("breakfast", "supper"),
    ],
)
def test_a_question_is_found_however_it_is_set_and_wherever_it_stands(folder: Path, changed: str) -> None:
    assert reason(folder, changed) == "question"
    document = pa.record_batch({"id": pa.array(["d"]), "text": pa.array([changed])})
    assert stage(folder).judge(document).action.to_pylist() == ["drop"]


def test_question_and_answer_are_told_apart(folder: Path) -> None:
    assert reason(folder, DUCKS, SOLVED) == "both"
    assert reason(folder, "Tell me about Janet.", SOLVED) == "answer"
    verdict = judge(folder, [("Tell me about Janet.", SOLVED)] * 2)
    assert verdict.action.to_pylist() == ["flag", "flag"]  # too short to be sure of
    assert judge(folder, [("Tell me.", SOLVED)], long_answer=16).action.to_pylist() == ["drop"]
    assert reason(folder, "Tell me.", SOLVED, answer="keep") is None
    short = judge(
        folder, [("Summarize Norwegian parental leave briefly", "It is 49 weeks."), ("x", "49 weeks")]
    )
    assert short.reason.to_pylist() == ["decontaminate/both", None]  # a short answer alone cannot be told


def test_a_template_is_no_item(folder: Path) -> None:
    asked = f"{TEMPLATE} Which are the largest "
    assert reason(folder, f"{asked}rivers of Mongolia?") == "question"
    assert reason(folder, f"{asked}glaciers in Norway?") is None
    assert reason(folder, f"{asked}rivers of Peru?") is None


def test_what_many_common_records_hold_is_no_item(folder: Path) -> None:
    rows = [{"text": f"{n}: {DUCKS}"} for n in range(51)]
    write_jsonl(folder / "common.jsonl", rows)
    assert (
        reason(folder, DUCKS, common=["common.jsonl"], overlap=0.1) == "question"
    )  # the whole of it, word by word
    assert reason(folder, DUCKS[:120], common=["common.jsonl"], overlap=0.1) is None
    write_jsonl(folder / "common.jsonl", rows[:50])
    assert reason(folder, DUCKS[:120], common=["common.jsonl"], overlap=0.1) == "question"


def test_short_items_are_found_as_a_line_or_a_turn_if_they_say_enough(folder: Path) -> None:
    short = "summarize norwegian parental leave: briefly"
    assert reason(folder, short) == "question"
    assert reason(folder, f"Do this.\n{short}\nThanks.") == "question"
    assert reason(folder, f"Do this: {short}") is None
    assert reason(folder, "What is the capital of France?", "Paris") is None


def test_items_of_signs_are_told_by_their_signs(folder: Path) -> None:
    assert reason(folder, f"Solve this: {SUM} and say why") == "question"
    assert reason(folder, f"Solve: {SUM.replace('-9', '9')}") is None
    assert reason(folder, f"Once more: {ROW.upper()}[{{()}}\n- done") == "question"
    assert reason(folder, f"{ROW}[ {{ ( ) }} }}") is None
    assert reason(folder, f"{ROW}[ [ [") is None


def test_every_hit_is_listed_with_its_item_and_overlap_and_no_word_of_it(folder: Path) -> None:
    four = "\n\n".join(item["question"] for item in [*ITEMS[:6], *ITEMS[6:7]])
    verdict = judge(folder, [(four, ANSWERED), (DUCKS.replace("breakfast", "supper"), SOLVED)])
    many, one = (json.loads(told) for told in verdict.evidence.to_pylist())
    assert many["hits"] == 7
    assert [item["item"] for item in many["items"]] == [
        1,
        *sorted(item["item"] for item in many["items"][1:]),
    ]
    assert len(many["items"]) == 5
    size = len(words(normalise(DUCKS)))
    assert one == {
        "hits": 1,
        "items": [
            {
                "file": "evals/set.jsonl", "item": 1, "part": "both", "of": size, "words": size - 1,
                "overlap": verdict.score[1].as_py(), "answer": {"of": 24, "overlap": 1.0, "words": 24},
            }
        ],
    }  # fmt: skip
    assert verdict.score[1].as_py() == round((size - 1) / size, 4)


def test_what_stands_beside_the_turns_is_searched_too(folder: Path) -> None:
    batch = batch_of([("Hi", "Hello")])
    rejected = pa.array([[{"role": "assistant", "content": DUCKS}]], MESSAGES)
    assert stage(folder).judge(batch.append_column("rejected", rejected)).action.to_pylist() == ["drop"]
    calls = json.dumps(
        [None, {"tool_calls": [{"function": {"name": "ask", "arguments": json.dumps({"q": DUCKS})}}]}]
    )
    extra = batch.append_column("messages_extra", pa.array([calls]))
    assert stage(folder).judge(extra).action.to_pylist() == ["drop"]


def test_batches_and_places_change_nothing(folder: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    texts = [item["question"] for item in ITEMS] + [
        "A sentence about nothing at all in this world today."
    ] * 9
    texts.append("Ame\u0301lie e\u0301crit. " + DUCKS)  # must be folded as a whole
    records = [("\n".join(rng.sample(texts, 3)), rng.choice(texts)) for _ in range(60)]
    batch, whole = batch_of(records), stage(folder)
    told = whole.judge(batch)
    assert told.action.to_pylist().count("drop") > 20
    travelled = pickle.loads(pickle.dumps(whole))
    elsewhere = pickle.loads(pickle.dumps(whole.carried(Store.at(tmp_path))))
    for other in (travelled, elsewhere):
        assert other.judge(batch).evidence.equals(told.evidence)
    for size in (1, 7):
        pieces = [whole.judge(batch.slice(at, size)).evidence for at in range(0, batch.num_rows, size)]
        assert pa.concat_arrays(pieces).equals(told.evidence)
    order = rng.sample(range(60), 60)
    assert whole.judge(batch.take(pa.array(order))).evidence.equals(told.evidence.take(pa.array(order)))


# --- the fast path and its twin ----------------------------------------------------------------------------

WORDS = [
    "sun",
    "moon",
    "Straße",
    "river",
    "the",
    "is",
    "of",
    "12",
    "7",
    "Σίσυφος",
    "été",
    "一",
    "漢",
    "ไทย",
    "e\u0301",
]
SEPARATORS = [" ", " ", " ", " ", "\n", "\r\n", "\u00a0", ", ", ". ", " - ", "(", ") ", " + ", "\u2028"]
TOKENS = st.tuples(st.sampled_from(WORDS), st.sampled_from(SEPARATORS))
SENTENCE = st.lists(TOKENS, min_size=1, max_size=22).map(lambda found: "".join(a + b for a, b in found))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[list[str], list[str]]], list[list[str]]]:
    pieces = draw(st.lists(SENTENCE, min_size=2, max_size=5))
    mixed = st.lists(st.sampled_from(pieces), min_size=1, max_size=3).map("".join)
    items = draw(
        st.lists(st.tuples(st.lists(mixed, max_size=2), st.lists(mixed, max_size=1)), min_size=1, max_size=5)
    )
    spoken = mixed.flatmap(
        lambda text: st.sampled_from([text, text.upper(), f"So. {text}", f"So\n{text}\nso", text[3:]])
    )
    return items, draw(st.lists(st.lists(spoken, min_size=1, max_size=2), min_size=1, max_size=3))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.sampled_from([0.3, 0.6, 1.0]))
def test_the_index_agrees_with_its_slow_twin(case: Any, overlap: float) -> None:
    given_items, records = case
    items = [Item("f", at, tuple(q), tuple(a)) for at, (q, a) in enumerate(given_items, start=1)]
    index = evalindex.build(items, 4)
    functions = frozenset(rules.load("function_words").rules[0].data["words"].split())
    parts = slow.fit([(item.questions, item.answers) for item in items], functions, 4)
    assert index.how == [part.how for part in parts]
    turns = [[{"role": "user", "content": text} for text in texts] for texts in records]
    batch = pa.record_batch(
        {"id": pa.array(list(map(str, range(len(turns))))), "messages": pa.array(turns, MESSAGES)}
    )
    candidates: dict[int, set[int]] = {}
    for row, target in candidates_in(index, batch, overlap):
        candidates.setdefault(row, set()).update(index.parts_of(target))
    for row, texts in enumerate(records):
        held = Held(texts, words_of(pa.array(texts)), [True] * len(texts))
        for place, part in enumerate(parts):
            wanted = slow.match(part, texts, overlap, 4)
            got = index.match(place, held, overlap) if place in candidates.get(row, ()) else None
            assert (got and got.overlap) == (wanted and round(float(wanted), 4)), (part, texts)


# --- evaluation files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "questions", "answers"),
    [
        ({"instruction": "Say", "input": "this", "output": "ok"}, ["Say\n\nthis"], ["ok"]),
        ({"input": "not True is", "target": "False"}, ["not True is"], ["False"]),
        ({"prompt": "def f():", "canonical_solution": "  pass"}, ["def f():"], ["  pass"]),
        ({"question": "Q", "choices": ["a", "b"], "answer": 1}, ["Q", "Q\n\na\n\nb"], ["b"]),
        ({"question": "Q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "1"},
         ["Q", "Q\n\na\n\nb"], ["a"]),
        ({"question": "Q", "options": {"A": "a", "B": "b"}, "answer": "B"}, ["Q", "Q\n\na\n\nb"], ["b"]),
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                       {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]}, ["u", "v"], ["a"]),
        ({"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]}, ["u"], ["a"]),
        ({"text": "only this"}, ["only this"], []),
    ],
)  # fmt: skip
def test_questions_and_answers_are_found_where_evaluation_sets_have_them(
    tmp_path: Path, row: dict[str, Any], questions: list[str], answers: list[str]
) -> None:
    write_jsonl(tmp_path / "e.jsonl", [row])
    assert read(tmp_path / "e.jsonl", "e") == [Item("e", 1, tuple(questions), tuple(answers))]


def test_formats_are_read_alike_and_fields_can_be_named(tmp_path: Path) -> None:
    rows = [
        {"head": "Why", "body": "so?", "reply": "Because."},
        {"head": "Who", "body": "then?", "reply": "Nobody."},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "e.json").write_text(json.dumps({"examples": rows}))
    (tmp_path / "e.csv").write_text("head,body,reply\nWhy,so?,Because.\nWho,then?,Nobody.\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    with pa.output_stream(str(tmp_path / "e.jsonl.zst"), compression="zstd") as out:
        out.write(lines)
    fields = Fields(("head", "body"), ("reply",))
    found = [read(path, "e", fields) for path in sorted(tmp_path.iterdir())]
    assert len(found) == 5
    assert (
        found
        == [[Item("e", 1, ("Why\n\nso?",), ("Because.",)), Item("e", 2, ("Who\n\nthen?",), ("Nobody.",))]] * 5
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.txt", "x", r"found .txt; allowed: .jsonl"),
        ("e.jsonl", '{"a": "SECRET', r"cannot be read as an evaluation file \(JSONDecodeError\)"),
        ("e.jsonl", "[1]", "row 1 is no object"),
        ("e.json", "5", r"cannot be read as an evaluation file \(ValueError\)"),
        ("e.csv", "a,b\n1,2,SECRET\n", "holds no evaluation item that can be read; found None, a, b"),
        (
            "e.jsonl",
            '{"a": "SECRET"}',
            "holds no evaluation item that can be read; found a; allowed: messages",
        ),
        ("other", "x", "no such file, relative to the recipe's folder"),
    ],
)
def test_files_that_are_no_evaluation_files_are_refused_without_a_word_of_them(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    options = Decontaminate.Options.model_validate({"against": ["e.*"]}, context={"folder": tmp_path})
    with pytest.raises(RecipeError, match=message) as raised:
        options.fingerprint()
    assert "SECRET" not in str(raised.value)


def test_options_must_name_something() -> None:
    with pytest.raises(ValidationError, match="found neither against nor tasks"):
        Decontaminate.Options()


def test_another_evaluation_file_is_another_stage(tmp_path: Path) -> None:
    options = Decontaminate.Options.model_validate({"against": ["*.jsonl"]}, context={"folder": tmp_path})
    write_jsonl(tmp_path / "a.jsonl", ITEMS)
    before = options.fingerprint()
    assert options.fingerprint() == before
    write_jsonl(tmp_path / "a.jsonl", [*ITEMS, {"question": "One more?"}])
    assert options.fingerprint() != before


def test_a_release_says_what_was_looked_for_and_what_was_found(folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "evals" / "set.jsonl", ITEMS)
    rows = [{"instruction": f"Say {n} things", "output": f"{n} things"} for n in range(5)]
    rows += [{"instruction": DUCKS, "output": SOLVED}, {"instruction": "Janet?", "output": SOLVED}]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: small\nversion: '1'\nsources:\n  - {name: pairs, files: [pairs.jsonl], license: MIT}\n"
        "stages:\n  - decontaminate: {against: ['evals/*.jsonl']}\n"
    )
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    manifest = json.loads((out / "manifest.json").read_text())
    [told] = manifest["contamination"]
    counts = {"items": 12, "told": 11, "found": 1, "removed": 1, "flagged": 1}
    assert {name: told[name] for name in counts} == counts
    assert manifest["recipe"]["stages"][0]["reads"][0]["sha256"] == told["sha256"]
    assert "Janet" not in (out / "manifest.json").read_text()
    assert "evals/set.jsonl" in (out / "datasheet.md").read_text()
    assert curate.verify(out).ok
