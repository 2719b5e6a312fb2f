"""Conversations as a base's chat template writes them, and where in them the answers stand.

What a template refuses or leaves out is written otherwise, in the first of these forms that it takes:

1. as it is;
2. *folded*: system text stands at the head of the next user's turn, a tool's turn is the user's;
3. *alternating*: folded, neighbouring turns of one role joined, an empty user's turn before a first answer;
4. *bare*: folded, in our own template (:data:`FALLBACK`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

from curate.tuning.contract import Turn
from curate.tuning.specials import NAME, Specials, plain, specials

FALLBACK = (
    "{{ bos_token or '' }}{% for turn in messages %}{% if turn['role'] == 'assistant' %}<|assistant|>"
    "{{ turn['content'] }}{{ eos_token or '' }}{% else %}<|user|>{{ turn['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ANSWER = "assistant"
# Llama 3's templates write the day; the same text must give the same tokens tomorrow. Theirs where none is known.
_DAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro +%}"

Turns: TypeAlias = Sequence[Turn]
Form: TypeAlias = Callable[[Turns], list[Turn]]


class Rendered(NamedTuple):
    """A conversation as text, special tokens named (see :mod:`curate.tuning.specials`)."""

    text: str
    answers: tuple[tuple[int, int], ...]  # characters of each, its end of turn included: start, end
    heads: tuple[int, ...]  # where what was said before each answer begins, behind the template's words
    nbytes: tuple[int, ...]  # UTF-8 bytes of each, one more where the end of its turn is learnt


def dated(template: str) -> str:
    """Return a template that writes one day, whatever day it is."""
    return _DAY + template if "strftime_now" in template else template


class Template:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.specials: Specials = specials(tokenizer)
        self._text = dated(tokenizer.get_chat_template())
        self._known: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = {}

    def render(self, conversations: Sequence[Turns]) -> list[Rendered]:
        """Return conversations, each of which :func:`answered` has cut behind its last answer."""
        wanted = [self._formed(turns) for turns in conversations]
        asked: dict[int, list[list[Turn]]] = {}  # by level: every conversation up to each of its answers
        for level, _, turns in wanted:
            asked.setdefault(level, []).extend(_prefixes(turns))
        written = {level: iter(self._write_all(level, prefixes)) for level, prefixes in asked.items()}
        found = []
        for level, headers, turns in wanted:
            pairs = [next(written[level]) for _ in _prefixes(turns)]
            whole = [pair for pair in pairs if pair is not None]
            if len(whole) < len(pairs):  # refused for what it says
                found.append(self._otherwise(level, turns))
            else:
                found.append(_located(turns, whole, headers))
        return found

    def prompt(self, turns: Turns) -> str:
        """Return a conversation up to where its next answer begins, special tokens named."""
        level, _, whole = self._formed([*turns, Turn(ANSWER, "")])
        for step in range(level, len(_FORMS)):
            pair = self._write(step, whole if step == level else _FORMS[step](whole))
            if pair is not None:
                return pair[0]
        raise AssertionError("our own template takes every conversation")

    def calling(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> Rendered | None:
        """Return a conversation whose turns have keys beyond role and content, such as calls; None where it cannot be.

        It is written as it is, up to its last answer. That cannot be where the template refuses it, or writes earlier
        turns otherwise once others follow: where an answer stands is then not known.
        """
        places = [place for place, turn in enumerate(turns) if turn["role"] == ANSWER]
        hidden = [self._hidden(turn) for turn in turns]
        how = {"chat_template": self._text, "tools": self._hidden(tools), "tokenize": False}
        answers: list[tuple[int, int]] = []
        text, begin = "", 0
        heads = []
        for place in places:
            try:
                written = [
                    self._tokenizer.apply_chat_template(part, add_generation_prompt=asked, **how)
                    for part, asked in ((hidden[:place], True), (hidden[: place + 1], False))
                ]
            except Exception:  # noqa: BLE001  a template raises what it likes
                return None
            prompt, whole = map(self.specials.shown, written)
            if not (prompt.startswith(text) and whole.startswith(prompt)):
                return None
            heads.append(begin)
            text, begin = whole, _end(whole, len(prompt), len(whole))
            answers.append((len(prompt), begin))
        nbytes = [len(text[start:end].encode()) for start, end in answers]
        return Rendered(text[:begin], tuple(answers), tuple(heads), tuple(nbytes)) if answers else None

    def _hidden(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.specials.hide(value)
        if isinstance(value, Mapping):
            return {key: self._hidden(inner) for key, inner in value.items()}
        return [self._hidden(inner) for inner in value] if isinstance(value, list | tuple) else value

    def _formed(self, turns: Turns) -> tuple[int, tuple[str, ...], list[Turn]]:
        """Return the form that such a conversation takes, what the template writes before it, and its turns."""
        roles = tuple(turn.role for turn in turns)
        if roles not in self._known:
            self._known[roles] = self._probe(roles)
        level, headers = self._known[roles]
        return level, headers, _FORMS[level](turns)

    def _probe(self, roles: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        """Return the first form that the template takes and of which it leaves nothing out, and its headers.

        A header is what the template writes between an answer, or the start, and what is said next.
        """
        words = [f"word{place}word" for place in range(len(roles))]
        turns = [Turn(role, word) for role, word in zip(roles, words, strict=True)]
        for level, form in enumerate(_FORMS):
            formed = form(turns)
            pairs = [self._write(level, prefix) for prefix in _prefixes(formed)]
            whole = [pair for pair in pairs if pair is not None]
            if len(whole) == len(pairs) and _holds(whole[-1][1], words):
                return level, _headers(formed, _located(formed, whole, ()))
        raise AssertionError("our own template takes every conversation")

    def _otherwise(self, level: int, turns: list[Turn]) -> Rendered:
        for step in range(level + 1, len(_FORMS)):
            formed = _FORMS[step](turns)
            pairs = [self._write(step, prefix) for prefix in _prefixes(formed)]
            whole = [pair for pair in pairs if pair is not None]
            if len(whole) == len(pairs):
                return _located(formed, whole, ())
        raise AssertionError("our own template takes every conversation")

    def _write_all(self, level: int, prefixes: list[list[Turn]]) -> list[tuple[str, str] | None]:
        """Return each conversation up to its last answer, and with it; None where the template refuses."""
        try:
            prompts = self._apply(level, [prefix[:-1] for prefix in prefixes], True)
            wholes = self._apply(level, prefixes, False)
        except Exception:  # noqa: BLE001  a template raises what it likes: some conversation is refused
            return [self._write(level, prefix) for prefix in prefixes]
        return list(zip(prompts, wholes, strict=True))

    def _write(self, level: int, prefix: list[Turn]) -> tuple[str, str] | None:
        try:
            return (
                self._apply(level, [prefix[:-1]], True)[0],
                self._apply(level, [prefix], False)[0],
            )
        except Exception:  # noqa: BLE001  a template raises what it likes
            return None

    def _apply(self, level: int, conversations: Sequence[Turns], prompting: bool) -> list[str]:
        hide = self.specials.hide
        messages = [
            [{"role": turn.role, "content": hide(turn.content)} for turn in turns] for turns in conversations
        ]
        bare = level == len(_FORMS) - 1
        written = self._tokenizer.apply_chat_template(
            messages,
            chat_template=FALLBACK if bare else self._text,
            tokenize=False,
            add_generation_prompt=prompting,
        )
        return [self.specials.shown(text) for text in written]


@lru_cache(maxsize=4)
def _template(tokenizer: Any, text: str) -> Template:
    return Template(tokenizer)


def template(tokenizer: Any) -> Template:
    """Return a tokenizer's chat template, with what is known of it."""
    return _template(tokenizer, str(tokenizer.chat_template))


def answered(turns: Turns) -> list[Turn]:
    """Return a conversation up to its last answer; none where no answer says anything."""
    places = [place for place, turn in enumerate(turns) if turn.role == ANSWER]
    if not any(turns[place].content.strip() for place in places):
        return []
    return [Turn(turn.role, plain(turn.content)) for turn in turns[: places[-1] + 1]]


def _prefixes(turns: list[Turn]) -> list[list[Turn]]:
    return [turns[: place + 1] for place, turn in enumerate(turns) if turn.role == ANSWER]


def _holds(text: str, words: Sequence[str]) -> bool:
    places = [text.find(word) for word in words]
    return min(places) >= 0 and places == sorted(places)


def _headers(turns: list[Turn], told: Rendered) -> tuple[str, ...]:
    found, begin, place = [], 0, 0
    for start, end in told.answers:
        found.append(told.text[begin : max(told.text.find(turns[place].content, begin, start), begin)])
        begin = end
        place = next(i for i in range(place, len(turns)) if turns[i].role == ANSWER) + 1
    return tuple(found)


def _folded(turns: Turns) -> list[Turn]:
    found: list[Turn] = []
    system: list[str] = []
    for turn in turns:
        if turn.role == "system":
            system.append(turn.content)
        elif turn.role == ANSWER:
            found += [*([Turn("user", "\n\n".join(system))] if system else []), turn]
            system = []
        else:
            found.append(Turn("user", "\n\n".join([*system, turn.content])))
            system = []
    return found


def _alternating(turns: Turns) -> list[Turn]:
    joined = [
        Turn(role, "\n\n".join(turn.content for turn in group))
        for role, group in groupby(_folded(turns), key=lambda turn: turn.role)
    ]
    return [Turn("user", ""), *joined] if joined and joined[0].role == ANSWER else joined


_FORMS: tuple[Form, ...] = (list, _folded, _alternating, _folded)


def _located(turns: list[Turn], pairs: list[tuple[str, str]], headers: tuple[str, ...]) -> Rendered:
    """Find the answers in a rendered conversation.

    An answer is what stands in the conversation with it and not in the prompt for it. Some templates write earlier
    turns otherwise once others follow, or a prompt that no answer continues: there the answer's own characters
    are looked for, and of an earlier one that is not found, or of its end, nothing is learnt.
    """
    text = pairs[-1][1]
    said = [place for place, turn in enumerate(turns) if turn.role == ANSWER]
    answers: list[tuple[int, int]] = []
    heads, nbytes = [], []
    begin = 0
    known = headers or ("",) * len(said)
    for place, (prompt, whole), header in zip(said, pairs, known, strict=True):
        last = place == said[-1]
        content, found = _content(turns[place].content, whole)
        if text.startswith(whole) and whole.startswith(prompt):
            start, end = len(prompt), _end(text, len(prompt), len(whole))
        elif last:
            at = text.rfind(content, begin) if content else -1
            start, end = max(at, begin), _end(text, begin, len(text))
        else:
            at = text.find(content, begin) if content else -1
            start, end = (at, at + len(content)) if at >= 0 else (begin, begin)
        answers.append((start, end))
        heads.append(begin + len(header) if text.startswith(header, begin, start) else begin)
        nbytes.append(found + text.endswith(NAME, start, end) if end > start else 0)
        begin = max(end, begin)
    return Rendered(text[: answers[-1][1]], tuple(answers), tuple(heads), tuple(nbytes))


def _content(content: str, whole: str) -> tuple[str, int]:
    """Return an answer as the template wrote it, and its bytes: some strip white space at its ends."""
    written = content if content in whole else content.strip()
    return written, len(written.encode())


def _end(text: str, start: int, end: int) -> int:
    """Return where an answer ends: behind its end-of-turn token, without the white space that follows that."""
    stripped = start + len(text[start:end].rstrip())
    return stripped if text.endswith(NAME, start, stripped) else end
