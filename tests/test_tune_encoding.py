from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from bases import CHATML, FORGETFUL, STRICT, Stand, foreign, said, tokenizer
from reference import encoding as twin

from curate.tuning.contract import DOCUMENT, Encoded, Text, Turn
from curate.tuning.encoding import encode, prompt
from curate.tuning.templates import FALLBACK

ODD = [
    "<|assistant|>",
    "<eos>",
    "<|im_end|>",
    "<|im_start|>",
    "🙂",
    "é",
    "漢字",
    "\U0010ffff",
    "<",
    "  ",
    "\n\n",
]


@pytest.fixture(scope="module")
def chatml() -> Stand:
    return Stand(tokenizer(CHATML))


@pytest.fixture(scope="module")
def bare() -> Stand:
    return Stand(tokenizer(FALLBACK, bos=True))


def text(*turns: tuple[str, str], key: str = "s a.jsonl:1") -> Text:
    return Text(key, tuple(Turn(*turn) for turn in turns), "s")


def one(base: Any, given: Text, length: int = 200) -> tuple[list[int], list[bool], int]:
    found = encode(base, [given], length)
    ids, learnt = found.of(0)
    return ids.tolist(), learnt.tolist(), int(found.nbytes[0])


def shown(base: Any, given: Text, length: int = 200) -> tuple[str, str]:
    """Return the whole and what is learnt of it."""
    ids, learnt, _ = one(base, given, length)
    return (
        base.tokenizer.decode(ids),
        base.tokenizer.decode([i for i, counts in zip(ids, learnt, strict=True) if counts]),
    )


def drawn(seed: int, roles: str = "usa") -> Text:
    rng = random.Random(seed)
    names = {"u": "user", "s": "system", "a": "assistant", "t": "tool"}
    turns = [Turn(names[rng.choice(roles)], said(rng, ODD)) for _ in range(rng.randrange(1, 7))]
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if not turns:
        turns = [Turn("user", said(rng, ODD)), Turn("assistant", said(rng, ODD))]
    return Text(
        f"key {seed}",
        tuple(turn._replace(content=turn.content.replace("\U0010ffff", "")) for turn in turns),
        "s",
    )


@pytest.mark.parametrize("length", [12, 30, 400])
@pytest.mark.parametrize("form", ["chatml", "fallback"])
def test_a_conversation_has_the_tokens_that_its_template_written_out_by_hand_has(
    form: str, length: int, chatml: Stand, bare: Stand
) -> None:
    base, write = (chatml, twin.chatml) if form == "chatml" else (bare, twin.fallback)
    texts = [drawn(seed) for seed in range(150)]
    found = encode(base, texts, length)  # type: ignore[arg-type]
    cut = 0
    for place, given in enumerate(texts):
        ids, learnt = found.of(place)
        wanted = twin.encoded(base.tokenizer, given, length, write(given.turns))
        assert (ids.tolist(), learnt.tolist(), int(found.nbytes[place])) == wanted, given
        cut += len(ids) == length
    assert cut > 10 or length == 400


@pytest.mark.parametrize("length", [2, 5, 9, 400])
@pytest.mark.parametrize("bos", [True, False])
def test_of_a_document_the_first_tokens_are_learnt(bos: bool, length: int) -> None:
    base = Stand(tokenizer(FALLBACK, bos=bos))
    rng = random.Random(1)
    texts = [text((DOCUMENT, said(rng, ODD[:-4]))) for _ in range(60)]
    found = encode(base, texts, length)  # type: ignore[arg-type]
    for place, given in enumerate(texts):
        ids, learnt = found.of(place)
        wanted = twin.document(base.tokenizer, given, length)
        assert (ids.tolist(), learnt.tolist(), int(found.nbytes[place])) == wanted


def test_of_a_book_the_first_tokens_are_those_of_the_whole(bare: Stand) -> None:
    for book in ("river " * 5000, " " * 9000 + "river stone", "é" * 3000):
        ids, _, nbytes = one(bare, text((DOCUMENT, book)), 40)
        whole, learnt, size = twin.document(bare.tokenizer, text((DOCUMENT, book)), 40)
        assert (ids, nbytes) == (whole, size)
        assert sum(learnt) == 39


def test_only_answers_and_the_ends_of_their_turns_are_learnt(chatml: Stand, bare: Stand) -> None:
    given = text(("user", "river"), ("assistant", "stone"), ("user", "window"), ("assistant", "garden"))
    assert shown(chatml, given)[1] == "stone<|im_end|>garden<|im_end|>"
    assert shown(bare, given) == (
        "<bos><|user|>river<|assistant|>stone<eos><|user|>window<|assistant|>garden<eos>",
        "stone<eos>garden<eos>",
    )
    assert one(bare, given)[2] == len("stone") + 1 + len("garden") + 1


def test_a_special_token_in_data_stays_plain_text(chatml: Stand) -> None:
    given = text(("user", "<|im_end|><|im_start|>assistant\nriver"), ("assistant", "stone<|im_end|><eos>"))
    ids, learnt, nbytes = one(chatml, given)
    special = {chatml.tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<eos>")}
    assert sum(i in special for i in ids) == 2  # one end for each turn, the template's own
    assert shown(chatml, given)[1] == "stone<|im_end|><eos><|im_end|>"
    assert nbytes == len("stone<|im_end|><eos>") + 1
    assert sum(learnt) > 3


@pytest.mark.parametrize("template", [FALLBACK, CHATML, STRICT])
@pytest.mark.parametrize("kind", ["metaspace", "prepended", "unigram"])
def test_other_tokenizers_give_the_tokens_that_transformers_gives(kind: str, template: str) -> None:
    base = Stand(foreign(kind, template))
    turns = [
        ("user", "river é🙂  stone"),
        ("assistant", " garden market"),
        ("user", "copper"),
        ("assistant", "violin"),
    ]
    wanted = base.tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns], return_dict=False
    )
    ids, learnt, _ = one(base, text(*turns))
    assert ids == wanted[: len(ids)]
    assert len(wanted) - len(ids) <= 2  # the line break behind the last end of turn
    assert prompt(base, [Turn(*turn) for turn in turns[:3]]) == ids[: len(learnt) - learnt[::-1].index(False)]  # type: ignore[arg-type]
    special = {
        base.tokenizer.convert_tokens_to_ids(name)
        for name in ("<bos>", "<eos>", "<|im_start|>", "<|im_end|>")
    }
    odd = one(base, text(*((role, f"<eos>{content} <|im_end|>") for role, content in turns)))[0]
    assert sum(i in special for i in odd) == sum(i in special for i in ids)


def test_a_prompt_is_what_stands_before_the_answer(chatml: Stand, bare: Stand) -> None:
    for base in (chatml, bare):
        for seed in range(40):
            given = drawn(seed, "ua")
            if (
                sum(turn.role == "assistant" for turn in given.turns) > 1
                or not given.turns[-1].content.strip()
            ):
                continue
            ids, learnt, _ = one(base, given, 1000)
            asked = prompt(base, given.turns[:-1])  # type: ignore[arg-type]
            assert asked == ids[: learnt.index(True)]
            short = prompt(base, given.turns[:-1], 4)  # type: ignore[arg-type]
            assert short[-3:] == asked[-3:]
            assert len(short) == min(4, len(asked))


def test_what_a_template_refuses_is_said_otherwise_and_nothing_is_left_out() -> None:
    strict = Stand(tokenizer(STRICT, bos=True))
    cases = {
        text(("system", "river"), ("user", "stone"), ("assistant", "window")): (
            "<bos><|im_start|>user\nriver\n\nstone<|im_end|>\n<|im_start|>assistant\nwindow<|im_end|>"
        ),
        text(("user", "river"), ("tool", "stone"), ("assistant", "window")): (
            "<bos><|im_start|>user\nriver\n\nstone<|im_end|>\n<|im_start|>assistant\nwindow<|im_end|>"
        ),
        text(("assistant", "river")): (
            "<bos><|im_start|>user\n<|im_end|>\n<|im_start|>assistant\nriver<|im_end|>"
        ),
    }
    for given, whole in cases.items():
        found, learnt = shown(strict, given)
        assert found == whole
        assert learnt == f"{given.turns[-1].content}<|im_end|>"
    # a template that says nothing of it leaves a system's turn out; then it is the user's
    assert shown(Stand(tokenizer(FORGETFUL)), next(iter(cases)))[0].startswith(
        "<|im_start|>user\nriver\n\nstone<|im_end|>"
    )


def test_a_conversation_that_no_form_pleases_is_written_in_our_own_template() -> None:
    never = Stand(tokenizer("{{ raise_exception('no') }}", bos=True))
    given = text(("user", "river"), ("assistant", "stone"))
    assert shown(never, given) == ("<bos><|user|>river<|assistant|>stone<eos>", "stone<eos>")
    picky = Stand(
        tokenizer("{% if 'river' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}" + CHATML)
    )
    both = encode(picky, [given, text(("user", "window"), ("assistant", "stone"))], 99)  # type: ignore[arg-type]
    assert picky.tokenizer.decode(both.of(0)[0]).startswith("<bos><|user|>")
    assert picky.tokenizer.decode(both.of(1)[0]).startswith("<|im_start|>user")


def test_a_template_that_rewrites_earlier_turns_teaches_what_it_wrote() -> None:
    base = Stand(tokenizer(FORGETFUL))
    given = text(("user", "river"), ("assistant", "stone"), ("user", "window"), ("assistant", "garden "))
    whole, learnt = shown(base, given)
    assert whole == (
        "<|im_start|>user\nriver<|im_end|>\n<|im_start|>assistant\nstone<|im_end|>\n"
        "<|im_start|>user\nwindow<|im_end|>\n<|im_start|>assistant\n<think></think>garden <|im_end|>"
    )
    assert learnt == "stone</think>garden <|im_end|>"  # of the earlier one the end stands elsewhere
    assert one(base, given)[2] == len("stone") + len("garden ") + 1


def test_the_answer_is_kept_whole_and_the_question_loses_its_head(bare: Stand, chatml: Stand) -> None:
    given = text(("user", "river stone window " * 30), ("assistant", "garden market"))
    for base, opens in ((bare, "<bos><|user|>"), (chatml, "<|im_start|>user\n")):
        whole, learnt = shown(base, given, 20)
        assert len(one(base, given, 20)[0]) == 20
        assert whole.startswith(opens)
        assert learnt.startswith("garden market<")
        size = sum(one(base, given)[1])
        assert one(base, given, size) == ([], [], 0)
        assert one(base, given, size + 1)[1] == [False] + [True] * size


def test_of_a_long_conversation_the_earliest_exchanges_go_first(bare: Stand) -> None:
    turns = [
        (role, f"{word} {word}") for word in ("river", "stone", "window") for role in ("user", "assistant")
    ]
    whole = one(bare, text(*turns))
    cut, learnt = shown(bare, text(*turns), len(whole[0]) - 1)
    assert (
        cut
        == "<bos><|user|>stone stone<|assistant|>stone stone<eos><|user|>window window<|assistant|>window window<eos>"
    )
    assert learnt == "stone stone<eos>window window<eos>"


@pytest.mark.parametrize(
    "given",
    [
        text(("user", "river")),
        text(("user", "river"), ("assistant", " \n")),
        text((DOCUMENT, "")),
        Text("k", (), "s"),
    ],
)
def test_a_text_without_anything_to_learn_has_no_tokens(bare: Stand, given: Text) -> None:
    assert one(bare, given) == ([], [], 0)


def test_keys_and_groups_say_which_record_and_source(bare: Stand) -> None:
    texts = [Text(f"{source} {i}", (Turn("assistant", "stone"),), source) for i in (1, 2) for source in "ba"]
    found = encode(bare, texts, 50)  # type: ignore[arg-type]
    assert found.groups.tolist() == [1, 0, 1, 0]
    assert len(set(found.keys.tolist())) == 4
    again = encode(bare, texts[::-1], 50)  # type: ignore[arg-type]
    assert again.keys.tolist() == found.keys.tolist()[::-1]
    assert isinstance(found, Encoded)
    assert len(encode(bare, [], 50)) == 0  # type: ignore[arg-type]


def test_the_day_of_the_run_is_in_no_token() -> None:
    dated = Stand(tokenizer("{{ strftime_now('%d %b %Y') }}" + CHATML))
    assert shown(dated, text(("user", "river"), ("assistant", "stone")))[0].startswith(
        "26 Jul 2024<|im_start|>"
    )


def test_encoding_keeps_pace(bare: Stand) -> None:
    texts = [drawn(seed % 50) for seed in range(1000)]
    encode(bare, texts[:50], 200)  # type: ignore[arg-type]
    started = time.process_time()
    found = encode(bare, texts, 200)  # type: ignore[arg-type]
    assert time.process_time() - started < 4  # measured: 0.3 s; 1,000 texts
    assert np.count_nonzero(found.lengths) > 900
