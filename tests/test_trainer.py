"""TRL's own trainer takes the shards, and the exports of them, and learns what the quick-tune learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from bases import folder as base
from bases import tokenizer
from handed import make

import curate

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that TRL brings, not ours to mend

# ChatML with TRL's marks of what is learnt: an answer and the end of its turn.
MARKED = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n"
    "{% if turn['role'] == 'assistant' %}{% generation %}{{ turn['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ turn['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("handed"), 30)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny model of random weights."""
    made = tokenizer(MARKED)
    made.eos_token = "<|im_end|>"
    return str(base(tmp_path_factory.mktemp("model"), "llama", made))


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def steps(rows: Any, model: str, folder: Path, **how: Any) -> Any:
    """Train for two steps and return the trainer."""
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(folder), max_steps=2, per_device_train_batch_size=2, report_to=[], save_strategy="no",
        disable_tqdm=True, use_cpu=True, bf16=False, logging_steps=1, gradient_checkpointing=False,
        shuffle_dataset=False, **how,
    )  # fmt: skip
    trainer = SFTTrainer(model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(3 < loss < 9 for loss in losses)  # of random weights: about the logarithm of 424 tokens
    return trainer


def test_trl_trains_on_the_shards_as_they_lie_there_and_masks_as_the_quick_tune(
    release: curate.Release, model: str, tmp_path: Path
) -> None:
    from datasets import load_dataset

    found = load_dataset(str(release.path), split="train")
    rows = found.filter(lambda row: row["source"] == "chat" and row["messages"][-1]["role"] == "assistant")
    trainer = steps(rows.select_columns(["id", "messages"]), model, tmp_path, assistant_only_loss=True)
    curate.export(
        release.path,
        "tokens",
        tmp_path / "tokens",
        tokenizer=model,
        length=1024,
        packing="none",
        longer="skip",
    )
    ours = {row["ids"][0]: row for row in load_dataset(str(tmp_path / "tokens"), split="train")}
    compared = 0
    for row in trainer.train_dataset:
        if (
            row["id"] in ours and row["id"] != "chat/5"
        ):  # whose text spells out a special token: TRL takes it for one
            mine = ours[row["id"]]
            size = len(mine["input_ids"])  # TRL keeps the line feed behind the last turn
            assert row["input_ids"][:size] == mine["input_ids"]
            assert row["labels"][:size] == mine["labels"]
            assert set(row["labels"][size:]) <= {-100}
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("layout", ["parquet", "jsonl.zst"])
def test_load_dataset_reads_calls_and_kinds_that_are_mixed(
    release: curate.Release, tmp_path: Path, layout: str
) -> None:
    from datasets import load_dataset

    made = release if layout == "parquet" else make(tmp_path, 30, layout)
    rows = {row["id"]: row for row in load_dataset(str(made.path), split="train")}
    assert list(rows) == [record["id"] for record in made]
    call, document = rows["tool/1"], rows["docs/1"]
    extra = call["messages_extra"]
    extra = orjson.loads(extra) if isinstance(extra, str) else extra
    assert extra[1]["tool_calls"][0]["function"]["name"] == "weigh"
    assert [turn["role"] for turn in call["messages"]] == ["user", "assistant", "tool", "tool", "assistant"]
    assert call["text"] is None
    assert document["messages"] is None
    if layout == "parquet":
        assert rows["chat/20"]["rejected"] == [{"role": "assistant", "content": "No."}]


def test_trl_trains_on_packed_tokens_without_touching_them(
    release: curate.Release, model: str, tmp_path: Path
) -> None:
    from datasets import load_dataset

    curate.export(release.path, "tokens", tmp_path / "tokens", tokenizer=model, length=200)
    rows = load_dataset(str(tmp_path / "tokens"), split="train")
    trainer = steps(rows, model, tmp_path, max_length=None, padding_free=True)
    assert trainer.train_dataset.to_list() == rows.to_list()
    batch = trainer.data_collator(
        [dict(row) for row in rows.select_columns(["input_ids", "labels", "seq_lengths"])]
    )
    assert batch["position_ids"][0].tolist() == [place for row in rows for place in row["position_ids"]]
    assert batch["labels"][0].tolist() == [label for row in rows for label in row["labels"]]


def test_trl_reads_its_export_and_trains_on_completions_and_pairs(
    release: curate.Release, model: str, tmp_path: Path
) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl.data_utils import apply_chat_template, is_conversational

    curate.export(release.path, "trl", tmp_path / "trl", completion=True)
    rows = load_dataset(str(tmp_path / "trl" / "conversations"), split="train")
    assert is_conversational(rows[0])
    steps(rows.filter(lambda row: row["source"] == "chat"), model, tmp_path)
    call = rows[-1]
    assert call["prompt"][1]["tool_calls"][0]["function"] == {"name": "weigh", "arguments": {"stones": 2}}
    pairs = load_dataset(str(tmp_path / "trl" / "preferences"), split="train")
    written = apply_chat_template(pairs[0], AutoTokenizer.from_pretrained(model))
    assert written["rejected"] == "No.<|im_end|>"
    assert written["prompt"].endswith("<|im_start|>assistant\n")
