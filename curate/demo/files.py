"""Writes the demo's sources in the formats in which real ones come, and the truth beside them.

All bytes are the same for the same drafts: gzip, zstd and parquet come from libraries whose versions
constraints.txt pins, and carry no time of writing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from curate.demo.drafts import Draft
from curate.demo.grammar import Draw, bank

Columns = dict[str, Any]  # one record as it stands in its file

_SENDERS = {"user": "human", "assistant": "gpt"}  # as ShareGPT names them


def handbook(draft: Draft, draw: Draw) -> Columns:
    """Return an alpaca triple."""
    question, answer = (content for _, content in draft.turns)
    return {
        "id": draft.id, "instruction": question, "input": draft.given, "output": answer,
        "topic": draft.topic, "rating": draw.between(2, 5),
    }  # fmt: skip


def support(draft: Draft, draw: Draw) -> Columns:
    """Return messages in the form of the OpenAI API."""
    messages = [{"role": role, "content": content} for role, content in draft.turns]
    return {"id": draft.id, "messages": messages, "issue": draft.topic, "satisfied": draw.chance(0.8)}


def forum(draft: Draft, draw: Draw) -> Columns:
    """Return ShareGPT turns under the column names of a forum's database."""
    talk = bank("forum")
    row: Columns = {
        "uid": draft.id,
        "turns": [{"from": _SENDERS[role], "value": content} for role, content in draft.turns],
        "lic": draft.license,
        "link": f"https://forum.example.org/t/{draw.between(10_000, 99_999)}",
        "user": f"{draw.pick(talk['adjective'])}_{draw.pick(talk['noun'])}",
        "votes": draw.between(0, 40),
    }
    if draft.license is None and draw.chance(0.5):
        del row["lic"]  # a null and a missing key are both met in the wild
    return row


def articles(draft: Draft, draw: Draw) -> Columns:
    """Return a document with its title and date."""
    day = f"{draw.between(2016, 2025)}-{draw.between(1, 12):02}-{draw.between(1, 28):02}"
    return {
        "id": draft.id,
        "title": draft.title,
        "text": draft.response,
        "topic": draft.topic,
        "published": day,
    }


def norsk(draft: Draft, draw: Draw) -> Columns:
    """Return an alpaca triple without input."""
    question, answer = (content for _, content in draft.turns)
    return {
        "id": draft.id,
        "instruction": question,
        "output": answer,
        "tema": draft.topic,
        "kvalitet": draw.between(3, 6),
    }


def web(draft: Draft, draw: Draw) -> Columns:
    """Return a page with its address."""
    address = f"https://www.example.com/{draft.topic.replace(' ', '-')}/{draft.id}"
    return {
        "page": draft.id,
        "address": address,
        "kind": draft.topic,
        "words": len(draft.response.split()),
        "text": draft.response,
    }


ROWS: dict[str, Callable[[Draft, Draw], Columns]] = {
    "handbook": handbook,
    "support": support,
    "forum": forum,
    "articles": articles,
    "norsk": norsk,
    "web": web,
}


def lines(rows: Sequence[Columns]) -> bytes:
    """Return JSON lines in UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_jsonl(path: Path, rows: Sequence[Columns]) -> None:
    """Write JSON lines."""
    path.write_bytes(lines(rows))


def write_gzip(path: Path, rows: Sequence[Columns]) -> None:
    """Write JSON lines with gzip; pyarrow brings its own zlib, the system's may compress differently."""
    import pyarrow as pa

    with pa.CompressedOutputStream(str(path), "gzip") as file:
        file.write(lines(rows))


def write_zstd(path: Path, rows: Sequence[Columns]) -> None:
    """Write JSON lines with zstd."""
    import zstandard

    path.write_bytes(zstandard.ZstdCompressor(level=10).compress(lines(rows)))


def write_parquet(path: Path, rows: Sequence[Columns]) -> None:
    """Write parquet in two row groups or more."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=150, compression="zstd")


def write_csv(path: Path, rows: Sequence[Columns]) -> None:
    """Write csv as RFC 4180 has it, but with bare line feeds."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


FILES: dict[str, tuple[str, Callable[[Path, Sequence[Columns]], None]]] = {
    "handbook": ("handbook.jsonl", write_jsonl),
    "support": ("tickets.jsonl.gz", write_gzip),
    "forum": ("threads.jsonl.zst", write_zstd),
    "articles": ("articles.parquet", write_parquet),
    "norsk": ("norsk.jsonl", write_jsonl),
    "web": ("pages.csv", write_csv),
}
"""Each source's file in data/<source>/ and how it is written."""
