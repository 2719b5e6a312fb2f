"""Exports hold every record that they count, in the formats that trainers read, and touch nothing else."""

from __future__ import annotations

import gc
import random
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from bases import CHATML, tokenizer
from handed import CALLING, TOOLS, answer, make, user
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import indexed, mds
from reference import packing as slow
from ruamel.yaml import YAML

import curate
from curate.cli import main
from curate.errors import IntegrityError, RecipeError
from curate.exporting import export as exporting
from curate.exporting import packing, shapes, trl
from curate.exporting.encoder import Encoder

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("handed"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer whose template knows nothing of tools."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer(CHATML).save_pretrained(folder)
    return str(folder)


def lines(path: Path) -> Rows:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def sums(told: dict[str, Any]) -> int:
    counts = told["counts"]
    assert counts["seen"] == 53
    assert counts["seen"] == counts["exported"] + sum(counts["skipped"].values())
    return int(counts["exported"])


def test_trl_gets_a_file_for_each_kind_with_turns_as_openai_writes_them(
    release: curate.Release, tmp_path: Path
) -> None:
    done = curate.export(release.path, "trl", tmp_path / "out")
    assert sums(done.told) == 53
    held = {name: lines(tmp_path / "out" / name / "train.jsonl") for name in shapes.KINDS}
    assert {name: len(rows) for name, rows in held.items()} == {
        "conversations": 39,
        "preferences": 4,
        "documents": 10,
    }
    first = held["conversations"][0]
    assert set(first) == {"id", "source", "license", "language", "messages"}
    call = held["conversations"][-1]
    assert orjson.loads(call["tools"]) == TOOLS
    asked = call["messages"][1]["tool_calls"][0]
    assert asked["function"] == {"name": "weigh", "arguments": {"stones": 2}}
    assert call["messages"][2]["tool_call_id"] == asked["id"] == "call-0"
    pair = held["preferences"][0]
    assert pair["rejected"] == [answer("No.")]
    assert [*pair["prompt"], *pair["chosen"]] == next(r for r in release if r["id"] == pair["id"])["messages"]
    assert set(held["documents"][0]) == {"id", "source", "license", "language", "text"}
    assert done.told["files"][0]["records"] == 39
    assert done.told["release"]["root"] == release.manifest["root"]


def test_trl_s_completions_are_last_answers(release: curate.Release, tmp_path: Path) -> None:
    curate.export(release.path, "trl", tmp_path / "out", completion=True)
    for row in lines(tmp_path / "out" / "conversations" / "train.jsonl"):
        assert [turn["role"] for turn in row["completion"]] == ["assistant"]
        assert row["prompt"][-1]["role"] in ("user", "tool")


def test_what_has_nothing_to_learn_is_counted_not_exported() -> None:
    record = {"id": "a", "messages": [user("hello")]}
    with pytest.raises(shapes.Skip, match="no answer"):
        trl.shape(record, "conversations", False)
    with pytest.raises(shapes.Skip, match="empty"):
        shapes.kind({"id": "a", "messages": [], "text": None})


def test_llama_factory_gets_alternating_turns_and_is_told_of_its_files(
    release: curate.Release, tmp_path: Path
) -> None:
    done = curate.export(release.path, "llama-factory", tmp_path / "out")
    assert sums(done.told) == 53
    told = orjson.loads((tmp_path / "out" / "dataset_info.json").read_bytes())
    assert set(told) == {f"handed_{kind}_train" for kind in shapes.KINDS}
    for entry in told.values():
        rows = lines(tmp_path / "out" / entry["file_name"])
        assert all(set(entry["columns"].values()) <= set(row) for row in rows)
    call = lines(tmp_path / "out" / "conversations" / "train.jsonl")[-1]["messages"]
    assert [turn["role"] for turn in call] == ["user", "function_call", "observation", "assistant"]
    assert orjson.loads(call[1]["content"]) == [{"name": "weigh", "arguments": {"stones": 2}}] * 2
    assert call[2]["content"] == "0 pounds\n</tool_response>\n<tool_response>\n1 pounds"
    assert told["handed_preferences_train"]["ranking"]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([user("a"), user("b"), answer("c")], "do not alternate"),
        ([answer("a")], "do not alternate"),
        ([user("a"), {"role": "system", "content": "b"}, answer("c")], "do not alternate"),
        ([user("a"), {**answer("well"), "tool_calls": [{"function": {"name": "f"}}]}], "text beside calls"),
    ],
)
def test_what_llama_factory_would_drop_is_counted(turns: Any, reason: str) -> None:
    from curate.exporting import llamafactory

    with pytest.raises(shapes.Skip, match=reason):
        llamafactory.shape({"id": "a", "messages": turns}, "conversations")


def test_axolotl_is_told_how_to_read_its_files(release: curate.Release, tmp_path: Path) -> None:
    done = curate.export(release.path, "axolotl", tmp_path / "out")
    assert sums(done.told) == 53
    told = {name: YAML(typ="safe").load(tmp_path / "out" / f"{name}.yaml") for name in ("sft", "dpo")}
    assert told["dpo"]["rl"] == "dpo"
    for entry in [*told["sft"]["datasets"], *told["dpo"]["datasets"]]:
        rows = lines(tmp_path / "out" / entry["path"])
        fields = [value for name, value in entry.items() if name.startswith("field")]
        assert fields
        assert all(set(fields) <= set(row) for row in rows)
    assert [len(told[name]["datasets"]) for name in told] == [2, 1]
    call = lines(tmp_path / "out" / "conversations" / "train.jsonl")[-1]["messages"][1]["tool_calls"][0]
    assert call["function"]["arguments"] == '{"stones":2}'


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_its_shards_back(release: curate.Release, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")

    done = curate.export(release.path, "webdataset", tmp_path / "out", shard_size="4KB")
    shards = [str(tmp_path / "out" / file["path"]) for file in done.told["files"]]
    assert len(shards) > 2
    found = [orjson.loads(one["json"]) for one in webdataset.WebDataset(shards, shardshuffle=False)]
    gc.collect()  # its reader leaves files open
    assert found == list(release)
    again = curate.export(release.path, "webdataset", tmp_path / "again", shard_size="4KB")
    assert again.told == done.told


def test_mds_shards_hold_every_record_where_their_heads_say(release: curate.Release, tmp_path: Path) -> None:
    done = curate.export(release.path, "mds", tmp_path / "out", shard_size="4KB")
    assert sums(done.told) == 53
    held = {kind: mds.read(tmp_path / "out" / kind / "train") for kind in shapes.KINDS}
    assert sum(map(len, held.values())) == 53
    records = {record["id"]: record for record in release}
    assert [held["documents"][0][name] for name in ("id", "text")] == ["docs/0", records["docs/0"]["text"]]
    call = held["conversations"][-1]
    assert call["messages"] == [shapes.with_objects(turn) for turn in records["tool/2"]["messages"]]
    assert (call["tools"], call["license"], call["language"]) == (TOOLS, "MIT", None)
    assert held["preferences"][0]["rejected"] == [answer("No.")]
    assert len([file for file in done.told["files"] if file["path"].startswith("conversations/")]) > 3


def test_packed_rows_hold_every_record_with_the_labels_of_the_quick_tune(
    release: curate.Release, words: str, tmp_path: Path
) -> None:
    done = curate.export(release.path, "tokens", tmp_path / "out", tokenizer=words, length=200, longer="skip")
    assert sums(done.told) == 46 - done.told["counts"]["skipped"].get("longer than a row", 0)
    assert done.told["counts"]["skipped"]["preference pair"] == 4
    assert done.told["counts"]["skipped"]["the chat template leaves out calls or tools"] == 3
    rows = pq.read_table(tmp_path / "out" / "train").to_pylist()
    made = Encoder.of(words, None)
    records = {record["id"]: record for record in release}
    seen = []
    for row in rows:
        assert (
            len(row["input_ids"])
            == len(row["labels"])
            == len(row["position_ids"])
            == sum(row["seq_lengths"])
            <= 200
        )
        start = 0
        for name, size in zip(row["ids"], row["seq_lengths"], strict=True):
            part = slice(start, start + size)
            [one] = made.encode([records[name]], None, "skip")
            assert not isinstance(one.made, shapes.Skip)
            [piece] = one.made
            assert row["input_ids"][part] == piece.ids.tolist()
            learnt = [
                -100 if not kept else token for token, kept in zip(piece.ids, piece.learnt, strict=True)
            ]
            assert row["labels"][part] == learnt
            assert row["position_ids"][part] == list(range(size))
            seen.append(name)
            start += size
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == done.told["counts"]["exported"]
    assert done.told["splits"]["train"]["rows"] == len(rows) < len(seen)


def test_answers_and_the_ends_of_their_turns_are_learnt_and_nothing_else(
    release: curate.Release, words: str
) -> None:
    made = Encoder.of(words, None)
    record = next(
        record for record in release if record["id"] == "chat/5"
    )  # a user's turn spells out <|im_end|>
    [one] = made.encode([record], None, "skip")
    assert not isinstance(one.made, shapes.Skip)
    [piece] = one.made
    learnt = made.tokenizer.decode(piece.ids[piece.learnt])
    answers = [turn["content"] for turn in record["messages"] if turn["role"] == "assistant"]
    assert learnt == "".join(f"{said}<|im_end|>" for said in answers)
    end = made.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (piece.ids == end).sum() == len(record["messages"])  # none from the text


def test_calls_and_tools_are_written_by_a_template_that_knows_them(
    release: curate.Release, words: str, tmp_path: Path
) -> None:
    (tmp_path / "calling.jinja").write_text(CALLING)
    made = Encoder.of(words, str(tmp_path / "calling.jinja"))
    [one] = made.encode([record for record in release if record["id"] == "tool/1"], None, "skip")
    assert not isinstance(one.made, shapes.Skip)
    [piece] = one.made
    call = '<call>weigh{"stones": 1}</call>'
    assert made.tokenizer.decode(piece.ids[piece.learnt]) == f"{call}{call}<|im_end|>Heavy.<|im_end|>"
    assert "parameters" in made.tokenizer.decode(piece.ids[~piece.learnt])
    assert made.told()["template"] == "calling.jinja"


@pytest.mark.parametrize("longer", ["cut", "split", "skip"])
def test_what_is_longer_than_a_row_is_cut_split_or_skipped_and_counted(
    release: curate.Release, words: str, tmp_path: Path, longer: Any
) -> None:
    done = curate.export(
        release.path, "tokens", tmp_path / "out", tokenizer=words, length=60, longer=longer, packing="none"
    )
    sums(done.told)
    counts, rows = done.told["counts"], pq.read_table(tmp_path / "out" / "train").to_pylist()
    assert all(len(row["input_ids"]) <= 60 for row in rows)
    made = Encoder.of(words, None)
    whole = {
        record["id"]: one.made[0]
        for record, one in zip(release, made.encode(list(release), None, "skip"), strict=True)
        if not isinstance(one.made, shapes.Skip)
    }
    over = {name for name, piece in whole.items() if len(piece.ids) > 60}
    assert over
    if longer == "skip":
        assert counts["skipped"]["longer than a row"] == len(over)
    elif longer == "cut":
        assert counts["cut"] + counts["skipped"].get("answer longer than a row", 0) == len(over)
    else:
        assert counts["exported"] == len(whole)
        joined: dict[str, list[int]] = {}
        for row in rows:
            joined.setdefault(row["ids"][0], []).extend(row["input_ids"])
            assert row["labels"][0] == -100
        assert joined == {name: piece.ids.tolist() for name, piece in whole.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 20), max_size=30), st.integers(20, 40))
def test_best_fit_is_what_looking_at_every_row_gives(lengths: list[int], capacity: int) -> None:
    rows = packing.pack(lengths, capacity, "best-fit")
    assert rows == slow.best_fit(lengths, capacity)
    for how in ("in-order", "none"):
        found = packing.pack(lengths, capacity, how)
        assert [place for row in found for place in row] == list(range(len(lengths)))
        assert all(sum(lengths[place] for place in row) <= capacity for row in found)


def test_megatron_s_index_leads_to_every_token(release: curate.Release, words: str, tmp_path: Path) -> None:
    done = curate.export(release.path, "megatron", tmp_path / "out", tokenizer=words)
    assert sums(done.told) == 46
    made = Encoder.of(words, None)
    wanted = [
        one.made[0].ids.tolist()
        for one in made.encode(list(release), None, "skip")
        if not isinstance(one.made, shapes.Skip)
    ]
    assert indexed.read(tmp_path / "out" / "train") == wanted


def test_two_exports_have_the_same_bytes(release: curate.Release, words: str, tmp_path: Path) -> None:
    for to in exporting.TARGETS:
        how: dict[str, Any] = {"tokenizer": words} if to in ("tokens", "megatron") else {}
        one, two = (
            curate.export(release.path, to, tmp_path / f"{to}-{n}", shuffle=1, **how) for n in range(2)
        )
        assert one.told == two.told
        for file in one.told["files"]:
            assert (one.folder / file["path"]).read_bytes() == (two.folder / file["path"]).read_bytes()


def test_only_an_earlier_export_is_replaced(release: curate.Release, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    curate.export(release.path, "trl", folder)
    curate.export(release.path, "axolotl", folder)  # takes its place
    assert (folder / "sft.yaml").is_file()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(RecipeError, match=r"holds mine\.txt, which the export there did not write"):
        curate.export(release.path, "trl", folder)
    assert (folder / "sft.yaml").is_file()
    assert (folder / "mine.txt").read_text() == "keep"
    other = tmp_path / "other"
    other.mkdir()
    (other / "export.json").write_text("{}")
    with pytest.raises(RecipeError, match="holds what is no export"):
        curate.export(release.path, "trl", other)
    for wrong in (release.path, release.path / "data" / "x", release.path.parent):
        with pytest.raises(RecipeError, match="the release's own folder"):
            curate.export(release.path, "trl", wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        "out",
    ]  # no folder in between is left


def test_a_damaged_release_leaves_no_export(release: curate.Release, tmp_path: Path) -> None:
    damaged = shutil.copytree(release.path, tmp_path / "damaged")
    shard = damaged / "data" / "part-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 255
    shard.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"data/part-00000\.parquet"):
        curate.export(damaged, "trl", tmp_path / "out", verify=True)
    assert not (tmp_path / "out").exists()


def test_every_problem_with_the_options_is_told_at_once(release: curate.Release, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--to trl2: no such format; did you mean 'trl'"):
        curate.export(release.path, "trl2", tmp_path / "out")
    with pytest.raises(RecipeError) as caught:
        curate.export(release.path, "tokens", tmp_path / "out", length=1, packing="tight", completion=True)  # type: ignore[arg-type]
    told = str(caught.value)
    assert "--completion: belongs to --to trl, not to tokens" in told
    assert "needs --tokenizer" in told
    assert "--length 1: at least 2 tokens" in told
    assert "--packing tight: allowed: best-fit, in-order, none" in told
    with pytest.raises(RecipeError, match="cannot be loaded"):
        curate.export(release.path, "tokens", tmp_path / "out", tokenizer=str(tmp_path))


def test_the_command_tells_what_was_written(
    release: curate.Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["export", str(release.path), "--to", "llama-factory", "--out", out, "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out) == orjson.loads(
        (tmp_path / "out" / "export.json").read_bytes()
    )
    assert main(["export", str(release.path), "--to", "trl", "--out", out]) == 0
    shown = capsys.readouterr().out
    assert "53" in shown
    assert "conversations/train.jsonl" in shown
    assert main(["export", str(release.path), "--to", "parquet"]) == 2


def test_packing_many_pieces_is_quick() -> None:
    rng = random.Random(1)
    lengths = [min(2048, int(rng.lognormvariate(5.5, 1)) + 1) for _ in range(packing.WINDOW)]
    rows = packing.pack(lengths, 2048, "best-fit")
    assert sum(lengths) / (len(rows) * 2048) > 0.98
