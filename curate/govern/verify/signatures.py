"""Signatures: those over the release as it is, and those over it as it was before a take-down."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from curate.errors import IntegrityError
from curate.govern import signing
from curate.govern.signing import Envelope
from curate.govern.verify.report import Outcome
from curate.io.manifest import NAME as MANIFEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Keys = Mapping[str, "Ed25519PublicKey"]  # by the path they were read from


def subjects(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that the release's statement names; nothing without a readable one."""
    if not (out / signing.NAME).is_file():
        return {}
    try:
        told = Envelope.loads((out / signing.NAME).read_bytes()).statement()["subject"]
        return {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in told}
    except (OSError, IntegrityError, KeyError, TypeError):
        return {}


def check(
    out: Path, manifest: Mapping[str, Any], documents: Sequence[str], keys: Keys, outcome: Outcome
) -> None:
    """Check the release's signature: valid under every key, and over this manifest and these files.

    documents: their paths. Their bytes are held to the statement where they are rendered again.
    """
    path = out / signing.NAME
    if not path.is_file():
        if keys:
            outcome.wrong(signing.NAME, "is missing: a key was given, and the release is not signed")
        else:
            outcome.skip("the release is not signed")
        return
    envelope = _read(path, signing.NAME, outcome)
    if envelope is None:
        return
    outcome.counted = {"signatures": len(envelope.signatures)}
    unchecked = [keyid for keyid, _ in envelope.signatures]
    for name, key in keys.items():
        keyid = envelope.signed_by(key)
        if keyid is None:
            outcome.wrong(signing.NAME, f"holds no valid signature by the key in {name}")
        elif keyid not in ("", signing.fingerprint(key)):
            outcome.wrong(signing.NAME, f"the keyid of the signature by {name} is not that key's fingerprint")
        else:
            unchecked = [held for held in unchecked if held != keyid]
    if not envelope.signatures:
        outcome.wrong(signing.NAME, "holds no signature")
    if not outcome.findings:  # else what it says is nobody's word
        _statement(out, manifest, documents, envelope, outcome)
    valid = [f"valid under {name} ({signing.fingerprint(key)[:16]}…)" for name, key in keys.items()]
    rest = [f"signed by key {keyid[:16]}…, not checked: give --key" for keyid in unchecked]
    if keys:
        outcome.said = "; ".join(valid + rest)
    else:
        outcome.skip("; ".join(rest))


def _read(path: Path, name: str, outcome: Outcome) -> Envelope | None:
    """Read an envelope, and hold its bytes to those that curate writes for it."""
    content = path.read_bytes()
    try:
        envelope = Envelope.loads(content, "it")
    except IntegrityError:
        outcome.wrong(name, "is no DSSE envelope")
        return None
    if envelope.dumps() != content:
        outcome.wrong(name, "its bytes are not those that curate writes for this envelope")
    return envelope


def _statement(
    out: Path, manifest: Mapping[str, Any], documents: Sequence[str], envelope: Envelope, outcome: Outcome
) -> None:
    """Hold what is signed to the manifest: the same files with the same hashes, the same predicate."""
    try:
        told = envelope.statement()
    except IntegrityError as error:
        outcome.wrong(signing.NAME, str(error))
        return
    signed = subjects(out)
    outcome.counted["subjects"] = len(signed)
    listed = {entry["path"]: entry["sha256"] for entry in manifest["outputs"]}
    listed[MANIFEST] = hashlib.sha256((out / MANIFEST).read_bytes()).hexdigest()
    if signed.get(MANIFEST) != listed[MANIFEST]:
        outcome.wrong(MANIFEST, "is not the manifest that was signed")
        return  # then nothing in it need be as signed
    for name in sorted({*listed, *documents} - set(signed)):
        outcome.wrong(name, "is not among the files that were signed")
    for name in sorted(set(signed) - {*listed, *documents}):
        outcome.wrong(name, "was signed, and is no file of this release")
    for name in sorted(set(signed) & set(listed)):
        if signed[name] != listed[name]:
            outcome.wrong(signing.NAME, f"{name} was signed with another hash than the manifest lists")
    digests = {name: signed.get(name, "") for name in (*documents, MANIFEST)}
    expected = signing.statement(manifest, digests)
    if not outcome.findings and expected != envelope.payload:
        was, now = told.get("predicate"), orjson.loads(expected)["predicate"]
        keys = [key for key in now if not isinstance(was, dict) or was.get(key) != now[key]]
        what = f"its {', '.join(keys)} is not the manifest's" if keys else "is not the one for this manifest"
        outcome.wrong(signing.NAME, f"the signed statement: {what}")


def superseded(out: Path, manifest: Mapping[str, Any], keys: Keys, outcome: Outcome) -> None:
    """Check the signatures over the release before each take-down: they cover the tree, which is still the same."""
    paths = sorted(out.glob(signing.SUPERSEDED.format(root="*")))
    outcome.counted = {"signatures": len(paths)}
    if not paths:
        outcome.said = "none: nothing was taken down from a signed release"
        return
    tree = manifest["merkle"]
    known = {str(t["supersedes"]) for t in manifest.get("takedowns") or () if t.get("supersedes")}
    known |= {str(r) for r in [(manifest.get("supersedes") or {}).get("root")] if r}
    held, earlier, unchecked = 0, 0, []
    for path in paths:
        name = path.relative_to(out).as_posix()
        envelope = _read(path, name, outcome)
        told = envelope and _superseded(envelope)
        if not envelope or not told:
            outcome.wrong(name, "holds no statement on a release")
            continue
        root, signed = told
        if path.name != Path(signing.SUPERSEDED.format(root=root[:16])).name:
            outcome.wrong(name, "is not over the release that its name tells of")
        elif root not in known:
            earlier += 1  # of a release that was in this folder before
        elif signed != (tree["root"], tree["leaves"]):
            outcome.wrong(name, "its Merkle root and size are not those of this release")
        elif any(envelope.signed_by(key) is not None for key in keys.values()):
            held += 1
        elif {keyid for keyid, _ in envelope.signatures} & {
            signing.fingerprint(key) for key in keys.values()
        }:
            outcome.wrong(name, "the signature is not valid under the key that it names")
        else:
            unchecked += [keyid[:16] for keyid, _ in envelope.signatures]
    said = [f"{held:,} signature over the release before take-down: still holds"] * bool(held)
    said += [f"{earlier:,} over another release that was in this folder"] * bool(earlier)
    said += [f"signed by key {', '.join(unchecked)}…, not checked: give --key"] * bool(unchecked)
    outcome.said = "; ".join(said)
    outcome.skipped = bool(unchecked) and not held


def _superseded(envelope: Envelope) -> tuple[str, tuple[Any, Any]] | None:
    """Return the root that an envelope was made over, and the root and size of its Merkle tree."""
    try:
        told = envelope.statement()["predicate"]
        return str(told["root"]), (told["merkle"]["root"], told["merkle"]["size"])
    except (IntegrityError, KeyError, TypeError):
        return None
