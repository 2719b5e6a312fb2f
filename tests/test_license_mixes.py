"""Mixes of licenses and the verdicts on them, each with the source of what is expected."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import licenses
from curate.govern.licensing import verdicts

CC = "creativecommons.org FAQ, 'Can I combine material under different Creative Commons licenses in my work?'"
CHART = "creativecommons.org FAQ, adapter's license chart"
COMPATIBLE = "creativecommons.org/compatiblelicenses"
GPL = "gnu.org, FSF: Various Licenses and Comments about Them"
ODC = "opendatacommons.org FAQ and ODbL-1.0 §4.4"
TABLE = "governance research, rule table of 36 licenses"
PROTOTYPE = "governance research, results of the two verdicts' prototype"
CONTAGION = "what cannot be told is contagious (governance research, unknown policy)"
OWN = "the license's own text"
MATRIX = "gnu.org GPL FAQ, compatibility matrix"
SPDX = "SPDX 2.3 annex D: OR is a choice"
RAIL = "BigScience Open RAIL-M §4"
SA20 = "CC-BY-SA-2.0 §4(b)"
BIGSCIENCE = "LicenseRef-scancode-bigscience-open-rail-m"

A, C, U = "allowed", "conflict", "unknown"
YES, NO, MAYBE = True, False, None

# mix · records whose text was changed · collection: verdict, commercial · merged: verdict, commercial ·
# what the merged work can be offered under · what it cannot · source of the expectation
MIXES = [
    ("CC0-1.0", "", A, YES, A, YES, "CC0-1.0 CC-BY-4.0 CC-BY-SA-4.0 CC-BY-NC-4.0", "", CHART),
    ("CC0-1.0, PDDL-1.0, Unlicense", "", A, YES, A, YES, "CC0-1.0 PDDL-1.0", "", TABLE),
    ("CC-PDM-1.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0", "CC0-1.0", CHART),
    ("CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0 CC-BY-SA-4.0 CC-BY-NC-4.0 CC-BY-NC-SA-4.0", "CC0-1.0", CHART),
    ("CC0-1.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0 CC-BY-SA-4.0", "CC0-1.0", CHART),
    ("CC-BY-3.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0 CC-BY-SA-4.0", "CC0-1.0", CHART),
    ("CC-BY-2.0, CC-BY-2.5, CC-BY-3.0", "", A, YES, A, YES, "CC-BY-3.0 CC-BY-4.0", "PDDL-1.0", CHART),
    ("CC-BY-4.0, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0 GPL-3.0-only", "CC-BY-4.0 CC-BY-NC-SA-4.0", CHART),
    ("CC-BY-4.0, CC-BY-NC-4.0", "", A, NO, A, NO, "CC-BY-NC-4.0 CC-BY-NC-SA-4.0", "CC-BY-4.0 CC-BY-SA-4.0", CHART),
    ("CC-BY-4.0, CC-BY-NC-SA-4.0", "", A, NO, A, NO, "CC-BY-NC-SA-4.0", "CC-BY-NC-4.0 CC-BY-SA-4.0", PROTOTYPE),
    ("CC-BY-NC-4.0", "", A, NO, A, NO, "CC-BY-NC-4.0 CC-BY-NC-SA-4.0", "CC-BY-4.0 CC-BY-SA-4.0", CHART),
    ("CC-BY-NC-4.0, CC-BY-NC-SA-4.0", "", A, NO, A, NO, "CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", CHART),
    ("CC-BY-SA-4.0, CC-BY-NC-4.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-SA-4.0, CC-BY-NC-SA-4.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-SA-3.0, CC-BY-NC-SA-3.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-SA-3.0, CC-BY-NC-2.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-SA-3.0", "", A, YES, A, YES, "CC-BY-SA-3.0 CC-BY-SA-4.0", "GPL-3.0-only", "CC-BY-SA-3.0 §4(b)"),
    ("CC-BY-SA-3.0, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "CC-BY-SA-3.0", PROTOTYPE),
    ("CC-BY-SA-2.0, CC-BY-SA-3.0", "", A, YES, A, YES, "CC-BY-SA-3.0 CC-BY-SA-4.0", "CC-BY-SA-2.0", SA20),
    ("CC-BY-SA-2.5, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "CC-BY-SA-2.5", "CC-BY-SA-2.5 §4(b)"),
    ("CC-BY-SA-1.0", "", A, YES, A, YES, "CC-BY-SA-1.0", "CC-BY-SA-4.0", "CC-BY-SA-1.0 §4(b)"),
    ("CC-BY-SA-1.0, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", "CC-BY-SA-1.0 §4(b)"),
    ("CC-BY-SA-3.0-DE, CC-BY-SA-3.0", "", A, YES, A, YES, "CC-BY-SA-3.0 CC-BY-SA-4.0", "", "CC-BY-SA-3.0 §4(b)(iii)"),
    ("CC-BY-SA-3.0-IGO, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-SA-3.0-IGO §4(b)"),
    ("LicenseRef-curate-CC-BY-SA", "", A, YES, A, YES, "LicenseRef-curate-CC-BY-SA", "CC-BY-SA-4.0", OWN),
    ("LicenseRef-curate-CC-BY-SA, CC-BY-SA-4.0", "", A, YES, U, MAYBE, "", "", "CC-BY-SA §4(b) of every version"),
    ("CC-BY-NC-SA-2.0, CC-BY-NC-SA-4.0", "", A, NO, A, NO, "CC-BY-NC-SA-4.0", "CC-BY-NC-SA-2.0", "§4(b) of 2.0"),
    ("CC-BY-NC-SA-3.0, CC-BY-4.0", "", A, NO, A, NO, "CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0", "CC-BY-NC-4.0", CHART),
    ("CC-BY-ND-4.0", "", A, YES, C, NO, "", "", TABLE),
    ("CC-BY-ND-4.0", "CC-BY-ND-4.0", C, YES, C, NO, "", "", "CC-BY-ND-4.0 §2(a)(1)(B): no Adapted Material is shared"),
    ("CC-BY-ND-4.0, MIT", "", A, YES, C, NO, "", "", PROTOTYPE),
    ("CC-BY-ND-4.0, MIT", "MIT", A, YES, C, NO, "", "", TABLE),
    ("CC-BY-NC-ND-4.0", "CC-BY-NC-ND-4.0", C, NO, C, NO, "", "", TABLE),
    ("CC-BY-NC-ND-3.0, CC0-1.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-4.0, ?", "", U, MAYBE, U, MAYBE, "", "", PROTOTYPE),
    ("?", "", U, MAYBE, U, MAYBE, "", "", CONTAGION),
    ("CC0-1.0, ?", "", U, MAYBE, U, MAYBE, "", "", CONTAGION),
    ("CC-BY-NC-4.0, ?", "", U, NO, U, NO, "", "", CONTAGION),
    ("CC-BY-SA-4.0, CC-BY-NC-4.0, ?", "", U, NO, C, NO, "", "", CC),
    ("CC-BY-ND-4.0, ?", "CC-BY-ND-4.0", C, MAYBE, C, NO, "", "", TABLE),
    ("ODC-By-1.0", "", A, YES, A, YES, "ODC-By-1.0 ODbL-1.0", "PDDL-1.0", ODC),
    ("ODC-By-1.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0 ODC-By-1.0", "CC0-1.0", ODC),
    ("ODbL-1.0", "", A, YES, A, YES, "ODbL-1.0", "ODC-By-1.0 CC-BY-SA-4.0", ODC),
    ("ODbL-1.0, ODC-By-1.0", "", A, YES, A, YES, "ODbL-1.0", "ODC-By-1.0", ODC),
    ("ODbL-1.0, PDDL-1.0", "", A, YES, A, YES, "ODbL-1.0", "PDDL-1.0", ODC),
    ("ODbL-1.0, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", PROTOTYPE),
    ("ODbL-1.0, CC-BY-SA-3.0", "", A, YES, C, NO, "", "", ODC),
    ("ODbL-1.0, CC-BY-NC-4.0", "", A, NO, C, NO, "", "", "OpenStreetMap wiki, ODbL compatibility"),
    ("ODbL-1.0, CC-BY-4.0", "", A, YES, U, MAYBE, "", "", "OpenStreetMap Foundation, waiver template for CC BY 4.0"),
    ("ODbL-1.0, OGL-UK-3.0", "", A, YES, A, YES, "ODbL-1.0", "", "OGL-UK-3.0: compatible with any ODC license"),
    ("OGL-UK-3.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0", "CC0-1.0", "OGL-UK-3.0: compatible with CC BY 4.0"),
    ("etalab-2.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0", "CC0-1.0", "etalab-2.0 names CC-BY"),
    ("NLOD-2.0, CC-BY-4.0", "", A, YES, A, YES, "CC-BY-4.0", "CC0-1.0", "NLOD-2.0: compatible with CC BY 4.0"),
    ("DL-DE-ZERO-2.0, DL-DE-BY-2.0", "", A, YES, A, YES, "DL-DE-BY-2.0 CC-BY-4.0", "DL-DE-ZERO-2.0", TABLE),
    ("CDLA-Permissive-2.0", "", A, YES, A, YES, "CDLA-Permissive-2.0 CC-BY-4.0", "CC0-1.0", "CDLA-Permissive-2.0 §2.1"),
    ("CDLA-Permissive-1.0, CDLA-Permissive-2.0", "", A, YES, A, YES, "CDLA-Permissive-2.0", "", OWN),
    ("CDLA-Sharing-1.0", "", A, YES, A, YES, "CDLA-Sharing-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0 §3.1"),
    ("CDLA-Sharing-1.0, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", "CDLA-Sharing-1.0 §3.1"),
    ("CDLA-Sharing-1.0, CDLA-Permissive-2.0", "", A, YES, A, YES, "CDLA-Sharing-1.0", "", "CDLA-Sharing-1.0 §3.1"),
    ("C-UDA-1.0", "", A, YES, A, YES, "C-UDA-1.0", "CC-BY-4.0", "C-UDA-1.0 §3.1.2"),
    ("C-UDA-1.0, O-UDA-1.0", "", A, YES, A, YES, "C-UDA-1.0", "O-UDA-1.0", "C-UDA-1.0 §3.1.2"),
    ("C-UDA-1.0, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", "C-UDA-1.0 §3.1.2"),
    ("MIT, Apache-2.0, BSD-3-Clause", "", A, YES, A, YES, "Apache-2.0 CC-BY-4.0 GPL-3.0-only", "CC0-1.0", GPL),
    ("MIT, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "MIT", CHART),
    ("Apache-2.0, GPL-2.0-only", "", A, YES, C, NO, "", "", GPL),
    ("Apache-2.0, GPL-2.0-or-later", "", A, YES, A, YES, "GPL-3.0-only", "GPL-2.0-only GPL-2.0-or-later", GPL),
    ("Apache-2.0, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "Apache-2.0", GPL),
    ("GPL-2.0-only, GPL-3.0-only", "", A, YES, C, NO, "", "", MATRIX),
    ("GPL-2.0-only, GPL-2.0-or-later", "", A, YES, A, YES, "GPL-2.0-only", "GPL-3.0-only", MATRIX),
    ("GPL-2.0-or-later, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "GPL-2.0-only", MATRIX),
    ("GPL-3.0-only, AGPL-3.0-only", "", A, YES, A, YES, "AGPL-3.0-only", "GPL-3.0-only", "GPL-3.0 §13"),
    ("LGPL-2.1-only, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "LGPL-2.1-only", "LGPL-2.1 §3"),
    ("MPL-2.0, GPL-2.0-only", "", A, YES, A, YES, "GPL-2.0-only", "MPL-2.0", "MPL-2.0 §3.3"),
    ("BSD-4-Clause, GPL-3.0-only", "", A, YES, C, NO, "", "", GPL),
    ("BSD-4-Clause, AGPL-3.0-or-later", "", A, YES, C, NO, "", "", GPL),
    ("AFL-3.0", "", A, YES, A, YES, "CC-BY-4.0", "GPL-2.0-only GPL-3.0-only CC0-1.0", GPL),
    ("AFL-3.0, GPL-3.0-only", "", A, YES, C, NO, "", "", GPL),
    ("JSON, GPL-3.0-or-later", "", A, YES, C, NO, "", "", GPL),
    ("MS-PL", "", A, YES, A, YES, "MS-PL", "CC0-1.0 CC-BY-4.0 GPL-3.0-only", "MS-PL §3(D)"),
    ("MS-PL, GPL-3.0-only", "", A, YES, C, NO, "", "", GPL),
    ("MS-PL, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", "MS-PL §3(D)"),
    ("Apache-2.0, LGPL-2.0-only", "", A, YES, A, YES, "GPL-3.0-only", "LGPL-2.0-only GPL-2.0-only", GPL),
    ("GPL-1.0-or-later, GPL-2.0-only", "", A, YES, A, YES, "GPL-2.0-only", "GPL-1.0-only", "GPL-1.0 §7"),
    ("LGPL-2.0-or-later, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "LGPL-3.0-only", "LGPL-2.0 §3"),
    ("CC-BY-SA-4.0, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "CC-BY-SA-4.0", COMPATIBLE),
    ("CC-BY-SA-4.0, GPL-2.0-only", "", A, YES, C, NO, "", "", COMPATIBLE),
    ("CC-BY-SA-3.0, GPL-3.0-only", "", A, YES, C, NO, "", "", COMPATIBLE),
    ("CC-BY-4.0, GPL-3.0-only", "", A, YES, A, YES, "GPL-3.0-only", "CC-BY-4.0", GPL),
    ("CC-BY-3.0, GPL-3.0-only", "", A, YES, U, MAYBE, "", "", GPL),
    ("CC-BY-NC-4.0, GPL-3.0-only", "", A, NO, C, NO, "", "", GPL),
    ("CC-BY-SA-4.0, LAL-1.3", "", A, YES, A, YES, "CC-BY-SA-4.0 LAL-1.3", "GPL-3.0-only", COMPATIBLE),
    ("GFDL-1.3-or-later, CC-BY-SA-3.0", "", A, YES, C, NO, "", "", "GFDL-1.3 §11: until 2009-08-01"),
    ("EUPL-1.2, CC-BY-SA-3.0", "", A, YES, A, YES, "CC-BY-SA-3.0", "CC-BY-SA-4.0", "EUPL-1.2, appendix"),
    ("MIT OR GPL-3.0-only, CC-BY-SA-3.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "GPL-3.0-only", SPDX),
    ("CC-BY-NC-4.0 OR CC-BY-SA-4.0, CC-BY-NC-4.0", "", A, NO, A, NO, "CC-BY-NC-4.0", "CC-BY-SA-4.0", SPDX),
    ("CC-BY-ND-4.0 OR CC-BY-NC-4.0", "CC-BY-ND-4.0 OR CC-BY-NC-4.0", A, NO, A, NO, "CC-BY-NC-4.0", "", SPDX),
    ("CC-BY-4.0 AND ODC-By-1.0", "", A, YES, A, YES, "CC-BY-4.0 ODC-By-1.0", "CC0-1.0", ODC),
    ("CC-BY-SA-4.0 AND CC-BY-NC-4.0", "", A, NO, C, NO, "", "", CC),
    ("CC-BY-SA-3.0 OR GFDL-1.3-or-later, CC-BY-SA-4.0", "", A, YES, A, YES, "CC-BY-SA-4.0", "", SPDX),
    ("LicenseRef-provider-output-terms", "", U, MAYBE, U, MAYBE, "", "", TABLE),
    ("LicenseRef-provider-output-terms, MIT", "", U, MAYBE, U, MAYBE, "", "", TABLE),
    ("LicenseRef-scancode-llama-3.1-license-2024, MIT", "", U, MAYBE, U, MAYBE, "", "", "Llama 3.1 license §2"),
    (BIGSCIENCE, "", A, YES, A, YES, BIGSCIENCE, "MIT", TABLE),
    (f"{BIGSCIENCE}, CC-BY-SA-4.0", "", A, YES, C, NO, "", "", RAIL),
    ("LicenseRef-curate-research-only", "", U, NO, U, NO, "", "", TABLE),
    ("LicenseRef-curate-proprietary, MIT", "", U, MAYBE, U, MAYBE, "", "", TABLE),
    ("LicenseRef-acme-7", "", U, MAYBE, U, MAYBE, "", "", CONTAGION),
    ("LicenseRef-curate-all-rights-reserved, MIT", "", C, NO, C, NO, "", "", "Berne Convention, articles 9 and 12"),
    ("", "", U, MAYBE, U, MAYBE, "", "", "no record, no verdict"),
]  # fmt: skip


def mix(text: str) -> dict[str | None, int]:
    names = [name for name in text.split(", ") if name]
    return {None if name == "?" else licenses.resolve(name).concluded: n for n, name in enumerate(names, 1)}


@pytest.mark.parametrize("row", MIXES, ids=[f"{i}-{row[0] or 'nothing'}" for i, row in enumerate(MIXES)])
def test_a_mix_gets_the_verdicts_that_its_source_gives(row: tuple[str, ...]) -> None:
    text, edited, whole, commercial, merged, merged_commercial, under, not_under, source = row
    found = verdicts.judge(mix(text), mix(edited))
    assert source
    assert (found["collection"]["verdict"], found["collection"]["commercial"]) == (whole, commercial)
    assert (found["merged"]["verdict"], found["merged"]["commercial"]) == (merged, merged_commercial)
    assert set(under.split()) <= set(found["merged"]["outbound"])
    assert not set(not_under.split()) & set(found["merged"]["outbound"])
    assert bool(found["merged"]["outbound"]) == (merged == A)
    for verdict in (found["collection"], found["merged"]):
        assert verdict["reasons"], "a verdict without a reason"


def test_the_table_is_wide_enough() -> None:
    assert len(MIXES) >= 60
    assert len({row[0] for row in MIXES}) >= 60


def test_a_conflict_is_named_pair_by_pair_with_its_records() -> None:
    found = verdicts.judge({"CC-BY-SA-4.0": 7, "CC-BY-NC-4.0": 2, "MIT": 5, "ODbL-1.0": 3}, {})["conflicts"]
    assert [(pair["a"], pair["b"], pair["records_a"], pair["records_b"]) for pair in found] == [
        ("CC-BY-NC-4.0", "CC-BY-SA-4.0", 2, 7),
        ("CC-BY-NC-4.0", "ODbL-1.0", 2, 3),
        ("CC-BY-SA-4.0", "ODbL-1.0", 7, 3),
    ]
    for pair in found:
        assert pair["a"] in pair["reason"]
        assert pair["b"] in pair["reason"]


@pytest.mark.parametrize(
    ("text", "edited", "verdict", "words"),
    [
        ("CC-BY-4.0, ?", "", "collection", ["2 records is not known"]),
        ("ODC-By-1.0", "", "collection", ["covers a database", "ODC-By-1.0 (1 record)"]),
        (
            "CC-BY-ND-4.0",
            "CC-BY-ND-4.0",
            "collection",
            ["CC-BY-ND-4.0 allows no changed text", "1 record under it"],
        ),
        ("Apache-2.0, GPL-2.0-only", "", "merged", ["Apache-2.0 does not go into GPL-2.0-only", "patent"]),
        ("MIT OR GPL-3.0-only", "", "collection", ["the choice is MIT"]),
        ("CC-PDM-1.0", "", "collection", ["a claim", "CC-PDM-1.0"]),
        ("CC-BY-3.0", "", "collection", ["database right", "CC-BY-3.0"]),
        ("LicenseRef-provider-output-terms", "", "collection", ["compete"]),
        ("CC-BY-4.0, CC-BY-SA-4.0", "", "merged", ["CC-BY-SA-4.0 allows adaptations under"]),
    ],
)
def test_reasons_name_the_license_and_what_it_does(
    text: str, edited: str, verdict: str, words: list[str]
) -> None:
    told = " ".join(verdicts.judge(mix(text), mix(edited))[verdict]["reasons"])
    for word in words:
        assert word.lower() in told.lower()


def test_a_license_for_contents_answers_the_doubt_about_a_database_license() -> None:
    reasons = verdicts.collection({"CC-BY-4.0 AND ODC-By-1.0": 3}, {})["reasons"]
    assert not any("database, what" in reason or "covers a database" in reason for reason in reasons)


names = st.sampled_from(
    [
        *(
            "CC0-1.0",
            "CC-BY-4.0",
            "CC-BY-3.0",
            "CC-BY-SA-3.0",
            "CC-BY-SA-4.0",
            "CC-BY-NC-4.0",
            "CC-BY-NC-SA-4.0",
        ),
        *("CC-BY-ND-4.0", "ODbL-1.0", "ODC-By-1.0", "MIT", "Apache-2.0", "GPL-2.0-only", "GPL-3.0-only"),
        *("LicenseRef-provider-output-terms", "LicenseRef-acme", "LicenseRef-curate-research-only", "Zlib"),
        *("LicenseRef-curate-all-rights-reserved", "LicenseRef-curate-CC-BY-SA", "EPL-2.0"),
    ]
)
expressions = st.one_of(
    names,
    st.tuples(names, st.sampled_from(["AND", "OR"]), names).map(" ".join),
).map(lambda text: licenses.resolve(text).concluded)
mixes = st.dictionaries(st.one_of(st.none(), expressions), st.integers(1, 50), min_size=1, max_size=5)
ORDER = {False: 0, None: 1, True: 2}


@settings(deadline=None)
@given(mixes)
def test_a_merged_work_never_allows_more_than_any_of_its_parts(held: dict[str | None, int]) -> None:
    found = verdicts.judge(held, {})
    whole, merged = found["collection"], found["merged"]
    for expression in held:
        for use in ("commercial", "derivatives"):
            allowed = None if expression is None else licenses.permits(expression, [use])
            assert ORDER[merged[use]] <= ORDER[allowed], (expression, use)
            assert ORDER[whole[use]] <= ORDER[allowed], (expression, use)
    if merged["verdict"] == A:
        assert whole["verdict"] == A
        assert merged["derivatives"] is True


def test_a_reason_says_no_more_than_is_settled() -> None:
    unversioned = "LicenseRef-curate-CC-BY-SA"
    told = " ".join(verdicts.merged({unversioned: 1, "CC-BY-SA-4.0": 1})["reasons"])
    assert f"{unversioned} only" not in told
    assert (
        "whether also under CC-BY-SA-2.0, CC-BY-SA-2.5, CC-BY-SA-3.0 or CC-BY-SA-4.0 cannot be told" in told
    )


@settings(deadline=None)
@given(mixes, st.randoms())
def test_the_order_of_licenses_is_irrelevant(held: dict[str | None, int], rng: random.Random) -> None:
    items = list(held.items())
    rng.shuffle(items)
    edited = dict.fromkeys(held, 1)
    assert verdicts.judge(dict(items), edited) == verdicts.judge(held, edited)


@settings(deadline=None)
@given(mixes, st.booleans())
def test_adding_unknown_never_turns_a_verdict_to_allowed(held: dict[str | None, int], edited: bool) -> None:
    changed = dict(held) if edited else {}
    before, after = verdicts.judge(held, changed), verdicts.judge({**held, None: 4}, changed)
    for verdict in ("collection", "merged"):
        assert after[verdict]["verdict"] != A
        assert after[verdict]["commercial"] is not True
        if before[verdict]["verdict"] == C:
            assert after[verdict]["verdict"] == C


@settings(deadline=None)
@given(mixes, expressions)
def test_adding_a_license_never_allows_more(held: dict[str | None, int], more: str) -> None:
    before, after = verdicts.merged(held), verdicts.merged({**held, more: 1})
    order = [C, U, A]
    assert order.index(after["verdict"]) <= order.index(before["verdict"])
