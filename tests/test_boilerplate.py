"""What `boilerplate` takes out of records, what it leaves alone, and how it says so."""

from __future__ import annotations

import pickle
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from conftest import contents, sentence, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reference import passages, sketches
from reference.passages import How
from reference.sketches import MemorySketches, SerialEngine, chat

import curate
from curate.engine.local import LocalEngine
from curate.io.store import Store
from curate.record import Batch
from curate.stages.boilerplate import Boilerplate, Repeated
from curate.stages.passages.frequent import Frequent

NOTICE = "You may use this page for anything you like, as long as you say where you have it from."
FOOTER = "Subscribe to our letter to have new recipes, tips and stories in your post every week."
OWN = [
    "Rivers carry stone.",
    "A window faces the garden.",
    "The copper market is quiet.",
    "Winter came late.",
]


def stage(**options: Any) -> Boilerplate:
    return Boilerplate(Boilerplate.Options(**{"max_records": 2, "keep": "none", **options}))


def run(
    barrier: Boilerplate, batches: Sequence[Batch]
) -> tuple[Repeated, list[Any], dict[str, dict[str, Any]]]:
    """Return the resolved stage, the records' contents after it (None: dropped) and its decisions by id."""
    with tempfile.TemporaryDirectory() as scratch:
        repeated = sketches.resolve(barrier, [[batch] for batch in batches], Path(scratch))
        assert isinstance(repeated, Repeated)
        after = [content for batch in batches for content in acted(repeated, batch)]
        return repeated, after, sketches.judge(repeated, batches)


def acted(repeated: Repeated, batch: Batch) -> list[Any]:
    """Return what the pipeline would make of the batch's records."""
    verdict = repeated.judge(batch)
    name = "text" if "text" in batch.schema.names else "messages"
    before = batch.column(name).to_pylist()
    edited = before if verdict.edited is None else verdict.edited.to_pylist()
    fates = zip(verdict.action.to_pylist(), before, edited, strict=True)
    return [None if fate == "drop" else new if fate == "edit" else old for fate, old, new in fates]


def texts(*values: str | None) -> list[dict[str, Any]]:
    return [{"text": value} for value in values]


def after(values: Sequence[str | None], **options: Any) -> list[Any]:
    """Return these documents' texts after the stage."""
    return run(stage(**options), [sketches.batch(texts(*values))])[1]


def spread(text: str, **options: Any) -> str | None:
    """Return a text after the stage, in a corpus in which NOTICE and FOOTER are boilerplate."""
    others = [f"{NOTICE}\n\n{own}\n\n{FOOTER}" for own in OWN[:3]]
    changed: str | None = after([*others, text], **options)[-1]
    return changed


# Any text: ends of lines of every kind, fences that open and close or do not, lines of two words and of one,
# characters of several bytes and of several code points at the borders.
LINES = [
    "alpha beta",
    "Alpha  BETA",
    "gamma delta",
    "\u00e9 e\u0301 zwei",
    "one",
    "",
    "",
    "  ",
    "\u3000",
    "---",
]
LINES += [
    "```",
    "```py",
    "~~~~",
    "~~~",
    "- ```",
    "> ```",
    "``` a`b",
    "    code line",
    "\tcode two",
    "  four five",
    "six { ",
    "} ",
]
LINES += [
    "\U0001f469\u200d\U0001f469 smile here",
    "\u4f60\u597d\u4e16\u754c",
    "\u0e2a\u0e27\u0e31\u0e2a a",
    "1. ```",
]
BREAKS = ["\n", "\n", "\n", "\n\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\v"]
TEXT = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(BREAKS)), max_size=9).map(
    lambda pairs: "".join(line + line_break for line, line_break in pairs)
)
ENDED = st.tuples(TEXT, st.sampled_from(LINES)).map("".join)
HOW = st.builds(
    How,
    unit=st.sampled_from(["paragraph", "line"]),
    min_words=st.sampled_from([1, 2]),
    min_chars=st.sampled_from([2, 4]),
    max_records=st.sampled_from([1, 2]),
    keep=st.sampled_from(["first", "none"]),
    emptied_turns=st.sampled_from(["keep", "drop"]),
    protect_code=st.booleans(),
)


@given(st.lists(ENDED, min_size=1, max_size=7), HOW, st.integers(0, 2))
@settings(deadline=None, max_examples=300)
def test_documents_become_what_the_slow_twin_makes_of_them(
    records: list[str], how: How, skipped: int
) -> None:
    batch = sketches.batch(texts(*["skipped"] * skipped, *records)).slice(skipped)
    expected = passages.edit([[text] for text in records], how, documents=True)
    _, found, decisions = run(stage(**vars(how)), [batch])
    assert found == [None if turns is None else turns[0] for turns in expected]
    for text, new, decision in zip(records, found, decisions.values(), strict=True):
        if decision["action"] == "edit":
            assert cut(text, orjson.loads(decision["evidence"])["spans"], 0) == new
        else:
            assert new in (None, text)
        if new is not None:  # no gap is wider than one that was there
            assert longest_gap(new, how) <= longest_gap(text, how)


def cut(text: str, spans: list[dict[str, Any]], turn: int) -> str:
    """Take the spans of a decision's evidence out of a turn."""
    kept, at = [], 0
    for span in spans:
        if span["turn"] == turn:
            assert at <= span["start"] < span["end"]
            kept.append(text[at : span["start"]])
            at = span["end"]
    return "".join([*kept, text[at:]])


def longest_gap(text: str, how: How) -> int:
    found = passages.blocks(text, how)
    ends, starts = [0, *(b.end for b in found)], [*(b.start for b in found), len(text)]
    return max(passages.width(text[a:b]) for a, b in zip(ends, starts, strict=True))


ROLE = st.sampled_from(["system", "user", "assistant", "tool"])


@given(st.lists(st.lists(st.tuples(ROLE, st.none() | ENDED), max_size=4), min_size=1, max_size=6), HOW)
@settings(deadline=None, max_examples=150)
def test_responses_become_what_the_slow_twin_makes_of_them(
    conversations: list[list[tuple[str, str | None]]], how: How
) -> None:
    records = [
        {"messages": [{"role": role, "content": text} for role, text in turns]} for turns in conversations
    ]
    answers = [[text or "" for role, text in turns if role == "assistant"] for turns in conversations]
    expected = passages.edit(answers, how, documents=False)
    _, found, _ = run(stage(**vars(how)), [sketches.batch(records)])
    for before, new, wanted in zip(records, found, expected, strict=True):
        assert (new is None) == (wanted is None)
        if new is None or wanted is None:
            continue
        assert [turn["content"] or "" for turn in new if turn["role"] == "assistant"] == wanted
        for old, turn in zip(before["messages"], new, strict=True):
            assert turn["role"] == old["role"]
            if turn["role"] != "assistant" or old["content"] is None:
                assert turn == old


@given(st.lists(ENDED, min_size=1, max_size=7), HOW)
@settings(deadline=None, max_examples=100)
def test_a_second_run_finds_nothing_more_to_edit(records: list[str], how: How) -> None:
    options = {**vars(how), "keep": "none"}
    once = [text for text in after(records, **options) if text is not None]
    if once:
        assert after(once, **options) == once


@given(st.lists(st.text("ab \n\u00e9\u4f60", max_size=40), max_size=6, unique_by=passages.normal))
@settings(deadline=None, max_examples=50)
def test_texts_that_share_no_line_are_untouched(records: list[str]) -> None:
    records = [f"{n} {text}\n{n} " for n, text in enumerate(records)] or ["alone"]
    unique = [text.replace("\n", f" {n}\n{n} ") for n, text in enumerate(records)]
    assert after(unique, unit="line", min_words=2, max_records=1) == unique


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"One.\n\n{NOTICE}\n\nTwo.", "One.\n\nTwo."),
        (f"{NOTICE}\n\nOne.\n\n{FOOTER}", "One."),
        (f"\n\n{NOTICE}\n\nOne.\n\n{FOOTER}\n", "\n\nOne.\n"),
        (f"One.\n\n\n\n{NOTICE}\n\nTwo.", "One.\n\n\n\nTwo."),
        (f"One.\n\n{NOTICE}\n\n{FOOTER}\n\n\nTwo.", "One.\n\n\nTwo."),
        (f"One.\r\n\r\n{NOTICE}\r\n\r\nTwo.\r\n", "One.\r\n\r\nTwo.\r\n"),
        (f"One.\u2029{NOTICE}\u2029Two.", "One.\u2029Two."),
        (f"One.\n \t\n{NOTICE.upper()}\n\u3000\nTwo.", "One.\n \t\nTwo."),
        (f"One.\n\n{NOTICE.replace(' ', chr(10), 3)}\n\nTwo.", "One.\n\nTwo."),
        (f"\U0001f600\n\n{NOTICE}\n\n\u0301Two.", "\U0001f600\n\n\u0301Two."),
        (f"One.\n{NOTICE}\nTwo.", f"One.\n{NOTICE}\nTwo."),  # a line of a paragraph is another paragraph
        (f"{NOTICE}\n\n{FOOTER}", None),
        (f"> {NOTICE}", f"> {NOTICE}"),
        ("", ""),
    ],
)
def test_a_paragraph_goes_with_one_separator(text: str, left: str | None) -> None:
    assert spread(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"One.\n{NOTICE}\nTwo.", "One.\nTwo."),
        (f"One.\n{NOTICE}\n\nTwo.", "One.\n\nTwo."),
        (f"One.\n\n{NOTICE}\nTwo.", "One.\n\nTwo."),
        (f"One.\u2028{NOTICE}\u2028Two.", "One.\u2028Two."),
        (f"One.\n{NOTICE}\u2029Two.", "One.\u2029Two."),
        (f"One.\r{NOTICE}\r\n{FOOTER}", "One."),
    ],
)
def test_a_line_goes_and_no_paragraphs_grow_together(text: str, left: str) -> None:
    assert spread(text, unit="line") == left


@pytest.mark.parametrize("unit", ["paragraph", "line"])
@pytest.mark.parametrize(
    "code",
    [
        "```\n{}\n\n{}\n```",
        "~~~ text\n```\n{}\n~~~~",
        "- ```sh\n  {}\n  ```",
        "> ```\n> {}\n{}\n> ```",
        "1. Do:\n\n   ```\n{}\n   ```",
        "Do:\n\n    {}\n\n\t{}",
        "```\n{}\n\n{}",  # never closed
        "def f():\n    {}\n\n    {}",
        "int f() {{ {} }}\n\n{} {{\t\n\n    {}",
    ],
)
def test_code_is_neither_edited_nor_counted(code: str, unit: str) -> None:
    block = code.replace("{}", NOTICE).replace("{{", "{").replace("}}", "}")
    text = f"One.\n\n{block}"
    assert spread(text, unit=unit) == text
    records = [f"{own}\n\n{block}" for own in OWN]
    assert after(records, unit=unit) == records
    assert spread(text, unit="line", protect_code=False) != text or "> " in code


def test_what_stands_behind_code_is_no_code() -> None:
    text = f"```\nx = 1\n```\n{NOTICE}\n\nOne.\n\n    x\n\n{FOOTER}"
    assert spread(text) == "```\nx = 1\n```\n\nOne.\n\n    x"
    inline = f"``` is a `fence`\n\n{NOTICE}\n\nOne."
    assert spread(inline) == "``` is a `fence`\n\nOne."


def test_a_passage_counts_once_per_record_and_must_exceed_the_limit() -> None:
    often = f"{NOTICE}\n\nOne.\n\n{NOTICE}\n\n{NOTICE}"
    assert after([often, f"{NOTICE}\n\nTwo.", "Three."]) == [often, f"{NOTICE}\n\nTwo.", "Three."]
    found = after([often, f"{NOTICE}\n\nTwo.", f"Three.\n\n{NOTICE}"])
    assert found == ["One.", "Two.", "Three."]


def test_the_limit_is_the_larger_of_number_and_share() -> None:
    def left(copies: int, **options: Any) -> int:
        lines = [f"{n}\n\n{NOTICE}" for n in range(copies)] + [str(n) for n in range(copies, 100)]
        return sum(NOTICE in text for text in after(lines, **options))

    assert left(29, max_share=0.29) == 29  # 0.29 * 100 is 28.99… in floating point
    assert left(30, max_share=0.29) == 0
    assert left(30, max_share=0.29, max_records=30) == 30
    assert left(30, max_records=29) == 0


def test_the_first_occurrence_stays_where_it_is_to_be_kept() -> None:
    files = [
        sketches.batch(texts(*lines), "s", path)
        for path, lines in (
            ("b.jsonl", [f"One.\n\n{NOTICE}"]),
            (
                "a.jsonl",
                ["Nothing here.", f"Two.\n\n{NOTICE}\n\nTwo more.\n\n{NOTICE}", f"Three.\n\n{NOTICE}"],
            ),
        )
    ]
    for order in (files, files[::-1]):
        decisions = run(stage(keep="first"), order)[2]
        edits = {key: line["action"] for key, line in decisions.items()}
        assert edits["s/b.jsonl/1"] == edits["s/a.jsonl/2"] == edits["s/a.jsonl/3"] == "edit"
        spans = orjson.loads(decisions["s/a.jsonl/2"]["evidence"])["spans"]
        assert [span["start"] for span in spans] == [len(f"Two.\n\n{NOTICE}\n\nTwo more.")]


CHINESE = "本网站所有内容版权归原作者所有，未经许可不得转载，联系我们。"
THAI = "ข้อความนี้เป็นข้อความที่ปรากฏอยู่ท้ายทุกหน้าของเว็บไซต์นี้"


@pytest.mark.parametrize(
    "notice", [CHINESE, THAI, "이 글의 저작권은 글쓴이에게 있으며 허락 없이 옮겨 실을 수 없습니다 고맙습니다"]
)
def test_passages_are_found_in_every_script(notice: str) -> None:
    own = ["第一", "สอง", "셋"]
    assert after([f"{text}\n\n{notice}" for text in own]) == own


@pytest.mark.parametrize(
    ("passage", "gone"),
    [
        ("one two three four five six seven eight nine ten", True),
        ("one two three four five six seven eight nine", False),
        ("1 2 3 4 5 6 7 8 9 10", True),
        ("| - | - | - | - | - | - | - | - | - | - | - |", False),
        ("永" * 20, True),
        ("永" * 19, False),
        ("one two three four five " + "永" * 10, True),
        ("one two three four " + "永" * 11, False),
        ("\ufdfa " * 3, True),  # one character, four words after normalisation
    ],
)
def test_short_passages_are_left_alone(passage: str, gone: bool) -> None:
    records = [f"{own}\n\n{passage}" for own in OWN]
    assert after(records) == (OWN if gone else records)


def test_prompts_and_system_turns_survive_unless_asked_for() -> None:
    def record(own: str) -> dict[str, Any]:
        roles = ("system", "user", "assistant", "tool")
        return {"messages": [{"role": role, "content": f"{NOTICE}\n\n{own}"} for role in roles]}

    def edited(on: str) -> set[str]:
        records = [record(own) for own in OWN]
        _, found, _ = run(stage(on=on), [sketches.batch(records)])
        return {turn["role"] for turns in found for turn in turns if NOTICE not in turn["content"]}

    assert edited("response") == {"assistant"}
    assert edited("prompt") == {"user", "tool"}
    assert edited("both") == {"user", "tool", "assistant"}


def test_an_answer_that_is_boilerplate_from_end_to_end_is_an_answer() -> None:
    records = [chat(own, NOTICE) for own in OWN] + [chat("Tell me.", f"A story.\n\n{NOTICE}")]
    _, found, _ = run(stage(), [sketches.batch(records)])
    assert [turns[1]["content"] for turns in found] == [NOTICE] * 4 + ["A story."]
    _, found, decisions = run(stage(emptied_turns="drop"), [sketches.batch(records)])
    assert found[:4] == [None] * 4
    assert [line["reason"] for line in decisions.values()] == ["boilerplate/nothing-left"] * 4 + [
        "boilerplate/repeated-paragraph"
    ]
    place = {"turn": 1, "start": 0, "end": len(NOTICE), "records": 5}
    spans = orjson.loads(next(iter(decisions.values()))["evidence"])["spans"]
    assert [{name: span[name] for name in place} for span in spans] == [place]


def test_evidence_names_places_counts_and_hashes_and_no_text() -> None:
    records = texts(*(f"\U0001f600\n\n{NOTICE}\n\n{own}\n\n{FOOTER}" for own in OWN))
    _, _, decisions = run(stage(), [sketches.batch(records)])
    line = decisions["s/f.jsonl/1"]
    high, _ = passages.murmur3(passages.normal(NOTICE).encode())
    spans = orjson.loads(line["evidence"])["spans"]
    whole = len(records[0]["text"])
    assert line["reason"] == "boilerplate/repeated-paragraph"
    assert spans[0] == {
        "turn": 0,
        "start": 3,
        "end": 5 + len(NOTICE),
        "records": 4,
        "passage": f"{high:016x}",
    }
    assert [(span["start"], span["end"]) for span in spans[1:]] == [(whole - len(FOOTER) - 2, whole)]
    assert line["score"] == round((len(NOTICE) + len(FOOTER) + 4) / whole, 4)
    assert not any(word in line["evidence"] for word in ("Subscribe", "page"))


def test_a_document_of_which_nothing_is_left_is_dropped_for_that_reason() -> None:
    records = texts(*(f"{NOTICE}\n\n{own}" for own in OWN), f"\n{NOTICE.upper()}\n\n")
    _, found, decisions = run(stage(), [sketches.batch(records)])
    assert found == [*OWN, None]
    assert decisions["s/f.jsonl/5"]["reason"] == "boilerplate/nothing-left"


def test_empty_null_and_huge_texts_are_read() -> None:
    huge = "\n\n".join([*(f"Paragraph {n} says something of its own." for n in range(20_000)), NOTICE])
    values = [None, "", " \n\n ", huge, f"One.\n\n{NOTICE}", f"Two.\n\n{NOTICE}"]
    found = after(values)
    assert found == [None, "", " \n\n ", huge.removesuffix(f"\n\n{NOTICE}"), "One.", "Two."]
    assert after([None, None]) == [None, None]
    nulls: list[dict[str, Any]] = [
        {"messages": None},
        {"messages": []},
        {"messages": [None, {"role": None, "content": NOTICE}, {"role": "assistant", "content": None}]},
    ]
    chats = [chat("Go.", f"{own}\n\n{NOTICE}") for own in OWN]
    batch = sketches.batch([*(chat("x", "y") for _ in nulls), *chats])
    column = pl.Series([*(n["messages"] for n in nulls), *(c["messages"] for c in chats)])
    batch = batch.set_column(
        batch.schema.get_field_index("messages"),
        "messages",
        column.to_arrow().cast(batch.column("messages").type),
    )
    _, made, _ = run(stage(), [batch])
    assert made[:3] == [n["messages"] for n in nulls]
    assert [turns[1]["content"] for turns in made[3:]] == OWN


def corpus() -> list[Batch]:
    """Return batches of three files, of documents and conversations, that share passages."""
    rng = random.Random(4)
    shared = [sentence(rng, 12) for _ in range(8)]

    def text() -> str:
        blocks = [sentence(rng, 12) for _ in range(rng.randrange(4))] + rng.choices(
            shared, k=rng.randrange(4)
        )
        rng.shuffle(blocks)
        return "\n\n".join(blocks)

    return [
        sketches.batch(texts(*(text() for _ in range(40))), "a", "x.jsonl"),
        sketches.batch(texts(*(text() for _ in range(40))), "a", "y.jsonl"),
        sketches.batch([chat(text(), text()) for _ in range(40)], "b", "x.jsonl"),
    ]


@pytest.mark.parametrize("keep", ["first", "none"])
def test_the_answer_is_the_same_for_any_order_of_files_size_of_batches_and_memory(
    keep: str, tmp_path: Path
) -> None:
    batches = corpus()
    slices = [[b.slice(start, 7) for start in range(0, b.num_rows, 7)] for b in batches]
    layouts = [
        [[b] for b in batches],
        [[b] for b in reversed(batches)],
        slices,
        [[piece] for pieces in reversed(slices) for piece in reversed(pieces)],
    ]
    barrier = stage(keep=keep)
    resolved, files = [], []
    for number, units in enumerate(layouts):
        for memory in (1 << 30, 20_000):
            folder = tmp_path / f"{number}.{memory}"
            folder.mkdir()
            parts = tuple(sketches.part(barrier, unit) for unit in units)
            repeated = barrier.resolve(MemorySketches(parts, Store.at(folder), memory), SerialEngine())
            files.append(repeated.store.read(repeated.file))
            resolved.append(repeated)
            assert [path.name for path in folder.iterdir()] == ["boilerplate.passages.arrow"]
    assert resolved[0].summary["boilerplate"] == 8
    assert all(file == files[0] for file in files)
    assert all((r.summary, r.findings) == (resolved[0].summary, resolved[0].findings) for r in resolved)
    one = sketches.judge(resolved[0], batches)
    assert {line["action"] for line in one.values()} >= {"keep", "edit"}
    again = pickle.loads(pickle.dumps(resolved[-1])).at(Store.at(tmp_path / "0.20000"))
    assert sketches.judge(again, [piece for unit in slices for piece in unit]) == one


def test_partitions_are_counted_by_two_worker_processes_as_by_one(tmp_path: Path) -> None:
    barrier = stage()
    parts = tuple(sketches.part(barrier, [batch]) for batch in corpus())
    with LocalEngine(2) as two:
        for name, engine in (("one", SerialEngine()), ("two", two)):
            (tmp_path / name).mkdir()
            barrier.resolve(MemorySketches(parts, Store.at(tmp_path / name), 20_000), engine)
    file = "boilerplate.passages.arrow"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_summary_counts_and_the_findings_name_no_text() -> None:
    records = texts(*(f"{own}\n\n{NOTICE}" for own in OWN), f"Long tale of its own. {NOTICE} {FOOTER}")
    batches = [sketches.batch(records), sketches.batch(texts("Nothing shared."), "t", "g.jsonl")]
    repeated, _, _ = run(stage(max_source_loss=0.5), batches)
    assert repeated.summary == {
        "records": 6,
        "passages": 5,
        "distinct": 2,
        "limit": 2,
        "boilerplate": 1,
        "characters": sum(len(record["text"]) for record in records) + 15,
        "boilerplate_characters": 4 * len(NOTICE),
    }
    frequent, loss = repeated.findings
    assert (frequent["severity"], frequent["count"], frequent["examples"]) == ("note", 1, ["s/f.jsonl/1"])
    assert (loss["reason"], loss["severity"]) == ("boilerplate/source-loss", "warning")
    assert "source s stand" in loss["message"]
    assert not any("page" in finding["message"] for finding in repeated.findings)
    assert [f["severity"] for f in run(stage(max_source_loss=0.9), batches)[0].findings] == ["note"]


def test_a_corpus_without_boilerplate_or_records_resolves_to_a_stage_that_keeps_all(tmp_path: Path) -> None:
    batch = sketches.batch(texts("one", NOTICE))
    for units in ([[batch]], [[batch.slice(0, 0)]], []):
        repeated = sketches.resolve(stage(), units, tmp_path)
        assert isinstance(repeated, Repeated)
        assert repeated.judge(batch).action.to_pylist() == ["keep", "keep"]
        assert repeated.findings == ()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 40])
def test_passages_are_hashed_by_murmur3(size: int) -> None:
    text = "quick brown fox jumps over the lazy dog and then some"[:size]
    sketch = stage(unit="line", min_words=1).sketch(sketches.batch(texts(text)))
    found = [(p["high"], p["low"]) for p in sketch.column("passages")[0].as_py()]
    assert found == ([passages.murmur3(passages.normal(text).encode())] if text else [])


def test_the_twin_s_hash_is_the_published_one() -> None:
    published = 0xE34BBC7BBC071B6C7A433CA9C49A9347
    assert passages.murmur3(b"The quick brown fox jumps over the lazy dog") == divmod(published, 1 << 64)


def test_passages_that_share_half_a_hash_are_told_apart() -> None:
    high, low = np.array([3, 5, 5, 5, 9], np.uint64), np.array([1, 2, 4, 6, 8], np.uint64)
    none = np.zeros(5, np.int64)
    frequent = Frequent(high, low, none, none, none, {})
    wanted = [(5, 4), (5, 6), (5, 7), (9, 8), (9, 9), (10, 1), (3, 1), (0, 0)]
    asked = np.array(wanted, np.uint64)
    assert frequent.find(asked[:, 0], asked[:, 1]).tolist() == [2, 3, -1, 4, -1, -1, 0, -1]


RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: [a.jsonl, b.jsonl], license: CC0-1.0}
  - {name: pairs, files: [pairs.jsonl], license: CC0-1.0}
stages:
  - curate.stages.boilerplate:Boilerplate: {max_records: 4}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(9)
    shared = [sentence(rng, 11) for _ in range(3)]

    def text(n: int) -> str:
        return (
            f"{shared[n % 3]}\n\n{sentence(rng, 20)}\n\n{shared[(n + 1) % 3]}" if n % 2 else sentence(rng, 20)
        )

    documents = [{"id": n, "text": text(n)} for n in range(60)] + [{"id": "none", "text": shared[0]}]
    write_jsonl(tmp_path / "a.jsonl", documents[:30])
    write_jsonl(tmp_path / "b.jsonl", documents[30:])
    pairs = [{"instruction": f"{shared[0]}\n\nGo {n}.", "output": text(n)} for n in range(30)]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    (tmp_path / "curate.yaml").write_text(RECIPE)
    return tmp_path


def test_a_run_accounts_for_every_edit_and_can_be_undone(folder: Path) -> None:
    release = curate.run(folder / "curate.yaml", workers=1)
    counts = release.manifest["counts"]
    assert (counts["seen"], counts["dropped"], counts["edited"]) == (91, 1, 44)
    done = release.manifest["stages"][-1]
    assert done["reasons"] == {"boilerplate/nothing-left": 1, "boilerplate/repeated-paragraph": 44}
    assert done["resolution"]["boilerplate"] == 3
    edited = pl.read_parquet(release.path / "removed/edited-*")
    made = pl.read_parquet(release.path / "data/*").join(edited.select("id", before="text"), on="id")
    ledger = pl.read_parquet(release.path / "ledger/*").select("id", "evidence")
    documents = made.drop_nulls("text").join(ledger, on="id")
    assert len(documents) == 29
    assert "docs/1" not in edited["id"]  # the first record with either of its two shared passages
    for before, text, evidence in documents.select("before", "text", "evidence").iter_rows():
        assert cut(before, orjson.loads(evidence)["spans"], 0) == text


@pytest.mark.parametrize(("workers", "batch_size"), [(2, None), (1, 7), (1, 1)])
def test_workers_batch_size_and_order_of_files_never_change_a_byte(
    folder: Path, rewrite: Callable[[Path, str, str], None], workers: int, batch_size: int | None
) -> None:
    one = curate.run(folder / "curate.yaml", folder / "one", workers=1)
    rewrite(folder / "curate.yaml", "a.jsonl, b.jsonl", "b.jsonl, a.jsonl")
    two = curate.run(folder / "curate.yaml", folder / "two", workers=workers, batch_size=batch_size)
    assert contents(one.path) == contents(two.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "sentence"}, "'paragraph' or 'line'"),
        ({"max_share": 1.0}, "less than 1"),
        ({"max_records": 0}, "greater than or equal to 1"),
        ({"minimum": 3}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(**options)


def test_the_datasheet_is_told_of_code_and_of_notices() -> None:
    assert "left alone" in Boilerplate.Options().notes()[0]
    assert "prose: code counts as prose" in Boilerplate.Options(protect_code=False).notes()[0]
    assert "copyright" in Boilerplate.Options().notes()[1]
