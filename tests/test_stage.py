"""Verdicts: one answer per record, and a reason for all that is not kept."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate import record
from curate.errors import StageError
from curate.stage import Decision, Verdict

BATCH = pa.record_batch({"id": ["a/1", "a/2", "a/3"], "text": ["x", "y", "z"]})


def test_records_without_a_decision_are_kept() -> None:
    verdict = Verdict.of(3, [Decision(1, "drop", "s/why", 0.5, {"b": 1, "a": 2}, "a/1")])
    assert verdict.action.to_pylist() == ["keep", "drop", "keep"]
    assert verdict.reason.to_pylist() == [None, "s/why", None]
    assert verdict.score.to_pylist() == [None, 0.5, None]
    assert verdict.evidence.to_pylist() == [None, '{"a":2,"b":1}', None]
    assert verdict.kept_id.to_pylist() == [None, "a/1", None]
    verdict.check("s", BATCH)


def test_an_empty_verdict_has_the_same_types_as_a_full_one() -> None:
    full, empty = Verdict.of(1, [Decision(0, "flag", "s/why", 1.0)]), Verdict.of(0)
    for name in ("action", "reason", "score", "evidence", "kept_id"):
        assert getattr(full, name).type == getattr(empty, name).type


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_most_severe_decision_is_the_record_s_fate(order: list[int]) -> None:
    three = [Decision(0, "flag", "s/f"), Decision(0, "drop", "s/d"), Decision(0, "quarantine", "s/q")]
    verdict = Verdict.of(1, [three[i] for i in order])
    assert verdict.reason.to_pylist() == ["s/d"]
    assert {d.reason: d.action for d in verdict.also} == {"s/f": "flag", "s/q": "flag"}


def test_several_edits_of_a_record_are_all_told() -> None:
    edits = [Decision(0, "edit", "s/A"), Decision(0, "edit", "s/B")]
    verdict = Verdict.of(1, edits, edited=pa.array(["new"]))
    assert [d.action for d in verdict.also] == ["edit"]
    verdict.check("s", BATCH.slice(0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": pa.array([None] * 3, pa.string())}, "record a/1 was not kept, and no reason was given"),
        ({"action": pa.array(["burn", "keep", "keep"])}, "unknown action .'burn'."),
        ({"score": pa.array([1.0])}, "score has 1 answers for 3 records"),
        ({"edited": pa.array(["x"])}, "edited has 1 answers for 3 records"),
        ({"action": pa.array(["edit", "keep", "keep"])}, "action 'edit' without the edited content"),
        ({"facts": pa.record_batch({"f": [1]})}, "facts has 1 rows for 3 records"),
        ({"also": (Decision(9, "flag", "s/x"),)}, "a further decision must be"),
        ({"also": (Decision(0, "drop", "s/x"),)}, "a further decision must be"),
        ({"also": (Decision(0, "flag", ""),)}, "reason '' must look like s/<rule>"),
        ({"reason": pa.array(["other/why", None, None])}, "reason 'other/why' must look like s/<rule>"),
        ({"edited": pa.array([1, 2, 3])}, "edited must be an array of string, like the content; is int64"),
        ({"edited": ["x", "y", "z"]}, "edited must be an array of string, like the content; is list"),
        (
            {"action": pa.array(["edit", "keep", "keep"]), "edited": pa.array([None, "y", "z"])},
            "an edit left no content; drop the record instead",
        ),
        ({"facts": pa.record_batch({"id": ["a"] * 3})}, "fact 'id' is filled by the pipeline"),
        ({"facts": pa.record_batch({"language": [1, 2, 3]})}, "fact 'language' must be string, is int64"),
    ],
)
def test_a_broken_verdict_is_refused(changes: dict[str, object], message: str) -> None:
    good = Verdict.of(3, [Decision(0, "drop", "s/why")])
    parts = {name: getattr(good, name) for name in Verdict.__slots__}
    with pytest.raises(StageError, match=message):
        Verdict(**(parts | changes)).check("s", BATCH)


@pytest.mark.parametrize("row", [-1, 3])
def test_a_decision_on_no_record_of_the_batch_is_refused(row: int) -> None:
    with pytest.raises(StageError, match=f"s/why: a decision on record {row} of a batch of 3"):
        Verdict.of(3, [Decision(row, "drop", "s/why")])


TALK = pa.array(
    [
        [
            {"role": "user", "content": "ask"},
            {"role": "assistant", "content": "say"},
            {"role": "user", "content": None},
        ],
        [],
        None,
        [{"role": "assistant", "content": "only"}],
    ],
    record.MESSAGES,
)


def test_views_of_a_conversation() -> None:
    batch = pa.record_batch({"id": list("abcd"), "messages": TALK})
    assert record.kind(batch) == "messages"
    flat, offsets = record.turns(batch)
    assert flat.to_pylist() == ["ask", "say", "", "only"]
    assert offsets.tolist() == [0, 3, 3, 3, 4]
    assert record.texts(batch) == ["ask\n\nsay\n\n", "", "", "only"]
    assert record.prompts_and_responses(batch) == (["ask\n\n", "", "", ""], ["say", "", "", "only"])


def test_views_of_a_sliced_batch_are_the_slice_s() -> None:
    batch = pa.record_batch({"id": list("abcd"), "messages": TALK}).slice(1)
    flat, offsets = record.turns(batch)
    assert flat.to_pylist() == ["only"]
    assert offsets.tolist() == [0, 0, 0, 1]


def test_content_hashes_are_those_of_the_canonical_bytes() -> None:
    assert record.content_sha256(pa.array(["abc"]))[0].as_py().startswith("ba7816bf")  # FIPS 180-4's example
    assert record.canonical([{"role": "user", "content": "é"}]) == '[["user","é"]]'.encode()
