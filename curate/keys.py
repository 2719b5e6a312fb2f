"""A secret key of the user: read from a file or the environment, and never written anywhere."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from curate.errors import RecipeError

LEAST = 16  # characters
HOW = f"at least {LEAST} characters, such as 'openssl rand -hex 32' prints"


def read(variable: str | None, path: Path | None, what: str) -> bytes:
    """Return the key that an environment variable or a file holds, white space around it left out.

    what: begins the messages, such as "operator hash". Raises RecipeError where there is no key, or one too
    short.
    """
    if path is not None:
        where = f"the file {path}"
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            state = (error.strerror or type(error).__name__).lower()
            raise RecipeError(
                f"{what} needs a secret key, and {where} cannot be read ({state}); it must hold {HOW}"
            ) from None
        missing = "is empty"
    else:
        where = f"the environment variable {variable}"
        key = os.environ.get(variable or "", "").strip().encode()
        missing = "is not set"
    if len(key) < LEAST:
        state = missing if not key else f"holds fewer than {LEAST} characters"
        raise RecipeError(f"{what} needs a secret key, and {where} {state}; it must hold {HOW}")
    return key


def fingerprint(key: bytes) -> str:
    """Return what tells the key from another: the HMAC-SHA256 (RFC 2104) of a constant under it, cut to 64 bits."""
    return hmac.new(key, b"curate pii key", "sha256").hexdigest()[:16]


def derived(key: bytes, purpose: bytes, length: int) -> bytes:
    """Return a key of its own for one purpose: HKDF-SHA256 (RFC 5869), no salt, the purpose as its info."""
    return HKDF(SHA256(), length, None, b"curate " + purpose).derive(key)
