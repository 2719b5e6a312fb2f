"""``curate verify``: whether a release is what its manifest says, and the manifest what was signed.

The story: the manifest is held to its own root, the signature to the manifest, every file to its hash, every record
to its leaf of the Merkle tree, the counts to the tables; whatever is made of manifest and tables is made again and
compared. Nothing is trusted for being there, and no damage stops the checks that can still be done.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from curate.errors import RecipeError
from curate.govern import documents as rendering
from curate.govern import signing, signkeys
from curate.govern.descriptions import card, croissant, strict
from curate.govern.verify import counted, files, signatures
from curate.govern.verify.inclusion import Proof, proofs
from curate.govern.verify.records import Walk
from curate.govern.verify.report import Check, Checks, Finding, Outcome, Place, Report
from curate.io import manifest as manifests

__all__ = ["Check", "Finding", "Place", "Proof", "Report", "verify"]

_AFTER = (
    "signature",
    "files",
    "others",
    "records",
    "totals",
    "measures",
    "derived",
    "documents",
    "described",
    "superseded",
)


def verify(out: Path, keys: Sequence[Path] = (), record_id: str | None = None) -> Report:
    """Check a release and return what was found; never raises for damage of it.

    keys: public keys, each of which must have signed. record_id: prove that this record is in the release. Raises
    RecipeError for a folder that is none, and for a file that holds no public key.
    """
    if not out.is_dir():
        raise RecipeError(f"{out}: there is no such folder; name a release")
    known = {str(path): signkeys.public(path) for path in keys}
    checks = Checks()
    work = _Release(out, known)
    checks.run("manifest", work.read, manifests.NAME)
    if work.manifest is None:
        for name in _AFTER:
            checks.run(name, lambda outcome: outcome.skip(f"without a readable {manifests.NAME}"))
        return _report(out, {}, checks, ())
    walk = _checked(work, work.manifest, checks, record_id)
    made: list[Proof] = []
    if record_id is not None:
        told = work.manifest
        checks.run("inclusion", lambda outcome: _inclusion(told, walk, made, record_id, outcome))
    return _report(out, work.manifest, checks, made)


def _checked(work: _Release, manifest: dict[str, Any], checks: Checks, record_id: str | None) -> Walk:
    """Do every check but the first and that of a record."""
    out = work.out
    names = work.documents
    checks.run("signature", lambda o: signatures.check(out, manifest, names, work.keys, o), signing.NAME)
    checks.run("files", work.hashed, manifests.NAME)
    checks.run("others", lambda o: files.others(out, [*work.listed, *names], o))
    walk = Walk(out, manifest, work.differing, record_id)
    checks.run("records", walk.check)
    checks.amend("files", walk.first.items())
    whole = not work.differing
    for name, check in (
        ("totals", counted.totals),
        ("measures", counted.measured),
        ("derived", counted.made),
    ):
        checks.run(
            name, functools.partial(_if_whole, whole, functools.partial(check, out, manifest)), manifests.NAME
        )
    checks.run("documents", work.rendered_again, manifests.NAME)
    checks.run("described", functools.partial(_if_whole, whole, work.described))
    checks.run("superseded", lambda o: signatures.superseded(out, manifest, work.keys, o))
    return walk


class _Release:
    """The folder that is checked, and what the first checks learn of it."""

    def __init__(self, out: Path, keys: signatures.Keys) -> None:
        self.out, self.keys = out, keys
        self.manifest: dict[str, Any] | None = None
        self.found: dict[str, tuple[int, str]] = {}
        self.differing: list[str] = []
        self.listed: list[str] = []
        self.spent = 0.0  # seconds of rendering

    def read(self, outcome: Outcome) -> None:
        """Read the manifest; hold its bytes to what curate writes for it, and it to its root."""
        path = self.out / manifests.NAME
        if not path.is_file():
            outcome.wrong(manifests.NAME, "is missing: this folder holds no release")
            return
        content = path.read_bytes()
        try:
            held = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            outcome.wrong(manifests.NAME, f"is not JSON (line {error.lineno})")
            return
        if not isinstance(held, dict) or held.get("format") != manifests.FORMAT:
            outcome.wrong(
                manifests.NAME, f"'format' is not {manifests.FORMAT!r}; this version cannot read it"
            )
            return
        self.manifest = held
        if manifests.dumps(held) != content:
            outcome.wrong(manifests.NAME, "its bytes are not those that curate writes for what it says")
        if (root := manifests.root(held)) != held.get("root"):
            outcome.wrong(manifests.NAME, f"its root is {held.get('root')}, what it says hashes to {root}")
        if (held.get("timing") or {}).get(manifests.SEAL) != manifests.seal(held):
            outcome.wrong(manifests.NAME, "'created' or 'timing' was changed after the run")
        outcome.counted = {"bytes": len(content)}
        outcome.said = f"as curate writes it; root {str(held.get('root'))[:16]}…"
        self.listed = [str(entry["path"]) for entry in held["outputs"]]

    @functools.cached_property
    def rendered(self) -> Mapping[str, bytes] | None:
        """Return every document of the manifest; None where it is so damaged that none can be made."""
        started = time.perf_counter()
        try:
            return rendering.render(self.manifest or {})
        except Exception:  # noqa: BLE001  a renderer may trip over anything in a damaged manifest
            return None
        finally:
            self.spent = time.perf_counter() - started

    @property
    def documents(self) -> list[str]:
        """Return the documents' paths: as rendered, else as signed."""
        if self.rendered is not None:
            return list(self.rendered)
        return sorted(set(signatures.subjects(self.out)) - set(self.listed) - {manifests.NAME})

    def hashed(self, outcome: Outcome) -> None:
        """Hash every file, and hold those that are listed to their hashes."""
        assert self.manifest is not None
        self.found = files.digests(self.out, [*self.listed, *self.documents])
        self.differing = files.differing(self.manifest, self.found)
        files.outputs(self.out, self.manifest, self.found, outcome)

    def rendered_again(self, outcome: Outcome) -> None:
        """Compare the documents."""
        assert self.manifest is not None
        outcome.spent = self.spent
        if self.rendered is None:
            outcome.wrong(manifests.NAME, "no document can be rendered from what it says")
            return
        signed = signatures.subjects(self.out)
        counted.documents(self.out, self.manifest, self.rendered, signed, self.found, outcome)

    def described(self, outcome: Outcome) -> None:
        """Hold croissant.json and the card to the files they describe, more strictly than their own validators."""
        if not {croissant.NAME, card.NAME} <= set(self.documents):
            outcome.skip("the release has no croissant.json and card to check")
            return
        problems = strict.check(self.out, {path: digest for path, (_, digest) in self.found.items()})
        gaps = [problem for problem in problems if problem.gap]
        for problem in problems:
            if not problem.gap:
                outcome.wrong(problem.path, f"{problem.where}: {problem.what}")
        outcome.counted = {"gaps": len(gaps)}
        outcome.said = "croissant.json and README.md describe these files"
        if gaps:
            outcome.said += f"; a person could still add {', '.join(sorted({gap.where for gap in gaps}))}"


def _if_whole(whole: bool, check: Any, outcome: Outcome) -> None:
    """Do a check that reads the tables only if they are as listed: of others, it could tell nothing that holds."""
    if whole:
        check(outcome)
    else:
        outcome.skip("files differ from the manifest")


def _inclusion(
    manifest: Mapping[str, Any], walk: Walk, made: list[Proof], record_id: str, outcome: Outcome
) -> None:
    """Prove that every record of an id is in the tree."""
    root = str(manifest["merkle"]["root"])
    made += proofs(record_id, walk.found, walk.leaves, root) if walk.whole else ()
    outcome.counted = {"records": len(made)}
    outcome.said = f"{len(made):,} records of that id are in the tree"
    if any(not proof.verified for proof in made):
        outcome.wrong(made[0].shard, "the record's audit path does not give the Merkle root of the manifest")
    if made:
        return
    if not walk.whole:
        outcome.wrong(None, f"nothing can be proved of {record_id!r}: not every shard can be read")
        return
    erased = int(manifest["merkle"].get("erased", 0))
    gone = f", or it is one of the {erased:,} that take-downs erased" if erased else ""
    said = (
        f"no kept record has the id {record_id!r}: none had it, or a stage removed it (curate explain tells)"
    )
    outcome.wrong(None, said + gone)


def _report(out: Path, manifest: Mapping[str, Any], checks: Checks, made: Sequence[Proof]) -> Report:
    first = checks.first
    told = (manifest.get(key) for key in ("name", "version", "root"))
    name, version, root = (None if value is None else str(value) for value in told)
    return Report(str(out), name, version, root, first is None, first, tuple(checks.done), tuple(made))
