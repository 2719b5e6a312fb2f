"""What a reader of the datasheet must know of an engine: versions, accuracy, languages, licenses."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from curate import rules
from curate.stages.detectors import Engine, missing
from curate.stages.detectors.known import known

# Module and distribution that each engine asks. langdetect-rs is none of them: it never changes an answer.
_LIBRARIES: dict[Engine, tuple[tuple[str, str], ...]] = {
    "cascade": (("pycld2", "pycld2"), ("py3langid", "py3langid")),
    "langdetect": (("langdetect", "langdetect"),),
    "lid176": (("fasttext", "fasttext-predict"),),
    "lingua": (("lingua", "lingua-language-detector"),),
    "fasttext": (("fasttext", "fasttext-predict"),),
}
_EXTRAS: tuple[Engine, ...] = ("lid176", "lingua", "fasttext")
_LICENSES: dict[Engine, str] = {
    "lid176": "The model of lid176 (lid.176.ftz, of fastText) is licensed CC-BY-SA-3.0.",
    "fasttext": "The license of the model was not looked at.",
}


def versions(engine: Engine, model: Path | None) -> str | None:
    """Return an engine's model, by its hash, and the versions of the libraries of its extra; else null.

    Raises MissingExtra where a library is not installed, RecipeError for a file that is no model.
    """
    if engine not in _EXTRAS:
        return None
    if any(find_spec(module) is None for module, _ in _LIBRARIES[engine]):
        raise missing(engine)
    hashed = ""
    if engine != "lingua":
        from curate.stages.detectors import fasttext

        path = model or fasttext.bundled()
        fasttext.check(path, engine)
        hashed = f"model {fasttext.sha256(path)}; "
    return hashed + _libraries(engine)


def about(engine: Engine, model: Path | None) -> list[str]:
    """Return sentences for the datasheet. Raises as :func:`versions`."""
    named = f"Languages are told by engine {engine} ({_libraries(engine)}"
    if model is not None:
        from curate.stages.detectors import fasttext

        return [
            f"{named}, model {model.name}, sha256 {fasttext.sha256(model)}), which was not measured.",
            _LICENSES[engine],
        ]
    names = known(engine).names
    sentences = [f"{named}), one of {len(names)}: {', '.join(names)}."]
    if measured := rules.load("languages").data["measured"].get(engine):
        said = ", ".join(f"{measured[key]} % of {texts}" for key, texts in _SETS.items())
        sentences.append(
            f"Accuracy of this detector, measured on texts of 75 languages (one that it does not know counts as "
            f"wrong): {said}; {measured['by']}."
        )
    if engine in _LICENSES:
        sentences.append(_LICENSES[engine])
    return sentences


_SETS = {
    "lingua_sentences": "sentences",
    "word_pairs": "pairs of words",
    "udhr_1k": "pieces of 1 KB of a declaration of rights",
}


def _libraries(engine: Engine) -> str:
    return ", ".join(f"{name} {version(name)}" for _, name in _LIBRARIES[engine])
