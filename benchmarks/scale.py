"""The planned scale: hours, bytes, files and memory for 1 TB and 100 TB of text, reckoned from what was measured.

    python benchmarks/scale.py              writes the tables into benchmarks/scale.md
    python benchmarks/scale.py --check      exit code 1 where scale.md is not what the measurements give

Measurements: scaling.json (benchmarks/scaling.py) and shuffle.json (benchmarks/shuffle.py), beside this file. Every
other number is an assumption with its source, in ASSUMED. Nothing here was run at these sizes.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- scale -->", "<!-- /scale -->"
SIZES = (1e12, 100e12)  # bytes of text
NODES = {1e12: (4, 16, 64), 100e12: (64, 256, 1024)}
HOUR = 3600.0


@dataclass(frozen=True)
class Assumed:
    """One number that was not measured here."""

    value: float
    unit: str
    what: str
    source: str


ASSUMED = {
    "cores": Assumed(16, "cores", "of a node, each as fast as the one measured", "assumed"),
    "busy": Assumed(0.8, "", "share of the cores' time that goes into work", "assumed; two workers here: see above"),
    "memory": Assumed(64e9, "bytes", "of a node", "assumed: 4 GB per core"),
    "network": Assumed(1.25e9, "bytes/s", "to and from storage, of a node", "assumed: 10 Gbit/s, a common cloud node"),
    "puts": Assumed(3500, "1/s", "writing requests per prefix of a bucket", "vendor: Amazon S3 user guide, 'at least'"),
    "gets": Assumed(5500, "1/s", "reading requests per prefix of a bucket", "vendor: Amazon S3 user guide, 'at least'"),
    "packed": Assumed(0.35, "", "input bytes per byte of text (parquet or zstd)", "assumed; English text, zstd -3"),
    "file": Assumed(1e9, "bytes", "of text per input file", "assumed: usual for published crawls"),
    "unit": Assumed(8 * 2**20, "bytes", "of text per unit", "code: curate.io.scan.UNIT_BYTES; files up to 8 GB"),
    "shard": Assumed(256e6, "bytes", "of a shard of the release", "recipe's default is 256 MB"),
    "task": Assumed(1e9, "bytes", "that one task of the shuffle may hold", "assumed: 1 of 4 GB per core"),
    "grouping": Assumed(64, "bytes", "of a key that a partition may hold", "code: curate.stages.dedup.screening.BYTES"),
    "key": Assumed(12, "bytes", "of a key in the shuffle", "code: curate.stages.dedup.shuffle.KEY"),
    "decision": Assumed(150, "bytes", "of a row of the clusters table", "estimated from its columns"),
}  # fmt: skip


def at(name: str) -> float:
    return ASSUMED[name].value


@dataclass(frozen=True)
class Costs:
    """What was measured, per byte of text or per record."""

    seconds: dict[
        str, float
    ]  # CPU per byte, by step: from the smallest size to the largest, so without fixed costs
    exponents: dict[str, tuple[float, float]]
    base: float  # bytes of text at the largest size measured
    bytes_per_record: float
    units: dict[str, float]  # bytes in work/ per byte of text, by segment and kind of file
    release: dict[str, float]  # bytes per byte of text, by part
    files_per_unit: float
    driver_bytes: float  # that the driver holds per unit
    met: float  # share of records that share a band key
    candidates: float
    bands: int
    skew: float
    largest: float  # share of all records in the largest bucket

    @classmethod
    def of(cls, scaling: dict[str, Any], shuffle: dict[str, Any]) -> Costs:
        """Return the costs that the stored measurements tell."""
        from scaling import fitted

        first, last = scaling["results"][0], scaling["results"][-1]
        more = last["bytes"] - first["bytes"]
        text = [result["bytes"] for result in scaling["results"]]
        exponents = {
            name: fitted(text, [result["seconds"].get(name, 0.0) for result in scaling["results"]])
            for name in last["seconds"]
        }
        found, larger = shuffle["measured"], shuffle["simulated"]["larger"]
        nbytes = last["bytes"]
        return cls(
            {
                name: max(0.0, (last["seconds"][name] - first["seconds"].get(name, 0.0)) / more)
                for name in last["seconds"]
            },
            exponents,
            nbytes,
            nbytes / last["records"],
            {name: size / nbytes for name, size in last["work"].items()},
            {name: size / nbytes for name, size in last["release"].items()},
            last["counts"]["files"] / last["counts"]["units"],
            last["counts"]["driver_bytes"] / last["counts"]["units"],
            found["met"] / found["records"],
            found["candidates"] / found["records"],
            len(found["bands"]),
            larger["skew"],
            larger["largest_bucket"] / larger["records"],
        )


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Yield a Markdown table: the first column to the left, the others to the right."""
    yield f"| {' | '.join(head)} |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def size(nbytes: float) -> str:
    for unit, one in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= one:
            return f"{nbytes / one:,.1f} {unit}"
    return f"{nbytes / 1e3:,.1f} KB"


def span(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 0.1 else f"{hours * 60:,.1f} min"


def cpu_hours(costs: Costs, text: float, grown: bool) -> dict[str, float]:
    """Return CPU hours by step. grown: by the fitted exponent where it is above 1, else in proportion."""
    found = {}
    for name, seconds in costs.seconds.items():
        above = max(0.0, costs.exponents[name][0] - 1.0) if grown else 0.0
        found[name] = seconds * text * (text / costs.base) ** above / HOUR
    return found


def hours(costs: Costs) -> Iterator[str]:
    """Yield the hours by step, and whole, on several numbers of nodes."""
    yield "### CPU hours by step"
    yield ""
    rows = []
    totals = {(text, grown): cpu_hours(costs, text, grown) for text in SIZES for grown in (False, True)}
    for name in costs.seconds:
        exponent, error = costs.exponents[name]
        cells = [f"{totals[text, grown][name]:,.0f}" for text in SIZES for grown in (False, True)]
        rows.append([name, f"{costs.seconds[name] * 1e9:,.1f}", f"{exponent:.2f} ± {error:.2f}", *cells])
    sums = [f"{sum(totals[text, grown].values()):,.0f}" for text in SIZES for grown in (False, True)]
    rows.append(["all", f"{sum(costs.seconds.values()) * 1e9:,.1f}", "", *sums])
    head = ["step", "CPU s per GB", "exponent"]
    head += [f"{size(text)}, {how}" for text in SIZES for how in ("in proportion", "by exponent")]
    yield from table(head, rows)
    yield ""
    yield "### Hours on N nodes"
    yield ""
    rows = []
    for text in SIZES:
        moved = sum(traffic(costs, text).values())
        for nodes in NODES[text]:
            each = nodes * at("cores") * at("busy")
            computing = [sum(totals[text, grown].values()) / each for grown in (False, True)]
            network = moved / nodes / at("network") / HOUR
            rows.append(
                [f"{size(text)}, {nodes:,} nodes", *map(span, computing), span(network), size(moved / nodes)]
            )
    yield from table(
        ["", "computing, in proportion", "by exponent", "network, beside it", "moved per node"], rows
    )


def traffic(costs: Costs, text: float) -> dict[str, float]:
    """Return the bytes read from and written to the run's file system, by what."""
    keys = text / costs.bytes_per_record * (costs.bands + 1) * at("key")
    records = [share for name, share in costs.units.items() if name.endswith(" records")]
    sketches = [share for name, share in costs.units.items() if name.endswith(" sketch")]
    return {
        "input, read three times (hash, survey, units)": 3 * at("packed") * text,
        "units, written": sum(costs.units.values()) * text,
        "units' records, read by the next segment or the writing": sum(records) * text,
        "sketches, read by the resolutions": sum(sketches) * text,
        "shuffled keys, written and read": 2 * keys,
        "candidates, read again": costs.candidates * sum(records[1:2]) * text,
        "release, written": sum(costs.release.values()) * text,
        "release, read to be counted": sum(costs.release.values()) * text,
    }


def moved(costs: Costs) -> Iterator[str]:
    yield "### Bytes moved, files, requests"
    yield ""
    parts = {text: traffic(costs, text) for text in SIZES}
    rows = [[name, *(size(parts[text][name]) for text in SIZES)] for name in parts[SIZES[0]]]
    units = [text / at("unit") for text in SIZES]
    files = [n * costs.files_per_unit for n in units]
    shards = [sum(costs.release.values()) * text / at("shard") for text in SIZES]
    rows += [
        ["all", *(size(sum(parts[text].values())) for text in SIZES)],
        ["largest extent of work/", *(size(sum(costs.units.values()) * text) for text in SIZES)],
        ["input files", *(f"{text / at('file'):,.0f}" for text in SIZES)],
        ["units", *(f"{n:,.0f}" for n in units)],
        ["files in work/", *(f"{n:,.0f}" for n in files)],
        ["shards of the release, about", *(f"{n:,.0f}" for n in shards)],
        ["hours of PUT requests, one prefix", *(span(n / at("puts") / HOUR) for n in files)],
        ["hours of GET requests, one prefix", *(span(2 * n / at("gets") / HOUR) for n in files)],
    ]
    yield from table(["", *map(size, SIZES)], rows)


def groups(costs: Costs, records: float) -> float:
    """Return the tasks that part the keys (curate.stages.dedup.shuffle.plan: 24 bytes per key and 128 per record)."""
    return max(1.0, math.ceil(records * (24 * costs.bands + 128) / at("task")))


def partitions(costs: Costs, records: float) -> float:
    """Return the partitions, a power of two (curate.stages.dedup.shuffle.plan)."""
    return 2.0 ** math.ceil(math.log2(max(1.0, records * costs.bands * at("grouping") / at("task"))))


def slices(costs: Costs, records: float) -> float:
    """Return the slices that the groups leave for the partitions."""
    return groups(costs, records) * partitions(costs, records)


def driver(costs: Costs) -> Iterator[str]:
    """Yield what one process holds or does."""
    yield "### What one machine holds or does"
    yield ""
    counts = [text / costs.bytes_per_record for text in SIZES]
    units = [text / at("unit") for text in SIZES]
    lines: list[tuple[str, Callable[[float, float], str]]] = [
        ("records", lambda records, _: f"{records:,.0f}"),
        ("driver: what it knows of units", lambda _, n: size(n * costs.driver_bytes)),
        ("groups of records in the shuffle", lambda records, _: f"{groups(costs, records):,.0f}"),
        ("partitions of the keys", lambda records, _: f"{partitions(costs, records):,.0f}"),
        ("slices, each read by the range", lambda records, _: f"{slices(costs, records):,.0f}"),
        ("… what the driver knows of them", lambda records, _: size(slices(costs, records) * 8)),
        ("… hours of GET requests, one prefix", lambda records, _: span(slices(costs, records) / at("gets") / HOUR)),
        ("records in the largest bucket, if it grows", lambda records, _: f"{records * costs.largest:,.0f}"),
        ("… of one band, grouped in one task", lambda records, _: size(records * costs.largest * at("grouping"))),
        ("records that share a key", lambda records, _: f"{records * costs.met:,.0f}"),
        ("candidates after the screen", lambda records, _: f"{records * costs.candidates:,.0f}"),
        ("… known to the driver, 8 bytes each", lambda records, _: size(records * costs.candidates * 8)),
        ("clusters table, sorted on one machine", lambda records, _: size(records * costs.candidates * at("decision"))),
        ("Merkle leaves (32 bytes each)", lambda records, _: size(records * 32)),
    ]  # fmt: skip
    yield from table(
        ["", *map(size, SIZES)],
        [[name, *(cell(n, u) for n, u in zip(counts, units, strict=True))] for name, cell in lines],
    )


def simulated(shuffle: dict[str, Any]) -> Iterator[str]:
    """Yield the simulation's figures."""
    found, first = shuffle["measured"], shuffle["simulated"]["more"]
    yield f"### The shuffle at {first['records']:,} records, simulated"
    yield ""
    yield (
        f"Measured on {found['records']:,} real records after `exact`: {found['met'] / found['records']:.1%} share a "
        f"band key with another, {found['candidates'] / found['records']:.1%} pass the screen, "
        f"{found['verified_pairs']:,} pairs were compared and {found['accepted_pairs']:,} were alike. "
        f"{first['bands']} bands, {first['partitions']} partitions, {at('key'):.0f} bytes per key."
    )
    yield ""
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("bytes shuffled", lambda one: size(one["bytes"])),
        ("bytes of a partition, mean", lambda one: size(one["mean_bytes"])),
        ("… the largest", lambda one: size(one["max_bytes"])),
        ("skew, largest over mean", lambda one: f"{one['skew']:.3f}"),
        ("skew of the keys that are shared", lambda one: f"{one['answer_skew']:.2f}"),
        ("largest bucket, records", lambda one: f"{one['largest_bucket']:,}"),
        ("buckets", lambda one: f"{one['buckets']:,}"),
        ("keys in them", lambda one: f"{one['shared_keys']:,}"),
        ("comparisons, at most", lambda one: f"{one['comparisons_at_most']:,}"),
    ]
    both = shuffle["simulated"]
    head = ["", "more buckets of the same sizes", "the largest keep their share"]
    yield from table(head, [[name, cell(both["more"]), cell(both["larger"])] for name, cell in lines])


def assumptions() -> Iterator[str]:
    yield "### Assumptions"
    yield ""
    rows = [[f"{one.what}", f"{one.value:,.6g} {one.unit}".strip(), one.source] for one in ASSUMED.values()]
    yield from table(["what", "value", "source"], rows)


def report(scaling: dict[str, Any], shuffle: dict[str, Any]) -> str:
    """Return the text between the marks of scale.md."""
    costs = Costs.of(scaling, shuffle)
    parts = [hours(costs), moved(costs), driver(costs), simulated(shuffle), assumptions()]
    return "\n\n".join("\n".join(part) for part in parts)


def stored() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the stored measurements: of scaling, of the shuffle."""
    scaling, shuffle = (json.loads((HERE / f"{name}.json").read_text()) for name in ("scaling", "shuffle"))
    return scaling, shuffle


def placed(text: str, told: str) -> str:
    """Return a Markdown text with what is told between its marks."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{told}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    path = HERE / "scale.md"
    before = path.read_text()
    after = placed(before, report(*stored()))
    if "--check" in sys.argv[1:]:
        sys.exit(int(before != after))
    path.write_text(after)
    print(after)


if __name__ == "__main__":
    main()
