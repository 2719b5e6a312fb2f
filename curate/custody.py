"""What is done to a finished release: its datasheet rendered again, an audit taken in, signed, verified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import folder as out_folder
from curate import remote
from curate.copies import address
from curate.errors import IntegrityError, RecipeError
from curate.govern import audit as audits
from curate.govern import documents, signing, signkeys
from curate.govern import manifest as manifests
from curate.govern import verify as verifying
from curate.govern.datasheet import answers as entering
from curate.io.write import finished, write_text
from curate.release import Release, finish, load

if TYPE_CHECKING:
    from curate.govern.takedown.switching import TakenDown


def datasheet(out: str | Path, answers: str | Path | None = None) -> list[Path | str]:
    """Render every document from the manifest again and return the files written (``curate datasheet``).

    answers: file with a person's answers, which enter the manifest in place of those it has. Raises RecipeError
    with everything that is wrong with the file.
    """
    given = None if answers is None else entering.read(Path(answers))
    with _locked(out) as path:
        release = load(path)
        _held_to_root(release)
        if given is None:
            written = documents.write(path, release.manifest)
        else:
            manifest = entering.enter(release.manifest, given)
            written = [*documents.write(path, manifest), path / manifests.NAME]
            manifests.save(manifest, path)
        return [_shown(out, path, file) for file in written]


def audit(out: str | Path, form: str | Path) -> dict[str, Any]:
    """Take in a filled-in form of the residual audit and return what it says (``curate audit``).

    The answers, without any text, go into ``audit/``, their shares and intervals into the manifest and the
    datasheet. Raises RecipeError for a form of another sample or with answers that are none.
    """
    with _locked(out) as folder:
        release = load(folder)
        _held_to_root(release)
        if folder.resolve() in Path(form).resolve().parents:
            raise RecipeError(
                f"{form}: lies in the release, which the next run replaces; fill in a copy elsewhere"
            )
        told, answers = audits.judge(Path(form), folder, release.manifest)
        path = folder / audits.FOLDER / audits.ANSWERS
        write_text(path, answers.decode())
        entry = manifests.output(finished(path, answers.count(b"\n")), folder)
        others = [held for held in release.manifest["outputs"] if held["path"] != entry["path"]]
        outputs = sorted([*others, entry], key=lambda held: str(held["path"]))
        finish(folder, manifests.revised(release.manifest, audit=told, outputs=outputs))
    return told


def sign(
    out: str | Path,
    *,
    key: str | Path | None = None,
    new_key: str | Path | None = None,
    passphrase_env: str | None = None,
) -> signing.Signed:
    """Verify a release and sign it, beside those who signed it before (``curate sign``).

    key: private key (Ed25519, PKCS #8, PEM). new_key: where to write a new one, its public key beside it as .pub.
    passphrase_env: environment variable with the passphrase of the key, old or new. Raises IntegrityError for a
    release that does not verify, RecipeError for a key that cannot be used; either way nothing is written.
    """
    if (key is None) == (new_key is None):
        raise RecipeError("sign needs a key: give --key, or --new-key to make one")
    if address(out) is not None:
        with remote.changing(out) as copy:
            done = sign(copy, key=key, new_key=new_key, passphrase_env=passphrase_env)
            return replace(done, path=str(_shown(out, copy, Path(done.path))))
    release = load(out)
    path = Path(key if key is not None else new_key or "")
    signkeys.check_outside(path, release.path)
    secret = signkeys.passphrase(passphrase_env)
    private = signkeys.private(path, secret) if key is not None else None
    report = verifying.verify(release.path)
    if report.first is not None:
        raise IntegrityError(f"{out}: does not verify, so it is not signed: {report.first}")
    private = private or signkeys.make(path, secret)
    names = documents.render(release.manifest)
    envelope = signing.sign(release.path, release.manifest, names, private)
    public = private.public_key()
    return signing.Signed(
        str(release.path / signing.NAME),
        signing.fingerprint(public),
        signkeys.pem(public).decode(),
        len(envelope.signatures),
        len(envelope.statement()["subject"]),
        str(path) if new_key is not None else None,
    )


def verify(
    out: str | Path, *, key: str | Path | Sequence[str | Path] = (), id: str | None = None
) -> verifying.Report:
    """Check a release against its manifest, and the manifest against its signature (``curate verify``).

    key: public keys, each of which must have signed. id: of a record to prove in the release. Damage of the release
    is told in the report and never raised; raises RecipeError where there is no such folder, or for a bad key.
    """
    keys = [key] if isinstance(key, str | Path) else key
    with remote.reading(out) as path:
        report = verifying.verify(path, [Path(key) for key in keys], id)
    return report if address(out) is None else replace(report, out=str(address(out)))


def takedown(
    out: str | Path,
    ids: Sequence[str] = (),
    authors: Sequence[str] = (),
    urls: Sequence[str] = (),
    match: str | Path | None = None,
    *,
    contained: bool = False,
    reference: str = "",
    received: str | None = None,
    key_file: str | Path | None = None,
    removed_key: str | Path | None = None,
    dry_run: bool = False,
) -> TakenDown:
    """Erase records from a release: those of the ids, authors, URLs or domains, those like the texts of a file
    (``match``), their near-duplicates, and all traces of them (``curate takedown``).

    ``contained``: also records that hold most of a text. ``reference``: the user's own, for the log. ``received``:
    when the request came, an ISO time. ``key_file``: the suppression list's secret key, default
    ``suppression.key`` beside ``out``; made where there is none. ``removed_key``: file with the key of
    removed/, where that is encrypted. ``dry_run``: only tell what would be done. A
    take-down that was stopped is finished by the same call. Raises RecipeError where nothing matches or an id is
    unknown, and IntegrityError for a manifest that was changed.
    """
    from curate.govern.takedown import switching
    from curate.govern.takedown.request import Request
    from curate.govern.takedown.tables import Tables

    if address(out) is not None:
        if key_file is None:
            raise RecipeError(
                f"{out}: is in object storage, where the suppression list's secret key must not lie; give --key-file"
            )
        with remote.changing(out) as copy:
            return takedown(
                copy, ids, authors, urls, match, contained=contained, reference=reference, received=received,
                key_file=key_file, removed_key=removed_key, dry_run=dry_run,
            )  # fmt: skip
    path, key = Path(out), None if key_file is None else Path(key_file)
    asked = Request.of(
        ids, authors, urls, None if match is None else Path(match),
        contained=contained, reference=reference, received=received,
    )  # fmt: skip
    if journal := switching.stopped(path / "work"):
        if dry_run:
            raise RecipeError(
                f"{path}: a take-down was stopped half-way; run it again, without --dry-run, to finish it"
            )
        with out_folder.working(path, fresh=False) as work:
            done = switching.follow(path, work / "takedown", finish, resumed=True)
        if switching.is_same(journal, asked):
            return done
    release = load(path)
    _held_to_root(release)
    tables = Tables(path, release.manifest, None if removed_key is None else Path(removed_key))
    found = switching.find(tables, release.manifest, asked, key)
    if dry_run:
        return switching.preview(tables, release.manifest, asked, found)
    with out_folder.working(path, fresh=False) as work:
        return switching.carry_out(tables, release.manifest, asked, found, work, key, finish)


@contextmanager
def _locked(out: str | Path) -> Iterator[Path]:
    """Give a release's folder, or a copy of it that goes back, to a command that alone writes there."""
    with remote.changing(out) as path:
        if address(out) is not None:  # nobody else has the copy
            yield path
            return
        load(path)  # raises where there is none: only in a release is a lock made
        with out_folder.working(path, fresh=False, clears=()):
            yield path


def _shown(out: str | Path, folder: Path, file: Path) -> Path | str:
    """Return the path of a file of a release, or its URL."""
    url = address(out)
    return file if url is None else f"{url}/{file.relative_to(folder).as_posix()}"


def _held_to_root(release: Release) -> None:
    manifests.hold_to_root(release.path, release.manifest, "nothing is rendered from it")
