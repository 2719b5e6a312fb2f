"""The order in which records are taken: by keyed hashes, which neither place nor order nor a worker changes."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.record import Batch
from curate.stages.mixing.selecting import Ints, Words


def keys(batch: Batch, seed: int) -> tuple[Words, Words]:
    """Return the two halves of each record's key [n].

    The upper is its rank: the first 64 bits of the SHA-256 of its content as it was read, under the seed. The lower
    comes of its id, and decides between records of the same content.
    """
    upper = mixed(_leading(batch.column("_sha256")), f"rank/{seed}")
    ids = batch.column("id").to_pylist()
    hashes = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in ids]
    return upper, mixed(np.frombuffer(b"".join(hashes), "<u8"), f"id/{seed}")


def _leading(column: pa.StringArray) -> Words:
    """Return the number that the first 16 hex digits of each hash are [n]."""
    digits = pc.utf8_slice_codeunits(column, 0, 16)
    raw = np.frombuffer(b"".join(one.as_py().encode() for one in digits), np.uint8).reshape(-1, 16)
    nibbles = np.where(raw > ord("9"), raw - (ord("a") - 10), raw - ord("0")).astype(np.uint64)
    found = np.zeros(len(raw), np.uint64)
    for place in range(16):
        found = (found << np.uint64(4)) | nibbles[:, place]
    return found


def mixed(words: Words, purpose: str) -> Words:
    """Return words as a purpose sees them: SplitMix64's finalizer (Steele, Lea, Flood 2014), a permutation."""
    said = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    mixed = words ^ np.uint64(int.from_bytes(said, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)  # modulo 2^64
    found: Words = mixed ^ (mixed >> np.uint64(31))
    return found


def content_bytes(batch: Batch) -> Ints:
    """Return the bytes of each record's turns in UTF-8 [n]."""
    flat, offsets = record.turns(batch)
    ends = np.concatenate([[0], np.cumsum(pc.binary_length(flat).to_numpy(zero_copy_only=False))])
    found: Ints = (ends[offsets[1:]] - ends[offsets[:-1]]).astype(np.int64)
    return found
