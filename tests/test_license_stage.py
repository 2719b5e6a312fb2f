from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.stage import Verdict
from curate.stages.license import License


def judge(declared: list[str | None], texts: list[str] | None = None, **options: Any) -> Verdict:
    batch = _batch(declared, texts)
    stage = License(License.Options(**options))
    verdict = stage.judge(batch)
    verdict.check("license", batch)
    return verdict


def _batch(declared: list[str | None], texts: list[str] | None = None) -> pa.RecordBatch:
    ids = pa.array([f"s/{i}" for i in range(len(declared))], pa.string())
    text = pa.array(texts or ["plain words"] * len(declared), pa.string())
    return pa.record_batch({"id": ids, "text": text, "license": pa.array(declared, pa.string())})


def answers(verdict: Verdict) -> list[tuple[str, str | None]]:
    return list(zip(verdict.action.to_pylist(), verdict.reason.to_pylist(), strict=True))


KEEP = ("keep", None)


@pytest.mark.parametrize(
    ("declared", "commercial", "research", "everything"),
    [
        ("MIT", KEEP, KEEP, KEEP),
        ("cc by 4.0", KEEP, KEEP, KEEP),
        ("CC-BY-SA-4.0", KEEP, KEEP, KEEP),
        ("CC-BY-NC-4.0", ("drop", "license/non-commercial"), KEEP, KEEP),
        ("CC-BY-ND-4.0", ("drop", "license/no-derivatives"), ("drop", "license/no-derivatives"), KEEP),
        ("CC-BY-NC-ND-4.0", ("drop", "license/non-commercial"), ("drop", "license/no-derivatives"), KEEP),
        ("CC-BY-NC-4.0 OR CC-BY-ND-4.0", ("drop", "license/not-allowed"), KEEP, KEEP),
        ("CC-BY-NC-4.0 OR MIT", KEEP, KEEP, KEEP),
        ("MIT AND CC-BY-NC-4.0", ("drop", "license/non-commercial"), KEEP, KEEP),
        ("Zlib", KEEP, KEEP, KEEP),
        ("openai", ("quarantine", "license/unknown-terms"), KEEP, KEEP),
        *(
            (name, ("quarantine", "license/unknown-terms"), ("quarantine", "license/unknown-terms"), KEEP)
            for name in ("LicenseRef-acme", "MIT AND LicenseRef-acme")
        ),
        *(
            (name, *[("quarantine", "license/unknown")] * 3)
            for name in (
                None,
                "",
                "unknown",
                "other",
                "cc",
                "bsd",
                "openrail",
                "no",
                "MIT AND foo",
                "my license",
            )
        ),
    ],
)
def test_policies(declared: str | None, commercial: object, research: object, everything: object) -> None:
    assert answers(judge([declared])) == [commercial]
    assert answers(judge([declared], allow="commercial")) == [commercial]
    assert answers(judge([declared], allow="research")) == [research]
    assert answers(judge([declared], allow="any")) == [everything]


def test_a_list_allows_what_it_satisfies() -> None:
    declared = ["MIT", "mit license", "MIT OR GPL-3.0-only", "MIT AND GPL-3.0-only", "CC0-1.0", None]
    assert answers(judge(declared, allow=["mit", "LicenseRef-acme"])) == [
        KEEP,
        KEEP,
        KEEP,
        ("drop", "license/not-allowed"),
        ("drop", "license/not-allowed"),
        ("quarantine", "license/unknown"),
    ]
    assert answers(judge(["LicenseRef-acme"], allow=["LicenseRef-acme"])) == [KEEP]


@pytest.mark.parametrize(
    ("unknown", "action"), [("quarantine", "quarantine"), ("drop", "drop"), ("keep", "flag")]
)
def test_what_becomes_of_unknown(unknown: str, action: str) -> None:
    assert answers(judge([None, "LicenseRef-acme"], unknown=unknown)) == [
        (action, "license/unknown"),
        (action, "license/unknown-terms"),
    ]


def test_what_is_denied_may_be_set_apart() -> None:
    assert answers(judge(["CC-BY-NC-4.0"], denied="quarantine")) == [("quarantine", "license/non-commercial")]


def test_evidence_and_facts_tell_what_was_declared_and_concluded() -> None:
    verdict = judge(["cc by-nc 4.0", "MIT", None, "bsd"])
    assert [json.loads(e) if e else None for e in verdict.evidence.to_pylist()] == [
        {"declared": "cc by-nc 4.0", "concluded": "CC-BY-NC-4.0", "policy": "commercial"},
        None,
        {"declared": None, "concluded": None, "policy": "commercial"},
        {"declared": "bsd", "concluded": None, "policy": "commercial"},
    ]
    assert verdict.facts is not None
    assert verdict.facts.to_pydict() == {
        "license_declared": ["cc by-nc 4.0", "MIT", None, "bsd"],
        "license_detected": [None] * 4,
        "license_concluded": ["CC-BY-NC-4.0", "MIT", None, None],
    }
    assert [field.type for field in verdict.facts.schema] == [pa.string()] * 3


def test_a_license_text_is_shortened_in_evidence_only() -> None:
    text = "Permission is hereby granted " * 100
    verdict = judge([text])
    assert len(verdict.evidence[0].as_py()) < 300
    assert verdict.facts is not None
    assert verdict.facts.column("license_declared").to_pylist() == [text]


def test_the_same_answers_for_any_batch_size() -> None:
    declared = ["MIT", None, "CC-BY-NC-4.0", "bsd", "cc by 4.0", "LicenseRef-acme", "CC-BY-ND-4.0"] * 9
    whole = judge(declared)
    for size in (1, 2, 5, 63):
        parts = [judge(declared[i : i + size]) for i in range(0, len(declared), size)]
        for name in ("action", "reason", "evidence"):
            assert pa.concat_arrays([getattr(p, name) for p in parts]).equals(getattr(whole, name))
        assert pa.Table.from_batches([p.facts for p in parts if p.facts]).equals(
            pa.Table.from_batches([whole.facts])
        )
    slices = [License(License.Options()).judge(_batch(declared).slice(i, 4)) for i in range(0, 63, 4)]
    assert pa.concat_arrays([part.reason for part in slices]).equals(whole.reason)


CC = "This work is licensed under CC BY 4.0."
NC = "This work is licensed under CC BY-NC 4.0."


def told(verdict: Verdict, row: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(verdict.evidence[row].as_py())
    return found


@pytest.mark.parametrize("declared", [None, "", "unknown", "other", "see license"])
def test_where_none_is_declared_the_detected_license_is_concluded(declared: str | None) -> None:
    verdict = judge([declared], [CC])
    assert answers(verdict) == [("flag", "license/detected")]
    assert verdict.facts is not None
    assert verdict.facts.column("license_detected").to_pylist() == ["CC-BY-4.0"]
    assert verdict.facts.column("license_concluded").to_pylist() == ["CC-BY-4.0"]
    where = {"turn": 0, "start": 0, "end": 28, "how": "phrase", "license": "CC-BY-4.0"}
    assert told(verdict) == {"detected": "CC-BY-4.0", "where": [where]}


def test_the_policy_holds_for_what_was_detected() -> None:
    verdict = judge([None], [NC])
    assert answers(verdict) == [("drop", "license/non-commercial")]
    assert [decision.reason for decision in verdict.also] == ["license/detected"]
    assert told(verdict)["detected"] == "CC-BY-NC-4.0"


@pytest.mark.parametrize("declared", ["bsd", "my license", "MIT AND foo"])
def test_a_declaration_that_names_something_unclear_is_not_overruled(declared: str) -> None:
    verdict = judge([declared], [CC])
    assert answers(verdict) == [("quarantine", "license/unknown")]
    assert verdict.facts is not None
    assert verdict.facts.column("license_concluded").to_pylist() == [None]


@pytest.mark.parametrize(
    ("declared", "text", "stricter"), [("MIT", NC, True), ("CC-BY-NC-4.0", CC, False), ("CC0-1.0", CC, True)]
)
def test_a_disagreement_is_noted_and_the_declared_license_stays(
    declared: str, text: str, stricter: bool
) -> None:
    verdict = judge([declared], [text], allow="any")
    assert answers(verdict) == [("flag", "license/disagreement")]
    assert (told(verdict)["concluded"], told(verdict)["detected_is_stricter"]) == (declared, stricter)
    assert verdict.facts is not None
    assert verdict.facts.column("license_concluded").to_pylist() == [declared]
    apart = judge([declared], [text], allow="any", disagreement="quarantine")
    assert answers(apart) == [("quarantine", "license/disagreement")]


@pytest.mark.parametrize(
    "declared", ["CC-BY-4.0", "cc by 4.0", "CC BY", "CC-BY-4.0 OR MIT", "CC-BY-4.0 AND ODC-By-1.0"]
)
def test_a_license_that_is_declared_too_is_no_disagreement(declared: str) -> None:
    assert answers(judge([declared], [CC])) == [KEEP]


def test_a_denied_record_that_disagrees_is_denied() -> None:
    verdict = judge(["CC-BY-NC-4.0"], [CC], disagreement="quarantine")
    assert answers(verdict) == [("drop", "license/non-commercial")]
    assert [decision.reason for decision in verdict.also] == ["license/disagreement"]


def test_detection_can_be_switched_off() -> None:
    verdict = judge(["MIT", None], [NC, CC], detect=False)
    assert answers(verdict) == [KEEP, ("quarantine", "license/unknown")]
    assert verdict.facts is not None
    assert verdict.facts.column("license_detected").null_count == 2


def test_an_empty_batch_is_answered() -> None:
    verdict = judge([])
    assert len(verdict.action) == 0
    assert verdict.facts is not None
    assert verdict.facts.num_rows == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"allow": "comercial"},
            r"neither commercial, research or any nor a list.*did you mean 'commercial'\?",
        ),
        ({"allow": "CC-BY-4.0"}, r"one license is a list too: \[CC-BY-4.0\]"),
        ({"allow": []}, "a list of at least one SPDX id"),
        ({"allow": 7}, "commercial, research, any or a list"),
        ({"allow": ["CC-BY-5.0"]}, r"'CC-BY-5.0' is not a known license; did you mean 'CC-BY-4.0'\?"),
        ({"allow": ["MIT", "apache 2.0"]}, "'apache 2.0' is not one SPDX id; write 'Apache-2.0'"),
        ({"allow": ["MIT OR ISC"]}, "'MIT OR ISC' is not one SPDX id; write 'ISC', 'MIT'"),
        ({"allow": ["unknown"]}, "'unknown' cannot be allowed by name; use the option 'unknown'"),
        ({"unknown": "maybe"}, "quarantine"),
        ({"disagreement": "ignore"}, "flag"),
        ({"alow": "any"}, "Extra inputs are not permitted"),
    ],
)
def test_options_are_checked_strictly(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        License.Options(**options)


def test_options_are_kept_canonical_and_the_stage_travels_between_processes() -> None:
    stage = License(License.Options(allow=["mit", "GPL-3.0"]))
    assert stage.options.allow == ("MIT", "GPL-3.0-only")
    assert pickle.loads(pickle.dumps(stage)).options == stage.options
    assert License.Options.model_validate(stage.options.model_dump(mode="json")) == stage.options
