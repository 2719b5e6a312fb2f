"""Stage profile: what it tells of a record, that its fast path agrees with the slow one, and that it keeps all."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import contents, write_jsonl
from reference import profiled

import curate
from curate import rules
from curate.record import MESSAGES, MESSAGES_EXTRA, REJECTED
from curate.stages.profile import Profiled
from curate.stages.profiling import mentions as _mentions
from curate.stages.profiling import tasks as _tasks
from curate.stages.profiling import topics as _topics
from curate.stages.profiling.lists import Words, groups, made, split
from curate.stages.profiling.tasks import NO_TOPICS
from curate.stages.profiling.walked import walk

NOUNS = {"story", "stories", "list", "idea", "poem", "people", "children", "question", "intent", "python"}


@pytest.fixture(scope="module")
def words() -> Words:
    return made(common=sorted(NOUNS))


def common(words: Words) -> set[str]:
    return {name for name, good in zip(words.names, words.lists.common, strict=True) if good}


def talk(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def batch(conversations: list[Any], **more: pa.Array) -> pa.RecordBatch:
    return pa.record_batch({"messages": pa.array(conversations, MESSAGES), **more})


def strange(rng: random.Random) -> str:
    """Make a text of list words, signs, capitals and scripts in no order."""
    lists = [*profiled._lists().values()]
    leads = split(rules.load("tasks").rule("tasks/lead").data["words"])
    terms = [one for rule in rules.load("representation").rules for one in split(rule.data.get("terms", ""))]
    terms += [
        one for rule in rules.load("representation").rules for one in split(rule.data.get("capital", ""))
    ]
    picks = [
        lambda: rng.choice(sorted(rng.choice(lists))),
        lambda: rng.choice(leads),
        lambda: rng.choice(terms),
    ]
    picks += [
        lambda: rng.choice(sorted(NOUNS)),
        lambda: rng.choice(["été", "漢字", "ไทย", "x1", "a\u0301b", "ß", "İx", "'s"]),
    ]
    pieces = []
    for _ in range(rng.randint(0, 25)):
        piece = rng.choice(picks)()
        piece = rng.choice([piece, piece, piece, piece.capitalize(), piece.upper()])
        pieces.append(
            piece + rng.choice(["", "", "", "", ",", ".", "?", "? ", "\n", ":", "-", "’", ' "', "(", "。"])
        )
    return rng.choice([" ", " ", "  ", ""]).join(pieces) if rng.random() < 0.1 else " ".join(pieces)


def test_words_mentions_and_tasks_are_those_of_the_slow_path(words: Words) -> None:
    rng = random.Random(3)
    texts = [strange(rng) for _ in range(600)]
    for rule in rules.load("tasks").rules:
        texts += [example[0] for example in (*rule.match, *rule.no_match)]
    found = walk(batch([talk(("user", text)) for text in texts]), words, *NO_TOPICS, 0)
    told = _tasks.told(found.tasks, words).to_pylist()
    known = common(words)
    for text, task, mentioned, count in zip(
        texts, told, _mentions.told(found.groups).to_pylist(), found.words[:, 0], strict=True
    ):
        assert count == len(profiled.words(text)), text
        assert set(mentioned) == profiled.mentions(text), text
        assert task == profiled.task(text, known), text
    assert len(set(told)) > 60
    assert len({one for some in _mentions.told(found.groups).to_pylist() for one in some}) == len(groups())


def test_facts_say_who_speaks_and_count_only_what_is_said(words: Words) -> None:
    conversations = [
        talk(
            ("system", "Be brief."),
            ("user", "Name two rivers."),
            ("assistant", "Rhine, Elbe"),
            ("user", "More"),
        ),
        talk(("assistant", "Hello")),
        None,
    ]
    extra = pa.array(
        [
            None,
            orjson.dumps([{"tool_calls": [{"name": "find", "arguments": {"of": "women"}}]}]).decode(),
            None,
        ]
    )
    rejected = pa.array([talk(("assistant", "In Kenya")), None, None], MESSAGES)
    facts = (
        Profiled(_topics.Topics())
        .judge(batch(conversations, **{MESSAGES_EXTRA: extra, REJECTED: rejected}))
        .facts
    )
    assert facts is not None
    assert facts.to_pydict() == {
        "task": ["name", None, None],
        "topic": [None, None, None],
        "mentions": [["region/eastern-africa"], ["gender/women"], []],
        "words_prompt": [6, 0, 0],
        "words_response": [2, 1, 0],
        "turns": [4, 1, 0],
    }


def test_a_document_has_no_prompt_and_no_task() -> None:
    facts = (
        Profiled(_topics.Topics()).judge(pa.record_batch({"text": pa.array(["Write a story.", None])})).facts
    )
    assert facts is not None
    assert facts.select(["task", "words_prompt", "words_response"]).to_pydict() == {
        "task": [None, None], "words_prompt": [None, None], "words_response": [3, 0],
    }  # fmt: skip


def test_what_is_named_is_common_and_written_small() -> None:
    shared = [f"Dear Kowalski, the invoice from harbour {n} is late." for n in range(40)]
    rare = ["Please call zyxomma about the garden hedge today.", "gardens gardens"]
    found = _topics.learn(shared + rare, 4)
    assert {"invoice", "late", "dear"} <= set(found.common) | {"dear"}
    assert not {"kowalski", "zyxomma", "garden"} & set(found.common)
    assert all("kowalski" not in name and "zyxomma" not in name for name in found.names)


def test_no_address_and_no_name_of_a_person_is_named_however_often_it_stands_there_in_small_letters() -> None:
    tail = "please write to mila.gonzalez@acmewidgets.example, @zyxomma or https://qwibble.example/page"
    found = _topics.learn([f"the invoice {n} of okonkwo and gonzalez is late, {tail}" for n in range(60)], 3)
    assert {"invoice", "late", "please"} <= set(found.common)
    assert not {"gonzalez", "mila", "acmewidgets", "zyxomma", "qwibble", "example"} & set(found.common)


def test_in_a_sample_of_few_records_no_word_is_common() -> None:
    assert _topics.learn(["tell johnsmithson", "ask zebulonpike"], 4).common == ()


def test_fewer_kinds_of_texts_than_topics_are_asked_for_are_no_obstacle() -> None:
    kinds = ("garden hedge", "copper valve", "river boat", "silver spoon", "winter coat")
    assert len(_topics.learn([f"{kinds[n % 5]} {n}" for n in range(400)], 9).names) == 5


def subjects(rng: random.Random, records: int) -> list[tuple[str, str]]:
    """Make texts of three subjects, each with the subject's name."""
    of = {
        "cooking": [
            "flour",
            "butter",
            "oven",
            "sugar",
            "bake",
            "dough",
            "recipe",
            "pastry",
            "crust",
            "yeast",
        ],
        "sailing": [
            "anchor",
            "harbour",
            "sail",
            "mast",
            "rudder",
            "wind",
            "captain",
            "voyage",
            "deck",
            "tide",
        ],
        "chess": [
            "pawn",
            "bishop",
            "knight",
            "rook",
            "castle",
            "checkmate",
            "opening",
            "endgame",
            "board",
            "gambit",
        ],
    }
    names = sorted(of)
    return [
        (name, " ".join(rng.choices(of[name], k=12))) for name in (rng.choice(names) for _ in range(records))
    ]


def test_topics_part_subjects_and_every_record_gets_its_own() -> None:
    made_of = subjects(random.Random(1), 300)
    stage = Profiled(_topics.learn([text for _, text in made_of], 3))
    assert len(stage.topics.names) == 3
    facts = stage.judge(pa.record_batch({"text": pa.array([text for _, text in made_of])})).facts
    assert facts is not None
    pairs = set(zip((name for name, _ in made_of), facts.column("topic").to_pylist(), strict=True))
    assert len(pairs) == 3
    assert _topics.learn([text for _, text in made_of], 0).names == ()


def _corpus(folder: Path, order: int = 1) -> Path:
    rng = random.Random(2)
    rows = [
        {
            "id": str(n),
            "instruction": f"Write a story about {text}.",
            "output": f"A tale of {text[::-1]} {n}.",
        }
        for n, (_, text) in enumerate(subjects(rng, 240))
    ]
    rows += [{"id": f"w{n}", "instruction": f"She asks: what is {n}?", "output": ""} for n in range(40)]
    rng.shuffle(rows)
    names = ["a", "b"][::order]
    for name, some in zip(["a", "b"], (rows[:150], rows[150:]), strict=True):
        write_jsonl(folder / f"{name}.jsonl", some)
    sources = "".join(f"  - {{name: {name}, files: [{name}.jsonl], license: MIT}}\n" for name in names)
    head = f"curate: 1\nname: small\nversion: '1'\nsources:\n{sources}"
    (folder / "curate.yaml").write_text(f"{head}stages: [profile: {{topics: 4}}, conversation]\n")
    return folder / "curate.yaml"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return curate.run(_corpus(tmp_path_factory.mktemp("profile")), workers=1)


def test_the_stage_keeps_all_and_its_facts_stand_beside_what_later_stages_remove(
    release: curate.Release,
) -> None:
    stage = next(one for one in release.manifest["stages"] if one["name"] == "profile")
    assert (stage["seen"], stage["kept"]) == (280, 280)
    removed = pq.read_table(release.path / "removed" / "part-00000.parquet").column("curate").to_pylist()
    assert len(removed) == 40
    assert {tuple(one["facts"]["mentions"]) for one in removed} == {("gender/women",)}
    assert {one["facts"]["task"] for one in removed} == {"question: what"}
    records = pq.read_table(release.path / "records" / "part-00000.parquet").to_pylist()
    assert {one["task"] for one in records} == {"write story"}
    assert len({one["topic"] for one in records}) == 3


def test_the_reports_count_before_and_after_and_verify_counts_them_again(release: curate.Release) -> None:
    diversity, representation = (release.manifest[part] for part in ("diversity", "representation"))
    assert diversity["records"] == {"before": 280, "after": 240}
    assert diversity["verbs"] == [
        {
            "verb": "write",
            "before": 240,
            "after": 240,
            "nouns": [{"noun": "story", "before": 240, "after": 240}],
        }
    ]
    assert diversity["questions"] == [{"word": "what", "before": 40, "after": 0}]
    assert diversity["tasks"]["effective"] == {"before": 1.51, "after": 1.0}
    assert representation["groups"] == [{"group": "gender/women", "before": 40, "after": 0}]
    assert [f["reason"] for f in release.manifest["findings"]].count("conversation/representation") == 1
    report = curate.verify(release.path)
    assert {"diversity", "representation"} <= set(_said(report).replace(",", " ").split())


def _said(report: Any) -> str:
    return " ".join(check.said for check in report.checks)


def test_nothing_depends_on_batches_or_the_order_of_sources(release: curate.Release, tmp_path: Path) -> None:
    again = curate.run(_corpus(tmp_path, order=-1), workers=1, batch_size=7)
    held, wanted = contents(again.path), contents(release.path)
    parts = [path for path in wanted if path.startswith(("records/", "removed/"))]
    assert parts
    assert all(held[path] == wanted[path] for path in parts)
    assert again.manifest["diversity"] == release.manifest["diversity"]


def test_without_the_stage_the_datasheet_says_how_to_get_the_reports(tmp_path: Path) -> None:
    recipe = _corpus(tmp_path)
    recipe.write_text(recipe.read_text().replace("profile: {topics: 4}, ", ""))
    made_without = curate.run(recipe, workers=1)
    assert not {"diversity", "representation"} & set(made_without.manifest)
    assert "`- profile` as its first stage" in (made_without.path / "datasheet.md").read_text()


def test_a_take_down_without_removed_records_leaves_no_stale_report(tmp_path: Path) -> None:
    recipe = _corpus(tmp_path)
    with recipe.open("a") as file:
        file.write("output: {keep_removed: false}\n")
    out = curate.run(recipe, workers=1).path
    [gone] = pq.read_table(out / "records" / "part-00000.parquet", columns=["id"])[0][:1].to_pylist()
    assert curate.load(out).manifest["diversity"]["records"]["after"] == 240
    curate.takedown(out, ids=[gone])
    after = curate.load(out).manifest
    assert after["counts"]["kept"] == 239
    assert not {"diversity", "representation"} & set(after)
    assert "records were erased on request" in (out / "datasheet.md").read_text()
    assert curate.verify(out).ok
