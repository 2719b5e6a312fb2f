"""What an instruction asks for: its verb and that verb's noun, or the word that asks. Lists: rules/tasks.yaml.

The first user turn is read, 160 words of it, sentence by sentence; the first sentence that asks decides.

* A sentence ends with a line, or with ``. ! ? : ;`` before what is no letter or digit. One with a
  word of ``foreign`` and none of ``english`` is passed over.
* Words and phrases of ``lead`` at its beginning are passed over. A verb then, or at the very beginning, tells the task,
  unless a ``blocking`` word follows; else a word that asks, if it is one of ``asking`` or the sentence ends with a
  question mark; else, with a question mark, an auxiliary.
* Failing that, the same behind each comma of a sentence that begins with an ``introduction`` (a verb alone, without
  a question mark) or ends with a question mark; then, with a question mark, any word that asks.
* The noun: words of ``before`` are passed over, and it ends before a comma or a word of ``ends`` (but not one that a
  hyphen joins to the word before it), nine words on at the latest. Its last word is named, in the singular, if it is
  written small, is all letters and is common.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from curate import rules
from curate.kernels import asking
from curate.record import MESSAGES
from curate.rules import Rule
from curate.stages.profiling.lists import Words, made
from curate.stages.profiling.walked import Ints, walk

NO_TOPICS = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)


def told(tasks: Ints, words: Words) -> pa.StringArray:
    """Return the tasks [n, 3] (curate.stages.profiling.walked.Walked) in words, null where none is told."""
    different, place = np.unique(tasks, axis=0, return_inverse=True)
    texts = [
        _text(kind, words.names[word], noun, words) if kind else None
        for kind, word, noun in different.tolist()
    ]
    return pa.array(texts, pa.string()).take(pa.array(place.reshape(-1)))


def _text(kind: int, word: str, noun: int, words: Words) -> str:
    if kind == asking.DO:
        return word if noun < 0 else f"{word} {singular(words.names[noun])}"
    return "question: yes/no" if kind == asking.WHETHER else f"question: {_asking().get(word, word)}"


@cache
def _asking() -> dict[str, str]:
    return {"whats": "what", "whos": "who"}


@cache
def _plurals() -> tuple[dict[str, str], frozenset[str]]:
    data = rules.load("tasks").rule("tasks/noun").data
    return dict(data["singular"]), frozenset(data["same"].split())


@cache
def singular(noun: str) -> str:
    """Return a noun in the singular: as the rule pack lists it, else by its ending."""
    listed, same = _plurals()
    if noun in listed:
        return listed[noun]
    if noun in same or len(noun) < 4 or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return noun
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return noun[:-2] if noun.endswith(("sses", "shes", "ches", "xes", "zzes")) else noun[:-1]


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether an instruction is told to be a task: [instruction, task]. Every word of it counts as common."""
    instruction, task = example
    batch = pa.record_batch({"messages": pa.array([[{"role": "user", "content": instruction}]], MESSAGES)})
    words = made(common=sorted({word for word in _plain(instruction) if word.islower()}))
    found: str | None = told(walk(batch, words, *NO_TOPICS, 0).tasks, words)[0].as_py()
    return bool(found == task)


def _plain(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()
