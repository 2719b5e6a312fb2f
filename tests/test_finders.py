"""The fast way to what presidio finds: the same finds, whatever the text, the batch and the accelerator."""

from __future__ import annotations

import inspect
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adversarial
import numpy as np
import phonenumbers
import pyarrow as pa
import pytest
import re2
import regex
from presidio_analyzer import PatternRecognizer, predefined_recognizers
from presidio_analyzer.predefined_recognizers import PhoneRecognizer
from test_pii import read

from curate.kernels import jit
from curate.kernels.spans import Span
from curate.stages.finders import Finds, regexsets, windows
from curate.stages.finders.phones import Phones
from curate.stages.finders.presidio import Presidio
from curate.stages.finders.shapes import UnreadableError
from curate.stages.finders.sweep import RegexTimeoutError
from curate.stages.finders.triggers import derive
from curate.stages.finders.windows import Windows
from curate.stages.finders.words import SpacyWords

COUNT = int(os.environ.get("CURATE_FUZZ", "1000"))
COUNTRIES = (
    "au",
    "ca",
    "de",
    "es",
    "fi",
    "in",
    "it",
    "kr",
    "ng",
    "ph",
    "pl",
    "se",
    "sg",
    "th",
    "tr",
    "uk",
    "us",
    "za",
)
TEXTS = adversarial.texts(20_261_121, COUNT)


def places(found: Finds) -> list[tuple[int, int, str, float]]:
    assert not isinstance(found, Exception), found
    return [span[:4] for span in found]


def differing(engine: Presidio, texts: list[str]) -> list[str]:
    found = engine.find(pa.array(texts, pa.string()))
    return [t for t, f in zip(texts, found, strict=True) if places(f) != places(engine.plain(t))]


# --- the same finds ---


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.5])
def test_the_fast_way_finds_what_presidio_finds(threshold: float) -> None:
    assert differing(Presidio(threshold), TEXTS) == []


def test_the_recognizers_of_every_country_find_what_presidio_finds() -> None:
    engine = Presidio(countries=COUNTRIES)
    rng = random.Random(7)
    made = [adversarial.likely_match(pattern, rng) for _, pattern, _ in patterns()]
    words = [rng.choice(reader.context) for reader in engine._sweep.readers]
    texts = [f"{rng.choice(words)} {text}{rng.choice([' ', '', ', '])}{rng.choice(made)}" for text in made]
    assert differing(engine, [*texts, *TEXTS[:300]]) == []
    assert {"DE_TAX_ID", "ZA_MOBILE_NUMBER", "US_SSN", "KR_RRN"} <= {*engine.kinds}


@pytest.mark.parametrize(
    "options",
    [
        {"whole_word": True},
        {"entities": ["US_SSN", "PHONE_NUMBER"], "thresholds": {"PHONE_NUMBER": 0.7}},
        {"thresholds": {"URL": 0.6, "DATE_TIME": 0.3}, "threshold": 0.45},
    ],
)
def test_options_change_both_ways_alike(options: dict[str, Any]) -> None:
    engine = Presidio(**options)
    assert differing(engine, TEXTS[:500]) == []
    assert {kind for text in TEXTS[:500] for _, _, kind, _ in places(engine.plain(text))} <= {*engine.kinds}


def test_real_texts_have_the_same_finds(real_data: Path) -> None:
    files = {"pii/nannigalaxy": 4, "instruct/gsm8k_train": 60, "instruct/gpteacher_codegen": 60}
    files |= {"corpus/permissive-47mb": 90, "instruct/medquad": 600, "pii/presidio_synth_v2": 20}
    texts = [
        (record.get("text") or f"{record['instruction']}\n{record['output']}")[:20_000]
        for name, every in files.items()
        for record in read(real_data / f"{name}.jsonl.zst", every)
    ]
    assert len(texts) > 400
    for threshold in (0.0, 0.5):
        assert differing(Presidio(threshold), texts) == []


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_hyperscan_changes_no_answer(threshold: float) -> None:
    pytest.importorskip("hyperscan")
    texts = pa.array([*TEXTS, None, ""], pa.string())
    with_it, without = (Presidio(threshold, hyperscan=used).find(texts) for used in (True, False))
    assert with_it == without
    assert sum(map(len, map(places, without))) > COUNT


def test_without_hyperscan_re2_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    assert places(Presidio().find(pa.array(["ssn 536-90-4399"]))[0])
    with pytest.raises(ModuleNotFoundError, match="hyperscan is not installed"):
        Presidio(hyperscan=True)


# --- one pass over many texts ---


def test_the_size_of_a_batch_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Presidio()
    texts = pa.array([*TEXTS[:400], None, "", *TEXTS[400:500]], pa.string())
    whole = engine.find(texts)
    single = [engine.find(texts.slice(row, 1))[0] for row in range(len(texts))]
    monkeypatch.setattr(regexsets, "_AT_ONCE", 100)
    assert whole == single == engine.find(texts)
    assert engine.find(texts.cast(pa.large_string())) == whole
    assert engine.find(texts.slice(len(texts))) == []


def test_texts_side_by_side_hide_and_make_nothing() -> None:
    halves = ["mail jane.doe@exa", "mple.com 4111 1111", " 1111 1111 10.0.", "0.1 536-90-", "4399"]
    wholes = ["a@b.co", "536-90-4399", "::1", "A1234567", "10.0.0.1", "www.x.org"]
    engine = Presidio()
    for texts in (
        halves,
        wholes,
        ["a" + w for w in wholes],
        [w for pair in zip(wholes, halves, strict=False) for w in pair],
    ):
        assert differing(engine, texts) == []
    assert all(map(places, engine.find(pa.array(wholes))))


def test_the_compiled_set_is_kept_and_made_again_where_it_is_spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hyperscan")
    monkeypatch.setattr(jit, "cache", lambda: str(tmp_path / "kept"))
    texts = pa.array(["b", "xab"])
    found = [list(regexsets.RegexSets(["a+b"], hyperscan=True).places(texts)) for _ in range(2)]
    [kept] = (tmp_path / "kept").iterdir()
    data = kept.read_bytes()
    kept.write_bytes(data[: len(data) // 2])
    found.append(list(regexsets.RegexSets(["a+b"], hyperscan=True).places(texts)))
    assert found == [[(1, {0: [2]})]] * 3
    assert kept.read_bytes() == data


# --- triggers ---


def patterns() -> Iterator[tuple[str, str, int]]:
    """Yield the patterns of every recognizer that presidio has: recognizer, pattern, flags."""
    made: Any
    for name, made in inspect.getmembers(predefined_recognizers, inspect.isclass):
        if issubclass(made, PatternRecognizer):
            recognizer = made(supported_language="en")
            for pattern in recognizer.patterns:
                yield name, pattern.regex, int(recognizer.global_regex_flags)


EVERY_PATTERN = [*patterns(), ("an address of two lines", r"(?<!x)\d{1,4} [A-Z]\w+\n(?=\d{3})(\w)\1", 26)]


@pytest.mark.parametrize("number", range(4))
def test_every_match_holds_its_trigger_and_no_stop(number: int) -> None:
    rng = random.Random(number)
    special = regex.compile(f"[{regexsets._special()}]")
    seen = set()
    for name, pattern, flags in EVERY_PATTERN[number::4]:
        trigger = derive(pattern, flags)
        assert trigger is not None, name
        cut, stop = Windows(trigger), regex.compile(trigger.stop)
        fast = re2.compile(trigger.for_sets)
        for _ in range(40):
            text = (
                rng.choice(["", " ", "é", "(", "\n", "Rx "])
                + adversarial.likely_match(pattern, rng)
                + rng.choice(["", " ", ".", "中"])
            )
            for match in regex.finditer(pattern, text, flags):
                if not match.group():
                    continue
                seen.add(pattern)
                assert not stop.search(match.group()), (name, pattern, text)
                inside = [
                    (a, b) for a, b in cut.around(text, None) if a <= match.start() and match.end() <= b
                ]
                assert len(inside) == 1, (name, pattern, text)
                assert special.search(text) or fast.search(text), (name, pattern, text)
    assert len(seen) > 0.7 * len(
        EVERY_PATTERN[number::4]
    )  # the others' assertions are hard to meet by chance


def test_what_is_not_understood_is_said() -> None:
    for pattern in (r"\p{Lu}{3}", r"(a)?(?(1)b|c)", r"(?<name>a"):
        with pytest.raises(UnreadableError):
            derive(pattern, 0)
    assert derive(r"a*", 0) is None


# --- telephone numbers ---


def test_phones_are_those_of_phonenumbers() -> None:
    regions = PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS
    phones = Phones(regions, 1)
    rng = random.Random(3)
    parts = [
        "00",
        "011",
        "49",
        "44",
        "1",
        "55",
        "91",
        "972",
        "0",
        "16",
        "+",
        " ",
        "-",
        "(",
        ")",
        "x12",
        " ext 5",
        "２",
        "\n",
        ",",
        "a",
        "é",
        "_",
        ";",
    ]
    for _ in range(1500):
        digits = "".join(rng.choice("0123456789" * 4 + " -./()") for _ in range(rng.randint(3, 24)))
        pieces = "".join(rng.choice([*parts, str(rng.randint(0, 99_999))]) for _ in range(rng.randint(1, 8)))
        for text in (digits, pieces):
            plain = {(m.start, m.end) for r in regions for m in phonenumbers.PhoneNumberMatcher(text, r)}
            assert phones.spans(text) == plain, text
            spans = [*Windows(phones.trigger).around(text, None)]
            assert all(any(a <= start and end <= b for a, b in spans) for start, end in plain), text


def test_a_text_with_more_groups_of_digits_than_phonenumbers_tries_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "MOST_GROUPS", 5)
    monkeypatch.setattr(Phones, "spans", lambda self, text: pytest.fail("read in part"))
    assert differing(Presidio(entities=["PHONE_NUMBER"]), ["call 1 2, 3 4, 5 6, 7 8, 212-555-0199"]) == []


# --- context ---


def test_words_have_the_tokens_that_they_have_in_the_text() -> None:
    words = SpacyWords()
    rng = random.Random(1)
    cases = [
        *rng.sample(sorted(words.tokenizer.rules), 300),
        ":",
        ")",
        "(",
        "_",
        "-",
        ">",
        "*",
        "ab",
        "ab.",
        "9",
    ]
    for _ in range(400):
        text = "".join(
            rng.choice(cases).strip() + rng.choice(["", "", " ", "\n"]) for _ in range(rng.randint(1, 9))
        )
        whole = [(start, token.lower()) for start, token in words.tokens(text)]
        pieces = [match.span() for match in regex.finditer(r"\S+", text)]
        parts = [(a + token.start, token.lemma) for a, b in pieces for token in words.near(text, a, b)]
        assert parts == [(start, token) for start, token in whole if not token.isspace()], text


def test_a_long_table_of_numbers_is_read_once() -> None:
    rng = np.random.default_rng(4)
    table = " ".join(f"{number:09}" for number in rng.integers(10**8, 10**9, 700))
    engine = Presidio(entities=["US_PASSPORT", "US_SSN"], whole_word=True)
    assert (
        differing(engine, [f"travel document {table}", f"{table} passport", f"{table}\n passport {table}"])
        == []
    )


# --- what cannot be read ---


def test_a_time_out_is_the_answer_of_its_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "REGEX_TIMEOUT_SECONDS", 1e-9)
    first, second = Presidio(entities=["URL"]).find(pa.array(["a" * 3000 + ".com" * 300, "nothing"]))
    assert isinstance(first, RegexTimeoutError)
    assert second == []


def test_a_time_out_that_presidio_only_logs_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Presidio()
    with pytest.raises(RegexTimeoutError):
        logging.getLogger("presidio-analyzer").warning(
            "Regex pattern '%s' timed out after %s seconds", "a", 60
        )
    assert engine.find(pa.array([""])) == [[]]


def test_unknown_kinds_and_countries_are_errors_that_name_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no recognizer for EMAIL; it has: CREDIT_CARD, CRYPTO, "):
        Presidio(entities=["EMAIL"])
    with pytest.raises(ValueError, match="no recognizers for xx; it has: au, ca, de"):
        Presidio(countries=["xx"])


def test_the_recognizer_is_named() -> None:
    [found] = Presidio(0.5).find(pa.array(["ssn 536-90-4399"]))
    assert found == [Span(4, 15, "US_SSN", 0.85, "UsSsnRecognizer")]


# --- what it costs ---


def test_no_framework_for_models_is_imported() -> None:
    script = (
        "import sys; from curate.stages.finders.presidio import Presidio; Presidio(); "
        "print({'torch', 'transformers', 'gliner', 'stanza'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
