"""What the pii stage finds, what it leaves alone, and what it puts in a value's place."""

from __future__ import annotations

import io
import itertools
import logging
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reference import spans as reference

import curate
from curate import rules
from curate.errors import RecipeError
from curate.kernels.spans import Edit, Span, replace, resolve, trace_back
from curate.record import MESSAGES, Batch
from curate.stage import Verdict
from curate.stages import pii
from curate.stages.pii import Pii

PACK = rules.load("pii")
EXAMPLES = [text for rule in PACK.rules for text in (*rule.match, *rule.no_match)]
EVERY_KIND = tuple(rule.id for rule in PACK.rules)
DEFAULT = Pii(Pii.Options())
MAIL, CARD = "jane.doe@example.com", "4111 1111 1111 1111"
KEY = "correct horse battery staple"


def documents(*texts: str | None) -> Batch:
    ids = [f"test/{i}" for i in range(len(texts))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})


def conversations(*talks: Sequence[str | None]) -> Batch:
    roles = itertools.cycle(["user", "assistant"])
    messages = [[{"role": next(roles), "content": text} for text in talk] for talk in talks]
    ids = [f"test/{i}" for i in range(len(talks))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "messages": pa.array(messages, MESSAGES)})


def judge(batch: Batch, **options: Any) -> Verdict:
    verdict = Pii(Pii.Options(**options)).judge(batch)
    verdict.check("pii", batch)
    return verdict


def evidence(verdict: Verdict, row: int = 0) -> Any:
    return orjson.loads(verdict.evidence[row].as_py())


def facts(verdict: Verdict) -> list[Any]:
    assert verdict.facts is not None
    return list(verdict.facts.column("pii").to_pylist())


def texts(column: pa.Array | None) -> list[Any]:
    assert column is not None
    return list(column.to_pylist())


# --- the rule pack ---


def test_every_kind_finds_its_examples_and_leaves_the_lookalikes() -> None:
    assert rules.check(PACK) == []


def test_every_kind_says_whether_and_why_it_is_on() -> None:
    for rule in PACK.rules:
        assert isinstance(rule.data["default"], bool), rule.id
        assert rule.data["why"], rule.id
        assert 0 < rule.data["threshold"] <= 1, rule.id


def test_default_kinds_are_those_of_no_country_and_of_the_named_ones() -> None:
    everywhere = {
        "EMAIL_ADDRESS",
        "PHONE_NUMBER",
        "CREDIT_CARD",
        "IBAN_CODE",
        "IP_ADDRESS",
        "MAC_ADDRESS",
        "CRYPTO",
    }
    assert set(Pii.Options(countries=()).kinds()) == everywhere
    assert set(Pii.Options().kinds()) == everywhere | {"US_SSN", "US_ITIN"}
    assert set(Pii.Options(countries=("es",)).kinds()) == everywhere | {"ES_NIF", "ES_NIE"}
    assert Pii.Options(entities=("UK_NHS",)).kinds() == ("UK_NHS",)


# --- the fast way and presidio's own ---


def fast(text: str, kinds: tuple[str, ...]) -> list[Any]:
    from presidio_analyzer import EntityRecognizer

    from curate.stages.finders import patterns

    scanner, _ = pii._scanner(kinds)
    return patterns.found(EntityRecognizer.remove_duplicates(scanner.scan(text)))


def plain(text: str, kinds: tuple[str, ...]) -> list[Any]:
    return list(pii._scanner(kinds)[0].plain(text))


def test_fast_scan_equals_presidio_on_every_example() -> None:
    joined = ["\n".join(EXAMPLES), " ".join(reversed(EXAMPLES))]
    for text in [*EXAMPLES, *joined]:
        assert fast(text, EVERY_KIND) == plain(text, EVERY_KIND)


VALUES = [
    *(MAIL, "foo@1.2.3", "a@b", "@", CARD, "4111111111111111", "5018 0000 0009", "1234567890123456", "12"),
    *(
        "DE89370400440532013000",
        "GB82 WEST 1234 5698 7654 32",
        "203.0.113.77",
        "::1",
        "2001:db8::1",
        "a::b",
        "12:30",
    ),
    *(
        "00:00:5E:00:53:AF",
        "0000.5e00.5301",
        "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
        "536-90-4399",
        "536904399",
    ),
    *(
        "911-70-1234",
        "911701234",
        "(212) 555-0123",
        "415.555.0132",
        "+44 20 7946 0958 ext. 12",
        "2125550123",
        "1680",
    ),
    *("٤١١١", "\u212a", "ſ", "é", "＋", "＃", "€", "$", "%", "x", "ext", "anexo 5", "доб 3"),
    *(
        "phone",
        "call",
        "cell",
        "card",
        "Visa",
        "ssn",
        "tax",
        "ip",
        "IBAN",
        "wallet",
        "the",
        "of",
        "number",
        "mac",
    ),
]
GAPS = ["", " ", "  ", "\n", "\t", "\u00a0", "-", ".", ",", "/", "(", ")", ":", "=", "_", "<", ">", "\u2013"]


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.sampled_from(VALUES) | st.sampled_from(GAPS) | st.text(max_size=4), max_size=24).map("".join)
)
def test_fast_scan_equals_presidio_on_anything(text: str) -> None:
    kinds = DEFAULT.kinds
    assert fast(text, kinds) == plain(text, kinds)


def test_a_context_word_counts_as_a_whole_word_only() -> None:
    assert plain("driver license: H12234567", ("US_DRIVER_LICENSE",))
    assert not plain("a public duplicate H12234567", ("US_DRIVER_LICENSE",))


# --- overlaps and edits ---

SPANS = st.lists(
    st.builds(
        lambda start, length, kind, score: Span(start, start + length, kind, score),
        st.integers(0, 30),
        st.integers(1, 12),
        st.sampled_from("ABC"),
        st.sampled_from([0.4, 0.6, 1.0]),
    ),
    max_size=8,
)


@settings(max_examples=300)
@given(SPANS, st.randoms())
def test_overlaps_are_settled_as_the_slow_twin_does_in_any_order(
    spans: list[Span], rng: random.Random
) -> None:
    settled = resolve(spans)
    assert settled == reference.resolve(spans)
    rng.shuffle(spans)
    assert resolve(spans) == settled
    covered = [character for span in settled for character in range(span.start, span.end)]
    assert covered == sorted({c for span in spans for c in range(span.start, span.end)})


def test_of_two_that_overlap_the_surer_names_the_place_and_nothing_is_left() -> None:
    phone, card = Span(0, 12, "PHONE_NUMBER", 0.6), Span(5, 20, "CREDIT_CARD", 1.0)
    assert resolve([phone, card]) == [Span(0, 20, "CREDIT_CARD", 1.0)]
    assert resolve([Span(0, 4, "B", 0.6), Span(0, 4, "A", 0.6)]) == [Span(0, 4, "A", 0.6)]
    assert resolve([Span(0, 4, "B", 0.6), Span(0, 6, "A", 0.6)]) == [Span(0, 6, "A", 0.6)]


@given(st.text(max_size=40), SPANS, st.sampled_from(["", "<X>", "\U0001f600" * 3]))
def test_edits_count_characters_and_can_be_traced_back(text: str, spans: list[Span], new: str) -> None:
    text = text.ljust(42)
    edits = [Edit(span.start, span.end, new) for span in resolve(spans)]
    edited = replace(text, edits)
    assert len(edited) == len(text) + sum(len(new) - (e.end - e.start) for e in edits)
    outside = [i for i in range(len(text)) if not any(e.start <= i < e.end for e in edits)]
    kept = [i for i in range(len(edited)) if edited[i] != new[:1]]
    for place in kept if new else ():
        [back] = trace_back([Span(place, place + 1, "A", 1.0)], edits)
        assert (back.start in outside and text[back.start] == edited[place]) or any(
            e[:2] == (back.start, back.end) for e in edits
        )


def test_edits_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        replace("abcdef", [Edit(0, 3, ""), Edit(2, 4, "")])


# --- operators ---


def test_replace_puts_the_kind_in_place_of_the_value() -> None:
    verdict = judge(documents(f"Write to {MAIL} or pay with {CARD}.", "nothing here"))
    assert texts(verdict.edited) == ["Write to <EMAIL_ADDRESS> or pay with <CREDIT_CARD>.", "nothing here"]
    assert verdict.action.to_pylist() == ["edit", "keep"]


def test_mask_keeps_the_length() -> None:
    verdict = judge(documents(f"Write to {MAIL}."), operator="mask")
    assert texts(verdict.edited) == [f"Write to {'*' * len(MAIL)}."]


def test_hash_is_the_same_for_the_same_value_however_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", KEY)
    written = ["JANE.DOE@example.com", MAIL, CARD, CARD.replace(" ", "-"), "john.doe@example.com"]
    verdict = judge(documents(*written), operator="hash", key_env="PII_KEY")
    first, second, card, dashed, other = texts(verdict.edited)
    assert first == second != other
    assert card == dashed
    assert first.startswith("<EMAIL_ADDRESS:")
    assert len(first) == len("<EMAIL_ADDRESS:>") + 16
    monkeypatch.setenv("PII_KEY", KEY[::-1])
    assert texts(judge(documents(MAIL), operator="hash", key_env="PII_KEY").edited) != [first]


def test_pseudonym_is_the_hmac_of_the_value() -> None:
    import hashlib
    import hmac

    message = b"EMAIL_ADDRESS\0jane.doe@example.com\0"
    candidates = [hmac.new(b"k", message + b"%d" % n, hashlib.sha256).hexdigest()[:16] for n in range(20)]
    assert pii.pseudonym(b"k", "EMAIL_ADDRESS", "Jane.Doe@Example.com") in candidates


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=12))
def test_a_pseudonym_is_never_taken_for_personal_data(value: str) -> None:
    placed = f"phone card ssn <CREDIT_CARD:{pii.pseudonym(b'k' * 16, 'CREDIT_CARD', value)}>"
    assert pii.scan(placed, DEFAULT.kinds) == []


def test_kinds_may_have_operators_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", KEY)
    operators = {"EMAIL_ADDRESS": "hash", "CREDIT_CARD": "mask"}
    verdict = judge(documents(f"{MAIL} / {CARD} / 203.0.113.77"), operators=operators, key_env="PII_KEY")
    hashed, masked, replaced = texts(verdict.edited)[0].split(" / ")
    assert hashed.startswith("<EMAIL_ADDRESS:")
    assert (masked, replaced) == ("*" * len(CARD), "<IP_ADDRESS>")


# --- idempotence ---


@pytest.mark.parametrize("operator", ["replace", "mask", "hash"])
def test_a_second_run_finds_nothing(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", KEY)
    every = {"entities": EVERY_KIND, "operator": operator, "key_env": "PII_KEY"}
    batch = documents(*EXAMPLES, " ".join(EXAMPLES), "\n".join(EXAMPLES))
    first = judge(batch, **every)
    second = judge(documents(*texts(first.edited)), **every)
    assert second.action.to_pylist() == ["keep"] * batch.num_rows


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(VALUES) | st.sampled_from(GAPS) | st.text(max_size=3), max_size=16).map("".join),
    st.sampled_from(["replace", "mask"]),
)
def test_scrubbing_anything_twice_is_scrubbing_it_once(text: str, operator: str) -> None:
    stage = Pii(Pii.Options(operator=operator))
    spans, edited = stage.scrub(text)
    assert stage.scrub(edited) == ([], edited)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(0 <= span.start < span.end <= len(text) for span in spans)


def test_what_an_edit_uncovers_is_edited_too() -> None:
    # While two more digits follow it, the hardware address might be part of a longer key.
    text = f"\U0001f600 00:00:5E:00:53:AF-{CARD} and {MAIL}"
    first = pii.scan(text, DEFAULT.kinds)
    assert [span.type for span in first] == ["CREDIT_CARD", "EMAIL_ADDRESS"]
    spans, edited = DEFAULT.scrub(text)
    assert edited == "\U0001f600 <MAC_ADDRESS>-<CREDIT_CARD> and <EMAIL_ADDRESS>"
    assert [text[span.start : span.end] for span in spans] == ["00:00:5E:00:53:AF", CARD, MAIL]


def test_editing_that_never_settles_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pii, "scan", lambda text, kinds: [Span(0, 1, "EMAIL_ADDRESS", 1.0)])
    verdict = judge(documents("abc"))
    assert verdict.reason.to_pylist() == ["pii/unscanned"]
    assert evidence(verdict) == {"error": "UnsettledError"}


# --- decisions, evidence, facts ---


def test_one_decision_per_kind_with_places_and_never_the_value() -> None:
    talk = ["Hi, I am \U0001f600 " + MAIL, "Noted.", f"{CARD}, and also {MAIL}"]
    verdict = judge(conversations(talk))
    assert verdict.reason.to_pylist() == ["pii/CREDIT_CARD"]
    [mail] = verdict.also
    assert (mail.action, mail.reason, mail.score) == ("edit", "pii/EMAIL_ADDRESS", 1.0)
    assert mail.evidence is not None
    places = [
        (p["turn"], p["start"], p["end"]) for p in (*evidence(verdict)["spans"], *mail.evidence["spans"])
    ]
    assert [talk[turn][start:end] for turn, start, end in places] == [CARD, MAIL, MAIL]
    assert facts(verdict) == [[{"type": "CREDIT_CARD", "count": 1}, {"type": "EMAIL_ADDRESS", "count": 2}]]
    written = f"{verdict.evidence.to_pylist()} {verdict.also}"
    assert "jane" not in written
    assert "4111" not in written


def test_only_turns_that_hold_something_change() -> None:
    batch = conversations(["my mail?", f"It is {MAIL}.", "thanks", None], [])
    verdict = judge(batch)
    new = texts(verdict.edited)
    assert [turn["content"] for turn in new[0]] == ["my mail?", "It is <EMAIL_ADDRESS>.", "thanks", None]
    assert [turn["role"] for turn in new[0]] == ["user", "assistant", "user", "assistant"]
    assert new[1] == []


@pytest.mark.parametrize("action", ["flag", "quarantine", "drop"])
def test_other_actions_leave_the_content_alone(action: str) -> None:
    verdict = judge(documents(f"{MAIL} {CARD}", "clean"), action=action)
    assert verdict.action.to_pylist() == [action, "keep"]
    assert verdict.reason.to_pylist()[0] == "pii/CREDIT_CARD"
    assert verdict.edited is None


def test_facts_are_typed_when_nothing_is_found_or_there_is_nothing() -> None:
    for batch in (documents(), conversations(), documents("clean"), documents(None)):
        verdict = judge(batch)
        assert verdict.facts is not None
        assert verdict.facts.schema == pa.schema([("pii", pii.COUNTS)])
        assert verdict.edited is None


def test_same_answer_for_any_order_and_batch_size() -> None:
    whole = judge(documents(*EXAMPLES))
    order = random.Random(3).sample(range(len(EXAMPLES)), len(EXAMPLES))
    mixed = judge(documents(*(EXAMPLES[i] for i in order)))
    for name in ("action", "reason", "score", "evidence"):
        column = getattr(whole, name).to_pylist()
        assert getattr(mixed, name).to_pylist() == [column[i] for i in order]
    single = [judge(documents(text)) for text in EXAMPLES]
    assert [verdict.evidence[0].as_py() for verdict in single] == whole.evidence.to_pylist()


def test_known_lookalikes_are_left_alone() -> None:
    text = "pip install foo@1.2.3; git clone git@github.com:a/b.git; see section 3.2.1.1.5 or 10.0.0.1"
    assert judge(documents(text)).action.to_pylist() == ["keep"]


# --- a text that cannot be read ---


def test_a_time_out_is_quarantined_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    import presidio_analyzer.pattern_recognizer as presidio

    judge(documents(MAIL))  # the scanner is there
    monkeypatch.setattr(presidio, "REGEX_TIMEOUT_SECONDS", 0.02)
    logging.disable(logging.CRITICAL)  # an application may have switched presidio's warning off
    try:
        verdict = judge(documents("a." * 50_000 + "@x", f"write to {MAIL}"))
    finally:
        logging.disable(logging.NOTSET)
    assert verdict.action.to_pylist() == ["quarantine", "edit"]
    assert verdict.reason.to_pylist() == ["pii/unscanned", "pii/EMAIL_ADDRESS"]
    assert evidence(verdict) == {"error": "RegexTimeoutError"}
    assert facts(verdict)[0] is None
    assert texts(verdict.edited)[0].startswith("a.a.")


def test_whatever_goes_wrong_in_the_analyzer_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str, kinds: tuple[str, ...]) -> list[Span]:
        raise KeyError(text)

    monkeypatch.setattr(pii, "scan", fail)
    verdict = judge(conversations(["secret", "text"]))
    assert verdict.reason.to_pylist() == ["pii/unscanned"]
    assert evidence(verdict) == {"error": "KeyError"}


def test_a_lone_surrogate_is_no_text_and_cannot_get_past() -> None:
    text = f"\ud800 {MAIL}"
    assert [span.type for span in pii.scan(text, DEFAULT.kinds)] == ["EMAIL_ADDRESS"]


def test_record_text_stays_out_of_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        judge(documents("IBAN \u0661\u0661 DE8937040044053201300\u0663", f"{MAIL} {CARD} call 2125550123"))
    for line in caplog.text.splitlines():
        assert not any(value in line for value in ("DE89", "jane", "4111", "2125550123"))


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entities": ["EMAIL"]}, "'EMAIL' is no kind of personal data"),
        ({"entities": ["EMAIL_ADRESS"]}, "did you mean 'EMAIL_ADDRESS'?"),
        ({"entities": []}, "at least 1"),
        ({"countries": ["xx"]}, "'xx' is no country with rules; known: au, ca,"),
        ({"operators": {"URL": "mask"}}, "'URL' is no kind that is looked for"),
        ({"operator": "encrypt"}, "'replace', 'mask' or 'hash'"),
        ({"operator": "hash"}, "set key_env"),
        ({"operators": {"EMAIL_ADDRESS": "hash"}}, "set key_env"),
    ],
)
def test_wrong_options_are_errors_that_help(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Pii.Options(**options)
    assert message in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("value", "message"), [(None, "is not set"), ("short", "holds fewer than 16 characters")]
)
def test_a_missing_key_is_an_error_before_anything_is_read(
    value: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PII_KEY", raising=False)
    if value:
        monkeypatch.setenv("PII_KEY", value)
    with pytest.raises(RecipeError, match=f"PII_KEY {message}") as caught:
        Pii(Pii.Options(operator="hash", key_env="PII_KEY"))
    assert "short" not in str(caught.value)


def test_the_stage_survives_pickling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", KEY)
    stage = Pii(Pii.Options(operator="hash", key_env="PII_KEY"))
    again = pickle.loads(pickle.dumps(stage))
    assert texts(again.judge(documents(MAIL)).edited) == texts(stage.judge(documents(MAIL)).edited)


# --- what it costs to have it ---


def test_importing_the_stage_loads_neither_presidio_nor_spacy() -> None:
    script = "import sys, curate.stages.pii; print({'presidio_analyzer', 'spacy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_scanning_needs_no_network_and_says_nothing() -> None:
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('the network was asked for')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from curate.stages.pii import Pii\n"
        f"print(Pii(Pii.Options()).scrub({MAIL!r})[1])\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "<EMAIL_ADDRESS>\n", "")


# --- real data ---


def read(path: Path, every: int) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        return [orjson.loads(line) for line in itertools.islice(lines, 0, None, every)]


def test_precision_and_recall_on_labelled_text(real_data: Path) -> None:
    records = read(real_data / "pii" / "presidio_synth_v2.jsonl.zst", every=2)
    wanted = {"CREDIT_CARD": (0.99, 0.95), "EMAIL_ADDRESS": (0.99, 0.99), "IBAN_CODE": (0.99, 0.85)}
    wanted |= {"IP_ADDRESS": (0.99, 0.99), "PHONE_NUMBER": (0.9, 0.7), "US_SSN": (0.99, 0.99)}
    for name, (precision, recall) in wanted.items():
        right = found = labelled = 0
        for record in records:
            places = {(s["start"], s["end"]) for s in record["spans"] if s["label"] == name}
            spans = [span for span in DEFAULT.scrub(record["text"])[0] if span.type == name]
            right += sum(any(a < span.end and span.start < b for a, b in places) for span in spans)
            found += len(spans)
            labelled += len(places)
        assert right >= precision * found, name
        assert right >= recall * labelled, name


def test_fast_scan_equals_presidio_on_real_text(real_data: Path) -> None:
    files = [
        "pii/nannigalaxy",
        "instruct/gsm8k_train",
        "instruct/gpteacher_codegen",
        "instruct/pubmedqa_pqal",
    ]
    kinds = DEFAULT.kinds
    for name in files:
        path = real_data / f"{name}.jsonl.zst"
        for record in read(path, every=5 if name.startswith("pii") else 150):
            text = record.get("text") or f"{record['instruction']}\n{record['output']}"
            assert fast(text, kinds) == plain(text, kinds)


def test_arithmetic_is_not_personal_data(real_data: Path) -> None:
    records = read(real_data / "instruct" / "gsm8k_train.jsonl.zst", every=4)
    hits = [record for record in records if DEFAULT.scrub(record["output"])[0]]
    assert len(hits) <= len(records) // 1000


def test_another_key_is_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\n"
    text += "stages: [{pii: {operator: hash, key_env: PII_KEY}}]\n"
    (tmp_path / "curate.yaml").write_text(text)
    (tmp_path / "a.jsonl").write_text('{"text": "write to jane@example.com"}\n')
    recipe = tmp_path / "curate.yaml"
    monkeypatch.setenv("PII_KEY", "k" * 32)
    first = curate.run(recipe, workers=1)
    assert curate.run(recipe, workers=1).reused
    monkeypatch.setenv("PII_KEY", "l" * 32)
    second = curate.run(recipe, workers=1)
    assert not second.reused
    assert first.manifest["recipe_sha256"] != second.manifest["recipe_sha256"]
    assert "k" * 32 not in (second.path / "manifest.json").read_text()
    monkeypatch.delenv("PII_KEY")
    with pytest.raises(RecipeError, match="the environment variable PII_KEY is not set"):
        curate.run(recipe, workers=1)
