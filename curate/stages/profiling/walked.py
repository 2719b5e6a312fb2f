"""One walk over a batch's texts: words, groups mentioned, what is asked, and the topic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels import asking
from curate.kernels.text import buffers
from curate.record import Batch, Utterances
from curate.stages.profiling.lists import Words, letters, room

Ints = npt.NDArray[np.int64]


class Walked(NamedTuple):
    """What was found in a batch of n records."""

    words: Ints  # [n, 2] of prompt and response
    groups: npt.NDArray[np.uint64]  # [n] a bit for each group mentioned
    tasks: Ints  # [n, 3] kind (curate.kernels.asking), number of its word, of its noun, -1 for none
    topics: Ints  # [n] -1 for none


def walk(batch: Batch, words: Words, weights: Ints, squares: Ints, most: int) -> Walked:
    """Walk over a batch. weights: [terms, topics] and squares: [terms] of curate.stages.profiling.topics.Topics.

    most: words of a record that vote for its topic.
    """
    said = record.utterances(batch)
    data, offsets = buffers(said.text.cast(pa.large_string()))
    rows = batch.num_rows
    found = Walked(
        np.zeros((rows, 2), np.int64),
        np.zeros(rows, np.uint64),
        np.full((rows, 3), -1, np.int64),
        np.full(rows, -1, np.int64),
    )
    found.tasks[:, 0] = asking.NOTHING
    asking.profile(
        data,
        offsets[:-1],
        offsets[1:],
        _parts(said),
        said.offsets,
        _instructions(said),
        most,
        letters(),
        words.lists,
        weights,
        squares,
        room(int(np.diff(offsets).max(initial=0))),
        np.full(len(weights), -1, np.int64),
        np.zeros(weights.shape[1], np.int64),
        *found,
    )
    return found


def _parts(said: Utterances) -> npt.NDArray[np.uint8]:
    """Return of each text the part whose words it counts for. A document is all response."""
    responds = pc.fill_null(pc.equal(said.role, "assistant"), True).to_numpy(zero_copy_only=False)
    parts = np.where(responds, asking.RESPONSE, asking.PROMPT)
    return np.where(said.part == record.CONTENT, parts, asking.ASIDE).astype(np.uint8)


def _instructions(said: Utterances) -> Ints:
    """Return the place of each record's first turn of a user, -1 for none."""
    found = np.full(len(said.offsets) - 1, -1, np.int64)
    asks = pc.fill_null(pc.equal(said.role, "user"), False).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(asks & (said.part == record.CONTENT))
    owners, firsts = np.unique(np.searchsorted(said.offsets, places, "right") - 1, return_index=True)
    found[owners] = places[firsts]
    return found
