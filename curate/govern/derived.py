"""Files of a release that are counted from its tables, and listed in the manifest like the tables themselves.

A maker takes the folder that holds the tables and DuckDB's memory in bytes, writes its files there, and returns
them. After a take-down the makers run again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from curate.govern.disclosures import volume
from curate.govern.licensing import attribution
from curate.io.write import Shard

Maker: TypeAlias = Callable[[Path, int], list[Shard]]

# The first part of the path of what it makes → maker.
MAKERS: dict[str, Maker] = {"disclosures": volume.write, attribution.NAME: attribution.write}


def write(folder: Path, memory: int) -> dict[str, list[Shard]]:
    """Write every derived file into the folder and return what was written, by the first part of the path."""
    return {name: made for name, maker in MAKERS.items() if (made := maker(folder, memory))}
