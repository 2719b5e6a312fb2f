"""``curate verify --id``: the proof that a record is in a release, which holds without the release.

Whoever has the manifest's Merkle root from somewhere they trust, such as a signed statement, checks it so::

    import hashlib, hmac, json
    proof = json.load(open("proof.json"))
    def sha256(*parts): return hashlib.sha256(b"".join(parts)).digest()
    def node(a, b): return sha256(b"\\x01", a, b)
    # 1. The leaf is that of the record: its row of data/ as a line of JSON, without the line's end.
    #    assert hmac.digest(bytes.fromhex(proof["salt"]), line, "sha256").hex() == proof["leaf"]
    # 2. The leaf is in the tree (RFC 9162, section 2.1.3.2).
    at, last = proof["index"], proof["size"] - 1
    digest = sha256(b"\\x00", bytes.fromhex(proof["leaf"]))
    for sibling in map(bytes.fromhex, proof["path"]):
        assert last, "the path is too long"
        if at & 1 or at == last:
            digest = node(sibling, digest)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            digest = node(digest, sibling)
        at, last = at >> 1, last >> 1
    assert last == 0 and digest.hex() == proof["root"]

A proof holds the record's salt: who has it can test a guess at the record's content, also after a take-down has
erased the record here. Whoever hands one out should mean to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate import merkle


@dataclass(frozen=True)
class Proof:
    """One record's proof of inclusion; hashes and salt in hex."""

    id: str
    shard: str  # path of the shard of data/
    row: int  # in it, from 1
    index: int  # of the leaf, from 0
    size: int  # leaves of the tree
    leaf: str
    salt: str
    line_sha256: str  # of the record as a line of JSON, without its end
    path: tuple[str, ...]  # audit path (RFC 6962, section 2.1.1), from the leaf's sibling up
    root: str  # the manifest's
    verified: bool  # leaf and path give the root, and the record the leaf


@dataclass(frozen=True)
class Found:
    """A record that has the wanted id."""

    shard: str
    row: int
    index: int
    salt: bytes
    line: bytes


def proofs(record_id: str, found: Iterable[Found], leaves: Sequence[bytes], root: str) -> tuple[Proof, ...]:
    """Return the proof of every record that has the id; leaves: all of the release's."""
    places = list(found)
    paths = merkle.paths(leaves, [place.index for place in places])
    made = []
    for place, path in zip(places, paths, strict=True):
        [leaf] = merkle.leaves_of_lines([place.salt], [place.line])
        gives = merkle.root_of_path(leaf, place.index, len(leaves), path)
        digests = {
            "leaf": leaf.hex(),
            "salt": place.salt.hex(),
            "line_sha256": hashlib.sha256(place.line).hexdigest(),
        }
        steps = tuple(step.hex() for step in path)
        made.append(
            Proof(record_id, place.shard, place.row, place.index, len(leaves), **digests, path=steps, root=root,
                  verified=gives == root)
        )  # fmt: skip
    return tuple(made)
