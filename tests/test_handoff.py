"""A trainer is given every record once, in an order that a seed gives, and goes on exactly where it stopped."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from conftest import write_jsonl
from handed import answer, calling, user
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.errors import IntegrityError, RecipeError
from curate.handoff.order import Order, Share
from curate.handoff.records import Records
from curate.handoff.turns import told
from curate.io import write

RECIPE = """\
curate: 1
name: handed
version: "1"
sources:
  - {name: chat, files: [chat.jsonl], license: MIT}
  - {name: docs, files: [docs.jsonl], license: CC0-1.0}
stages: [license]
output: {format: FORMAT, shard_size: 1KB}
"""
GROUP = 30


def make(folder: Path, layout: str) -> curate.Release:
    """Write a release of conversations and documents: several shards of several row groups each."""
    chats: list[dict[str, Any]] = [
        {
            "id": n,
            "messages": [
                {"role": "user", "content": f"ask {n}"},
                {"role": "assistant", "content": f"say {n}"},
            ],
            "tags": ["a", "b"][: n % 3],
            "score": n / 2,
        }
        for n in range(150)
    ]
    write_jsonl(folder / "chat.jsonl", chats)
    write_jsonl(
        folder / "docs.jsonl", [{"id": n, "text": f"words {n}", "mixed": [n, "x"][n % 2]} for n in range(97)]
    )
    (folder / "curate.yaml").write_text(RECIPE.replace("FORMAT", layout))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "GROUP_RECORDS", GROUP)
        return curate.run(folder / "curate.yaml", workers=1)


@pytest.fixture(scope="module", params=["parquet", "jsonl.zst"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("handed"), request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("whole"), "parquet")


def ids(records: Any) -> list[str]:
    return [record["id"] for record in records]


def test_a_release_is_iterated_over_in_the_order_of_its_shards(release: curate.Release) -> None:
    records = list(release)
    assert len(records) == len(release) == 247
    assert ids(records) == [f"chat/{n}" for n in range(150)] + [f"docs/{n}" for n in range(97)]
    assert release.splits == {"train": 247}
    chat, document = records[4], records[151]
    assert chat["messages"] == [
        {"role": "user", "content": "ask 4"},
        {"role": "assistant", "content": "say 4"},
    ]
    assert (chat["source"], chat["license"], chat["tags"], chat["score"]) == ("chat", "MIT", ["a"], 2.0)
    assert "text" not in chat
    assert "messages" not in document
    assert (document["text"], document["mixed"]) == ("words 1", "x")
    assert records[150]["mixed"] == 0  # a column of mixed values holds what was said, not its JSON


def test_columns_are_chosen_and_an_unknown_one_is_named(release: curate.Release) -> None:
    records = list(release.records(columns=["id", "messages"]))
    assert set(records[0]) == {"id", "messages"}
    with pytest.raises(RecipeError, match=r"no column 'mesages'; did you mean 'messages'"):
        release.records(columns=["mesages"])
    with pytest.raises(RecipeError, match=r"split 'test': this release has train"):
        release.records(split="test")


def test_the_order_is_given_by_seed_and_epoch(release: curate.Release) -> None:
    first = ids(release.records(shuffle=7))
    assert first == ids(release.records(shuffle=7))
    others = [ids(release.records(shuffle=7, epoch=1)), ids(release.records(shuffle=8)), ids(release)]
    assert all(other != first and sorted(other) == sorted(first) for other in others)
    records = release.records(shuffle=7)
    records.set_epoch(1)
    assert ids(records) == others[0]


def test_an_order_never_changes_from_version_to_version() -> None:
    order = Order([5, 3, 4], 11, 2, 2)
    found = [(window.blocks, order.rows(window).tolist()) for window in order.windows()]
    assert found == FROZEN


def test_where_one_window_holds_all_every_place_is_as_likely() -> None:
    sizes, times = [3, 4, 5], 600
    firsts = Counter[int]()
    for epoch in range(times):
        order = Order(sizes, 1, epoch, None)
        [window] = order.windows()
        starts = np.repeat(window.blocks, [sizes[block] for block in window.blocks]) * 10
        inside = np.concatenate([np.arange(sizes[block]) for block in window.blocks])
        firsts[int((starts + inside)[order.rows(window)[0]])] += 1
    assert len(firsts) == 12
    expected = times / 12
    assert (
        sum((count - expected) ** 2 / expected for count in firsts.values()) < 31.3
    )  # chi-square, 11 df, p = 0.001


def slow_share(places: int, share: Share) -> list[int]:
    """Deal the order out, one record after the other: to ranks in turn, and within a rank to workers by batches."""
    hands: dict[tuple[int, int], list[int]] = {}
    stop = places if share.stop is None else share.stop
    for turn, place in enumerate(range(share.start, stop)):
        rank, nth = turn % share.world, turn // share.world
        hands.setdefault((rank, nth // share.batch % share.workers), []).append(place)
    return hands.get((share.rank, share.worker), [])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_share_is_what_dealing_out_gives(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return int(data.draw(st.integers(low, high)))

    sizes = data.draw(st.lists(st.integers(0, 9), max_size=6))
    world, workers = draw(1, 4), draw(1, 4)
    share = Share(
        draw(0, 12), draw(0, 40), draw(0, world - 1), world, draw(0, workers - 1), workers, draw(1, 5)
    )
    found, begin = [], 0
    for size in sizes:
        found += (share.of(begin, size) + begin).tolist()
        begin += size
    wanted = [place for place in slow_share(begin, share) if place < begin]
    assert found == wanted


@pytest.mark.parametrize("window", [1, 3, None])
def test_ranks_and_workers_cover_every_record_once(whole: curate.Release, window: int | None) -> None:
    found: list[str] = []
    for rank in range(3):
        records = whole.records(shuffle=3, window=window, shard=(rank, 3))
        parts = [ids(records.given(records.share(worker, 2, 4))) for worker in range(2)]
        assert sum(map(len, parts)) == len(records)
        found += parts[0] + parts[1]
    assert sorted(found) == sorted(ids(whole))
    even = [ids(whole.records(shuffle=3, shard=(rank, 4), even=True)) for rank in range(4)]
    assert [len(part) for part in even] == [61] * 4
    assert len(whole.records(shard=(3, 4), even=True)) == 61
    assert len(set().union(*even)) == 244


def test_only_blocks_that_a_reader_needs_are_read(
    whole: curate.Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.handoff.shards import Block

    read: list[int] = []
    real = Block.read

    def counted(block: Block, columns: Any) -> Any:
        read.append(block.place)
        return real(block, columns)

    monkeypatch.setattr(Block, "read", counted)
    rest = whole.records(shuffle=1, window=2).after(240)
    assert len(ids(rest)) == len(rest) == 7
    assert len(read) <= 2


@pytest.mark.parametrize("place", [0, 1, 100, 246, 247])
def test_a_state_taken_in_mid_epoch_goes_on_exactly(release: curate.Release, place: int) -> None:
    records = release.records(shuffle=5, epoch=2, window=2)
    wanted = ids(records)
    stream = iter(records)
    before = [next(stream)["id"] for _ in range(place)]
    state = orjson.loads(orjson.dumps(records.state_dict()))
    other = release.records(shuffle=5, window=2)
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert before + ids(other) == wanted
    assert ids(other) == wanted  # the next epoch is whole


def test_a_state_of_another_order_is_refused(whole: curate.Release) -> None:
    state = whole.records(shuffle=5).state_dict()
    with pytest.raises(RecipeError, match=r"shuffle 5, and here it is 6(.|\n)*what it was taken of"):
        whole.records(shuffle=6).load_state_dict(state)


def test_a_file_that_differs_from_the_manifest_is_named(tmp_path: Path) -> None:
    release = make(tmp_path, "jsonl.zst")
    shard = release.path / "data" / "part-00000.jsonl.zst"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"\0")
    with pytest.raises(IntegrityError, match=r"data/part-00000\.jsonl\.zst: its SHA-256"):
        release.records(verify=True)
    shard.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match=r"data/part-00000\.jsonl\.zst: it has [\d,]+ bytes, and"):
        release.records()
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"data/part-00000\.jsonl\.zst: it is not there"):
        release.records()


def test_calls_come_back_into_their_turns_and_a_rejected_reply_stays() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]
    row = {"id": "s/1", "messages": turns, "text": None, "rejected": None}
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    found = told({**row, "messages_extra": [None, {"tool_calls": calls}]})
    assert found == {"id": "s/1", "messages": [turns[0], {**turns[1], "tool_calls": calls}]}
    assert told({**row, "rejected": turns[1:]})["rejected"] == turns[1:]
    with pytest.raises(IntegrityError, match=r"s/1: 2 turns, and 1 in messages_extra"):
        told({**row, "messages_extra": [None]})


def test_splits_are_read_apart(whole: curate.Release) -> None:
    outputs, seen = [], 0
    for entry in whole.manifest["outputs"]:
        data = entry["path"].startswith("data/")
        seen += data
        outputs.append({**entry, "split": "validation" if seen == 1 else "train"} if data else entry)
    split = curate.Release(whole.path, {**whole.manifest, "outputs": outputs})
    sizes = split.splits
    assert sum(sizes.values()) == 247
    assert list(sizes) == ["validation", "train"]
    assert len(split) == len(list(split)) == sizes["train"]
    assert sorted(ids(split.records(split="validation")) + ids(split)) == sorted(ids(whole))
    assert len(ids(split.records(split=None))) == 247


def test_a_release_of_no_records_is_true_and_gives_none(tmp_path: Path) -> None:
    empty = Records((), "root", shuffle=1)
    assert ids(empty) == []
    assert len(empty) == 0
    assert curate.Release(tmp_path, {"outputs": []})


def test_records_of_a_release_in_object_storage_outlive_the_release(whole: curate.Release) -> None:
    import gc

    import fsspec

    fsspec.filesystem("memory").put(str(whole.path), "/handed/release", recursive=True)
    release = curate.load("memory://handed/release")
    records, copy = release.records(shuffle=3), release.path
    del release
    gc.collect()
    assert ids(records) == ids(whole.records(shuffle=3))
    assert pickle.loads(pickle.dumps(records)).keep is None
    del records
    gc.collect()
    assert not copy.exists()


def test_torch_is_left_alone_until_it_is_asked_for(whole: curate.Release) -> None:
    code = (
        "import curate, sys; n = sum(1 for _ in curate.load(sys.argv[1])); print(n);"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(whole.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "247\n"


def flat(lists: list[list[str]]) -> list[str]:
    return [one for some in lists for one in some]


def batches(dataset: Any, size: int, workers: int) -> Iterator[list[str]]:
    from torch.utils.data import DataLoader

    how = {"multiprocessing_context": "fork"} if workers else {}
    return iter(DataLoader(dataset, batch_size=size, num_workers=workers, collate_fn=ids, **how))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking with threads about
def test_a_dataloader_with_workers_gives_each_record_once_in_one_order_and_resumes_exactly(
    whole: curate.Release,
) -> None:
    dataset = whole.records(shuffle=4).torch(batch_size=8)
    assert len(dataset) == 247
    alone = list(batches(dataset, 8, 0))
    two = list(batches(dataset, 8, 2))
    assert two == alone  # whatever the number of workers
    assert sorted(flat(two)) == sorted(ids(whole))
    for taken in (0, 5, 30, 31):
        assert list(batches(dataset.after(taken), 8, 2)) == alone[taken:]
    dataset.set_epoch(1)
    again = list(batches(dataset, 8, 2))
    assert again != alone
    assert sorted(flat(again)) == sorted(flat(alone))


def test_each_worker_s_state_goes_on_exactly(whole: curate.Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchdata's StatefulDataLoader asks the copies in its workers for their states, and gives them back."""
    from curate.handoff import torchdata

    for worker in range(2):
        monkeypatch.setattr(
            torchdata, "get_worker_info", lambda at=worker: SimpleNamespace(id=at, num_workers=2)
        )
        dataset = whole.records(shuffle=4, shard=(1, 2)).torch(batch_size=3)
        wanted = ids(dataset)
        stream = iter(dataset)
        before = [next(stream)["id"] for _ in range(20)]
        state = orjson.loads(orjson.dumps(dataset.state_dict()))
        other = whole.records(shuffle=4, shard=(1, 2)).torch(batch_size=3)
        other.load_state_dict(state)
        assert before + ids(other) == wanted
    monkeypatch.setattr(torchdata, "get_worker_info", lambda: None)
    with pytest.raises(RecipeError, match="worker 1, and here it is 0"):
        dataset.load_state_dict(state)


def test_a_column_of_nested_values_is_read_from_parquet_as_it_was(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from curate.handoff.shards import Block

    table = pa.table({"id": ["a", "b"], "when": pa.array([1, None], pa.timestamp("ns")), "n": [[1], None]})
    pq.write_table(table, tmp_path / "part.parquet")
    rows = Block(str(tmp_path / "part.parquet"), 0, 0, 2).read(["id", "n"]).take(np.array([1, 0]))
    assert rows == [{"id": "b", "n": None}, {"id": "a", "n": [1]}]


FROZEN = [((0, 2), [7, 8, 2, 3, 5, 4, 1, 6, 0]), ((1,), [0, 1, 2])]


def test_datasets_reads_json_lines_whose_first_shard_holds_no_calls_of_tools(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_jsonl(
        tmp_path / "chat.jsonl",
        [{"id": n, "messages": [user(f"{n} " * 300), answer("Yes.")]} for n in range(4)],
    )
    write_jsonl(tmp_path / "tool.jsonl", [calling(n) for n in range(3)])
    sources = "".join(
        f"  - {{name: {name}, files: [{name}.jsonl], license: MIT}}\n" for name in ("chat", "tool")
    )
    (tmp_path / "curate.yaml").write_text(
        f'curate: 1\nname: lines\nversion: "1"\nsources:\n{sources}stages: [license]\n'
        "output: {format: jsonl.zst, shard_size: 100B}\n"
    )
    made = curate.run(tmp_path / "curate.yaml", workers=1)
    assert len([*(made.path / "data").iterdir()]) > 1
    held = datasets.load_dataset(str(made.path), split="train", cache_dir=str(tmp_path / "cache"))
    assert held["id"] == [record["id"] for record in made]
    assert held[-1]["messages_extra"][1]["tool_calls"][0]["function"]["name"] == "weigh"
