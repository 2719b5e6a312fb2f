"""The quick-tune's arms: exactly what the pipeline gives with some of the filters, whatever the machinery."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import sentence, write_jsonl

import curate
from curate.engine.local import LocalEngine
from curate.errors import IntegrityError, RecipeError
from curate.govern import documents, signing
from curate.govern import manifest as manifests
from curate.release import Release
from curate.tuning import arms, controls, filters, pool, records, tables
from curate.tuning.contract import Arm, Corpus
from curate.tuning.heldout import turns
from curate.tuning.judging import Judge

STAGES = """\
  - license: {allow: commercial, unknown: quarantine}
  - conversation
  - exact
  - minhash: {similarity: 0.7, recall: 0.99}
  - boilerplate: {max_records: 6, min_words: 5}
  - pii
"""
HEAD = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: [docs/a.jsonl, docs/b.jsonl], license: CC0-1.0}
  - {name: pairs, files: [pairs.jsonl], fields: {license: lic}, license: unknown}
"""
NOTICE = "this answer was checked by the river garden office twice"


def make(folder: Path, records: int = 90) -> None:
    """Write documents and pairs with copies, near copies, notices, addresses, empty answers and bad lines."""
    rng = random.Random(7)
    docs: list[dict[str, Any]] = []
    for i in range(records):
        mail = f" Write to {sentence(rng, 1)}{i}@example.org today." if i % 7 == 0 else ""
        docs.append({"id": i, "text": sentence(rng, 40) + mail, "task": rng.choice("ab")})
    for i in range(0, records // 3, 2):
        docs.append({"id": f"copy-{i}", "text": docs[i]["text"].upper(), "task": "copy"})
        words = docs[i + 1]["text"].split()
        docs.append({"id": f"near-{i}", "text": " ".join([*words[:20], "a", *words[21:]]), "task": "near"})
    half = len(docs) // 2
    write_jsonl(folder / "docs" / "a.jsonl", docs[:half])
    write_jsonl(folder / "docs" / "b.jsonl", docs[half:])
    with (folder / "docs" / "b.jsonl").open("ab") as file:
        file.write(b'{"id": "cut", "text": "no end\n')
    pairs: list[dict[str, Any]] = []
    for i in range(records):
        said = sentence(rng, 25) + (f"\n\n{NOTICE}" if i % 9 == 0 else "")
        said += f" Call 312-555-01{i:02} now." if i % 11 == 0 else ""
        pairs.append(
            {"instruction": f"Tell {sentence(rng, 8)}", "output": said, "lic": "MIT" if i % 5 else ""}
        )
    pairs += [{**pairs[i], "lic": "CC-BY-4.0"} for i in range(0, 30, 3)]  # of equal records, MIT stays
    pairs[3]["output"] = ""
    pairs[4]["output"] = "Yes."
    write_jsonl(folder / "pairs.jsonl", pairs)


def run(folder: Path, stages: str, out: str = "release", more: str = "") -> Release:
    (folder / "curate.yaml").write_text(f"{HEAD}stages:\n{stages}{more}")
    return curate.run(folder / "curate.yaml", folder / out, workers=1)


def build(release: Release, work: Path, **given: Any) -> Corpus:
    options: dict[str, Any] = {
        "wanted": "all", "seeds": (0, 1), "nbytes": 10**9, "heldout": 0, "evals": (), "removed_key": None, "workers": 1,
        **given,
    }  # fmt: skip
    with LocalEngine(options.pop("workers")) as engine:
        return arms.build(release, engine=engine, work=work / "work", **options)


def rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [row for path in sorted(paths) for row in pq.read_table(path).to_pylist()]


def released(out: Path) -> dict[str, Any]:
    """Return what a release keeps of what can be trained on: key → content."""
    found = {}
    for data, told in zip(rows([*out.glob("data/*")]), rows([*out.glob("records/*")]), strict=True):
        content = turns(data["messages"] if data.get("messages") is not None else data["text"])
        if any(turn.content.strip() for turn in content if turn.role in ("assistant", "text")):
            found[f"{data['source']} {told['locator']}"] = content
    return found


def trained(corpus: Corpus, arm: Arm, seed: int = 0) -> dict[str, Any]:
    texts = [corpus.texts[place] for place in arm.of(seed)]
    assert len({text.key for text in texts}) == len(texts)
    return {text.key: text.turns for text in texts}


def named(corpus: Corpus) -> dict[str, Arm]:
    return {arm.name: arm for arm in corpus.arms}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Any:
    """Cut tables small, and render no documents: they take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.io.write.GROUP_RECORDS", 32)
        patch.setattr(documents, "RENDERERS", ())
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("made")
    make(folder)
    return run(folder, STAGES)


@pytest.fixture(scope="module")
def corpus(made: Release, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build(made, tmp_path_factory.mktemp("built"))


def without(stages: str, names: Sequence[str]) -> str:
    """Return a recipe's stages with some of them only."""
    return "".join(line for line in stages.splitlines(True) if line.strip(" -\n").split(":")[0] in names)


@pytest.mark.parametrize("kind", ["alone", "without"])
def test_an_arm_is_what_the_pipeline_gives_with_its_filters_alone(
    made: Release, corpus: Corpus, tmp_path: Path, kind: str
) -> None:
    make(tmp_path)
    every = tables.names(made)
    checked = 0
    for stage in every:
        mine = [stage] if kind == "alone" else [name for name in every if name != stage]
        wanted = released(run(tmp_path, without(STAGES, mine), f"out-{stage}").path)
        name = f"{'only' if kind == 'alone' else 'without'}_{stage}"
        arm = named(corpus).get(name)
        if arm is None:  # left out, because it is the same as what it is compared with
            arm = named(corpus)["raw" if kind == "alone" else "full"]
            assert name in " ".join([*corpus.noops.values(), *corpus.counts["notes"]])
        else:
            checked += 1
        assert trained(corpus, arm) == wanted, name
    assert checked >= 4


def test_full_is_the_release_and_raw_is_the_input(made: Release, corpus: Corpus) -> None:
    assert trained(corpus, named(corpus)["full"]) == released(made.path)
    raw = trained(corpus, named(corpus)["raw"])
    docs = [orjson.loads(line) for name in "ab" for line in (made.path.parent / f"docs/{name}.jsonl").read_bytes()
            .splitlines()[: 200] if line.endswith(b"}")]  # fmt: skip
    pairs = [orjson.loads(line) for line in (made.path.parent / "pairs.jsonl").read_bytes().splitlines()]
    said = {turns_[-1].content for turns_ in raw.values()}
    assert said == {row["text"] for row in docs} | {row["output"] for row in pairs if row["output"]}
    assert corpus.counts["untrainable"] == 1
    assert corpus.counts["raw"] == corpus.counts["pool"] == len(raw)
    order = [text.key for text in corpus.texts if text.source != controls.SOURCE]
    keys = {key: place for place, key in enumerate(_canonical(order))}
    assert order == sorted(order, key=keys.__getitem__)
    assert {text.category for text in corpus.texts} == {"a", "b", "copy", "near", None}


def _canonical(keys: Sequence[str]) -> list[str]:
    def place(key: str) -> tuple[str, str, int]:
        source, _, locator = key.partition(" ")
        path, _, row = locator.rpartition("#")
        return source, path, int(row)

    return sorted(dict.fromkeys(keys), key=place)


def test_decisions_taken_from_the_release_are_those_made_anew(made: Release, tmp_path: Path) -> None:
    files = tables.shards(made.path, None)
    found = filters.filters(made)
    with LocalEngine(1) as engine:
        register = records.survey(made, files, engine)
        everything = records.read(made, files, register, _all(register), engine)
        known, anew = (
            Judge(everything, found, engine, tmp_path, whole=True, trusting=trusting)
            for trusting in (True, False)
        )
        assert known.trusts
        assert not anew.trusts
        for names in ([one.name for one in found], ["exact", "pii"], ["minhash"], ["boilerplate", "pii"]):
            one, other = known.run(names), anew.run(names)
            contents = [
                {at: judge.versions.contents[state.version] for at, state in states.items()}
                for judge, states in ((known, one), (anew, other))
            ]
            assert contents[0] == contents[1], names


def _all(register: records.Register) -> Any:
    import numpy as np

    return np.arange(len(register))


def test_a_stage_that_may_read_facts_is_asked_anew(tmp_path: Path) -> None:
    make(tmp_path)
    stages = "  - exact\n  - toys:Shout\n  - toys:Fragile\n"
    corpus = build(run(tmp_path, stages), tmp_path)
    for stage in ("exact", "shout", "fragile"):
        mine = [name for name in ("exact", "shout", "fragile") if name != stage]
        spelt = {"exact": "exact", "shout": "toys:Shout", "fragile": "toys:Fragile"}
        recipe = "".join(f"  - {spelt[name]}\n" for name in mine)
        arm = named(corpus).get(f"without_{stage}", named(corpus)["full"])
        assert trained(corpus, arm) == released(run(tmp_path, recipe, f"out-{stage}").path)
    assert "fragile alone changes nothing" in corpus.noops["fragile"]


def test_neither_workers_nor_shards_change_the_corpus(made: Release, corpus: Corpus, tmp_path: Path) -> None:
    two = build(made, tmp_path, workers=2)
    assert repr(two) == repr(corpus)
    make(tmp_path)
    lines = run(tmp_path, STAGES, more="output: {format: jsonl.zst, shard_size: 2KB}\n")
    assert repr(build(lines, tmp_path)) == repr(corpus)
    assert len([*lines.path.glob("data/*.zst")]) > 3


def test_random_drop_keeps_as_many_as_full_and_others_for_each_seed(corpus: Corpus) -> None:
    found = named(corpus)
    full, drop = found["full"], found["random_drop"]
    assert len(drop.of(0)) == len(drop.of(1)) == len(full.of(0))
    assert set(drop.of(0)) != set(drop.of(1))
    assert set(drop.of(0)) <= set(found["raw"].of(0))
    assert drop.rate == pytest.approx(1 - len(full.of(0)) / len(found["raw"].of(0)))
    assert full.members[0] is full.members[1]


def test_planted_corrupts_a_stated_share_of_full_and_nothing_else(corpus: Corpus) -> None:
    full, planted = (trained(corpus, named(corpus)[name]) for name in ("full", "planted"))
    assert planted.keys() == full.keys()
    changed = [key for key in full if full[key] != planted[key]]
    assert len(changed) == round(controls.RATE * len(full))
    for key in changed:
        assert [turn.role for turn in planted[key]] == [turn.role for turn in full[key]]
        assert planted[key][:-1] == full[key][:-1]
        assert planted[key][-1].content.strip()


def test_canaries_are_scrubbed_by_the_releases_own_stage(corpus: Corpus) -> None:
    found = named(corpus)
    planted = [secret for secret in corpus.secrets if secret.planted]
    assert {secret.kind for secret in planted} == {"EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER"}
    sung = {
        name: "\n".join(str(t) for t in trained(corpus, found[name]).values())
        for name in ("canary", "canary_scrubbed")
    }
    for secret in planted:
        assert sung["canary"].count(secret.secret) == controls.REPEATS
        assert secret.secret not in sung["canary_scrubbed"]
        assert len({secret.secret, *secret.alternatives}) == controls.ALTERNATIVES + 1
        assert [len(other) for other in secret.alternatives if secret.kind == "IBAN_CODE"] in ([], [22] * 31)
        assert any(
            text.turns == (*secret.turns, text.turns[-1])
            and text.turns[-1].content.startswith(secret.prefix + secret.secret)
            for text in corpus.texts
        )
    only = trained(corpus, found["only_pii"])
    scrubbed = trained(corpus, found["canary_scrubbed"])
    assert {key: said for key, said in scrubbed.items() if not key.startswith(controls.SOURCE)} == only


def test_secrets_that_the_run_took_out_stand_in_raw_and_nowhere_in_only_pii(corpus: Corpus) -> None:
    held = [secret for secret in corpus.secrets if not secret.planted]
    assert {secret.kind for secret in held} == {"EMAIL_ADDRESS", "PHONE_NUMBER"}
    raw, only = (
        {key: turns_[-1].content for key, turns_ in trained(corpus, named(corpus)[name]).items()}
        for name in ("raw", "only_pii")
    )
    for secret in held:
        assert any(said.startswith(secret.prefix + secret.secret) for said in raw.values())
        assert not any(secret.secret in said for said in only.values())
        for other in secret.alternatives:
            shape = [(a.isdigit(), a.isalpha()) for a in other]
            assert shape == [(a.isdigit(), a.isalpha()) for a in secret.secret]


def test_a_sample_holds_whole_groups_within_its_budget(made: Release, tmp_path: Path) -> None:
    files = tables.shards(made.path, None)
    with LocalEngine(1) as engine:
        register = records.survey(made, files, engine)
    groups = pool.group(made.path, register)
    choice = pool.choose(register, groups, heldout=10, nbytes=25_000)
    assert choice.sampled
    for numbers in (choice.held, choice.pool):
        mine = set(numbers.tolist())
        assert mine == {at for first in {int(groups.of[at]) for at in mine} for at in groups.members[first]}
    assert not set(choice.held) & set(choice.pool)
    sizes = register.column("bytes")[choice.pool]
    assert 25_000 <= sizes.sum() <= 25_000 + 25_000 // pool.LARGEST
    assert any(len(groups.members[int(groups.of[at])]) > 1 for at in choice.pool)
    sampled = build(made, tmp_path, nbytes=25_000, heldout=10)
    full = trained(sampled, named(sampled)["full"])
    assert full
    assert full.items() <= released(made.path).items()


def test_held_out_items_know_their_group(corpus: Corpus) -> None:
    by_record: dict[str, set[int | None]] = {}
    for item in corpus.items:
        by_record.setdefault(item.text.key, set()).add(item.group)
    assert None not in set().union(*by_record.values())
    assert all(len(groups) == 1 for groups in by_record.values())


def test_a_huge_group_takes_only_its_share(tmp_path: Path) -> None:
    rng = random.Random(3)
    same = sentence(rng, 30)
    docs = [{"text": same} for _ in range(300)] + [{"text": sentence(rng, 30)} for _ in range(300)]
    rng.shuffle(docs)
    write_jsonl(tmp_path / "docs" / "a.jsonl", docs)
    write_jsonl(tmp_path / "docs" / "b.jsonl", docs[:1])
    write_jsonl(tmp_path / "pairs.jsonl", [{"instruction": "Say", "output": "Hello there.", "lic": "MIT"}])
    sampled = build(run(tmp_path, "  - exact\n"), tmp_path, nbytes=20_000, wanted="each")
    raw, full = (trained(sampled, named(sampled)[name]) for name in ("raw", "full"))
    copies = [key for key, said in raw.items() if said[0].content == same]
    assert 0.3 <= len(copies) / len(raw) <= 0.7
    assert len([key for key in full if key in copies]) == 1
    assert "larger than a twentieth of the sample" in " ".join(sampled.counts["notes"])


def test_a_filter_that_changes_nothing_has_no_arms(tmp_path: Path) -> None:
    make(tmp_path)
    plain = run(tmp_path, "  - exact\n  - language: {allow: any, low_confidence: keep}\n")
    corpus = build(plain, tmp_path)
    assert set(corpus.noops) == {"language"}
    assert "only_language would be the same as raw" in corpus.noops["language"]
    assert [arm.name for arm in corpus.arms] == [
        "raw",
        "random_drop",
        "only_exact",
        "without_exact",
        "full",
        "planted",
    ]
    nothing = build(run(tmp_path, "  - language: {allow: any, low_confidence: keep}\n"), tmp_path)
    assert [arm.name for arm in nothing.arms] == ["raw", "full", "planted"]
    assert "full is the same as raw" in nothing.counts["notes"][0]
    assert "random_drop would be" in nothing.counts["notes"][1]


def test_arms_are_asked_for_by_name(made: Release, tmp_path: Path) -> None:
    some = build(made, tmp_path, wanted=["only_pii", "random_drop"])
    assert [arm.name for arm in some.arms] == ["raw", "random_drop", "only_pii", "full"]
    with pytest.raises(RecipeError, match=r"'only_pi' is neither.*only_pii"):
        build(made, tmp_path, wanted=["only_pi"])


def test_encrypted_removed_needs_its_key(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    monkeypatch.setenv("REMOVED", "a secret of some length")
    release = run(tmp_path, STAGES, more="output: {encrypt_removed: {key_env: REMOVED}}\n")
    with pytest.raises(RecipeError, match="--removed-key"):
        build(release, tmp_path)
    with pytest.raises(IntegrityError, match="fingerprint"):
        build(release, tmp_path, removed_key=b"another secret of some length")
    assert repr(build(release, tmp_path, removed_key=b"a secret of some length")) == repr(corpus)


def test_what_was_not_kept_or_was_changed_is_refused(made: Release, tmp_path: Path) -> None:
    make(tmp_path)
    bare = run(tmp_path, "  - exact\n", more="output: {keep_removed: false}\n")
    with pytest.raises(RecipeError, match="keep_removed"):
        build(bare, tmp_path)
    changed = Release(made.path, {**made.manifest, "name": "other"})
    with pytest.raises(IntegrityError, match="changed after the run"):
        build(changed, tmp_path)
    shutil.copytree(made.path, tmp_path / "copy")
    path = next((tmp_path / "copy" / "removed").glob("part-*"))
    table = pq.read_table(path)
    names = table.column("text").to_pylist()
    at = next(i for i, text in enumerate(names) if text)
    names[at] = f"{names[at]} and more"
    pq.write_table(
        table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), [names]), path
    )
    with pytest.raises(IntegrityError, match=table.column("id")[at].as_py()) as raised:
        build(curate.load(tmp_path / "copy"), tmp_path)
    assert "and more" not in str(raised.value)


def test_a_lost_record_is_found_out(made: Release, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "copy")
    path = next((tmp_path / "copy" / "removed").glob("edited-*"))
    table = pq.read_table(path)
    doubled = table.column("curate").to_pylist()
    doubled[0]["locator"] = "docs/a.jsonl#100000"
    schema = table.schema
    pq.write_table(
        table.set_column(
            schema.get_field_index("curate"),
            schema.field("curate"),
            pa.array(doubled, schema.field("curate").type),
        ),
        path,
    )
    with pytest.raises(IntegrityError, match="0 times"):
        build(curate.load(tmp_path / "copy"), tmp_path)


def test_nothing_of_what_was_taken_down_is_trained_on(tmp_path: Path) -> None:
    make(tmp_path)
    release = run(tmp_path, STAGES)
    wanted = next(row for row in rows([*release.path.glob("removed/edited-*")]) if row["text"])
    before = build(release, tmp_path)
    assert wanted["text"] in {text.turns[-1].content for text in before.texts}
    curate.takedown(release.path, ids=[wanted["id"]])
    after = build(curate.load(release.path), tmp_path)
    words = wanted["text"].lower()
    assert not [text.key for text in after.texts if words in text.turns[-1].content.lower()]
    assert words not in repr(after).lower()
    assert trained(after, named(after)["full"]) == released(release.path)
    again = run(tmp_path, STAGES)  # now with the stage suppress in front
    assert tables.names(again)[0] == "suppress"
    anew = build(again, tmp_path)
    assert repr(anew.texts) == repr(after.texts)
    assert not [arm.name for arm in anew.arms if "suppress" in arm.name]


def test_without_its_key_the_stage_pii_replaces_what_the_run_had_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    monkeypatch.setenv("PII", "a secret of some length")
    stages = "  - exact\n  - pii: {operator: hash, key_env: PII}\n"
    release = run(tmp_path, stages)
    exact = build(release, tmp_path)
    assert trained(exact, named(exact)["only_pii"]) == released(
        run(tmp_path, stages.replace("  - exact\n", ""), "alone").path
    )
    assert exact.counts["notes"] == []
    monkeypatch.delenv("PII")
    fallen = build(release, tmp_path)
    assert "needs a secret key" in fallen.counts["notes"][0]
    assert trained(fallen, named(fallen)["full"]) == released(release.path)
    said = "\n".join(turns_[-1].content for turns_ in trained(fallen, named(fallen)["only_pii"]).values())
    assert "<EMAIL_ADDRESS:" in said  # the run's own
    assert "<EMAIL_ADDRESS>" in said


def test_a_stage_that_is_gone_leaves_the_arms_that_need_it_out(tmp_path: Path) -> None:
    make(tmp_path)
    release = run(tmp_path, "  - exact\n  - toys:Shout\n")
    recipe = release.manifest["recipe"]
    stages = [recipe["stages"][0], {**recipe["stages"][1], "class": "nowhere_to_be_found:Shout"}]
    manifest = manifests.revised(release.manifest, recipe={**recipe, "stages": stages})
    signing.retire(release.path, {})
    corpus = build(Release(release.path, manifest), tmp_path)
    assert "cannot be imported" in corpus.noops["shout"]
    assert "only_exact" in named(corpus)
    assert trained(corpus, named(corpus)["full"]) == released(release.path)


MIXED = """\
  - profile
  - license: {allow: commercial, unknown: quarantine}
  - conversation
  - exact
  - language
  - pii
  - quality
"""
CAPS = '  - mix: {caps: {source: {docs: 70}, task: {none: 60, "*": 20}, language: {"*": 90}}}\n'


def test_arms_of_a_mix_know_the_groups_that_earlier_stages_state(tmp_path: Path) -> None:
    make(tmp_path)
    made = run(tmp_path, MIXED + CAPS)
    corpus = build(made, tmp_path)
    assert trained(corpus, named(corpus)["full"]) == released(made.path)
    for stage in ("profile", "license", "conversation", "pii"):
        mine = [name for name in tables.names(made) if name != stage]
        wanted = released(run(tmp_path, without(MIXED + CAPS, mine), f"out-{stage}").path)
        arm = named(corpus).get(f"without_{stage}", named(corpus)["full"])
        assert trained(corpus, arm) == wanted, stage


@pytest.mark.parametrize("layout", ["parquet", "jsonl.zst"])
def test_what_is_kept_apart_to_validate_with_is_never_trained_on(tmp_path: Path, layout: str) -> None:
    make(tmp_path)
    mix = "  - mix: {caps: {source: {docs: 70}}, splits: {test: 0.1, validation: 20}}\n"
    made = run(tmp_path, MIXED + mix, more=f"output: {{format: {layout}}}\n")
    apart: set[str] = set()
    for entry in made.manifest["outputs"]:
        if entry["path"].startswith("records/") and entry["split"] != "train":
            table = pq.read_table(made.path / entry["path"], columns=["source", "locator"])
            apart |= {f"{source} {at}" for source, at in zip(*table.to_pydict().values(), strict=True)}
    assert len(apart) == made.splits["test"] + made.splits["validation"] > 20
    for given in ({}, {"heldout": 30}, {"heldout": 20, "nbytes": 15_000}):
        corpus = build(made, tmp_path, **given)
        assert not {corpus.texts[place].key for arm in corpus.arms for place in arm.of(0)} & apart
        contents = {text.turns for text in corpus.texts}
        assert not {item.text.turns for item in corpus.items} & contents
        assert any(
            f"{len(apart)} records that the release keeps apart" in note for note in corpus.counts["notes"]
        )
