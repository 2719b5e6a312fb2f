"""What the pii stage finds, what it leaves alone, what it says of it, and what it may be asked for."""

from __future__ import annotations

import io
import itertools
import json
import logging
import pickle
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import contents
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from pydantic import ValidationError

import curate
from curate import ledger, rules
from curate.demo import starter
from curate.errors import RecipeError
from curate.kernels.spans import Span
from curate.record import MESSAGES, Batch
from curate.stage import Verdict
from curate.stages import pii
from curate.stages.finders import windows
from curate.stages.finders.sweep import settled
from curate.stages.pii import Pii
from curate.stages.scrubbing.search import Ours

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
    assert set(Pii.Options(countries=(), secrets=False).kinds()) == everywhere
    everywhere |= {rule.id for rule in rules.load("secrets").rules}
    assert set(Pii.Options(countries=()).kinds()) == everywhere
    assert {"US_SSN", "US_ITIN"} <= set(Pii.Options().kinds()) - everywhere
    spanish = set(Pii.Options(countries=("es",)).kinds()) - everywhere
    assert {"ES_NIF", "ES_NIE"} <= spanish
    assert {PACK.rule(kind).data["country"] for kind in spanish} == {"es"}
    assert Pii.Options(entities=("UK_NHS",)).kinds() == ("UK_NHS",)


# --- the fast way and presidio's own ---


def fast(text: str, kinds: tuple[str, ...]) -> Any:
    [found] = ours(kinds).sweep.over(pa.array([text], pa.string()))
    assert not isinstance(found, Exception)
    return [span._replace(recognizer="") for span in settled(found)]


def plain(text: str, kinds: tuple[str, ...]) -> list[Span]:
    """Return what presidio's own engine makes of the same recognizers."""
    results = engine(kinds).analyze(text, "en")
    return sorted(Span(r.start, r.end, r.entity_type, r.score) for r in results)


@cache
def ours(kinds: tuple[str, ...]) -> Ours:
    return Ours({kind: PACK.rule(kind).data["threshold"] for kind in kinds})


@cache
def engine(kinds: tuple[str, ...]) -> Any:
    sweep = ours(kinds).sweep
    recognizers = RecognizerRegistry(ours(kinds).recognizers)
    return AnalyzerEngine(recognizers, sweep.words, context_aware_enhancer=sweep.enhancer)


def test_our_rules_find_what_presidio_finds_with_them_in_every_example() -> None:
    joined = ["\n".join(EXAMPLES), " ".join(reversed(EXAMPLES))]
    for text in [*EXAMPLES[::4], *joined]:
        assert fast(text, EVERY_KIND) == plain(text, EVERY_KIND)


def test_a_context_word_counts_as_a_whole_word_only() -> None:
    assert plain("driver license: H12234567", ("US_DRIVER_LICENSE",))
    assert not plain("a public duplicate H12234567", ("US_DRIVER_LICENSE",))


# --- decisions, evidence, facts ---


def test_one_decision_per_kind_with_places_and_never_the_value() -> None:
    talk = ["Hi, I am \U0001f600 " + MAIL, "Noted.", f"{CARD}, and also {MAIL}"]
    verdict = judge(conversations(talk))
    assert verdict.reason.to_pylist() == ["pii/CREDIT_CARD"]
    [mail] = verdict.also
    assert (mail.action, mail.reason, mail.score) == ("edit", "pii/EMAIL_ADDRESS", 1.0)
    assert {place["recognizer"] for place in evidence(verdict)["spans"]} == {"Own CREDIT_CARD"}
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
    search = windows.PatternSearch.search

    def slow(self: Any, text: str, places: Any) -> Any:
        if "slow" in text:
            raise TimeoutError
        return search(self, text, places)

    monkeypatch.setattr(windows.PatternSearch, "search", slow)
    verdict = judge(documents(f"slow {MAIL}", f"write to {MAIL}"))
    assert verdict.action.to_pylist() == ["quarantine", "edit"]
    assert verdict.reason.to_pylist() == ["pii/unscanned", "pii/EMAIL_ADDRESS"]
    assert evidence(verdict) == {"error": "RegexTimeoutError"}
    assert facts(verdict)[0] is None
    assert texts(verdict.edited)[0] == f"slow {MAIL}"


def test_whatever_goes_wrong_in_a_finder_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def find(self, texts: pa.Array, offsets: Sequence[int]) -> list[Any]:
            return [KeyError(text) if text == "secret" else [] for text in texts.to_pylist()]

    monkeypatch.setattr(pii, "search", lambda plan: Fails())
    verdict = judge(conversations(["secret", "text"], ["text"]))
    assert verdict.reason.to_pylist() == ["pii/unscanned", None]
    assert evidence(verdict) == {"error": "KeyError"}
    assert facts(verdict) == [None, []]


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
        ({"entities": ["PERSON"]}, "PERSON is a name, and names: 'off' finds none"),
        ({"entities": ["NRP"], "names": "gazetteer"}, "NRP is a name, and names: 'gazetteer' finds none"),
        (
            {"entities": ["EMAIL_ADDRESS"], "names": "gazetteer"},
            "asked for, and entities lists no kind of name",
        ),
        ({"countries": ["xx"]}, "'xx' is no country with rules; known: au, ca,"),
        ({"countries": ["xx"], "engine": "presidio"}, "presidio has no recognizers for xx; it has: "),
        ({"operators": {"URL": "mask"}}, "'URL' is no kind that is looked for"),
        ({"thresholds": {"URL": 0.5}}, "'URL' is no kind that is looked for"),
        ({"thresholds": {"IP_ADDRESS": 2}}, "found 2.0 for IP_ADDRESS; allowed: 0 to 1"),
        ({"threshold": 0.4}, "threshold is for engine presidio"),
        ({"whole_word": False}, "whole_word is for engine presidio"),
        ({"operator": "drop"}, "'surrogate' or 'encrypt'"),
        ({"operators": {"IP_ADDRESS": "redact"}}, "'drop' or 'keep'"),
        ({"operator": "hash"}, "set key_env"),
        ({"operators": {"EMAIL_ADDRESS": "encrypt"}}, "operator encrypt needs a secret key: set key_env"),
        ({"operator": "hash", "key_env": "A", "key_file": "b"}, "found key_env and key_file"),
        ({"names": {"spacy": "a", "gliner": "b"}}, "found 2 models; allowed: off, gazetteer, or one model"),
        ({"names": {"spacy": "no_such_model"}}, "names: spaCy pipeline 'no_such_model'"),
    ],
)
def test_wrong_options_are_errors_that_help(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Pii.Options(**options)
    assert message in " ".join(error["msg"] for error in caught.value.errors())


def test_thresholds_may_be_moved_kind_by_kind() -> None:
    phone, name = documents("write or call (212) 736-5000"), documents("I saw Aaron yesterday.")
    assert judge(phone).action.to_pylist() == ["edit"]
    assert judge(phone, thresholds={"PHONE_NUMBER": 0.99}).action.to_pylist() == ["keep"]
    assert judge(name, names="gazetteer").action.to_pylist() == ["keep"]
    lower = judge(name, names="gazetteer", thresholds={"PERSON": 0.4})
    assert texts(lower.edited) == ["I saw <PERSON> yesterday."]


def test_engine_presidio_finds_what_presidio_has_on_and_what_its_countries_add() -> None:
    text = "see https://example.org on 12/24/1999, NIE X9613851N"
    options = {"engine": "presidio"}
    assert texts(judge(documents(text), **options).edited) == ["see <URL> on <DATE_TIME>, NIE X9613851N"]
    with_spain = judge(documents(text), countries=("es",), **options)
    assert texts(with_spain.edited) == ["see <URL> on <DATE_TIME>, NIE <ES_NIE>"]
    public = "a public duplicate H12234567"
    assert judge(documents(public), **options).action.to_pylist() == ["keep"]
    half = judge(documents(public), whole_word=False, threshold=0.4, **options)
    assert [reason for reason in half.reason.to_pylist() if reason] == ["pii/US_DRIVER_LICENSE"]


def test_secrets_are_found_unless_not_wanted_and_names_where_they_are_asked_for() -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    text = f"Dear Dr. Grete Olsen, the token is {token}."
    assert judge(documents(text), secrets=False).action.to_pylist() == ["keep"]
    assert texts(judge(documents(text)).edited) == [text.replace(token, "<SECRET_GITHUB_TOKEN>")]
    both = judge(documents(text), names="gazetteer")
    assert texts(both.edited) == ["Dear Dr. <PERSON>, the token is <SECRET_GITHUB_TOKEN>."]
    assert "PERSON" in Pii.Options(names="gazetteer").kinds()
    assert "LOCATION" not in Pii.Options(names="gazetteer").kinds()


def test_a_name_found_in_one_turn_is_a_name_in_all() -> None:
    talk = ["I am Dr. Grete Olsen.", "Hello Olsen, how are you?"]
    verdict = judge(conversations(talk), names="gazetteer", operator="number")
    assert [turn["content"] for turn in texts(verdict.edited)[0]][1].startswith("Hello <PERSON_")


def test_the_manifest_says_what_was_searched_for_and_by_what() -> None:
    coverage = Pii.Options(names="gazetteer").coverage()
    assert coverage is not None
    searched = {entry["kind"]: entry for entry in coverage["searched"]}
    assert set(searched) == set(Pii.Options(names="gazetteer").kinds())
    assert searched["PERSON"]["by"].startswith("gazetteer rules/names.yaml")
    assert {"URL", "LOCATION", "postal addresses"} <= {entry["kind"] for entry in coverage["not_searched"]}


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


# --- the whole demo ---


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo corpus with a recipe of all its sources and of this stage alone."""
    folder: Path = tmp_path_factory.mktemp("demo")
    starter.init(folder)
    starting = (folder / "curate.yaml").read_text()
    head = starting[: starting.index("stages:")]
    (folder / "curate.yaml").write_text(head + "stages: [pii]\n")
    return folder


def test_what_the_demo_plants_is_found_and_a_second_run_over_the_release_edits_nothing(demo: Path) -> None:
    first = curate.run(demo / "curate.yaml", demo / "first", workers=2)
    planted, found = Counter[str](), Counter[str]()
    truth = [json.loads(line) for line in (demo / "truth.jsonl").read_text().splitlines()]
    told = {line["id"]: Counter(line["types"]) for line in truth if line["plant"] == "pii"}
    edits = {row[0]: row[1] or [] for row in records(first, "id, edits")}
    for record, kinds in told.items():
        planted += kinds
        found += kinds & Counter(
            {edit["reason"].removeprefix("pii/"): edit["count"] for edit in edits[record]}
        )
    assert planted.total() >= 150
    for kind, number in planted.items():
        assert found[kind] >= 0.98 * number, kind
    assert {record for record, made in edits.items() if made} == set(told)  # and nothing else is

    data = pq.read_table(first.path / "data")
    sources = []
    for kind, other in (("text", "messages"), ("messages", "text")):
        table = data.filter(pc.is_valid(data[kind])).drop_columns([other])
        pq.write_table(table, demo / f"{kind}.parquet")
        sources.append(f"{{name: {kind}, files: [{kind}.parquet], license: unknown}}")
    head = f"curate: 1\nname: again\nversion: '1'\nsources: [{', '.join(sources)}]\n"
    (demo / "again.yaml").write_text(f"{head}stages: [pii]\n")
    again = curate.run(demo / "again.yaml", demo / "again", workers=1)
    [counts] = [stage for stage in again.manifest["stages"] if stage["name"] == "pii"]
    assert counts["seen"] == first.manifest["counts"]["kept"] > 3000
    assert (counts["edited"], counts["flagged"], counts["quarantined"]) == (0, 0, 0)


def records(release: Any, columns: str) -> list[Any]:
    with ledger.connect(release.path) as db:
        return db.execute(f"SELECT {columns} FROM records").fetchall()


def test_the_same_bytes_whatever_the_batches_and_the_workers(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PII_KEY", KEY)
    operators = (
        "{EMAIL_ADDRESS: number, PHONE_NUMBER: surrogate, IP_ADDRESS: encrypt, IBAN_CODE: hash, US_SSN: drop}"
    )
    options = f"{{operator: mask, operators: {operators}, key_env: PII_KEY, names: gazetteer, secrets: true}}"
    recipe = demo / "operators.yaml"
    sources = "".join(f"  - manifest: manifests/sources/{name}.yaml\n" for name in ("articles", "support"))
    head = f"curate: 1\nname: operators\nversion: '1'\nsources:\n{sources}"
    recipe.write_text(f"{head}stages: [pii: {options}]\n")
    outs = [demo / f"out-{n}" for n in range(2)]
    for out, (workers, size) in zip(outs, [(1, 29), (2, None)], strict=True):
        curate.run(recipe, out, workers=workers, batch_size=size)
    assert contents(outs[0]) == contents(outs[1])
    for out in outs:
        shutil.rmtree(out)
