"""The erasable Merkle tree over a release's records.

::

    salt  = HMAC-SHA256(seed, source NUL locator), first 16 bytes         stands beside the record, in records/
    leaf  = HMAC-SHA256(salt, the record of data/ as a line of JSON)       stands in leaves/
    root  = Merkle tree hash of RFC 6962, section 2.1, over the leaves     stands in the manifest

To erase a record is to destroy its row and its salt. Its leaf stays, as a tombstone, so the root and every
signature over it stay valid; without the salt the leaf tells nothing: nobody can test a guess against it.

The seed is derived from a keyed hash of every byte of the input and is written nowhere. So two runs of the same
thing give the same salts, and whoever would compute a salt needs all input files, in which the record stands.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import orjson
import pyarrow as pa

from curate.io.scan import SourcePlan
from curate.io.write import json_lines

FOLDER = "leaves"
SCHEMA = pa.schema([pa.field("leaf", pa.binary(32), nullable=False)])
SALT_BYTES = 16  # 128 bits
ALGORITHM = "HMAC-SHA256 leaves, RFC 6962 SHA-256 tree"
Subtree: TypeAlias = tuple[
    int, bytes
]  # height h, and the root over 2^h leaves whose first is a multiple of 2^h
_AT_ONCE = 16_384  # leaves hashed at a time


def seed(plans: Sequence[SourcePlan]) -> bytes:
    """Return the seed of a run's salts, from what its input files hold."""
    files = sorted((file.source, file.path, file.secret) for plan in plans for file in plan.files)
    return hmac.digest(b"curate/salt/1", orjson.dumps(files), "sha256")


def salts(seed: bytes, sources: Sequence[str], locators: Sequence[str]) -> list[bytes]:
    """Return the salt of each record, by where it was read."""
    return [
        hmac.digest(seed, f"{source}\0{locator}".encode(), "sha256")[:SALT_BYTES]
        for source, locator in zip(sources, locators, strict=True)
    ]


def leaves(salts: Sequence[bytes], data: pa.Table) -> list[bytes]:
    """Return the leaf of each record of a table of data/."""
    return leaves_of_lines(salts, json_lines(data))


def leaves_of_lines(salts: Sequence[bytes], lines: Iterable[bytes]) -> list[bytes]:
    """Return the leaf of each record, given as a line of JSON without its end."""
    return [hmac.digest(salt, line, "sha256") for salt, line in zip(salts, lines, strict=True)]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtrees(leaves: Sequence[bytes], first: int) -> list[Subtree]:
    """Return the perfect subtrees that leaves make up, the first of them being number ``first`` of all: in order.

    What lies between is complete whatever else is in the tree, so workers can hash stretches of it, each on its own:
    grafted one after the other, they give the tree. There are at most two of each height.
    """
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    before: list[Subtree] = []
    after: list[Subtree] = []
    height, at = 0, first
    while level:
        if at & 1:  # its left sibling is not here
            before.append((height, level.pop(0)))
            at += 1
        if len(level) & 1:  # its right sibling is not here
            after.append((height, level.pop()))
        level = [_node(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        height, at = height + 1, at >> 1
    return before + after[::-1]


class Tree:
    """The Merkle tree hash of leaves as they come; holds one hash per level."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of perfect subtrees, the largest first

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves at the right end."""
        coming = iter(leaves)
        while some := list(itertools.islice(coming, _AT_ONCE)):
            self.graft(subtrees(some, self.size))

    def graft(self, nodes: Iterable[Subtree]) -> None:
        """Add the next leaves by the roots of the perfect subtrees that they make up (:func:`subtrees`)."""
        for height, node in nodes:
            full = (
                self.size >> height
            )  # each trailing one bit is a perfect subtree that the new one completes
            while full & 1:
                node = _node(self._peaks.pop(), node)
                full >>= 1
            self._peaks.append(node)
            self.size += 1 << height

    def root(self) -> str:
        """Return the root in hex; of no leaves, the hash of nothing."""
        if not self._peaks:
            return hashlib.sha256().hexdigest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = _node(peak, node)
        return node.hex()


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of one leaf (RFC 6962, section 2.1.1), from the leaf's sibling up."""
    return paths(leaves, [index])[0]


def paths(leaves: Sequence[bytes], indices: Sequence[int]) -> list[list[bytes]]:
    """Return the audit path of each of some leaves; the tree is built once."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    places, found = list(indices), [list[bytes]() for _ in indices]
    while len(level) > 1:
        for place, steps in zip(places, found, strict=True):
            if (sibling := place ^ 1) < len(level):
                steps.append(level[sibling])
        above = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + level[len(above) * 2 :]  # the last of an odd number moves up as it is
        places = [place // 2 for place in places]
    return found


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> str:
    """Return the root, in hex, that a leaf and its audit path give (RFC 9162, section 2.1.3.2)."""
    node, last, above = hashlib.sha256(b"\x00" + leaf).digest(), size - 1, list(path)
    while last:
        if index & 1 or index < last:
            if not above:
                return ""
            sibling = above.pop(0)
            node = _node(sibling, node) if index & 1 else _node(node, sibling)
        index >>= 1
        last >>= 1
    return "" if above else node.hex()
