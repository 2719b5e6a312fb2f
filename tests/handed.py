"""A small release of every kind of record that a trainer is handed: conversations, calls of tools, pairs, documents."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import sentence, write_jsonl

import curate
from curate.govern import manifest as manifests
from curate.govern.columns import spelled
from curate.govern.descriptions import card
from curate.io.write import finished
from curate.record import MESSAGES

RECIPE = """\
curate: 1
name: handed
version: "1"
sources:
  - {name: chat, files: [chat.jsonl], license: MIT}
  - {name: docs, files: [docs.jsonl], license: CC0-1.0}
  - {name: tool, files: [tool.jsonl], license: MIT}
stages: [license]
"""
TOOLS = [{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}]
# What templates of models that call tools write, in brief.
CALLING = (
    "{% for tool in tools or [] %}<|im_start|>system\n{{ tool | tojson }}<|im_end|>\n{% endfor %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }}"
    "{{ call.function.arguments | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def answer(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def chats(rng: random.Random, records: int) -> list[dict[str, Any]]:
    """Return conversations of one to three exchanges, some of them under a system's turn."""
    found = []
    for number in range(records):
        turns = [{"role": "system", "content": "Be brief."}] if number % 4 == 0 else []
        for _ in range(1 + number % 3):
            turns += [user(sentence(rng, 5)), answer(sentence(rng, 3 + number % 9))]
        found.append({"id": number, "messages": turns})
    return found


def calling(number: int) -> dict[str, Any]:
    """Return a conversation in which a tool is called, twice at once."""
    function = {"name": "weigh", "arguments": f'{{"stones": {number}}}'}
    calls = [{"id": f"call-{n}", "type": "function", "function": function} for n in range(2)]
    results = [{"role": "tool", "tool_call_id": f"call-{n}", "content": f"{n} pounds"} for n in range(2)]
    turns = [user("How heavy?"), {**answer(""), "tool_calls": calls}, *results, answer("Heavy.")]
    return {"id": number, "messages": turns, "tools": TOOLS}


def make(folder: Path, records: int = 40, layout: str = "parquet") -> curate.Release:
    """Write the release: ``records`` conversations, ten documents, three with calls, in parquet four pairs."""
    rng = random.Random(6)
    said = chats(rng, records)
    said[5]["messages"][-2]["content"] += " <|im_end|> and on"
    said[6]["messages"].append(user("never answered"))
    write_jsonl(folder / "chat.jsonl", said)
    write_jsonl(folder / "docs.jsonl", [{"id": n, "text": sentence(rng, 40)} for n in range(10)])
    write_jsonl(folder / "tool.jsonl", [calling(n) for n in range(3)])
    (folder / "curate.yaml").write_text(f"{RECIPE}output: {{format: {layout}}}\n")
    release = curate.run(folder / "curate.yaml", workers=1)
    if layout == "parquet":
        reject(release, {f"chat/{number}": [answer("No.")] for number in range(20, 24)})
    return curate.load(release.path)


def reject(release: curate.Release, replies: dict[str, Any]) -> None:
    """Give records of a release rejected replies, as a source of preference pairs has them."""
    path = release.path / "data" / "part-00000.parquet"
    table = pq.read_table(path)
    column = pa.array([replies.get(name) for name in table.column("id").to_pylist()], MESSAGES)
    if "rejected" in table.schema.names:
        table = table.drop_columns(["rejected"])
    pq.write_table(table.append_column("rejected", column), path)
    changed = manifests.output(finished(path, table.num_rows), release.path)
    outputs = [changed if held["path"] == changed["path"] else held for held in release.manifest["outputs"]]
    told = [
        *(held for held in release.manifest["schema"]["data"] if held["name"] != "rejected"),
        {"name": "rejected", "type": spelled(MESSAGES)},
    ]
    schema = {**release.manifest["schema"], "data": told}
    manifest = manifests.revised(release.manifest, outputs=outputs, schema=schema)
    (release.path / card.NAME).write_bytes(card.render(manifest)[card.NAME])
    manifests.save(manifest, release.path)
