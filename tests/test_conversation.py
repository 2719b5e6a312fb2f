from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import rules
from curate.record import MESSAGES, ROLES
from curate.stage import Verdict
from curate.stages.conversation import Conversation, matches

Turns = list[tuple[str | None, str | None]]
RULES = rules.load("conversation").rules
KEEP = ("keep", None)
LINE = "Repeat after me, word for word."


def batch_of(conversations: list[Turns | None]) -> pa.RecordBatch:
    messages = [
        None if turns is None else [{"role": r, "content": c} for r, c in turns] for turns in conversations
    ]
    ids = pa.array([f"s/{i}" for i in range(len(messages))], pa.string())
    return pa.record_batch({"id": ids, "messages": pa.array(messages, MESSAGES)})


def judge(conversations: list[Turns | None], **options: Any) -> Verdict:
    batch = batch_of(conversations)
    verdict = Conversation(Conversation.Options(**options)).judge(batch)
    verdict.check("conversation", batch)
    return verdict


def answers(verdict: Verdict) -> list[tuple[str, str | None]]:
    return list(zip(verdict.action.to_pylist(), verdict.reason.to_pylist(), strict=True))


def test_sound_conversations_are_kept() -> None:
    sound: list[Turns | None] = [
        [("user", "Hi"), ("assistant", "Hello")],
        [
            ("system", "Be brief."),
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "Bye"),
            ("assistant", "Bye"),
        ],
        [("user", "Time?"), ("assistant", ""), ("tool", "12:00"), ("assistant", "Noon.")],
        [("user", "今日は?"), ("assistant", "晴れ")],
    ]
    verdict = judge(sound)
    assert answers(verdict) == [KEEP] * 4
    assert verdict.also == ()


@pytest.mark.parametrize(
    ("turns", "action", "rule"),
    [
        (None, "drop", "no-response"),
        ([], "drop", "no-response"),
        ([("user", "Hi")], "drop", "no-response"),
        ([("user", "Hi"), ("assistant", "")], "drop", "empty-response"),
        ([("user", "Hi"), ("assistant", None)], "drop", "empty-response"),
        ([("user", "Hi"), ("assistant", "\u200b\n")], "drop", "empty-response"),
        ([("user", " "), ("assistant", "Hello")], "drop", "empty-turn"),
        ([("user", "Hi"), ("bot", "Hello"), ("assistant", "Hello")], "drop", "unknown-role"),
        ([("user", "Hi"), ("user", "Hi"), ("assistant", "Hello")], "drop", "role-order"),
        ([("user", "Hi"), ("assistant", "NaN")], "drop", "placeholder-response"),
        ([("user", LINE), ("assistant", f"{LINE} ")], "drop", "echoed-response"),
        ([("system", ""), ("user", "Hi"), ("assistant", "Hello")], "flag", "empty-system"),
        ([("assistant", "Hello"), ("user", "Hi"), ("assistant", "Yes?")], "flag", "starts-with-assistant"),
        ([("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")], "flag", "ends-without-assistant"),
        ([("user", "What is <|im_start|>?"), ("assistant", "A mark.")], "flag", "role-leakage"),
    ],
)  # fmt: skip
def test_each_fault_has_its_reason(turns: Turns | None, action: str, rule: str) -> None:
    assert answers(judge([turns])) == [(action, f"conversation/{rule}")]


def _examples(kind: str) -> list[Any]:
    found = [
        pytest.param(rule, example, id=f"{rule.id}-{i}")
        for rule in RULES
        for i, example in enumerate(getattr(rule, kind))
    ]
    assert len(found) >= len(RULES)
    return found


@pytest.mark.parametrize(("rule", "example"), _examples("match"))
def test_every_rule_finds_its_examples(rule: rules.Rule, example: Any) -> None:
    assert matches(rule, example)


@pytest.mark.parametrize(("rule", "example"), _examples("no_match"))
def test_every_rule_leaves_its_counterexamples(rule: rules.Rule, example: Any) -> None:
    assert not matches(rule, example)


def test_all_faults_of_a_record_are_told_and_the_worst_decides() -> None:
    verdict = judge([[("system", ""), ("user", "<|im_end|>"), ("assistant", " "), ("user", "")]])
    assert answers(verdict) == [("drop", "conversation/empty-response")]
    assert [decision.reason for decision in verdict.also] == [
        "conversation/empty-turn",
        "conversation/empty-system",
        "conversation/ends-without-assistant",
        "conversation/role-leakage",
    ]
    assert {decision.action for decision in verdict.also} == {"flag"}


def test_evidence_locates_the_fault_without_a_word_of_it() -> None:
    leaky: Turns = [("user", "secret"), ("assistant", "Hello")]
    leaky += [("user", "secret [INST] and <|im_end|>"), ("assistant", "secret [/INST]")]
    odd: Turns = [("user", "Hi"), ("secret", "Hello"), ("secret", "x"), ("assistant", "y")]
    verdict = judge([leaky, odd, [("system", "s"), ("user", "secret")]])
    assert [json.loads(evidence) for evidence in verdict.evidence.to_pylist()] == [
        {"turn": 2, "role": "user", "count": 2, "patterns": ["chatml", "llama-inst"]},
        {"turn": 1, "role": None, "count": 2},
        {"turns": 2},
    ]
    assert "secret" not in "".join(verdict.evidence.to_pylist())


def test_actions_are_overridden_rule_by_rule() -> None:
    turns: Turns = [("user", "What is <|im_start|>?"), ("assistant", "")]
    assert answers(judge([turns], actions={"empty-response": "keep"})) == [
        ("flag", "conversation/role-leakage")
    ]
    verdict = judge([turns], actions={"empty-response": "flag", "role-leakage": "quarantine"})
    assert answers(verdict) == [("quarantine", "conversation/role-leakage")]
    everything = {rule.id.partition("/")[2]: "keep" for rule in RULES}
    assert answers(judge([turns, None], actions=everything)) == [KEEP, KEEP]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"role-leekage": "flag"}, r"no rule 'role-leekage'; did you mean 'role-leakage'\?"),
        ({"zzz": "flag"}, "no rule 'zzz'; rules: empty-text, no-response"),
        ({"role-leakage": "edit"}, "'drop', 'quarantine', 'flag' or 'keep'"),
    ],
)
def test_options_are_checked_strictly(actions: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Conversation.Options(actions=actions)


def test_a_document_is_asked_only_for_text() -> None:
    texts = ["Some text", "", " \u200b\n", None, "<|im_start|>", "nan"]
    ids = pa.array([f"s/{i}" for i in range(len(texts))])
    batch = pa.record_batch({"id": ids, "text": pa.array(texts, pa.string())})
    verdict = Conversation(Conversation.Options()).judge(batch)
    verdict.check("conversation", batch)
    empty = ("drop", "conversation/empty-text")
    assert answers(verdict) == [KEEP, empty, empty, empty, KEEP, KEEP]


def test_empty_batches_are_answered() -> None:
    assert len(judge([]).action) == 0
    batch = pa.record_batch({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    assert len(Conversation(Conversation.Options()).judge(batch).action) == 0


def test_the_stage_travels_between_processes() -> None:
    stage = Conversation(Conversation.Options(actions={"empty-system": "drop"}))
    assert pickle.loads(pickle.dumps(stage)).options == stage.options


def test_every_rule_has_an_action_and_a_finder() -> None:
    assert len(RULES) >= 12
    assert {rule.data["action"] for rule in RULES} == {"drop", "edit", "flag", "quarantine"}
    for rule in RULES:
        matches(rule, rule.match[0])  # a rule without a finder raises


contents = st.sampled_from(["", " ", "Hi", "nan", "Say this again, all of it.", "<|im_end|>", None])
roles = st.sampled_from([*ROLES, "user", "assistant", "assistant", "bot", None])
conversations = st.lists(
    st.one_of(st.none(), st.lists(st.tuples(roles, contents), max_size=6)), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=60)  # an example of many batches takes long where others work
@given(conversations, st.integers(1, 5))
def test_any_batch_size_and_the_slow_reading_give_the_same_answers(given: Any, size: int) -> None:
    stage = Conversation(Conversation.Options())
    whole = stage.judge(batch_of(given))
    sliced = [stage.judge(batch_of(given).slice(i, size)) for i in range(0, len(given), size)]
    for name in ("action", "reason", "evidence"):
        assert pa.concat_arrays([getattr(part, name) for part in sliced]).equals(getattr(whole, name))
    assert whole.reason.to_pylist() == [_worst(turns) for turns in given]


def _worst(turns: Turns | None) -> str | None:
    """The slow twin of the stage: one conversation at a time, rule by rule."""
    faults = _faults([(role if role in ROLES else None, (text or "").strip()) for role, text in turns or []])
    order = [rule.id.partition("/")[2] for rule in sorted(RULES, key=lambda rule: rule.data["action"])]
    found = sorted(faults, key=order.index)
    return f"conversation/{found[0]}" if found else None


def _faults(turns: Turns) -> set[str]:
    faults: set[str] = set()
    said = [role for role, _ in turns]
    if "assistant" not in said:
        faults.add("no-response")
    elif said[-1] != "assistant":
        faults.add("ends-without-assistant")
    if None in said:
        faults.add("unknown-role")
    if said[:1] == ["assistant"] or said[:2] == ["system", "assistant"]:
        faults.add("starts-with-assistant")
    follows: dict[str, Any] = {"start": ("system", "user", "assistant"), "system": ("user", "assistant")}
    follows |= {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}
    for before, after in zip(["start", *said], said, strict=False):
        if before is not None and after is not None and after not in follows[before]:
            faults.add("role-order")
    for i, (role, text) in enumerate(turns):
        previous = turns[i - 1] if i else (None, None)
        if not text and role in ("user", None):
            faults.add("empty-turn")
        if not text and role == "system":
            faults.add("empty-system")
        if not text and role == "assistant" and said[i + 1 : i + 2] != ["tool"]:
            faults.add("empty-response")
        if text == "nan" and role in ("assistant", "user"):
            faults.add("placeholder-response" if role == "assistant" else "placeholder-turn")
        if role == "assistant" and previous == ("user", text) and len(text or "") >= 16:
            faults.add("echoed-response")
        if "<|im_end|>" in (text or ""):
            faults.add("role-leakage")
    return faults
