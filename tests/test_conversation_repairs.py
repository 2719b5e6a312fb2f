"""Damage that the stage conversation undoes, and what it leaves alone."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from ftfy.badness import is_bad
from reference import repairs as slow

from curate import record, rules
from curate.record import MESSAGES
from curate.stages.conversation import Conversation
from curate.stages.conversing.repairs import (
    CONTROLS,
    LEAKED,
    MIXED,
    MOJIBAKE,
    NEWLINES,
    REPAIRS,
    mended,
    prefilter,
)
from curate.stages.conversing.turns import found

PACK = rules.load("conversation")
ALL = dict.fromkeys(REPAIRS, True)
Turn = tuple[str, str | None]


def mend(text: str, *asked: str) -> str:
    return mended(text, dict.fromkeys(asked, True), lambda: text)[0]


def batch(*conversations: list[Turn], rejected: list[list[Turn] | None] | None = None) -> pa.RecordBatch:
    def column(listed: Any) -> pa.Array:
        told = [None if one is None else [{"role": r, "content": c} for r, c in one] for one in listed]
        return pa.array(told, MESSAGES)

    columns = {"id": pa.array([f"s/{i}" for i in range(len(conversations))], pa.string())}
    columns["messages"] = column(conversations)
    if rejected is not None:
        columns["rejected"] = column(rejected)
    return pa.record_batch(columns)


def judge(given: pa.RecordBatch, **options: Any) -> Any:
    verdict = Conversation(Conversation.Options(**options)).judge(given)
    verdict.check("conversation", given)
    return verdict


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [(rule.id, *pair) for rule in PACK.rules for pair in rule.data.get("repairs", ())],
)
def test_every_repair_makes_of_its_examples_what_the_pack_says(rule: str, before: str, after: str) -> None:
    assert mend(before, rule) == after
    assert mend(after, rule) == after


PIECES = [
    *(
        "café ",
        "naïve ",
        "Straße",
        "Ïðèâåò ",
        "3 °C ",
        "“so” ",
        "CafÃ©",
        "Ã",
        "â\x80\x99",
        "â€™",
        "\ufffd",
        "\n",
        ".",
    ),
    *(
        "\x00",
        "\x07",
        "\x08",
        "\x0b",
        "\x0c",
        "\x1b",
        "\x1b[1m",
        "\x1b]0;t\x07",
        "\x1e",
        "\x7f",
        "\x85",
        "\x92",
        "\x81",
    ),
    *(
        "rac{1}{2}",
        "eta ",
        "lpha",
        "a",
        "b",
        "_",
        "/",
        "\\n",
        "\\n\\n",
        "- ",
        "End.",
        "`",
        "```",
        "<|im_end|>",
        "\t",
    ),
]


def fuzz(seed: int, texts: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 9))) for _ in range(texts)]


def test_mending_twice_is_mending_once() -> None:
    for text in fuzz(1, 3000):
        once, _ = mended(text, ALL, lambda text=text: text)  # type: ignore[misc]
        assert mended(once, ALL, lambda once=once: once)[0] == once, ascii(text)  # type: ignore[misc]


def test_control_characters_go_as_the_slow_twin_says() -> None:
    for text in fuzz(2, 3000):
        assert mend(text, CONTROLS) == slow.controls(text), ascii(text)


def test_no_text_with_damage_is_left_out_by_the_prefilter() -> None:
    texts = fuzz(3, 1500)
    hits = found(pa.array(texts), prefilter()).tolist()
    for text, hit in zip(texts, hits, strict=True):
        controlled = any((ord(c) < 32 and c not in "\t\n\r") or 0x7F <= ord(c) < 0xA0 for c in text)
        assert hit == (controlled or is_bad(text)), ascii(text)


SENTENCES = [
    "Der Fluß ist breit, und über ihm hängt Nebel.",
    "L'été, la forêt était déjà très sèche, paraît-il.",
    "El niño comió una manzana en el jardín; ¿qué más?",
    "Het café “De Brug” kost € 5 – zei hij …",
    "Приветствуем всех, кто читает эту книгу.",
    "東京は今日も雨です。",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("encoding", ["latin-1", "sloppy-windows-1252"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_was_read_in_a_wrong_encoding_comes_back_whole(sentence: str, encoding: str, times: int) -> None:
    damaged = sentence
    for _ in range(times):
        damaged = damaged.encode().decode(encoding)
    assert mend(damaged, MOJIBAKE) == sentence
    assert mend(sentence, MOJIBAKE, MIXED, CONTROLS) == sentence


def test_repairs_are_edits_with_their_reasons_and_keep_the_turns() -> None:
    sound: list[Turn] = [("user", "How warm?"), ("assistant", "5 °C.")]
    broken: list[Turn] = [("system", None), ("user", "CafÃ©?\x00"), ("assistant", "5 Â°C.")]
    verdict = judge(batch(sound, broken), actions={"empty-system": "keep"})
    assert verdict.action.to_pylist() == ["keep", "edit"]
    assert verdict.reason.to_pylist() == [None, "conversation/mojibake"]
    assert json.loads(verdict.evidence[1].as_py()) == {"count": 2, "turns": [1, 2]}
    assert [(d.action, d.reason, d.evidence) for d in verdict.also] == [
        ("edit", "conversation/control-characters", {"count": 1, "turns": [1]})
    ]
    assert verdict.edited.to_pylist()[1] == [
        {"role": "system", "content": None},
        {"role": "user", "content": "Café?"},
        {"role": "assistant", "content": "5 °C."},
    ]


def test_rejected_replies_are_mended_beside_the_messages() -> None:
    ours: list[Turn] = [("user", "How warm?"), ("assistant", "5 °C.")]
    given = batch(ours, ours, rejected=[[("assistant", "6 Â°C.")], None])
    verdict = judge(given)
    assert verdict.action.to_pylist() == ["edit", "keep"]
    assert json.loads(verdict.evidence[0].as_py()) == {"count": 1, "rejected": [0]}
    assert verdict.edited.equals(record.content(given))
    assert verdict.beside["rejected"].to_pylist() == [[{"role": "assistant", "content": "6 °C."}], None]


def test_documents_are_mended_too() -> None:
    texts = ["It is 5 Â°C.", "sound", "a\x00b", "lost \ufffd", None]
    given = pa.record_batch({"id": pa.array(list("abcde")), "text": pa.array(texts, pa.string())})
    verdict = judge(given)
    assert verdict.action.to_pylist() == ["edit", "keep", "edit", "flag", "drop"]
    assert verdict.edited.to_pylist()[:3] == ["It is 5 °C.", "sound", "ab"]


def test_without_repair_the_same_finds_are_flagged() -> None:
    given = batch([("user", "Hi\x00"), ("assistant", "5 Â°C.")])
    verdict = judge(given, repair=False)
    assert verdict.edited is None
    assert verdict.action.to_pylist() == ["flag"]
    assert {verdict.reason[0].as_py(), *(d.reason for d in verdict.also)} == {MOJIBAKE, CONTROLS}
    verdict = judge(given, actions={"mojibake": "drop", "control-characters": "keep"})
    assert (verdict.action.to_pylist(), verdict.reason.to_pylist()) == (["drop"], [MOJIBAKE])


def test_what_a_repair_leaves_empty_is_dropped_as_empty() -> None:
    verdict = judge(batch([("user", "Hi"), ("assistant", "\x00\x1b[0m")]))
    assert (verdict.action.to_pylist(), verdict.reason.to_pylist()) == (
        ["drop"],
        ["conversation/empty-response"],
    )


def test_a_leaked_turn_is_cut_off_only_where_asked_for_and_nobody_speaks_of_marks() -> None:
    leaked = "Hello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>"
    plain: list[Turn] = [("user", "Hi"), ("assistant", leaked)]
    about: list[Turn] = [("user", "Write ChatML, with <|im_start|>."), ("assistant", leaked)]
    code: list[Turn] = [("user", "Hi"), ("assistant", f"```\n{leaked}\n```")]
    given = batch(plain, about, code, rejected=[None, None, [("assistant", "No.</s>")]])
    assert judge(given).edited is None
    verdict = judge(given, actions={"leaked-turn": "edit"})
    assert verdict.action.to_pylist() == ["edit", "flag", "edit"]
    assert verdict.edited.to_pylist()[0][1]["content"] == "Hello."
    assert verdict.edited.to_pylist()[1:] == record.content(given).to_pylist()[1:]
    assert verdict.beside["rejected"].to_pylist()[2][0]["content"] == "No."


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint('a\\nb\\nc')\n```",
        "print('Done.\\nNext.\\n')",
        "The regex \\bword\\b and \\x1b[31m stay as they are.",
        "x = \\frac{1}{2} and \\nabla f and \\nu",
        "def f():\r\n\treturn 1\r\n",
    ],
)
def test_code_that_is_written_out_is_left_alone(text: str) -> None:
    assert mended(text, dict.fromkeys([MOJIBAKE, MIXED, CONTROLS, NEWLINES, LEAKED], True), lambda: text) == (
        text,
        {},
    )


def test_any_batch_size_mends_alike() -> None:
    texts = fuzz(4, 120)
    conversations: list[list[Turn]] = [[("user", "Hi"), ("assistant", text)] for text in texts]
    given = batch(*conversations)
    stage = Conversation(Conversation.Options(actions={"mojibake-mixed": "edit", "leaked-turn": "edit"}))
    whole = stage.judge(given)
    assert whole.edited is not None
    for start in range(0, len(texts), 7):
        part = stage.judge(given.slice(start, 7))
        for name in ("action", "reason", "evidence"):
            assert getattr(part, name).equals(getattr(whole, name).slice(start, 7))
        edited = record.content(given.slice(start, 7)) if part.edited is None else part.edited
        assert edited.to_pylist() == whole.edited.slice(start, 7).to_pylist()
