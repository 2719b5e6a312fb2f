"""From the pipeline's finished units to the release's tables: data/, records/, leaves/, removed/ and ledger/.

Everything is written in one order: sources by name, their files by path, records by row; kept records by their split
first, where a stage states one (``train``, then the others by name), each in shards of its own. The driver only says
what goes where; workers find doubled ids (:mod:`curate.shards.doubled`), measure the units' rows and so decide where
shards end (:mod:`curate.shards.cutting`), and write them, each shard on its own (:mod:`curate.shards.encoding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate import merkle
from curate.io.scan import SourcePlan
from curate.io.store import Store
from curate.io.write import Format, Shard
from curate.pipeline import Chain
from curate.shards import doubled
from curate.shards.cutting import Measuring, Stretch, measure, split_stretches, stretches
from curate.shards.doubled import DUPLICATE_ID
from curate.shards.encoding import KEPT, Encoding, Form, encode, fetched
from curate.shards.indexing import WrittenIndex, write_index
from curate.shards.schemas import Tables, common_field, schemas
from curate.shards.trails import SPLIT, Trail, bundles
from curate.stage import Engine

__all__ = [
    "DUPLICATE_ID",
    "Tables",
    "Written",
    "WrittenIndex",
    "common_field",
    "schemas",
    "write",
    "write_index",
]

_NOTED = "doubled"  # in the release's folder, while its tables are written


@dataclass(frozen=True)
class Written:
    """What was written: shards by folder name, how many records share their id with another, the Merkle tree."""

    shards: dict[str, list[Shard]]
    duplicate_ids: dict[str, int]  # source → records
    tree: dict[str, Any]  # as the manifest holds it


def write(
    plans: Sequence[SourcePlan],
    chains: Sequence[Chain],
    to: Store,
    folder: Path,
    output: Format,
    shard_size: int,
    memory: int,
    seed: bytes,
    engine: Engine,
    removed_key: bytes | None = None,
) -> Written:
    """Write all tables into a store; return what was written, fetched into ``folder`` if that is not the store.

    memory: bytes that all workers may use together. seed: what the records' salts are made of (:mod:`curate.merkle`).
    removed_key: what the contents of removed/ are encrypted under (:mod:`curate.sealed`); None: they are not.
    """
    form = Form(schemas(plans, chains, engine), output, seed, removed_key)
    trails = [Trail.of(chain) for chain in chains]
    noted = to.child(_NOTED)
    noted.clear()
    flagged, counts = doubled.find(chains, trails, noted, engine, memory)
    trails = [flagged.get(number, trail) for number, trail in enumerate(trails)]
    splits = SPLIT in form.tables.records.names
    measurings = [
        Measuring(tuple(some), tuple(trails[n] for n in some), removed_key is not None, splits)
        for some in bundles(chains)
    ]
    blocks: dict[str, list[Any]] = {kind: [] for kind in ("removed", "edited", "ledger")}
    for found in engine.map(measure, measurings):
        for kind, some in found.items():
            blocks.setdefault(kind, []).extend(some)
    cuts = {kind: stretches(trails, blocks[kind], shard_size) for kind in ("removed", "edited", "ledger")}
    cuts["kept"] = split_stretches(trails, blocks, shard_size)
    tasks = _encodings(cuts, form, to, engine.workers)
    tree = merkle.Tree()
    shards: dict[str, list[Shard]] = {name: [] for name in (*KEPT, "edited", "removed", "ledger")}
    for encoded in engine.map(encode, tasks):
        for shard in encoded:
            shards[shard.table].append(fetched(shard, to, folder))
            tree.graft(shard.subtrees)
    noted.remove()
    shards["removed"] = [*shards.pop("edited"), *shards["removed"]]
    told = {"root": tree.root(), "leaves": tree.size, "algorithm": merkle.ALGORITHM}
    return Written(shards, counts, told)


def _encodings(cuts: dict[str, list[Stretch]], form: Form, to: Store, workers: int) -> list[Encoding]:
    """Return the tasks. The tables of a shard are written together, unless that would leave workers idle."""
    together = workers == 1 or len(cuts["kept"]) >= 2 * workers
    kept = [KEPT] if together else [KEPT[1:], KEPT[:1]]  # which take about as long as each other
    of = [(tables, "kept") for tables in kept]
    of[1:1] = [(("removed",), "removed")]
    of += [(("ledger",), "ledger"), (("edited",), "edited")]
    return [
        Encoding(tables, number, stretch.trails, stretch.first, form, to, stretch.split)
        for tables, kind in of
        for number, stretch in enumerate(cuts[kind])
    ]
