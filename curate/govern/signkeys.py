"""Keys for signing releases: Ed25519, the private one in PKCS #8, the public one as SubjectPublicKeyInfo, both PEM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import RecipeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def check_outside(path: Path, out: Path) -> None:
    """Raise RecipeError for a key that lies in the release, where whoever gets the release would get it."""
    if out.resolve() in path.resolve().parents:
        raise RecipeError(f"{path}: lies in the release {out}; keep keys elsewhere")


def passphrase(variable: str | None) -> bytes | None:
    """Return what an environment variable holds. Raises RecipeError if it is not set, or empty."""
    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise RecipeError(
            f"--passphrase-env {variable}: that environment variable is not set; set it, or leave it out"
        )
    return value.encode()


def make(path: Path, secret: bytes | None) -> Ed25519PrivateKey:
    """Make a key and write it to a new file that its owner alone may read, the public one beside it as .pub.

    secret: passphrase that the file is encrypted with, if any. Raises RecipeError if one of the files is there
    already: no key is ever overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    for there in (path, public_path(path)):
        if there.exists() or there.is_symlink():
            raise RecipeError(
                f"--new-key {path}: {there} is there already; sign with it by --key, or name another"
            )
    if not path.parent.is_dir():
        raise RecipeError(f"--new-key {path}: there is no folder {path.parent}; make it first")
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(secret) if secret else NoEncryption()
    _create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), 0o600)
    _create(public_path(path), pem(key.public_key()), 0o644)
    return key


def private(path: Path, secret: bytes | None) -> Ed25519PrivateKey:
    """Read a private key. Raises RecipeError for a file that holds none, or one of another kind or passphrase."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, "make one with --new-key")
    try:
        key = load_pem_private_key(content, secret)
    except TypeError:  # a passphrase for a key that has none, or none for one that does
        hint = "has no passphrase; leave out --passphrase-env" if secret else "has one; name --passphrase-env"
        raise RecipeError(f"--key {path}: the key {hint}") from None
    except (ValueError, UnsupportedAlgorithm):
        what = "or the passphrase is another" if secret else "of PKCS #8"
        raise RecipeError(f"--key {path}: is no private key in PEM {what}; make one with --new-key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RecipeError(f"--key {path}: is no Ed25519 key; make one with --new-key")
    return key


def public(path: Path) -> Ed25519PublicKey:
    """Read a public key. Raises RecipeError for a file that holds none, or one of another kind."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, "name the signer's public key")
    if b"PRIVATE KEY" in content:
        raise RecipeError(
            f"--key {path}: is a private key; verify with the public one, {public_path(path).name}"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise RecipeError(
            f"--key {path}: is no public key in PEM; curate sign writes it beside the key"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise RecipeError(f"--key {path}: is no Ed25519 key; curate signs and verifies with no other")
    return key


def pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_path(path: Path) -> Path:
    """Return where the public key of a private one stands."""
    return path.with_name(path.name + ".pub")


def _create(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecipeError(f"--key {path}: {error.strerror}; {hint}") from None
