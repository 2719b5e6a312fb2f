"""The command line: exit codes, what goes to which stream, JSON, and help that names every command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

import curate
from curate import rules
from curate.cli import main


@pytest.fixture
def release(corpus: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["run", str(corpus / "curate.yaml"), "--workers", "1"]) == 0
    capsys.readouterr()
    return corpus / "release"


def test_run_ends_with_the_funnel_on_stdout_and_progress_on_stderr(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(corpus / "curate.yaml"), "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"minhash/near-duplicate +25$", out, re.MULTILINE)
    assert "353 seen = 279 kept + 51 dropped + 23 quarantined" in out
    assert "read → license → conversation → exact: sketch: 353 records in" in err
    assert "\x1b[" not in out + err  # no terminal, no colours


def test_run_as_json_prints_the_manifest_with_the_speed_of_each_stage(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(corpus / "curate.yaml"), "--workers", "1", "--json"]) == 0
    manifest = orjson.loads(capsys.readouterr().out)
    assert manifest["counts"]["seen"] == 353
    assert set(manifest["timing"]["stages"]) == {stage["name"] for stage in manifest["stages"]}
    assert manifest["timing"]["mb_per_second"] > 0


def test_explain_tells_a_duplicate_s_story(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(release), "docs/near-0"]) == 0
    out = capsys.readouterr().out
    for part in ("docs/near-0", "dropped", "minhash/near-duplicate", "docs/1", "removed/part-00000.parquet"):
        assert part in out
    assert main(["explain", str(release), "docs/near-0", "--json"]) == 0
    story = orjson.loads(capsys.readouterr().out)
    last = story["steps"][-1]
    assert last["kept_id"] == "docs/1"
    assert 0.7 <= last["score"] < 1
    assert main(["explain", str(release), "docs/1", "--json"]) == 0
    kept = orjson.loads(capsys.readouterr().out)
    assert kept["fate"] == "kept"
    assert kept["duplicates"] == ["docs/near-0"]
    assert list(dict.fromkeys(step["stage"] for step in kept["steps"])) == [
        "read",
        "license",
        "conversation",
        "exact",
        "minhash",
        "shout",
    ]


def test_explain_of_an_unknown_id_names_the_nearest(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(release), "docs/neer-0"]) == 2
    assert "no record has the id 'docs/neer-0'; did you mean 'docs/near-0'?" in capsys.readouterr().err


def test_explain_of_a_line_that_was_no_record(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(release), "docs/b/126", "--json"]) == 0
    story = orjson.loads(capsys.readouterr().out)
    assert story["fate"] == "quarantined"
    assert story["steps"][0]["reason"] == "read/not-json"
    assert story["places"][0]["read_from"] == "docs/b.jsonl#126"


def test_diff_shows_what_a_changed_threshold_did(
    corpus: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = corpus / "curate.yaml"
    recipe.write_text(recipe.read_text().replace("similarity: 0.7", "similarity: 0.95"))
    curate.run(recipe, corpus / "other", workers=1)
    capsys.readouterr()
    assert main(["diff", str(release), str(corpus / "other"), "--json"]) == 0
    found = orjson.loads(capsys.readouterr().out)
    assert found["recipe"] == ["stages.minhash.options.similarity"]
    assert {"name": "minhash/near-duplicate", "a": 25, "b": 0, "change": -25} in found["reasons"]
    assert found["fates"] == [{"a": "minhash/near-duplicate", "b": "kept", "changed": "", "records": 25}]
    assert main(["diff", str(release), str(corpus / "other")]) == 0
    assert "stages.minhash.options.similarity" in capsys.readouterr().out
    assert main(["diff", str(release), str(release)]) == 0
    assert capsys.readouterr().out.strip() == "no difference"


def test_datasheet_is_rendered_again_byte_for_byte(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (release / "datasheet.md").read_bytes()
    (release / "datasheet.md").unlink()
    assert main(["datasheet", str(release)]) == 0
    assert (release / "datasheet.md").read_bytes() == before


def test_datasheet_refuses_a_manifest_that_was_changed(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = orjson.loads((release / "manifest.json").read_bytes())
    manifest["counts"]["kept"] += 1
    (release / "manifest.json").write_bytes(orjson.dumps(manifest))
    assert main(["datasheet", str(release)]) == 1
    assert "was changed after the run" in capsys.readouterr().err


def test_dry_run_prints_plan_curve_and_memory(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(corpus / "curate.yaml"), "--dry-run", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    for part in ("exact: sketch", "chance", "memory: budget", "nothing was written"):
        assert part in out
    assert not (corpus / "release").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "none.yaml"], 2, "none.yaml: no such file"),
        (["run", "--wrokers", "2"], 2, "--wrokers"),
        (["flow"], 2, "flow"),
        (["run", "curate.yaml", "--workers", "0"], 2, "--workers 0: at least 1"),
        (["run", "curate.yaml", "--engine", "spark"], 2, "--engine spark: allowed: local, ray"),
        (["run", "curate.yaml", "--memory", "lots"], 2, "'lots' is not a size"),
        (["run", "curate.yaml", "--out", "docs/a.jsonl"], 2, "is a file; name a folder"),
        (["run", "lost.yaml"], 3, "lost.jsonl"),
        (["explain", "docs", "docs/1"], 2, "docs: not a release, it has no manifest.json"),
        (["diff", "docs", "docs"], 2, "not a release"),
        (["datasheet", "docs"], 2, "not a release"),
    ],
)
def test_exit_codes_and_one_clear_error(
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(corpus)
    (corpus / "lost.yaml").write_text(
        (corpus / "curate.yaml").read_text().replace("docs/a.jsonl", "lost.jsonl")
    )
    assert main(arguments) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_missed_gate_and_a_failing_rule_make_exit_code_1(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (corpus / "curate.yaml").open("a") as file:
        file.write("gates: {max_source_loss: 0.1, max_unanswered: 3}\n")
    for _ in range(2):  # made, and found made
        assert main(["run", str(corpus / "curate.yaml"), "--workers", "1"]) == 1
        assert "gate missed: max_source_loss" in capsys.readouterr().out
    datasheet = (corpus / "release" / "datasheet.md").read_text()
    assert "gate `max_unanswered` **missed**: 16 (limit 3)" in datasheet
    monkeypatch.setattr(rules, "check", lambda pack: [f"{pack.name}: failed"])
    assert main(["rules", "test"]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_leaves_no_worker(corpus: Path, number: signal.Signals) -> None:
    slow = "  - toys:Slow\n"
    (corpus / "curate.yaml").write_text((corpus / "curate.yaml").read_text() + slow)
    path = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {path!r}); from curate.cli import entry; entry()"
    command = [sys.executable, "-c", code, "run", str(corpus / "curate.yaml"), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    marker = corpus / "slow"
    for _ in range(600):
        if marker.exists():
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what is finished is kept" in err
    worker = int(marker.read_text())
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


def test_rules_test_runs_every_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:  # test_rules.py runs all packs
        patched.setattr(rules, "names", lambda: ("conversation", "licenses"))
        assert main(["rules", "test"]) == 0
    out = capsys.readouterr().out
    assert "conversation: " in out
    assert "licenses: " in out
    assert main(["rules", "list", "--json"]) == 0
    packs = orjson.loads(capsys.readouterr().out)
    assert {"conversation", "languages", "licenses", "pii"} <= {pack["pack"] for pack in packs}


def test_schema_prints_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert orjson.loads(capsys.readouterr().out)["properties"]["curate"]["const"] == 1


def test_every_command_is_a_function_of_the_package() -> None:
    from typer.main import get_command

    from curate.cli import app

    commands = set(get_command(app).commands) - {"rules"}  # type: ignore[attr-defined]
    assert commands <= set(curate.__all__)
    assert sorted(curate.__all__) == curate.__all__
    for name in curate.__all__:
        assert callable(getattr(curate, name))


def test_help_needs_no_heavy_library() -> None:
    heavy = "pyarrow polars numba duckdb presidio_analyzer spacy langdetect datasketch torch pandas"
    code = f"import sys, curate.cli; sys.exit(any(m in sys.modules for m in {heavy.split()}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
