"""The versions of all that the bytes of a release can depend on."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import unicodedata

from curate import __version__

# Libraries whose version can change a release's bytes. Those of extras are told by the stage that uses them, in its
# fingerprint: what is installed and not used makes no difference.
_LIBRARIES = (
    "detect-secrets",
    "langdetect",
    "license-expression",
    "numba",
    "numpy",
    "orjson",
    "phonenumbers",
    "polars",
    "presidio-analyzer",
    "py3langid",
    "pyarrow",
    "pycld2",
    "regex",
    "spacy",
    "tldextract",
    "zstandard",
)


@functools.cache
def software() -> dict[str, str]:
    """Return the versions of all that the bytes of a release can depend on."""
    return {
        "curate": __version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }
