"""Prompts with answers that contradict each other: what `exact` flags, what it counts, what it leaves alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dedup, sketches
from reference.sketches import chat

from curate import record
from curate.io.store import Store
from curate.record import Batch
from curate.stages.dedup import shuffle
from curate.stages.dedup.claims import claim, disagreeing
from curate.stages.dedup.resolved import Resolved
from curate.stages.exact import Exact

LONG = " ".join(f"word{i}" for i in range(30))


def resolved(units: Sequence[Batch], folder: Path, memory: int = 1 << 30) -> Resolved:
    barrier = Exact(Exact.Options())
    parts = tuple(sketches.part(barrier, [unit]) for unit in units)
    return barrier.resolve(sketches.MemorySketches(parts, Store.at(folder), memory), sketches.SerialEngine())


def flagged(records: Sequence[dict[str, Any]], folder: Path) -> tuple[set[int], int]:
    """Return the places of the flagged records, and how many prompts have mere alternatives."""
    whole = sketches.batch(records)
    stage = resolved([whole.slice(i, 1) for i in range(whole.num_rows)], folder)
    lines = sketches.judge(stage, [whole]).values()
    return {i for i, line in enumerate(lines) if line["action"] == "flag"}, stage.summary[
        "alternative_prompts"
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Yes.", "No, it is not."),
        ("True", "false"),
        ("42", "1,042"),
        ("First 2 + 2.\n#### 4", "Two and two.\n#### 5"),
        (r"So $\boxed{12}$ it is.", r"Hence \boxed{13}."),
        ("Because of rain, the final answer is Paris.", "It rains. The answer is: Rome"),
        ("card_arrival", "card_linking"),
        ("はい", "いいえ"),
    ],
)
def test_short_answers_that_cannot_both_be_right_are_flagged(one: str, other: str, tmp_path: Path) -> None:
    records = [chat("Which is it?", one), chat("which  is it?", other), chat("Which was it?", other)]
    assert flagged(records, tmp_path) == ({0, 1}, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5", "5.0"),
        ("$1,200", "1200 dollars"),
        ("Paris", "Paris, France"),
        ("Yes!", "Correct, it does."),
        (LONG, f"{LONG} more"),
        ("No one knows for certain why that is", "Nobody can tell why"),
        ("Paris", LONG),
        ("#### 1,000", "It is a lot.\n#### 1000"),
    ],
)
def test_other_words_for_the_same_and_long_answers_are_alternatives(
    one: str, other: str, tmp_path: Path
) -> None:
    assert flagged([chat("Which is it?", one), chat("Which is it?", other)], tmp_path) == (set(), 1)


def test_the_prompt_is_everything_before_the_last_answer_and_the_tools(tmp_path: Path) -> None:
    def talk(*said: tuple[str, str], **more: Any) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": content} for role, content in said], **more}

    asked, yes, no = ("user", "Is it?"), ("assistant", "Yes."), ("assistant", "No.")
    alone = [
        talk(asked, yes),
        talk(("system", "Deny all."), asked, no),
        talk(asked, yes, asked, no),
        talk(asked, no, asked, yes, asked),
        talk(("system", "Is it?"), no),
        talk(asked),
    ]
    assert flagged(alone, tmp_path / "a") == (set(), 0)
    assert flagged([*alone, talk(asked, no, ("user", "Sure?"))], tmp_path / "b") == ({0, 6}, 0)
    batch = sketches.batch([talk(asked, yes), talk(asked, no), talk(asked, no)])
    tools = pa.array(['[{"name": "f"}]', None, '[{"name": "f"}]'])
    stage = resolved([record.with_column(batch, "tools", tools)], tmp_path / "c")
    assert stage.summary["conflicting"] == [{"source": "s", "records": 2}]


def test_a_dropped_duplicate_has_no_flag_and_the_finding_names_ids_of_every_source(tmp_path: Path) -> None:
    batches = [
        sketches.batch([chat("Is it?", "Yes."), chat("is it?", "yes.")], source="a"),
        sketches.batch([chat("Is it?", "no"), chat("Was it?", "1"), chat("Was it?", "2")], source="b"),
    ]
    stage = resolved(batches, tmp_path)
    lines = sketches.judge(stage, batches)
    assert sorted(line["action"] for line in lines.values()) == ["drop", *["flag"] * 4]
    first = next(key for key, line in lines.items() if line["action"] == "flag")
    assert lines[first]["reason"] == "exact/conflicting-answer"
    evidence = orjson.loads(lines["b/f.jsonl/1"]["evidence"])
    assert (evidence["claims"], evidence["other"]) == (2, "a/f.jsonl/1")
    [finding] = stage.findings
    assert (finding["reason"], finding["count"]) == ("exact/conflicting-answer", 2)
    assert finding["examples"] == ["a/f.jsonl/1 ≠ b/f.jsonl/1", "b/f.jsonl/2 ≠ b/f.jsonl/3"]
    assert "3 of b" in finding["message"]


def test_a_prompt_with_very_many_answers_is_an_open_one(tmp_path: Path) -> None:
    assert flagged([chat("Name a number", str(i)) for i in range(11)], tmp_path) == (set(), 1)


TURN = st.tuples(
    st.sampled_from(["user", "assistant", "system"]), st.sampled_from(["a", "A ", "yes", "no", "", LONG])
)


def twin(conversations: Sequence[Sequence[tuple[str, str]]]) -> tuple[set[int], int]:
    """Group by prompt, compare all answers."""
    prompts: defaultdict[Any, list[tuple[int, str]]] = defaultdict(list)
    for place, turns in enumerate(conversations):
        spoken = [i for i, (role, _) in enumerate(turns) if role == "assistant"]
        if spoken:
            before = tuple((role, dedup.normalise(text)) for role, text in turns[: spoken[-1]])
            answer = turns[spoken[-1]][1]
            if any(text for _, text in before) and answer.strip():
                prompts[before].append((place, answer))
    found: set[int] = set()
    alternatives = 0
    for answers in prompts.values():
        if len({dedup.normalise(answer) for _, answer in answers}) > 1:
            against = disagreeing({said for _, answer in answers if (said := claim(answer))})
            found |= {place for place, answer in answers if claim(answer) in against}
            alternatives += not against
    return found, alternatives


@given(
    st.lists(st.lists(TURN, max_size=3), min_size=2, max_size=12),
    st.sampled_from([(1, 10**6), (4, 3)]),
    st.sampled_from([1 << 30, 2000]),
)
@settings(deadline=None, max_examples=25)
def test_flags_are_the_twin_s_however_the_work_is_cut(
    tmp_path_factory: pytest.TempPathFactory, talks: Any, cut: tuple[int, int], memory: int
) -> None:
    whole = sketches.batch(
        [{"messages": [{"role": role, "content": text} for role, text in talk]} for talk in talks]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "plan", lambda *_: shuffle.Plan(cut[1], cut[0], memory))
        stage = resolved(
            [whole.slice(i, 1) for i in range(whole.num_rows)], tmp_path_factory.mktemp("cut"), memory
        )
    lines = list(sketches.judge(stage, [whole]).values())
    found, alternatives = twin(talks)
    gone = {i for i, line in enumerate(lines) if line["action"] == "drop"}
    assert {i for i, line in enumerate(lines) if line["action"] == "flag"} == found - gone
    assert stage.summary["alternative_prompts"] == alternatives
    assert stage.summary["conflicting"] == ([{"source": "s", "records": len(found)}] if found else [])
