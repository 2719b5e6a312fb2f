"""Personal data beside the turns: in calls of tools, in other keys of a turn, in the reply that lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate import record
from curate.record import MESSAGES, Batch
from curate.stages.pii import Pii

MAIL = "jane.doe@example.com"
PLAIN = Pii(Pii.Options(entities=["EMAIL_ADDRESS"]))
ASKED = [{"role": "user", "content": "Tell her."}, {"role": "assistant", "content": ""}]


def batch(extra: list[Any] | None, rejected: list[Any] | None = None, messages: Any = ASKED) -> Batch:
    told = None if extra is None else orjson.dumps(extra).decode()
    columns = {
        "id": pa.array(["s/1"]),
        "messages": pa.array([messages], MESSAGES),
        "messages_extra": pa.array([told], pa.string()),
        "rejected": pa.array([rejected], MESSAGES),
    }
    return pa.RecordBatch.from_pydict(columns)


def call(arguments: Any) -> list[Any]:
    function = {"name": "send_mail", "arguments": arguments}
    return [None, {"tool_calls": [{"id": "call_12345", "type": "function", "function": function}]}]


def scrubbed(one: Batch, stage: Pii = PLAIN) -> tuple[Any, Any]:
    """Return what stands beside the turns after the stage: keys of turns, rejected reply."""
    verdict = stage.judge(one)
    verdict.check("pii", one)
    assert verdict.beside is not None
    [extra], [rejected] = (verdict.beside[name].to_pylist() for name in ("messages_extra", "rejected"))
    return extra and orjson.loads(extra), rejected


def twin(value: Any) -> Any:
    """Take the address out of JSON, and of JSON text in its strings."""
    if isinstance(value, dict):
        return {twin(key): twin(one) for key, one in value.items()}
    if isinstance(value, list):
        return [twin(one) for one in value]
    if not isinstance(value, str):
        return value
    try:
        return ("text", twin(orjson.loads(value)))  # however it is spelled
    except orjson.JSONDecodeError:
        return value.replace(MAIL, "<EMAIL_ADDRESS>")


TEXTS = st.sampled_from(["Paris", f"to {MAIL} now", "", "[1] see", "{x", MAIL, 'ünï \\ "q"', '"', "12"])
NAMES = st.sampled_from(["to", "ccAddress", "text", MAIL, "a b"])
LEAVES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-9, 99999), st.floats(-1, 1))
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES, inner, max_size=3),
        inner.map(lambda one: orjson.dumps(one).decode()),
    ),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, NESTED, max_size=3), st.booleans())
@settings(deadline=None, max_examples=60)
def test_whatever_the_json_the_value_goes_and_nothing_else_changes(arguments: Any, as_text: bool) -> None:
    extra = call(orjson.dumps(arguments).decode() if as_text else arguments)
    one = batch(extra, [{"role": "assistant", "content": f"Ask {MAIL}."}])
    found, rejected = scrubbed(one)
    assert twin(found) == twin(extra)
    assert MAIL not in str(found)
    assert rejected == [{"role": "assistant", "content": "Ask <EMAIL_ADDRESS>."}]


def test_arguments_stay_json_text_in_their_own_style_and_two_keys_stay_two() -> None:
    text = '{"to": "' + MAIL + '", "more": {"' + MAIL + '": 1, "jane@test.com": 2}}'
    found, _ = scrubbed(batch(call(text)))
    assert found[1]["tool_calls"][0]["function"]["arguments"] == (
        '{"to": "<EMAIL_ADDRESS>", "more": {"<EMAIL_ADDRESS>": 1, "<EMAIL_ADDRESS>_": 2}}'
    )


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": "' + MAIL + '"}', '["\\ud800 ' + MAIL + '"]', "[" * 5000 + MAIL, '{"to": "' + MAIL],
)
def test_json_text_that_cannot_be_written_again_is_read_as_plain_text(text: str) -> None:
    found, _ = scrubbed(batch(call(text)))
    assert found[1]["tool_calls"][0]["function"]["arguments"] == text.replace(MAIL, "<EMAIL_ADDRESS>")


def test_a_value_goes_from_turns_calls_and_reply_alike_and_names_and_ids_of_calls_stay() -> None:
    talk = [
        {"role": "user", "content": "I am at (212) 736-5000."},
        ASKED[1],
        {"role": "tool", "content": "ok"},
    ]
    extra = [*call({"phone": 2127365000, "n": 12345}), {"name": "send_mail", "tool_call_id": "call_12345"}]
    one = batch(extra, [{"role": "assistant", "content": "212-736-5000?"}], talk)
    verdict = Pii(Pii.Options(operator="number")).judge(one)
    assert verdict.edited is not None
    assert verdict.beside is not None
    assert verdict.edited.to_pylist()[0][0]["content"] == "I am at <PHONE_NUMBER_1>."
    assert verdict.beside["rejected"].to_pylist()[0][0]["content"] == "<PHONE_NUMBER_1>?"
    extra[1]["tool_calls"][0]["function"]["arguments"]["phone"] = "<PHONE_NUMBER_1>"
    assert orjson.loads(verdict.beside["messages_extra"].to_pylist()[0]) == extra
    evidence = orjson.loads(verdict.evidence.to_pylist()[0])
    assert [(one["turn"], one["start"], one["end"]) for one in evidence["spans"]] == [(0, 8, 22)]
    places = [
        (one["part"], one["turn"], one["value"], one["start"], one["end"]) for one in evidence["beside"]
    ]
    assert places == [("calls", 1, 0, 0, 10), ("rejected", 0, 0, 0, 12)]
    assert verdict.facts is not None
    assert verdict.facts.to_pylist() == [{"pii": [{"type": "PHONE_NUMBER", "count": 3}]}]


def test_the_key_of_a_value_tells_what_it_is() -> None:
    stage = Pii(Pii.Options(entities=["US_SSN"]))
    found, _ = scrubbed(batch(call({"socialSecurityNumber": "536904399", "ssn": "536-90-4399"})), stage)
    assert found[1]["tool_calls"][0]["function"]["arguments"] == {
        "socialSecurityNumber": "<US_SSN>",
        "ssn": "<US_SSN>",
    }
    assert Pii(Pii.Options(entities=["US_SSN"])).judge(batch(call({"order": "536904399"}))).beside is None


def test_a_release_holds_none_of_it_and_the_key_gives_it_back(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Write to her."},
                {"role": "assistant", "content": None, **call(f'{{"to":"{to}"}}')[1]},
            ]
        }
        for to in (MAIL, "john@test.com", MAIL)
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    (tmp_path / "key").write_text("correct horse battery staple\n")
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: s, files: [a.jsonl]}]\n"
        "stages: [exact, minhash, pii: {operator: encrypt, key_file: key}]\noutput: {keep_removed: false}\n"
    )
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    stages = {stage["name"]: stage for stage in release.manifest["stages"]}
    assert [stages[name]["dropped"] for name in ("exact", "minhash")] == [1, 0]
    assert stages["pii"]["reasons"] == {"pii/EMAIL_ADDRESS": 2}
    for path in (*release.path.glob("data/**/*.parquet"), *release.path.glob("audit/*")):
        whole = (
            path.read_bytes() if path.suffix != ".parquet" else str(pq.read_table(path).to_pylist()).encode()
        )
        assert MAIL.encode() not in whole
    revealed = list(curate.reveal(release.path, key_file=tmp_path / "key"))
    told = [row["messages_extra"][1]["tool_calls"][0]["function"]["arguments"] for row in revealed]
    assert told == [f'{{"to":"{MAIL}"}}', '{"to":"john@test.com"}']


def test_calls_in_the_reply_that_lost_are_read_too() -> None:
    one = batch(None, [{"role": "assistant", "content": ""}])
    [keys] = call({"to": "ann@firm.org"})[-1:]
    one = record.with_column(one, "rejected_extra", pa.array([orjson.dumps([keys]).decode()]))
    verdict = PLAIN.judge(one)
    verdict.check("pii", one)
    assert verdict.beside is not None
    [told] = verdict.beside["rejected_extra"].to_pylist()
    assert "ann@firm.org" not in told
    assert "<EMAIL_ADDRESS>" in told
    said = record.utterances(one)
    assert "ann@firm.org" in said.text[-1].as_py()
    assert (said.part[-1], said.role[-1].as_py()) == (record.REPLY_CALLS, "assistant")
