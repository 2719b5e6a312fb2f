"""How much text a release holds, and from which domains of the web: counted from data/.

A domain is the registrable part of a record's address: ``example.co.uk`` of ``https://www.example.co.uk/page``, by
the ICANN part of the Public Suffix List (publicsuffix.org) that tldextract carries; never by the network. An IPv4
address stands for itself. What has no such part (a file path, a bare number) counts as a record without domain.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from curate.io.write import Shard, finished, write_bytes
from curate.ledger import database, scan_parquet

FILE = "disclosures/domains.csv"
MOST_LISTED = 1000  # domains in the manifest per category; domains.csv has all
TOP = 0.10  # share of the domains that the EU template asks for …
TOP_SMALL = 0.05  # … and from small and medium enterprises, of whom 1,000 are enough
# A scheme may hold dots, and none in use does: what stands before a colon with one is a host with its port.
_HOST = r"^(?:[A-Za-z][A-Za-z0-9+-]*:)?(?://)?(?:[^/?#@]*@)?([^/?#:\s]+)"
_IPV4 = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_NAME = re.compile(r"\w[\w-]*(\.[\w-]+)+")  # nothing else goes into a table that programs open

Row = tuple[str, str, int, int]  # source, host or "", records, bytes of text


def measure(folder: Path, recipe: Mapping[str, Any], memory: int) -> dict[str, Any]:
    """Return the release's text by source, and the domains of its crawled sources, as the manifest holds them.

    bytes: of the documents and turns in UTF-8. Of the crawled sources' domains, largest first, the manifest lists
    as many as the EU template asks for, at most MOST_LISTED.
    """
    rows = list(_rows(folder, memory))
    crawled = {source["name"] for source in recipe["sources"] if source.get("category") == "crawled"}
    by_source: dict[str, dict[str, Any]] = {}
    domains: dict[str, set[str]] = {}
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for source, host, records, nbytes in rows:
        line = by_source.setdefault(source, {"source": source, "records": 0, "bytes": 0, "with_domain": 0})
        line["records"] += records
        line["bytes"] += nbytes
        if name := _domain(host):
            line["with_domain"] += records
            domains.setdefault(source, set()).add(name)
            if source in crawled:
                sizes[name] += nbytes
                counts[name] += records
    for source, line in by_source.items():
        line["domains"] = len(domains.get(source, ()))
    small = bool((recipe.get("about") or {}).get("small_enterprise"))
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    asked = asked_for(len(ordered), small)
    listed = [
        {"domain": n, "records": counts[n], "bytes": sizes[n]} for n in ordered[: min(asked, MOST_LISTED)]
    ]
    return {
        "records": sum(line["records"] for line in by_source.values()),
        "bytes": sum(line["bytes"] for line in by_source.values()),
        "sources": [by_source[source] for source in sorted(by_source)],
        "crawled": {"domains": len(ordered), "asked_for": asked, "listed": listed},
    }


def asked_for(domains: int, small: bool) -> int:
    """Return how many domains the EU template asks for: the top 10 %, or for an SME 5 % or 1,000, if that is less."""
    if small:
        return min(-(-domains * int(TOP_SMALL * 100) // 100), 1000)
    return -(-domains * int(TOP * 100) // 100)


def write(folder: Path, memory: int) -> list[Shard]:
    """Write disclosures/domains.csv: every domain of every source, the largest first."""
    totals: dict[tuple[str, str], list[int]] = {}
    whole = 0
    for source, host, records, nbytes in _rows(folder, memory):
        whole += nbytes
        if name := _domain(host):
            held = totals.setdefault((name, source), [0, 0])
            held[0] += records
            held[1] += nbytes
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("domain", "source", "records", "bytes", "share_of_text"))
    for name, source in sorted(totals, key=lambda key: (-totals[key][1], key)):
        records, nbytes = totals[name, source]
        writer.writerow((name, source, records, nbytes, f"{nbytes / whole if whole else 0:.6f}"))
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.getvalue().encode())
    return [finished(path, len(totals))]


def _rows(folder: Path, memory: int) -> tuple[Row, ...]:
    """Return records and bytes of text by source and host, over all shards of data/."""
    shards = sorted((folder / "data").glob("part-*"))
    seen = tuple((path, status.st_size, status.st_mtime_ns) for path in shards for status in [path.stat()])
    return _counted(seen, memory)


@lru_cache(maxsize=1)  # a run counts, and then writes what it counted
def _counted(seen: tuple[tuple[Path, int, int], ...], memory: int) -> tuple[Row, ...]:
    shards = [path for path, _, _ in seen]
    if shards and shards[0].suffix == ".parquet":
        return tuple(_parquet_rows(shards, memory))
    return tuple(_line_rows(shards))


def _parquet_rows(shards: list[Path], memory: int) -> Iterator[Row]:
    import pyarrow.parquet as pq

    names = pq.read_schema(shards[0]).names
    parts = ["coalesce(strlen(text), 0)"] if "text" in names else []
    if "messages" in names:
        parts.append(
            "coalesce(list_sum(list_transform(messages, lambda turn: coalesce(strlen(turn.content), 0))), 0)"
        )
    with database(memory) as connection:
        sql = f"""
            SELECT source, coalesce(lower(regexp_extract(trim(url), ?, 1)), '') AS host, count(*) AS records,
                   sum({" + ".join(parts)})::BIGINT AS bytes
            FROM {scan_parquet(shards)} GROUP BY ALL ORDER BY ALL
        """
        rows: list[Any] = connection.execute(sql, [_HOST]).fetchall()
    yield from rows


def _line_rows(shards: list[Path]) -> Iterator[Row]:
    import orjson
    import zstandard

    host = re.compile(_HOST)
    totals: dict[tuple[str, str], list[int]] = {}
    for shard in shards:
        with shard.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            for line in io.BufferedReader(stream):
                record = orjson.loads(line)
                found = host.match((record.get("url") or "").strip(" "))
                contents = [
                    record.get("text"),
                    *(turn.get("content") for turn in record.get("messages") or ()),
                ]
                held = totals.setdefault((record["source"], found[1].lower() if found else ""), [0, 0])
                held[0] += 1
                held[1] += sum(len(content.encode()) for content in contents if content)
    for (source, name), (records, nbytes) in sorted(totals.items()):
        yield source, name, records, nbytes


@lru_cache(maxsize=1 << 16)
def _domain(host: str) -> str:
    """Return a host's registrable domain, "" if it has none."""
    if not host:
        return ""
    if _IPV4.fullmatch(host):
        return host
    name = str(suffix_list()(host).top_domain_under_public_suffix)
    return name if _NAME.fullmatch(name) else ""


@lru_cache(maxsize=1)
def suffix_list() -> Any:
    """Return the Public Suffix List that tldextract carries, which is called with a host; never from the network."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
