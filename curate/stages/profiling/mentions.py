"""Groups of people, places and dialects that a text mentions. Lists: rules/representation.yaml."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.rules import Rule
from curate.stages.profiling.lists import Words, groups, made
from curate.stages.profiling.tasks import NO_TOPICS
from curate.stages.profiling.walked import walk


def told(bits: npt.NDArray[np.uint64]) -> pa.ListArray:
    """Return the groups [n] in words, in the rule pack's order: a list per record, empty where none is mentioned."""
    names = groups()
    wanted = np.left_shift(np.uint64(1), np.arange(len(names), dtype=np.uint64))
    rows, places = np.nonzero(bits[:, None] & wanted[None, :])
    offsets = np.searchsorted(rows, np.arange(len(bits) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(names, pa.string()).take(pa.array(places)))


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether a text mentions the rule's group."""
    found = walk(pa.record_batch({"text": pa.array([example], pa.string())}), _words(), *NO_TOPICS, 0)
    return rule.id in told(found.groups)[0].as_py()


@cache
def _words() -> Words:
    return made()
