"""curate sign: an in-toto statement in a DSSE envelope, which others can check, and which nothing outlives."""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import releases
from conftest import write_jsonl

import curate
from curate import cli
from curate.errors import IntegrityError, RecipeError
from curate.govern import documents, signing, signkeys
from curate.govern import manifest as manifests
from curate.govern.signing import Envelope
from curate.release import finish

RECIPE = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [in.jsonl], license: MIT}]\nstages: [exact]\n"


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    with releases.rendered_once():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sign")
    write_jsonl(folder / "in.jsonl", [{"id": i, "text": f"text {i % 7}"} for i in range(8)])
    (folder / "curate.yaml").write_text(RECIPE)
    curate.run(folder / "curate.yaml", workers=1)
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "release"


def _envelope(out: Path) -> dict[str, Any]:
    held: dict[str, Any] = orjson.loads((out / "manifest.dsse.json").read_bytes())
    return held


def test_the_statement_names_every_file_of_the_release_with_its_hash(release: Path, tmp_path: Path) -> None:
    signed = curate.sign(release, new_key=tmp_path / "key")
    envelope = _envelope(release)
    told = orjson.loads(base64.b64decode(envelope["payload"]))
    files = {p.relative_to(release).as_posix(): p for p in release.rglob("*") if p.is_file()}
    del files["manifest.dsse.json"]
    assert {s["name"]: s["digest"] for s in told["subject"]} == {
        name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for name, path in files.items()
    }
    assert signed.subjects == len(files)
    manifest = curate.load(release).manifest
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicate"]["root"] == manifest["root"]
    assert told["predicate"]["merkle"]["root"] == manifest["merkle"]["root"]
    assert told["predicate"]["merkle"]["size"] == 7
    before = (release / "manifest.dsse.json").read_bytes()
    curate.sign(release, key=tmp_path / "key")  # again: in place of its own, and the same bytes
    assert (release / "manifest.dsse.json").read_bytes() == before


def test_what_is_signed_is_the_example_of_the_dsse_specification() -> None:
    # DSSE v1.0.2, protocol.md, "Test vectors"
    assert signing.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_securesystemslib_accepts_our_signature_and_rejects_a_changed_one(
    release: Path, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib import dsse
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    curate.sign(release, new_key=tmp_path / "key")
    held = _envelope(release)
    public = load_pem_public_key((tmp_path / "key.pub").read_bytes())
    theirs = SSlibKey.from_crypto(public, keyid=held["signatures"][0]["keyid"])
    envelope = dsse.Envelope.from_dict(orjson.loads(orjson.dumps(held)))
    assert list(envelope.verify([theirs], 1)) == [held["signatures"][0]["keyid"]]
    envelope.payload = envelope.payload.replace(b'"name":"a"', b'"name":"b"')
    with pytest.raises(VerificationError):
        envelope.verify([theirs], 1)


def test_a_signature_that_securesystemslib_made_is_accepted(release: Path, tmp_path: Path) -> None:
    from securesystemslib import dsse
    from securesystemslib.signer import CryptoSigner, SSlibKey

    curate.sign(release, new_key=tmp_path / "key")
    ours = Envelope.loads((release / signing.NAME).read_bytes())
    private = signkeys.make(tmp_path / "second", None)
    public = private.public_key()
    (tmp_path / "second.pub").write_bytes(signkeys.pem(public))
    signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=signing.fingerprint(public)))
    theirs = dsse.Envelope(ours.payload, ours.payload_type, {})
    theirs.sign(signer)
    [made] = theirs.to_dict()["signatures"]
    read = Envelope.loads(orjson.dumps(theirs.to_dict()))
    assert read.signed_by(public) == made["keyid"]
    both = Envelope(ours.payload, ours.payload_type, tuple(sorted([*ours.signatures, *read.signatures])))
    (release / signing.NAME).write_bytes(both.dumps())
    assert curate.verify(release, key=[tmp_path / "key.pub", tmp_path / "second.pub"]).ok


def test_a_second_signer_signs_beside_the_first(release: Path, tmp_path: Path) -> None:
    keys = [tmp_path / "ann", tmp_path / "bea"]
    for key in keys:
        curate.sign(release, new_key=key)
    public = [tmp_path / "ann.pub", tmp_path / "bea.pub"]
    both = (release / signing.NAME).read_bytes()
    assert curate.verify(release, key=public).ok
    (release / signing.NAME).unlink()
    for key in reversed(keys):
        assert curate.sign(release, key=key).signatures == 1 + (key == keys[0])
    assert (release / signing.NAME).read_bytes() == both  # whoever signed first
    report = curate.verify(release, key=public[0])
    assert report.ok
    assert "not checked: give --key" in report.check("signature").said  # the other one
    stranger = signkeys.make(tmp_path / "eve", None).public_key()
    assert Envelope.loads(both).signed_by(stranger) is None
    report = curate.verify(release, key=[*public, tmp_path / "eve.pub"])
    assert str(report.first) == (
        f"manifest.dsse.json: holds no valid signature by the key in {tmp_path / 'eve.pub'}"
    )


def test_keys_are_kept_out_of_the_release_secret_and_never_overwritten(release: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="lies in the release"):
        curate.sign(release, new_key=release / "audit" / "key")
    (tmp_path / "link").symlink_to(release)
    with pytest.raises(RecipeError, match="lies in the release"):
        curate.sign(release, new_key=tmp_path / "link" / "key")
    curate.sign(release, new_key=tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(RecipeError, match="is there already"):
        curate.sign(release, new_key=tmp_path / "key")
    (tmp_path / "key").rename(tmp_path / "kept")
    with pytest.raises(RecipeError, match=r"key\.pub is there already"):
        curate.sign(release, new_key=tmp_path / "key")
    (tmp_path / "kept").rename(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    with pytest.raises(RecipeError, match="needs a key"):
        curate.sign(release)


def test_a_key_with_a_passphrase(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    with pytest.raises(RecipeError, match="SECRET: that environment variable is not set"):
        curate.sign(release, new_key=key, passphrase_env="SECRET")
    assert not key.exists()
    monkeypatch.setenv("SECRET", "correct horse")
    curate.sign(release, new_key=key, passphrase_env="SECRET")
    assert b"ENCRYPTED PRIVATE KEY" in key.read_bytes()
    curate.sign(release, key=key, passphrase_env="SECRET")
    with pytest.raises(RecipeError, match="the key has one; name --passphrase-env"):
        curate.sign(release, key=key)
    monkeypatch.setenv("SECRET", "another")
    with pytest.raises(RecipeError, match="or the passphrase is another"):
        curate.sign(release, key=key, passphrase_env="SECRET")
    with pytest.raises(RecipeError, match=r"is a private key; verify with the public one, key\.pub"):
        curate.verify(release, key=key)
    with pytest.raises(RecipeError, match="is no private key"):
        curate.sign(release, key=tmp_path / "key.pub")
    with pytest.raises(RecipeError, match="is no public key"):
        curate.verify(release, key=tmp_path / "in.jsonl")


def test_a_key_of_another_kind_is_refused(release: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ec").write_bytes(pem)
    (tmp_path / "ec.pub").write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(RecipeError, match="is no Ed25519 key"):
        curate.sign(release, key=tmp_path / "ec")
    with pytest.raises(RecipeError, match="is no Ed25519 key"):
        curate.verify(release, key=tmp_path / "ec.pub")


def test_a_release_that_does_not_verify_is_not_signed(release: Path, tmp_path: Path) -> None:
    (release / "datasheet.md").write_text("all is well\n")
    with pytest.raises(IntegrityError, match=r"it is not signed: datasheet\.md: line 1 differs"):
        curate.sign(release, new_key=tmp_path / "key")
    assert not (tmp_path / "key").exists()
    assert not (release / signing.NAME).exists()


def test_a_signature_over_another_state_is_not_signed_beside(release: Path, tmp_path: Path) -> None:
    curate.sign(release, new_key=tmp_path / "key")
    old = (release / signing.NAME).read_bytes()
    curate.run(tmp_path / "curate.yaml", workers=1, fresh=True)
    (release / signing.NAME).write_bytes(old)
    with pytest.raises(
        IntegrityError, match=r"not signed: manifest\.json: is not the manifest that was signed"
    ):
        curate.sign(release, key=tmp_path / "key")


def test_no_signature_outlives_what_it_was_made_over(release: Path, tmp_path: Path) -> None:
    envelope = release / signing.NAME
    curate.sign(release, new_key=tmp_path / "key")
    curate.datasheet(release)  # the same bytes
    curate.run(tmp_path / "curate.yaml", workers=1)  # the same release
    assert curate.verify(release, key=tmp_path / "key.pub").ok
    (release / "datasheet.md").write_text("edited\n")
    curate.datasheet(release)  # back to what was signed
    assert curate.verify(release, key=tmp_path / "key.pub").ok
    curate.run(tmp_path / "curate.yaml", workers=1, fresh=True)
    assert not envelope.exists()
    curate.sign(release, key=tmp_path / "key")
    rendered = documents.render(curate.load(release).manifest)
    signing.retire(release, rendered)
    assert envelope.exists()
    signing.retire(release, {**rendered, "datasheet.md": b"another version of curate writes it otherwise\n"})
    assert not envelope.exists()


def test_a_signature_set_aside_still_holds_for_the_tree(release: Path, tmp_path: Path) -> None:
    curate.sign(release, new_key=tmp_path / "key")
    manifest = curate.load(release).manifest
    kept = signing.set_aside(release, manifest["root"])
    assert kept == release / "takedown" / f"superseded-{manifest['root'][:16]}.dsse.json"
    assert signing.set_aside(release, manifest["root"]) is None
    report = curate.verify(release)
    assert report.check("superseded").said == "1 over another release that was in this folder"
    finish(release, manifests.revised(manifest, supersedes={"root": manifest["root"]}))
    report = curate.verify(release)
    assert report.ok
    assert report.check("superseded").state == "not checked"
    curate.sign(release, new_key=tmp_path / "new")
    report = curate.verify(release, key=tmp_path / "new.pub")
    assert report.check("superseded").state == "not checked"  # it is by the other key
    (release / signing.NAME).unlink()
    curate.sign(release, key=tmp_path / "key")
    report = curate.verify(release, key=tmp_path / "key.pub")
    assert "still holds" in report.check("superseded").said
    other = orjson.loads(orjson.dumps(manifest))
    other["merkle"]["leaves"] += 1
    digests = dict.fromkeys([*documents.render(manifest), "manifest.json"], "0" * 64)
    private = signkeys.private(tmp_path / "key", None)
    forged = Envelope(signing.statement(other, digests), signing.PAYLOAD_TYPE, ()).add(private)
    kept.write_bytes(forged.dumps())
    [found] = curate.verify(release, key=tmp_path / "key.pub").check("superseded").findings
    assert (found.file, found.said) == (
        kept.relative_to(release).as_posix(),
        "its Merkle root and size are not those of this release",
    )


def test_the_command_line_signs_and_verifies(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    assert cli.main(["sign", str(release), "--new-key", str(key)]) == 0
    said = capsys.readouterr().out
    assert f"new key {key}: keep it secret" in said.replace("\n", "")
    assert cli.main(["sign", str(release), "--key", str(key), "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert told["public_key"] == (tmp_path / "key.pub").read_text()
    assert cli.main(["verify", str(release), "--key", str(tmp_path / "key.pub")]) == 0
    assert cli.main(["sign", str(release)]) == 2
