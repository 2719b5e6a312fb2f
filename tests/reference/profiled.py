"""The slow, readable twin of what the stage ``profile`` tells of one text: words, groups mentioned, task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from curate import rules
from curate.kernels.chars import ALONE, MARK, WORD, classes
from curate.stages.profiling.tasks import singular

READ, CHUNK, LONGEST = 160, 9, 6


@dataclass(frozen=True)
class Word:
    text: str  # made small
    raw: str
    before: str  # what stands between it and the word before it
    after: str  # and the word behind it

    @property
    def begins(self) -> bool:
        """Tell whether a sentence begins with it."""
        return _stops(self.before, self.raw)

    @property
    def asked(self) -> bool:
        return any(char == "?" and not _plain(self.after[k + 1 : k + 2]) for k, char in enumerate(self.after))


def _plain(following: str) -> bool:
    return following != "" and (following >= "\x80" or following.isalnum())


def _stops(gap: str, raw: str) -> bool:
    text = gap + raw[:1]
    return any(c == "\n" or (c in ".!?:;" and not _plain(text[k + 1 : k + 2])) for k, c in enumerate(gap))


def words(text: str) -> list[Word]:
    """Cut a text into words."""
    spans: list[tuple[int, int]] = []
    kind = -1
    for i, char in enumerate(text):
        mine = int(classes()[ord(char)])
        if spans and spans[-1][1] == i and (mine == MARK or (mine == WORD and kind == WORD)):
            spans[-1] = (spans[-1][0], i + 1)
        elif mine in (WORD, ALONE):
            spans.append((i, i + 1))
            kind = mine
    found = []
    for k, (start, end) in enumerate(spans):
        before = text[spans[k - 1][1] if k else 0 : start]
        after = text[end : spans[k + 1][0] if k + 1 < len(spans) else len(text)]
        small = "".join(char.lower()[0] for char in text[start:end])
        found.append(Word(small, text[start:end], before, after))
    return found


def listed(text: str) -> list[tuple[str, ...]]:
    """Return the parts of a list that commas part, each as its words."""
    return [tuple(word.text for word in words(part)) for part in text.split(",") if part.strip()]


@cache
def _groups() -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Return each word or phrase with its groups and cases."""
    pack = rules.load("representation")
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {one: [] for one in listed(pack.data["ignored"])}
    for rule in pack.rules:
        for case in ("terms", "capital", "upper"):
            for one in listed(rule.data.get(case, "")):
                found.setdefault(one, []).append((rule.id, case))
    return found


def mentions(text: str) -> set[str]:
    """Return the groups that a text mentions."""
    told, k, found = words(text), 0, set()
    while k < len(told):
        size = next(
            (
                n
                for n in range(min(LONGEST, len(told) - k), 0, -1)
                if tuple(one.text for one in told[k : k + n]) in _groups()
                and not any("," in one.before or one.begins for one in told[k + 1 : k + n])
            ),
            0,
        )
        letters = [char for char in told[k].raw if char.isupper() or char.islower()]
        cases = {"terms", *(["capital"] if told[k].raw[0].isupper() else [])}
        if len(letters) > 1 and all(map(str.isupper, letters)):
            cases.add("upper")
        key = tuple(one.text for one in told[k : k + size])
        found |= {group for group, case in _groups().get(key, ()) if case in cases}
        k += max(size, 1)
    return found


@cache
def _lists() -> dict[str, set[str]]:
    pack = rules.load("tasks")
    noun, question = pack.rule("tasks/noun").data, pack.rule("tasks/question").data
    return {
        "verb": set(pack.rule("tasks/verb").data["words"].split()),
        "introduction": set(pack.rule("tasks/introduction").data["words"].split()),
        "question": set(question["words"].split()),
        **{key: set(question[key].split()) for key in ("asking", "auxiliary")},
        **{
            key: set(noun[key].split())
            for key in ("before", "ends", "blocking", "english", "article", "foreign")
        },
    }


def task(text: str, common: set[str]) -> str | None:
    """Return what an instruction asks for; common: the nouns that may be named."""
    told = words(text)[:READ]
    start = 0
    while start < len(told):
        end = start + 1
        while end < len(told) and not told[end].begins:
            end += 1
        found = _sentence(told[start:end], common)
        if found is not None:
            return found
        start = end
    return None


def _sentence(told: list[Word], common: set[str]) -> str | None:
    lists = _lists()
    texts = {one.text for one in told}
    if texts & lists["foreign"] and not texts & lists["english"]:
        return None
    if found := _begun(told, common):
        return found
    asks = told[-1].asked
    if asks or told[0].text in lists["introduction"]:
        for k in range(1, len(told)):
            found = _begun(told[k:], common) if "," in told[k].before else None
            if found is not None and (asks or not found.startswith("question")):
                return found
    return next((_question(one.text) for one in told[1:] if asks and one.text in lists["question"]), None)


def _question(word: str) -> str:
    return f"question: {({'whats': 'what', 'whos': 'who'}).get(word, word)}"


def _begun(told: list[Word], common: set[str]) -> str | None:
    lists, asks = _lists(), told[-1].asked
    for rest in (_led(told), told):
        if not rest:
            continue
        first, following = rest[0].text, rest[1].text if len(rest) > 1 else ""
        if first in lists["verb"] and following not in lists["blocking"]:
            return f"{first} {_noun(rest[1:], common)}".strip()
        if first in lists["asking"] or (asks and first in lists["question"]):
            return _question(first)
        if asks and first in lists["auxiliary"]:
            return "question: yes/no"
    return None


def _led(told: list[Word]) -> list[Word]:
    leads = set(listed(rules.load("tasks").rule("tasks/lead").data["words"]))
    while told:
        size = next((n for n in range(LONGEST, 0, -1) if tuple(one.text for one in told[:n]) in leads), 0)
        if not size:
            break
        told = told[size:]
    return told


def _noun(told: list[Word], common: set[str]) -> str:
    lists, article, k, head = _lists(), False, 0, None
    while k < len(told) and told[k].text in lists["before"] and "," not in told[k].before:
        article = told[k].text in lists["article"]
        k += 1
    for place in range(k, min(len(told), k + CHUNK)):
        word = told[place]
        hyphened = place > k and len(word.before.encode()) == 1 and word.before not in " ,\n"
        if word.text in lists["ends"] and not hyphened:
            break
        if "," in word.before and not (article and place == k + 1):
            break
        if len(word.raw.encode()) > 1:
            head = word
    if head is None or head.raw not in common or not head.raw.isalpha() or any(map(str.isupper, head.raw)):
        return ""
    return singular(head.raw)
