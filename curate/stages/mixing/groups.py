"""Groups of records that a mixture is made of: by source, license class, language or task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import pyarrow as pa
import pyarrow.compute as pc

from curate import licenses
from curate.record import FACT, Batch

Dimension: TypeAlias = Literal["source", "license", "language", "task"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
NONE = "none"  # the group of records of which no language or task is told
STATED_BY: dict[str, str] = {"license": "license", "language": "language", "task": "profile"}
"""The stage whose facts tell a record's group; a source needs none."""

PERMISSIVE, SHARE_ALIKE, NON_COMMERCIAL, NO_DERIVATIVES, UNKNOWN = LICENSE_CLASSES = (
    "permissive",
    "share-alike",
    "non-commercial",
    "no-derivatives",
    "unknown",
)


def license_class(expression: str | None) -> str:
    """Return what a license, in any spelling, comes to for a mixture.

    The first that holds: commercial use denied, derivatives denied, one of these or share-alike not known, the
    same license asked of derivatives; else permissive (curate.licenses.terms: of AND the strictest, of OR the least
    demanding operand).
    """
    found = licenses.terms(expression)
    if found.commercial is False:
        return NON_COMMERCIAL
    if found.derivatives is False:
        return NO_DERIVATIVES
    if None in (found.commercial, found.derivatives, found.share_alike):
        return UNKNOWN
    return SHARE_ALIKE if found.share_alike else PERMISSIVE


def groups(batch: Batch, dimension: Dimension) -> pa.StringArray:
    """Return the group of each record [n], none null.

    A license is the one that the stage ``license`` concluded; where none ran, the one that is declared.
    """
    if dimension == "source":
        return batch.column("source")
    if dimension == "license":
        stated = FACT + "license_concluded" in batch.schema.names
        return classed(batch.column(FACT + "license_concluded" if stated else "license"))
    if FACT + dimension not in batch.schema.names:
        return pa.array([NONE] * batch.num_rows, pa.string())
    return pc.fill_null(batch.column(FACT + dimension).cast(pa.string()), NONE)


def classed(column: pa.Array) -> pa.StringArray:
    """Return the class of each license [n]; each distinct one is looked up once."""
    coded = column.dictionary_encode()
    known = [license_class(one) for one in coded.dictionary.to_pylist()]
    return pc.fill_null(pa.array(known, pa.string()).take(coded.indices), UNKNOWN)


def named(names: Iterable[str]) -> str:
    """Return some of the groups there are, for a message."""
    ordered = sorted(names)
    more = f" and {len(ordered) - 20} more" if len(ordered) > 20 else ""
    return ", ".join(ordered[:20]) + more if ordered else "none"
