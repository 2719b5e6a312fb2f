"""Instructions that a program can check, one by one and in a model's answers."""

from __future__ import annotations

from typing import Any

import pytest

from curate.tuning import following

CASES: list[tuple[str, dict[str, Any], str, str]] = [  # id, arguments, an answer that keeps to it, one that does not
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"},
     "GO to THE sea", "GO"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, "GO", "GO NOW"),
    ("change_case:english_capital", {}, "THE RIVER RUNS TO THE SEA IN THE MORNING.", "The river runs."),
    ("change_case:english_lowercase", {}, "the river runs to the sea in the morning.", "The river runs."),
    ("change_case:english_lowercase", {}, "short.", "der fluss ist am morgen ruhig, und die boote sind noch dort."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hello."}, "say hello. Hello!", "Hello! Say hello."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:two_responses", {}, "******one\n******\ntwo******", "one ****** two ****** three"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hi\np. s. bye", "Hi PS"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Hi\nP.P.S. bye", "Hi\nP.S. bye"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2},
     "Section 1 a Section 2 b", "Section 1"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a\n**b**", "a"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* ** **"),
    ("detectable_format:title", {}, "<<A day>> went", "<< >> went"),
    ("keywords:existence", {"keywords": ["river", "sea"]}, "Rivers to the SEA", "river"),
    ("keywords:forbidden_words", {"forbidden_words": ["sea"]}, "the season", "the Sea!"),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "sea and sea", "sea"),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": "less than"}, "see", "E e e"),
    ("language:response_language", {"language": "de"}, "Der Hafen war am Morgen ruhig, und die Boote blieben dort.",
     "The harbour was quiet in the morning and the boats stayed in."),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "now"},
     "a\n\nNow b", "a\n\nb now"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "now"},
     '"Now", a', "now\n\nthen"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n***\n***\nb"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "One. ", "One. Two! "),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"},
     'One? "Two!" Three', "One 2.5"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "a b, c", "a b"),
    ("punctuation:no_comma", {}, "a b", "a, b"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'So. "the END."', "The end. So."),
    ("startend:quotation", {}, '"quoted"', '"'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_what_keeps_to_an_instruction_passes_and_what_does_not_fails(
    name: str, arguments: dict[str, Any], good: str, bad: str
) -> None:
    others = dict.fromkeys(
        ("num_words", "keywords", "let_relation")
    )  # a table of kwargs holds nulls for the rest
    assert following.kept(name, good, {**others, **arguments})
    assert not following.kept(name, bad, {**others, **arguments})
    assert not following.kept(name, " ", arguments)


def test_every_kind_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(following.CHECKS)
    assert len(following.CHECKS) == 25


def test_unknown_instructions_and_faulty_arguments_are_counted() -> None:
    names = ["punctuation:no_comma", "new:thing", "length_constraints:number_words", "keywords:frequency"]
    kwargs = [{}, {}, {"num_words": 3, "relation": "about"}, {"keyword": "a"}]
    able, left = following.instructions({"instruction_id_list": names, "kwargs": kwargs})
    assert able == [("punctuation:no_comma", {})]
    assert left == 3
    assert following.instructions({"instruction_id_list": names, "kwargs": [{}]}) == ([], 1)
    assert following.instructions({}) == ([], 0)


def test_only_a_large_base_is_asked_to_follow_instructions() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tunes import base, bench, corpus, stack

    from curate.tuning.contract import Item, Text, Turn
    from curate.tuning.measure import measure, weights

    names = ["punctuation:no_comma", "length_constraints:number_words", "new:thing"]
    extra = {"instruction_id_list": names, "kwargs": [{}, {"num_words": 10_000, "relation": "at least"}, {}]}
    item = Item(Text("e", (Turn("user", "Say a river."),), "eval"), frozenset({"eval"}), extra)
    given = corpus(items=(*corpus().items, item))
    assert "follows" not in weights(bench(given))
    asked = bench(given, of=base(parameters=200_000_000))
    assert asked.probes.notes == ("1 instructions cannot be checked: unknown, or with faulty kwargs",)
    item = Item(Text("e", (Turn("user", "Say a river. " * 99),), "eval"), frozenset({"eval"}), extra)
    (long,) = bench(corpus(items=(*corpus().items, item)), of=base(parameters=200_000_000)).probes.checked.ids
    assert len(long) == 96 - 48  # of a row of 96: an answer has room behind it
    found = measure(stack(5, 6), 2, asked, [0, 0])
    assert weights(asked)["follows"].tolist() == [2]
    assert {each["follows"].tolist()[0] for each in found} <= {0.0, 1.0}  # nobody says 10,000 words
