"""The rules of the pii stage: what each kind needs, what its check rejects, and how they do on labelled text."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import presidio_analyzer
import pyarrow as pa
import pytest
import zstandard
from presidio_analyzer import predefined_recognizers
from ruamel.yaml import YAML

from curate import rules
from curate.kernels.spans import Span, resolve
from curate.stages.finders import own
from curate.stages.scrubbing.search import Ours

PACK = rules.load("pii")
COUNTRIES = [rule for rule in PACK.rules if "country" in rule.data]
# Presidio's class asks for today's date, so that its answer would change from one day to the next.
BY_THE_CLOCK = {
    "SgUenRecognizer",
    "ZaCompanyRegistrationRecognizer",
    "ZaIdNumberRecognizer",
    "ZaTrafficRegisterNumberRecognizer",
}


@cache
def finder(*kinds: str) -> Ours:
    return Ours({kind: PACK.rule(kind).data["threshold"] for kind in kinds})


def find(text: str, *kinds: str) -> list[Span]:
    [found] = finder(*kinds).find(pa.array([text]))
    assert not isinstance(found, Exception)
    return found


def values(text: str, *kinds: str) -> list[str]:
    return [text[span.start : span.end] for span in find(text, *kinds)]


# --- the pack ---


def test_every_country_recognizer_that_presidio_ships_has_a_rule() -> None:
    listed = resources.files(presidio_analyzer).joinpath("conf/default_recognizers.yaml").read_text("utf-8")
    shipped = {
        (entry["name"], entry["country_code"])
        for entry in YAML(typ="safe", pure=True).load(listed)["recognizers"]
        if "country_code" in entry
    }
    ruled = {(r.data["recognizer"], r.data["country"]) for r in COUNTRIES if "recognizer" in r.data}
    assert {name for name, _ in shipped - ruled} == BY_THE_CLOCK
    kinds = {rule.id: rule.data["country"] for rule in COUNTRIES}
    for name, country in shipped:
        [entity] = getattr(predefined_recognizers, name)().supported_entities
        assert kinds[entity] == country


def test_every_rule_says_what_it_is_worth() -> None:
    for rule in PACK.rules:
        assert isinstance(rule.data["default"], bool), rule.id
        assert rule.data["why"], rule.id
        measured = rule.data["measured"]
        if measured is not None:
            assert set(measured) == {"precision", "recall", "n", "on"}, rule.id
            assert 0 <= measured["precision"] <= 1, rule.id
            assert 0 <= measured["recall"] <= 1, rule.id
            assert measured["n"] > 0, rule.id


def test_context_words_are_such_as_presidio_can_find() -> None:
    for rule in PACK.rules:
        for word in rule.data.get("context", ()):
            assert re.fullmatch(r"[^\W_]+", word), (rule.id, word)


def alone(rule: rules.Rule) -> float:
    """The highest score without a context word."""
    certain = 0.0
    for recognizer in own.recognizers({"id": rule.id, **rule.data}):
        checked = "validate_result" in vars(type(recognizer)) and rule.data.get("checksum_suffices", True)
        if checked:
            return 1.0
        scores = [pattern.score for pattern in getattr(recognizer, "patterns", ())]
        certain = max(certain, *scores, getattr(recognizer, "SCORE", 0.0))
    return certain


NEED_CONTEXT = [rule.id for rule in COUNTRIES if alone(rule) < rule.data["threshold"]]


@pytest.mark.parametrize("kind", NEED_CONTEXT)
def test_without_a_context_word_a_number_of_no_form_is_none(kind: str) -> None:
    for example in PACK.rule(kind).match:
        [value] = values(example, kind)
        assert find(value, kind) == []
        assert find(f"there are {value} of them", kind) == []


def test_most_countries_have_numbers_that_need_a_context_word() -> None:
    assert len(NEED_CONTEXT) > 40


# --- checks ---

CHECKED = [
    *("ABA_ROUTING_NUMBER", "AU_ABN", "AU_ACN", "AU_TFN", "CA_SIN", "CREDIT_CARD", "DE_HEALTH_INSURANCE"),
    *("DE_ID_CARD", "DE_PASSPORT", "DE_SOCIAL_SECURITY", "DE_TAX_ID", "ES_NIE", "ES_NIF", "IBAN_CODE"),
    *("FI_PERSONAL_IDENTITY_CODE", "IN_AADHAAR", "IT_FISCAL_CODE", "IT_VAT_CODE", "KR_BRN"),
    *(
        "MEDICAL_LICENSE",
        "NG_NIN",
        "PH_TIN",
        "PL_PESEL",
        "SE_ORGANISATIONSNUMMER",
        "SE_PERSONNUMMER",
        "SG_UEN",
    ),
    *("TR_NATIONAL_ID", "UK_NHS", "US_NPI", "ZA_ID_NUMBER"),
]
WITHOUT_CHECK = {"DE_ID_CARD": "T22000129"}  # of the old form


@pytest.mark.parametrize("kind", CHECKED)
def test_a_number_with_one_digit_changed_fails_its_check(kind: str) -> None:
    for example in PACK.rule(kind).match:
        [span] = find(example, kind)
        value = example[span.start : span.end]
        if value == WITHOUT_CHECK.get(kind):
            continue
        for at in (i for i in range(span.start, span.end) if example[i].isdigit()):
            changed = f"{example[:at]}{(int(example[at]) + 1) % 10}{example[at + 1 :]}"
            assert [s for s in find(changed, kind) if s.start == span.start] == [], changed


def test_luhn_is_the_check_of_cards_and_takes_no_row_of_one_digit() -> None:
    assert own.luhn_valid("4111 1111 1111 1111")
    assert not own.luhn_valid("4111 1111 1111 1112")
    assert not own.luhn_valid("0000 0000 0000 0000")


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("GB82 WEST 1234 5698 7654 32", True),
        ("gb82west12345698765432", True),
        ("NO93 8601 1117 947", True),
        ("GB82 WEST 1234 5698 7654 3", False),  # too short
        ("GB83 WEST 1234 5698 7654 32", False),
        ("ZZ82 WEST 1234 5698 7654 32", False),
    ],
)
def test_account_numbers_have_their_countrys_length_and_check_digits(number: str, valid: bool) -> None:
    assert own.iban_valid(number) is valid


def test_a_checksum_that_does_not_suffice_still_rejects() -> None:
    rule = PACK.rule("UK_NHS")
    assert rule.data["checksum_suffices"] is False
    [recognizer] = own.recognizers({"id": rule.id, **rule.data})
    assert type(recognizer).__name__ == "NhsRecognizer"
    assert recognizer.validate_result("401-023-2137") is None
    assert recognizer.validate_result("401-023-2138") is False
    plain = predefined_recognizers.NhsRecognizer()
    assert plain.validate_result("401-023-2137") is True


def test_a_check_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="lunh"):
        own.Own("A", [{"name": "a", "regex": "a", "score": 1.0}], checks=["lunh"])


# --- cards ---


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424242",
        "4000 0566 5566 5556",
        "5105-1051-0510-5100",
        "2223 0031 2200 3222",
        "378282246310005",
        "3714 496353 98431",
        "6011111111111117",
        "3056 930902 5904",
        "3566002020360505",
        "6200000000000005",
    ],
)
def test_published_test_cards_of_every_issuer_are_found_without_context(number: str) -> None:
    assert values(f"7,{number},30", "CREDIT_CARD") == [number]
    assert values(f"x{number}", "CREDIT_CARD") == []


def test_a_number_of_no_known_issuer_needs_the_word_card() -> None:
    number = "6759649826438453"
    assert own.luhn_valid(number)
    assert values(f"my card {number}", "CREDIT_CARD") == [number]
    assert values(f"serial {number}", "CREDIT_CARD") == []


# --- web addresses ---

ADDRESSES = [
    "https://www.example.org/people?id=7#top",
    "http://example.com/a_(b)",
    "ftp://files.example.net/x.zip",
    "www.example.co.uk/contact",
    "example.org",
    "sub.example.com:8080/x",
]


@pytest.mark.parametrize(
    ("address", "end"), list(itertools.product(ADDRESSES, ["", ".", ", or", ")", "\n", '"']))
)
def test_a_web_address_ends_before_the_sentence_does(address: str, end: str) -> None:
    assert values(f"see {address}{end}", "URL") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "self.count = 0; os.system('x'); np.array([1]); user.info.name",
        "slavery.In 1865 it ended.Many came",
        "import java.net.URL\nfrom com.example.net import x",
        "jane@example.com, jane.doe.org@mail.example.co.uk",
        "http://localhost:3000/a http://127.0.0.1/b",
        "visit the site: run main.py, then setup.sh",
    ],
)
def test_code_and_addresses_of_persons_are_no_web_addresses(text: str) -> None:
    assert values(text, "URL") == []


def test_a_rare_domain_needs_a_word_that_says_so() -> None:
    assert values("my website is jane.photography", "URL") == ["jane.photography"]
    assert values("I like jane.photography", "URL") == []


# --- real data ---


def half(path: Path, odd: bool) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [orjson.loads(line) for line in itertools.islice(lines, int(odd), None, 2)]


def scored(records: Sequence[dict[str, Any]], label: str, kind: str) -> tuple[float, float]:
    """Precision and recall: a find is right if it and a label each hold more than half of the other."""
    right = found = labelled = 0
    answers = finder(kind).find(pa.array([record["text"] for record in records]))
    for record, answer in zip(records, answers, strict=True):
        assert not isinstance(answer, Exception)
        spans = resolve(answer)
        places = [(s["start"], s["end"]) for s in record["spans"] if s["label"] == label]
        right += sum(
            any(2 * (min(b, s.end) - max(a, s.start)) > max(b - a, s.end - s.start) for a, b in places)
            for s in spans
        )
        found += len(spans)
        labelled += len(places)
    return right / found, right / labelled


@pytest.mark.parametrize(
    ("file", "label", "kind", "precision", "recall"),
    [
        ("presidio_synth_v2", "CREDIT_CARD", "CREDIT_CARD", 1.0, 0.97),
        ("presidio_synth_v2", "DOMAIN_NAME", "URL", 0.95, 1.0),
        ("presidio_synth_v2", "PHONE_NUMBER", "PHONE_NUMBER", 0.9, 0.6),
        ("presidio_synth_v2", "IBAN_CODE", "IBAN_CODE", 1.0, 1.0),
        ("lifebench_en", "PHONE", "PHONE_NUMBER", 0.97, 0.9),
    ],
)
def test_precision_and_recall_on_the_half_that_no_rule_was_made_on(
    real_data: Path, file: str, label: str, kind: str, precision: float, recall: float
) -> None:
    records = half(real_data / "pii" / f"{file}.jsonl.zst", odd=True)
    found = scored(records, label, kind)
    assert found[0] >= precision
    assert found[1] >= recall
