"""A record's two parts, prompt and response, and their shingles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels import minhash, text
from curate.kernels.minhash import Signatures
from curate.kernels.text import Hashes, Offsets
from curate.record import Batch

On: TypeAlias = Literal["both", "prompt", "response", "whole"]


@dataclass(frozen=True, slots=True)
class Shingling:
    """What makes shingles of a record: words per shingle, and which part of a conversation counts.

    A document has one part, its response. ``whole`` makes a conversation one part too: all turns in order.
    ``prompt`` and ``response`` drop the other part; a record that lacks the part asked for is judged by the
    one that it has, so records without a response do not all count as the same.
    """

    ngram: int
    on: On

    def parts(self, batch: Batch) -> list[tuple[Hashes, Offsets]]:
        """Return the shingles of every record's prompt and response, salted apart by part."""
        return [text.shingles(texts, self.ngram, salt) for texts, salt in self._sides(batch)]

    def views(self, batch: Batch) -> list[tuple[Hashes, Offsets]]:
        """Return what is verified: the :meth:`parts`, then both again with each symbol as a word."""
        sides = self._sides(batch)
        with_symbols = [text.shingles(texts, self.ngram, salt, symbols=True) for texts, salt in sides]
        return [*(text.shingles(texts, self.ngram, salt) for texts, salt in sides), *with_symbols]

    def _sides(self, batch: Batch) -> list[tuple[pa.LargeStringArray, np.uint64]]:
        prompts, responses = split(batch, whole=self.on == "whole")
        if self.on == "prompt":
            responses = pc.if_else(pc.equal(prompts, ""), responses, "")
        elif self.on == "response":
            prompts = pc.if_else(pc.equal(responses, ""), prompts, "")
        return [(prompts, text.PROMPT), (responses, text.RESPONSE)]

    def sketch(
        self, batch: Batch, threshold: float, num_perm: int, seed: int, keep: int
    ) -> tuple[Signatures, Hashes]:
        """Return each record's signature over both parts as one [n, keep], and its digest [n] for band keys.

        Why one signature serves a rule on two parts: shingles are salted by part, so the union's intersection
        is Ip + Ir and its union Up + Ur. By the mediant inequality (Ip + Ir) / (Up + Ur) lies between Ip / Up
        and Ir / Ur. A pair with both parts at or above the threshold is so in the union as well, and the
        banding's recall holds for it. The reverse is not so; that is what verification is for.
        """
        sides = self.parts(batch)
        drawn = [minhash.signatures(hashes, offsets, num_perm, seed, keep) for hashes, offsets in sides]
        prompt, response = (minhash.small_set_digests(*side, threshold) for side in sides)
        # The odd factor (2^64 / golden ratio) keeps the two from cancelling out or changing places.
        return np.minimum(*drawn), prompt * np.uint64(0x9E3779B97F4A7C15) + response


def split(batch: Batch, *, whole: bool = False) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
    """Return every record's prompt and response, normalised; see curate.record.prompts_and_responses.

    ``whole`` makes all turns the response.
    """
    flat, offsets = record.turns(batch)
    if record.kind(batch) == "text":
        return text.normalise(pa.nulls(len(flat), pa.large_string())), text.normalise(flat)
    roles = pc.fill_null(pc.struct_field(record.content(batch).flatten(), "role"), "")
    answers = pc.equal(roles, "assistant").to_numpy(zero_copy_only=False) | whole
    return _join(flat, offsets, ~answers), _join(flat, offsets, answers)


def _join(flat: pa.StringArray, offsets: Offsets, chosen: npt.NDArray[np.bool_]) -> pa.LargeStringArray:
    before = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(chosen, out=before[1:])
    turns = pa.LargeListArray.from_arrays(
        before[offsets], flat.filter(pa.array(chosen)).cast(pa.large_string())
    )
    return text.normalise(pc.binary_join(turns, pa.scalar("\n\n", pa.large_string())))
