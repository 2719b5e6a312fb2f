"""The datasheet's section on diversity: what the records ask for, what they are about, how long they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curate.govern.datasheet.blocks import Bar, Block, Cell, Chart, Line, Section, say, table
from curate.govern.datasheet.values import Held, Value, decimal, percent, share, show

STAGE = "profile"
MISSING = (
    "Not counted: no stage `profile` stood in the recipe. With `- profile` as its first stage, tasks, topics, lengths "
    "and mentions are counted before and after each filter."
)
ERASED = (
    "Not counted: records were erased on request from a release that keeps no `removed/`, without which tasks, topics, "
    "lengths and mentions before the stages cannot be counted again."
)
_BEFORE_AFTER = "Wide bar: before the stages. Narrow bar: in the release."
_MOST_PARTS = {"prompt": "prompts", "response": "responses"}


def section(m: Held) -> Section:
    """Return the section; how to get one, where the recipe lacks the stage."""
    held = m.get("diversity")
    if held is None:
        ran = any(stage.value["name"] == STAGE for stage in m["stages"])
        return Section("diversity", "Diversity", (say(ERASED if ran else MISSING),))
    blocks = (*_first(held), *_verbs(held), *_questions(held), *_topics(held), *_lengths(held), *_turns(held))
    return Section("diversity", "Diversity", blocks)


def _first(held: Held) -> Iterator[Block]:
    records, tasks, topics = held["records"], held["tasks"], held["topics"]
    yield say(
        "Told by lists of English words and by clusters of a sample (stage `profile`), of ",
        show(records["before"]),
        " records before the stages that follow it and ",
        show(records["after"]),
        " in the release. An effective number of kinds is how many equally frequent kinds would be as diverse (Hill "
        "number of order one).",
    )
    rows: list[tuple[Cell, ...]] = []
    for name, one in (("task", tasks), ("topic", topics)):
        for side in ("before", "after"):
            told = one["told"][side]
            rows.append(
                (
                    f"{name}, {'in the release' if side == 'after' else 'before'}",
                    (show(told), " (", share(told, records[side]), ")"),
                    show(one["different"][side]),
                    decimal(one["effective"][side]),
                )
            )
    head = ("", "records told one", "different", "effective")
    yield table("How diverse tasks and topics are", head, rows, 3)


def _bars(entries: Sequence[Held], key: str) -> tuple[Bar, ...]:
    return tuple(Bar(show(one[key]), show(one["after"]), show(one["before"])) for one in entries)


def _verbs(held: Held) -> Iterator[Block]:
    verbs = held.below("verbs")
    if not verbs:
        return
    if len(verbs) > 1:
        note = f"Records by the verb at the root of their instruction. {_BEFORE_AFTER}"
        yield Chart("diversity-verbs", "Verbs of instructions", note, _bars(verbs, "verb"))
    rows: list[tuple[Cell, ...]] = []
    for verb in verbs:
        told: Line = ()
        for noun in verb.below("nouns"):
            told += (
                ", " if told else "",
                show(noun["noun"]),
                " ",
                show(noun["before"]),
                " → ",
                show(noun["after"]),
            )
        rows.append((show(verb["verb"]), told or "–", show(verb["before"]), show(verb["after"])))
    yield say("Instructions by their verb, and the most frequent nouns of each, before and after:")
    yield table(
        "Verbs of instructions and their nouns", ("verb", "nouns", "before", "after"), rows, 2, held["verbs"]
    )


def _questions(held: Held) -> Iterator[Block]:
    if questions := held.below("questions"):
        rows = [(show(one["word"]), show(one["before"]), show(one["after"])) for one in questions]
        yield say("Questions by the word that asks:")
        yield table(
            "Questions by the word that asks", ("word", "before", "after"), rows, 2, held["questions"]
        )


def _topics(held: Held) -> Iterator[Block]:
    topics = held.below("topic")
    if not topics:
        return
    if len(topics) > 1:
        note = f"Records by topic, each named by the words that tell it apart. {_BEFORE_AFTER}"
        yield Chart("diversity-topics", "Topics", note, _bars(topics, "topic"))
    rows = [
        (
            show(one["topic"]),
            show(one["before"]),
            share(one["before"], held["records"]["before"]),
            show(one["after"]),
            share(one["after"], held["records"]["after"]),
        )
        for one in topics
    ]
    yield table("Records by topic", ("topic", "before", "share", "after", "share"), rows, 4, held["topic"])


def _lengths(held: Held) -> Iterator[Block]:
    for one in held["lengths"]:
        part = _MOST_PARTS[one["part"].value]
        bins = one.below("bins")
        if not bins:
            continue
        if len(bins) > 1:
            bars = tuple(Bar(_range(step), show(step["after"]), show(step["before"])) for step in bins)
            note = f"Records by the words of their {part}. {_BEFORE_AFTER}"
            yield Chart(f"diversity-{one['part'].value}", f"Words of {part}", note, bars)
        rows = [
            (percent(q["quantile"], 0), _known(q["before"]), _known(q["after"]))
            for q in one.below("quantiles")
        ]
        caption = f"Words of {part}: so many records have at most"
        yield table(caption, ("of the records", "words, before", "words, after"), rows, 2, one["quantiles"])


def _range(step: Held) -> Value:
    """Return a bin's name: its least number of words, from which to twice that."""
    return show(step["from"])


def _known(held: Held) -> Cell:
    return "–" if held.value is None else show(held)


def _turns(held: Held) -> Iterator[Block]:
    turns = held.below("turns")
    if len(turns) > 1:
        rows = [(show(one["turns"]), show(one["before"]), show(one["after"])) for one in turns]
        yield say("Records by their turns (the last row: so many or more, if it is ten):")
        yield table("Records by their turns", ("turns", "before", "after"), rows, 2, held["turns"])
