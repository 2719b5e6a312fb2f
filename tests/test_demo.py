"""The demo: its corpus holds exactly what its truth says, and the score counts as a person would."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import zstandard
from rich.console import Console

from curate import load, show
from curate.demo import corpus, starter, sums
from curate.demo.__main__ import main
from curate.demo.grammar import Draw, bank
from curate.demo.score import Score, score, table
from curate.errors import InputError, IntegrityError, RecipeError

Parts = tuple[str, str]  # prompt, response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("demo")
    starter.init(folder)
    return folder


@pytest.fixture(scope="module")
def truth(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def columns(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every readable record by id, with its columns as they stand in the file."""
    data = folder / "data"
    handbook = [*_jsonl((data / "handbook" / "handbook.jsonl").read_bytes())]
    handbook += _jsonl((data / "handbook" / "late-additions.jsonl").read_bytes())
    sources = {
        "handbook": [row for row in handbook if not str(row["id"]).startswith("late-")],
        "support": _jsonl(gzip.decompress((data / "support" / "tickets.jsonl.gz").read_bytes())),
        "forum": _jsonl(
            zstandard.ZstdDecompressor().decompress((data / "forum" / "threads.jsonl.zst").read_bytes())
        ),
        "articles": pq.read_table(data / "articles" / "articles.parquet").to_pylist(),
        "norsk": _jsonl((data / "norsk" / "norsk.jsonl").read_bytes()),
        "web": list(csv.DictReader(io.StringIO((data / "web" / "pages.csv").read_text(encoding="utf-8")))),
    }
    key = {"forum": "uid", "web": "page"}
    return {f"{name}/{row[key.get(name, 'id')]}": row for name, rows in sources.items() for row in rows}


@pytest.fixture(scope="module")
def records(columns: dict[str, dict[str, Any]]) -> dict[str, Parts]:
    return {record: _parts(row) for record, row in columns.items()}


def _jsonl(data: bytes) -> list[dict[str, Any]]:
    rows = []
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows += [row] if isinstance(row, dict) else []
    return rows


def _parts(row: dict[str, Any]) -> Parts:
    if "text" in row:
        return "", row["text"]
    if "instruction" in row:
        return "\n\n".join(filter(None, (row["instruction"], row.get("input")))), row["output"]
    turns = _turns(row)
    prompt = "\n\n".join(text for role, text in turns if role != "assistant")
    return prompt, "\n\n".join(text for role, text in turns if role == "assistant")


def _turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (role, text) of a conversation in messages or ShareGPT turns, nothing for other rows."""
    if "messages" in row:
        return [(turn["role"], turn["content"]) for turn in row["messages"]]
    roles = {"human": "user", "gpt": "assistant"}
    return [(roles[turn["from"]], turn["value"]) for turn in row.get("turns", ())]


def _shingles(text: str, word: str = r"\w+") -> set[tuple[str, ...]]:
    words = re.findall(word, unicodedata.normalize("NFKC", text).casefold())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} if words else set()


def _jaccard(a: str, b: str, word: str = r"\w+") -> float:
    x, y = _shingles(a, word), _shingles(b, word)
    return len(x & y) / len(x | y) if x or y else 1.0


def _clusters(truth: list[dict[str, Any]], plant: str) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in truth:
        if line["plant"] == plant:
            found[line["cluster"]].append(line)
    return found


def _ids(truth: list[dict[str, Any]], plant: str) -> list[str]:
    return [line["id"] for line in truth if line["plant"] == plant]


def test_the_same_seed_gives_the_same_bytes_in_another_process_with_another_hash_seed(
    folder: Path, tmp_path: Path
) -> None:
    program = "import sys, pathlib; from curate.demo.corpus import write; write(pathlib.Path(sys.argv[1]))"
    again = {**os.environ, "PYTHONHASHSEED": "4711"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=again)
    for path in corpus.paths(folder):
        other = tmp_path / path.relative_to(folder)
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), path


def test_there_are_about_three_thousand_records_and_the_summary_counts_them(
    folder: Path, columns: dict[str, Any], truth: list[dict[str, Any]], tmp_path: Path
) -> None:
    summary = corpus.write(tmp_path, seed=8)
    assert 2_800 <= sum(summary.records.values()) <= 3_500
    assert set(summary.files) == {path for path in tmp_path.rglob("*") if path.is_file()}
    assert summary.plants["malformed"] == 12
    assert (tmp_path / "truth.jsonl").read_bytes() != (folder / "truth.jsonl").read_bytes()  # another seed
    counted = Counter(record.split("/")[0] for record in columns)
    assert all(counted[source] >= 250 for source in corpus.SOURCES)
    plants = Counter(line["plant"] for line in truth if not line.get("original"))
    least = {
        "exact-duplicate": 90,
        "near-duplicate": 90,
        "hard-negative": 120,
        "pii": 100,
        "wrong-language": 50,
        "empty": 20,
        "broken": 20,
        "malformed": 10,
        "unlicensed": 30,
        "noncommercial": 30,
    }
    assert plants.keys() == least.keys()
    assert all(plants[plant] >= count for plant, count in least.items())


def test_every_line_of_the_truth_names_a_record_and_no_record_twice(
    columns: dict[str, Any], truth: list[dict[str, Any]]
) -> None:
    readable = [line["id"] for line in truth if line["plant"] != "malformed"]
    assert set(readable) <= columns.keys()
    assert len(set(readable)) == len(readable)
    stages = {"exact", "minhash", "pii", "language", "conversation", "license", "read"}
    assert {line["stage"] for line in truth} == stages
    assert all(line["id"].startswith(f"{line['source']}/") for line in truth)


def test_malformed_lines_stand_where_the_truth_says_and_nowhere_else(
    folder: Path, truth: list[dict[str, Any]]
) -> None:
    told = {line["line"]: line for line in truth if line["plant"] == "malformed"}
    path = folder / next(iter(told.values()))["file"]
    assert all(line["id"] == f"handbook/{path.stem}/{number}" for number, line in told.items())
    kinds = set()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        kind = _kind(line)
        assert (kind == "complete") != (number in told), number
        kinds.add(kind)
    assert kinds == {"complete", "lacks a text", "not an object", "not JSON", "not UTF-8"}


def _kind(line: bytes) -> str:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError:
        return "not JSON"
    if not isinstance(row, dict):
        return "not an object"
    texts = isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str)
    return "complete" if texts else "lacks a text"


def test_near_duplicates_reach_the_threshold_in_prompt_and_response_and_are_not_equal(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    clusters = _clusters(truth, "near-duplicate")
    assert {len(lines) for lines in clusters.values()} == {2, 3, 4}
    for lines in clusters.values():
        assert sum(line.get("original", False) for line in lines) == 1
        for a, b in combinations([records[line["id"]] for line in lines], 2):
            pair = _jaccard(a[0], b[0]), _jaccard(a[1], b[1])
            with_symbols = [_jaccard(x, y, r"\w+|[^\w\s]") for x, y in zip(a[:2], b[:2], strict=True)]
            assert min(*pair, *with_symbols) >= 0.8
            assert min(pair) < 1


def test_exact_duplicates_differ_at_most_in_case_white_space_and_unicode_form(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    ways: Counter[str] = Counter()
    for lines in _clusters(truth, "exact-duplicate").values():
        assert sum(line.get("original", False) for line in lines) == 1
        a, *others = sorted(lines, key=lambda line: not line.get("original", False))
        one = "\n".join(records[a["id"]])
        for other in (("\n".join(records[b["id"]])) for b in others):
            forms = [unicodedata.normalize("NFKC", text).casefold().split() for text in (one, other)]
            assert forms[0] == forms[1]
            ways["equal"] += one == other
            ways["case"] += one != other and one.casefold() == other.casefold()
            ways["white space"] += one != other and one.split() == other.split()
            normal = [unicodedata.is_normalized("NFKC", text) for text in (one, other)]
            ways["Unicode form"] += normal == [True, False]
        ways["other source"] += len({line["source"] for line in lines}) > 1
    assert all(ways[way] >= 5 for way in ("equal", "case", "white space", "Unicode form", "other source"))


def test_hard_negatives_are_alike_in_one_part_and_below_the_threshold_in_another(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    clusters = _clusters(truth, "hard-negative")
    same_question = same_answer = 0
    for lines in clusters.values():
        assert len(lines) >= 2
        for a, b in combinations([records[line["id"]] for line in lines], 2):
            similar = [_jaccard(a[1], b[1]), *([_jaccard(a[0], b[0])] if a[0] else [])]
            assert max(similar) >= 0.5
            assert min(similar) <= 0.7
            same_question += a[0] == b[0] != ""
            same_answer += a[1] == b[1]
    assert same_question >= 10
    assert same_answer >= 10


def test_no_two_records_are_duplicates_but_those_that_the_truth_names(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    skipped = {*_ids(truth, "empty"), *_ids(truth, "broken")}  # removed before anyone compares them
    plants = ("exact-duplicate", "near-duplicate")
    family = {line["id"]: line["cluster"] for line in truth if line["plant"] in plants}
    responses = {record: _shingles(parts[1]) for record, parts in records.items() if record not in skipped}
    holding: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for record, shingles in responses.items():
        shared = Counter(other for shingle in shingles for other in holding[shingle])
        for other, common in shared.items():
            alike = common / (len(shingles) + len(responses[other]) - common)
            if alike >= 0.8 and _jaccard(records[record][0], records[other][0]) >= 0.8:
                assert family.get(record) == family.get(other, "none"), (record, other)
        for shingle in shingles:
            holding[shingle].append(record)


def test_licenses_are_missing_unknown_or_non_commercial_only_where_planted(
    columns: dict[str, dict[str, Any]], truth: list[dict[str, Any]]
) -> None:
    permitted = {"CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT", "Apache-2.0"}
    stated = {record: row.get("lic") for record, row in columns.items() if record.startswith("forum/")}
    odd = {record for record, license in stated.items() if license not in permitted}
    assert odd == {*_ids(truth, "unlicensed"), *_ids(truth, "noncommercial")}
    assert {stated[record] for record in _ids(truth, "noncommercial")} == {"CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"}
    assert {None, "other", "unknown"} <= {stated[record] for record in _ids(truth, "unlicensed")}
    rows = [columns[record] for record in _ids(truth, "unlicensed")]
    assert {("lic" in row) for row in rows if row.get("lic") is None} == {True, False}


PII = {
    "EMAIL_ADDRESS": r"[\w.]+@example\.(?:com|org|net)\b",
    "PHONE_NUMBER": r"(?:\(\d{3}\) |\d{3}-|\+1 \d{3} )555[- ]01\d\d",
    "CREDIT_CARD": r"(?<![A-Z]\d\d )\b[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{4}\b(?! \d\d)",
    "IBAN_CODE": r"\b[A-Z]{2}\d\d(?: [A-Z0-9]{1,4}){3,8}\b",
    "IP_ADDRESS": r"\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}\b",
    "US_SSN": r"\b9\d\d-[1-3]\d-\d{4}\b",
}


def test_personal_data_is_where_the_truth_says_in_reserved_ranges_and_nowhere_else(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    told = {line["id"]: line["types"] for line in truth if line["plant"] == "pii"}
    assert {entity for types in told.values() for entity in types} == PII.keys()
    for record, parts in records.items():
        text = "\n".join(parts)
        found = {entity: len([*re.finditer(pattern, text)]) for entity, pattern in PII.items()}
        assert {entity: count for entity, count in found.items() if count} == told.get(record, {}), record


def test_no_text_has_an_at_sign_or_nine_digits_in_a_row_but_for_planted_personal_data(
    records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    planted = set(_ids(truth, "pii"))
    clean = ["\n".join(parts) for record, parts in records.items() if record not in planted]
    assert not [text for text in clean if "@" in text or re.search(r"\d([ .-]?\d){8}", text)]


def test_card_and_account_numbers_of_the_bank_have_valid_check_digits() -> None:
    values = bank("pii")["values"]
    for card in values["card"]:
        digits = [int(digit) for digit in re.sub(r"\D", "", card)][::-1]
        assert sum(sum(divmod(d * (1 + i % 2), 10)) for i, d in enumerate(digits)) % 10 == 0, card
    for iban in values["iban"]:
        plain = iban.replace(" ", "")
        assert int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1, iban


def test_empty_and_broken_conversations_are_so(
    columns: dict[str, dict[str, Any]], records: dict[str, Parts], truth: list[dict[str, Any]]
) -> None:
    for record in _ids(truth, "empty"):
        if record.startswith("support/"):
            assert any(not turn["content"].strip() for turn in columns[record]["messages"])
        else:
            assert not records[record][1].strip() or not records[record][0].strip()
    assert any(record.startswith("articles/") for record in _ids(truth, "empty"))
    roles = {}
    for record, row in columns.items():
        if turns := _turns(row):
            names = [role for role, _ in turns]
            roles[record] = names[1:] if names[0] == "system" else names
    broken = {
        record
        for record, names in roles.items()
        if names != ["user", "assistant"] * (len(names) // 2) or not names
    }
    assert broken == set(_ids(truth, "broken"))
    # no answer at all, and two questions in a row
    assert {len(roles[record]) == 1 for record in broken} == {True, False}


def test_word_problems_are_worked_out_right() -> None:
    for seed in range(300):
        question, answer = sums.problem(Draw(seed, "sums"))
        equations = re.findall(r"([\d.]+(?: [+−×÷] [\d.]+)+) = ([\d.]+)", answer)
        assert equations, answer
        for left, right in equations:
            python = left.replace("−", "-").replace("×", "*").replace("÷", "/")
            assert eval(python) == pytest.approx(float(right.rstrip("."))), (question, answer)
            assert float(right.rstrip(".")) >= 0


def test_slots_and_alternatives_are_filled_and_values_are_no_templates() -> None:
    draw = Draw(1, "test")
    assert draw.fill("{a} [x|x] {b}", a="{b}", b="[y|z]") == "{b} x [y|z]"
    with pytest.raises(KeyError):
        draw.fill("{missing}")


def test_init_writes_a_recipe_that_loads_and_overwrites_nothing(folder: Path) -> None:
    from curate.recipe import load

    recipe = load(folder / "curate.yaml")
    assert [source.name for source in recipe.sources] == list(corpus.SOURCES)
    stages = ["profile", "license", "conversation", "exact", "minhash", "language", "pii"]
    assert [stage.name for stage in recipe.stages] == stages
    for source in recipe.sources:
        told = (source.title, source.description, source.creator, source.collected, source.terms)
        assert all(told)
        assert (source.license is None) == (source.name == "forum")
        assert all(any(recipe.folder.glob(pattern)) for pattern in source.files)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}
    with pytest.raises(RecipeError) as refused:
        starter.init(folder)
    written = [folder / "curate.yaml", *folder.glob("manifests/sources/*.yaml"), *corpus.paths(folder)]
    assert len(written) == 15
    assert all(str(path) in str(refused.value) for path in written)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_init_leaves_a_folder_alone_in_which_one_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text("mine")
    with pytest.raises(RecipeError, match=r"truth\.jsonl exists"):
        starter.init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["truth.jsonl"]
    assert (tmp_path / "truth.jsonl").read_text() == "mine"


def test_init_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RecipeError, match="file: cannot be written to: "):
        starter.init(tmp_path / "file")


STAGES = ["read", "license", "exact", "minhash", "language", "pii"]


def _release(folder: Path, rows: list[tuple[str, str, str, str]], truth: list[dict[str, Any]]) -> list[Score]:
    """Write a ledger of (id, stage, action, reason) and score it."""
    (folder / "ledger").mkdir(parents=True)
    names = ["id", "stage", "action", "reason"]
    half = len(rows) // 2
    for part, some in enumerate((rows[:half], rows[half:])):
        table = pl.DataFrame(some, schema=dict.fromkeys(names, pl.String), orient="row")
        table.write_parquet(folder / "ledger" / f"part-{part:05}.parquet")
    (folder / "manifest.json").write_text(json.dumps({"stages": [{"name": name} for name in STAGES]}))
    lines = "".join(json.dumps({"source": "s", **line}) + "\n" for line in truth)
    (folder / "truth.jsonl").write_text(lines)
    return score(folder, folder / "truth.jsonl")


def _line(record: str, plant: str, stage: str, **more: Any) -> dict[str, Any]:
    return {"id": record, "plant": plant, "stage": stage, **more}


def test_duplicates_are_judged_by_cluster_and_by_what_reached_the_stage(tmp_path: Path) -> None:
    truth = [
        *(_line(f"s/a{i}", "exact-duplicate", "exact", cluster="a") for i in range(3)),  # all but one found
        *(
            _line(f"s/b{i}", "exact-duplicate", "exact", cluster="b") for i in range(2)
        ),  # missed, minhash finds it
        *(_line(f"s/c{i}", "near-duplicate", "minhash", cluster="c") for i in range(2)),  # both lost
        *(_line(f"s/d{i}", "near-duplicate", "minhash", cluster="d") for i in range(2)),  # missed
        *(_line(f"s/e{i}", "near-duplicate", "minhash", cluster="e") for i in range(2)),  # one has no license
        *(_line(f"s/h{i}", "hard-negative", "minhash", cluster="h") for i in range(4)),
    ]
    rows = [
        ("s/a0", "exact", "drop", "exact/duplicate"),
        ("s/a2", "exact", "drop", "exact/duplicate"),
        ("s/x", "exact", "drop", "exact/duplicate"),
        ("s/b1", "minhash", "drop", "minhash/near-duplicate"),
        ("s/c0", "minhash", "drop", "minhash/near-duplicate"),
        ("s/c1", "minhash", "drop", "minhash/near-duplicate"),
        ("s/d0", "minhash", "flag", "minhash/large-cluster"),
        ("s/e1", "license", "quarantine", "license/unknown"),
        ("s/h3", "minhash", "drop", "minhash/near-duplicate"),
    ]
    scores = {(line.stage, line.what): line for line in _release(tmp_path, rows, truth)}
    exact = scores["exact", "exact duplicates"]
    assert (exact.planted, exact.found, exact.false) == (3, 2, 1)
    assert exact.precision == pytest.approx(2 / 3)
    assert exact.recall == pytest.approx(2 / 3)
    near = scores["minhash", "near duplicates"]  # there: b, c, d one each; the second of c and h3 are false
    assert (near.planted, near.found, near.false) == (3, 2, 2)
    hard = scores["minhash", "hard negatives kept"]
    assert (hard.planted, hard.found, hard.precision, hard.recall) == (4, 3, None, 0.75)


def test_other_stages_are_judged_by_record_and_pii_by_type(tmp_path: Path) -> None:
    truth = [
        _line("s/f/3", "malformed", "read"),
        _line("s/f/9", "malformed", "read"),
        _line("s/1", "wrong-language", "language"),
        _line("s/2", "wrong-language", "language"),
        _line("s/3", "wrong-language", "language"),
        _line("s/4", "pii", "pii", types={"EMAIL_ADDRESS": 1, "US_SSN": 1}),
        _line("s/5", "pii", "pii", types={"EMAIL_ADDRESS": 2}),
    ]
    rows = [
        ("s/f/3", "read", "quarantine", "read/not-json"),
        ("s/1", "language", "drop", "language/not-allowed"),
        ("s/3", "license", "drop", "license/non-commercial"),
        ("s/9", "language", "quarantine", "language/low-confidence"),
        ("s/4", "pii", "edit", "pii/EMAIL_ADDRESS"),
        ("s/5", "pii", "edit", "pii/EMAIL_ADDRESS"),
        ("s/5", "pii", "edit", "pii/EMAIL_ADDRESS"),
        ("s/5", "pii", "edit", "pii/PHONE_NUMBER"),
        ("s/6", "pii", "flag", "pii/US_SSN"),
    ]
    scores = _release(tmp_path, rows, truth)
    counts = {(line.stage, line.what): (line.planted, line.found, line.false) for line in scores}
    assert counts["read", "malformed"] == (2, 1, 0)
    assert counts["language", "wrong-language"] == (2, 1, 1)
    assert counts["pii", "personal data"] == (3, 2, 1)
    assert counts["pii", "EMAIL_ADDRESS"] == (2, 2, 0)
    assert counts["pii", "PHONE_NUMBER"] == (0, 0, 1)
    assert counts["pii", "US_SSN"] == (1, 0, 0)
    assert table(scores).row_count == len(scores)


def test_score_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.jsonl"):
        score(tmp_path, tmp_path / "truth.jsonl")
    (tmp_path / "truth.jsonl").write_text("")
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        score(tmp_path, tmp_path / "truth.jsonl")


@pytest.fixture(scope="module")
def release(folder: Path) -> Path:
    """Run the demo where the tests above have made its corpus."""
    assert main(["--no-tune", str(folder)]) == 0
    return folder / "release"


def test_the_whole_demo_finds_nearly_all_that_was_planted(release: Path, folder: Path) -> None:
    scores = score(release, folder / "truth.jsonl")
    assert {line.stage for line in scores} == {
        "read",
        "license",
        "conversation",
        "exact",
        "minhash",
        "language",
        "pii",
    }
    for line in scores:
        assert line.recall is not None, line
        assert line.recall >= 0.95, line
        assert line.precision is None or line.precision >= 0.95, line


def test_the_datasheet_tells_the_languages_before_and_after(release: Path) -> None:
    manifest = load(release).manifest
    stage = next(stage for stage in manifest["stages"] if stage["name"] == "language")
    languages = manifest["statistics"]["languages"]
    assert sum(row["before"] for row in languages) == stage["seen"]
    assert sum(row["after"] for row in languages) == manifest["counts"]["kept"]
    assert {row["language"] for row in languages if row["before"] and not row["after"]} >= {"de", "fr", "es"}


def test_the_datasheet_says_what_was_looked_for_and_where(release: Path) -> None:
    text = (release / "datasheet.md").read_text()
    assert "Kinds looked for: " in text
    assert "not a record's id, url, author or own columns" in text


README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_funnel_in_the_readme_is_the_demo_s(release: Path) -> None:
    shown = README.split("<!-- funnel:")[1].split("```text\n")[1].split("```")[0]
    screen = io.StringIO()
    Console(width=80, file=screen).print(show.funnel(load(release).manifest))
    assert [line.rstrip() for line in screen.getvalue().strip().splitlines()] == shown.strip().splitlines()


def test_the_record_that_the_readme_explains_is_a_near_duplicate_of_a_kept_one(release: Path) -> None:
    name = re.search(r"curate explain demo/release (\S+)", README)
    assert name is not None
    story = load(release).explain(name[1])
    assert (story.fate, story.steps[-1].reason) == ("dropped", "minhash/near-duplicate")
    assert load(release).explain(str(story.steps[-1].kept_id)).fate == "kept"


@pytest.mark.filterwarnings("ignore")  # of the libraries that datasets brings, not ours to mend
def test_hugging_face_datasets_loads_the_shards(release: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = sorted(str(path) for path in (release / "data").glob("*.parquet"))
    train = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert len(train) == load(release).manifest["counts"]["kept"]
    assert {"id", "source", "license", "language", "text", "messages"} <= set(train.column_names)
    talk = train.filter(lambda row: row["messages"] is not None)[0]["messages"]
    assert set(talk[0]) == {"role", "content"}


def test_the_demo_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err


NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def test_every_notebook_runs_on_the_demo_and_shows_its_pictures(release: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from curate.tuning.tiny import TinyRecipe, trained

    shutil.copytree(release.parent, tmp_path / "demo")
    base = trained(TinyRecipe().quick(), tmp_path / "bases")
    small = {
        "base": str(base),
        "arms": ["without_license"],
        "seeds": 2,
        "tokens": 6000,
        "heldout": 40,
        "second": False,
    }
    command = [sys.executable, str(NOTEBOOKS / "execute.py"), "--check", "--folder", str(tmp_path)]
    ran = subprocess.run(
        command, env={**os.environ, "CURATE_TUNE": json.dumps(small)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(ran.stdout.splitlines()) == len(list(NOTEBOOKS.glob("*.ipynb"))) == 4


def test_what_the_notebooks_hold_was_run_and_names_no_machine() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 3, path.name  # imports say nothing
        assert not re.search(r"(^|[^\w.])/(home|root|tmp|work|usr)/\w", path.read_text()), path.name
