"""A small release whose datasheet has every section and every chart."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
from conftest import RECIPE, make_corpus, sentence

import curate

FRENCH = "Le petit chat de la voisine dort toute la journée sur le vieux canapé du salon, près de la grande fenêtre {}."
PERSONAL = (
    "Write to desk{0}@example.com soon.",
    "Call +1 212 555 01{0:02} today.",
    "The host is 203.0.113.{0}.",
)
STAGES = "  - language: {allow: [en]}\n  - pii: {operator: replace}\n"


def rich_release(folder: Path) -> curate.Release:
    """Run a corpus with duplicates of several sizes, two languages and personal data."""
    make_corpus(folder, 120)
    rng = random.Random(8)
    rows = [{"id": f"fr{n}", "text": f"{FRENCH.format(n)} {FRENCH.format(n + 50)}"} for n in range(3)]
    for n in range(9):
        rows.append(
            {
                "id": f"p{n}",
                "text": f"{PERSONAL[n % 3].format(n + 10)} This is about the {sentence(rng, 25)}.",
            }
        )
    for n in range(4):  # four that are equal, and four that are alike
        rows.append(
            {"id": f"e{n}", "text": "The kitchen of the old house is painted in a warm and friendly yellow."}
        )
        words = sentence(random.Random(9), 120).split()
        words[n * 20] = "the"
        rows.append({"id": f"n{n}", "text": " ".join(words)})
    with (folder / "docs" / "b.jsonl").open("ab") as file:
        file.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    recipe = RECIPE.replace("  - toys:Shout\n", STAGES) + "about: {title: A release to look at}\n"
    (folder / "curate.yaml").write_text(recipe)
    return curate.run(folder / "curate.yaml", workers=1)
