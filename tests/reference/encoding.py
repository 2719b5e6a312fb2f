"""The slow, readable twin of curate.tuning.encoding: templates written out by hand, tokens cut one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.tuning.contract import DOCUMENT, Text, Turn


@dataclass
class Part:
    """A piece of a rendered conversation."""

    text: str
    special: bool
    kind: str  # opening (of the first question of an exchange) | frame | asked | answer
    exchange: int


@dataclass
class Token:
    """One of its tokens."""

    id: int
    kind: str
    exchange: int


def chatml(turns: Sequence[Turn]) -> list[Part]:
    parts: list[Part] = []
    exchange, first = 0, True
    for turn in turns:
        answer = turn.role == "assistant"
        frame = "opening" if first and not answer else "frame"
        if parts:
            parts.append(Part("\n", False, frame, exchange))
        parts += [
            Part("<|im_start|>", True, frame, exchange),
            Part(f"{turn.role}\n", False, frame, exchange),
            Part(turn.content, False, "answer" if answer else "asked", exchange),
            Part("<|im_end|>", True, "answer" if answer else "frame", exchange),
        ]
        exchange, first = exchange + answer, answer
    return parts


def fallback(turns: Sequence[Turn]) -> list[Part]:
    parts, exchange, first = [Part("<bos>", True, "frame", 0)], 0, True
    for turn in turns:
        answer = turn.role == "assistant"
        if answer:
            parts += [
                Part("<|assistant|>", True, "frame", exchange),
                Part(turn.content, False, "answer", exchange),
                Part("<eos>", True, "answer", exchange),
            ]
        else:
            parts += [
                Part("<|user|>", True, "opening" if first else "frame", exchange),
                Part(turn.content, False, "asked", exchange),
            ]
        exchange, first = exchange + answer, answer
    return parts


def tokens_of(tokenizer: Any, parts: Sequence[Part]) -> list[Token]:
    """Encode special tokens one by one, and what stands between two of them in one piece, as characters."""
    found: list[Token] = []
    run: list[tuple[str, str, int]] = []  # character, kind, exchange

    def flush() -> None:
        said = tokenizer(
            "".join(char for char, _, _ in run),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        for number, (start, end) in zip(said["input_ids"], said["offset_mapping"], strict=True):
            kinds = [kind for _, kind, _ in run[start:end]]
            kind = "answer" if "answer" in kinds else kinds[-1]
            found.append(Token(number, kind, run[end - 1][2]))
        run.clear()

    for part in parts:
        if part.special:
            flush()
            found.append(Token(tokenizer.convert_tokens_to_ids(part.text), part.kind, part.exchange))
        else:
            run.extend((char, part.kind, part.exchange) for char in part.text)
    flush()
    return found


def shortened(tokens: list[Token], bos: int, length: int) -> list[Token]:
    """Drop exchanges, the earliest first; of the last the question's head, and its opening if need be."""
    lead = tokens[:1] if tokens[0].id == bos else []
    rest = tokens[len(lead) :]
    while len(lead) + len(rest) > length and rest[0].exchange < rest[-1].exchange:
        rest = [token for token in rest if token.exchange != rest[0].exchange]
    answer = [token for token in rest if token.kind == "answer"]
    if len(lead) + len(rest) > length and len(answer) + 1 > length:
        return []
    opening = 0
    while rest[opening].kind == "opening":
        opening += 1
    if len(lead) + opening + len(answer) > length:
        opening = 0
    while len(lead) + len(rest) > length and rest[opening].kind != "answer":
        del rest[opening]
    return (lead + rest)[-length:]


def encoded(tokenizer: Any, text: Text, length: int, parts: list[Part]) -> tuple[list[int], list[bool], int]:
    """Return a conversation's ids, which of them are learnt, and the bytes of the answers that are."""
    answers = [turn.content for turn in text.turns if turn.role == "assistant"]
    if not any(answer.strip() for answer in answers):
        return [], [], 0
    tokens = tokens_of(tokenizer, parts)
    if len(tokens) > length:
        tokens = shortened(tokens, tokenizer.bos_token_id, length)
    learnt = [token.kind == "answer" and place > 0 for place, token in enumerate(tokens)]
    if not any(learnt):
        return [], [], 0
    kept = {token.exchange for token, counts in zip(tokens, learnt, strict=True) if counts}
    nbytes = sum(len(answers[exchange].encode()) + 1 for exchange in kept)
    return [token.id for token in tokens], learnt, nbytes


def document(tokenizer: Any, text: Text, length: int) -> tuple[list[int], list[bool], int]:
    """Return a document's ids, with what the tokenizer puts before every text, and its end."""
    assert text.turns[0].role == DOCUMENT
    content = text.turns[0].content
    said = tokenizer(
        content, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    ids, places = list(said["input_ids"]), said["offset_mapping"]
    if not ids:
        return [], [], 0
    opens = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    whole = [*([tokenizer.bos_token_id] if opens else []), *ids, tokenizer.eos_token_id][:length]
    covered = {char for place in places[: length - opens] for char in range(*place)}
    if not opens:
        covered -= set(range(*places[0]))
        covered -= set(range(places[0][1]))
    nbytes = sum(len(content[char].encode()) for char in covered) + (len(whole) == opens + len(ids) + 1)
    return whole, [place > 0 for place in range(len(whole))], nbytes
