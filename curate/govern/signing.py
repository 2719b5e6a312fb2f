"""``curate sign``: a release's signature, an in-toto statement in a DSSE envelope, by Ed25519.

``manifest.dsse.json`` holds one statement and the signature of everyone who signed it::

    {"payload": base64 of the statement, "payloadType": "application/vnd.in-toto+json",
     "signatures": [{"keyid": fingerprint of the public key, "sig": base64}, …]}

The statement (in-toto Attestation Framework, Statement v1) names manifest.json, every file that the manifest lists
and every document, each with its SHA-256; its predicate repeats what the release is. What is signed is the DSSE v1.0.2
pre-authentication encoding of it. Ed25519 (RFC 8032) is deterministic, so the same release and key give the same
bytes. Any tool that knows DSSE can check it; ``curate verify`` also holds the release to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from curate.errors import IntegrityError
from curate.io.manifest import NAME as MANIFEST
from curate.io.write import sync, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "manifest.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:curate:release:1"
SUPERSEDED = "takedown/superseded-{root}.dsse.json"
"""Where a take-down keeps the signature over the release before it; root: the first 16 characters of that one's."""


@dataclass(frozen=True)
class Signed:
    """What ``curate sign`` did."""

    path: str  # of the envelope
    keyid: str  # fingerprint of the key that signed
    public_key: str  # that key as PEM, to give to whoever verifies
    signatures: int  # in the envelope now
    subjects: int  # files that the statement names
    new_key: str | None = None  # path of the key that was made


@dataclass(frozen=True)
class Envelope:
    """A DSSE envelope; signatures as (keyid, 64 bytes), by keyid."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def loads(cls, content: bytes, where: object = NAME) -> Envelope:
        """Read an envelope. Raises IntegrityError for what is none."""
        try:
            held = orjson.loads(content)
            signatures = tuple((str(s.get("keyid", "")), _decoded(s["sig"])) for s in held["signatures"])
            return cls(_decoded(held["payload"]), str(held["payloadType"]), signatures)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
            raise IntegrityError(
                f"{where}: is no DSSE envelope; restore it, or remove it and sign again"
            ) from None

    def dumps(self) -> bytes:
        """Return the envelope's bytes: the only ones that curate writes for this content."""
        signatures = [{"keyid": keyid, "sig": _encoded(sig)} for keyid, sig in self.signatures]
        held = {"payload": _encoded(self.payload), "payloadType": self.payload_type, "signatures": signatures}
        return orjson.dumps(held, option=orjson.OPT_INDENT_2) + b"\n"

    def statement(self) -> dict[str, Any]:
        """Return the signed statement. Raises IntegrityError for a payload that is none of ours."""
        try:
            held = orjson.loads(self.payload)
        except orjson.JSONDecodeError:
            held = None
        if self.payload_type != PAYLOAD_TYPE or not isinstance(held, dict) or held.get("_type") != STATEMENT:
            raise IntegrityError(f"what is signed is no in-toto statement of type {STATEMENT}")
        if held.get("predicateType") != PREDICATE:
            raise IntegrityError(f"the statement's predicateType is not {PREDICATE}")
        return held

    def signed_by(self, key: Ed25519PublicKey) -> str | None:
        """Return the keyid of this key's valid signature, None if there is none.

        Every signature is tried: a keyid is a hint that is not itself signed (DSSE protocol, "keyid").
        """
        from cryptography.exceptions import InvalidSignature

        for keyid, signature in self.signatures:
            try:
                key.verify(signature, pae(self.payload_type, self.payload))
            except InvalidSignature:
                continue
            return keyid
        return None

    def add(self, key: Ed25519PrivateKey) -> Envelope:
        """Return the envelope with this key's signature, in the place of an earlier one by it."""
        keyid = fingerprint(key.public_key())
        others = [held for held in self.signatures if held[0] != keyid]
        signature = key.sign(pae(self.payload_type, self.payload))
        return Envelope(self.payload, self.payload_type, tuple(sorted([*others, (keyid, signature)])))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE v1.0.2's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256, in hex, of a public key's SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def statement(manifest: Mapping[str, Any], digests: Mapping[str, str]) -> bytes:
    """Return the statement on a release as JSON with sorted keys, its subjects by name.

    digests: the SHA-256, in hex, of manifest.json and of every document, by path in the release.
    """
    listed = {entry["path"]: entry["sha256"] for entry in manifest["outputs"]}
    subjects = sorted({**listed, **digests}.items())
    tree = manifest.get("merkle") or {}
    told = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": PREDICATE,
        "predicate": {
            **{
                key: manifest.get(key)
                for key in ("name", "version", "root", "counts", "supersedes", "software")
            },
            "merkle": {
                "root": tree.get("root"),
                "size": tree.get("leaves"),
                "algorithm": tree.get("algorithm"),
            },
        },
    }
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def sign(
    out: Path, manifest: Mapping[str, Any], documents: Iterable[str], key: Ed25519PrivateKey
) -> Envelope:
    """Write the signature of a release that has been verified, beside those of others over the same statement.

    documents: paths of the documents. Raises IntegrityError where others signed another statement.
    """
    digests = {path: hashlib.sha256((out / path).read_bytes()).hexdigest() for path in (*documents, MANIFEST)}
    envelope = Envelope(statement(manifest, digests), PAYLOAD_TYPE, ())
    if (out / NAME).is_file():
        held = Envelope.loads((out / NAME).read_bytes(), out / NAME)
        if held.payload != envelope.payload:
            raise IntegrityError(
                f"{out / NAME}: is a signature over another state of the release; remove it first"
            )
        envelope = held
    envelope = envelope.add(key)
    write_bytes(out / NAME, envelope.dumps())
    return envelope


def retire(out: Path, files: Mapping[str, bytes]) -> None:
    """Remove the release's signature unless it covers these files, which are about to be written, as they are.

    Whoever writes a manifest or documents calls this first, so that no signature outlives what it was made over.
    """
    path = out / NAME
    if not path.is_file():
        return
    try:
        told = Envelope.loads(path.read_bytes()).statement()
        signed = {subject["name"]: subject["digest"]["sha256"] for subject in told["subject"]}
    except (IntegrityError, KeyError, TypeError):
        signed = {}
    if any(signed.get(name) != hashlib.sha256(content).hexdigest() for name, content in files.items()):
        path.unlink()
        sync(out)


def set_aside(out: Path, root: str) -> Path | None:
    """Keep the signature over the release whose root this was, for a take-down; return where, None without one.

    It no longer covers the files, but it does cover the Merkle tree's root, which a take-down leaves as it was.
    """
    if not (out / NAME).is_file():
        return None
    path = out / SUPERSEDED.format(root=root[:16])
    path.parent.mkdir(exist_ok=True)
    (out / NAME).replace(path)
    sync(path.parent)
    sync(out)
    return path


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: Any) -> bytes:
    """Decode base64, standard or URL-safe (DSSE envelope v1.0.0: a reader takes both)."""
    try:
        return base64.b64decode(text.translate(_STANDARD), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


_STANDARD = str.maketrans("-_", "+/")
