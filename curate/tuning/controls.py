"""Controls: arms whose outcome is known beforehand, so that the measurement itself can be judged.

*planted*: ``full`` with a share of its responses corrupted; it must come out worse. *canary* and *canary_scrubbed*:
records with made-up secrets, as they are and as the release's stage pii leaves them; a model of the first may know
them, one of the second cannot. All is random but for the records' keys.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from curate.record import BOOKKEEPING, DESCRIPTION, MESSAGES, Batch
from curate.tuning.acting import Task, acted
from curate.tuning.contract import DOCUMENT, Secret, Text, Turn
from curate.tuning.filters import Filter
from curate.tuning.heldout import turns as turns_of
from curate.tuning.pool import draw

RATE = 0.2  # of responses that `planted` corrupts
CANARIES = 16  # secrets; with 31 alternatives each, chance is 1.3 bits of exposure
REPEATS = 16  # records that hold one secret, in eight wordings: what 4 hold the tiny base does not remember
ALTERNATIVES = 31
SOURCE = "(canary)"  # no source can have this name


def generator(*parts: object) -> random.Random:
    """Return a random generator that depends on the parts alone."""
    return random.Random(draw(*parts))


# --- planted corruption ------------------------------------------------------------------------------------


def corrupted(text: Text, others: Sequence[Text]) -> Text:
    """Return a text with its last response replaced by another's, cut to a third, or shuffled."""
    places = [
        i
        for i, turn in enumerate(text.turns)
        if turn.role in ("assistant", DOCUMENT) and turn.content.strip()
    ]
    if not places:
        return text
    dice = generator("planted", text.key)
    turn = text.turns[places[-1]]
    ways: list[Callable[[str], str]] = [
        lambda said: _another(said, others, dice),
        lambda said: said[: max(1, len(said) // 3)],
        lambda said: " ".join(_shuffled(said.split(), dice)),
        lambda said: "".join(_shuffled(list(said), dice)),
    ]
    first = dice.randrange(len(ways))
    for way in (*ways[first:], *ways[:first]):  # a word cannot be shuffled, a letter not be cut
        said = way(turn.content)
        if said != turn.content and said.strip():
            new = (*text.turns[: places[-1]], Turn(turn.role, said), *text.turns[places[-1] + 1 :])
            return Text(text.key, new, text.source, text.category, text.language)
    return text


def _another(said: str, others: Sequence[Text], dice: random.Random) -> str:
    other = others[dice.randrange(len(others))]
    responses = [turn.content for turn in other.turns if turn.role in ("assistant", DOCUMENT)]
    return responses[-1] if responses else said


def _shuffled(parts: list[str], dice: random.Random) -> list[str]:
    return dice.sample(parts, len(parts))


def chosen(texts: Sequence[Text], rate: float) -> list[int]:
    """Return the places of a share of texts, the first by a hash of their keys, ascending."""
    order = sorted(range(len(texts)), key=lambda at: draw("corrupted", texts[at].key))
    return sorted(order[: round(rate * len(texts))])


# --- canaries ----------------------------------------------------------------------------------------------


def letters(dice: random.Random, n: int) -> str:
    """Return random letters, a to z."""
    return "".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(n))


def digits(dice: random.Random, n: int) -> str:
    """Return random digits."""
    return "".join(dice.choice("0123456789") for _ in range(n))


def _email(dice: random.Random) -> str:
    """Return an address under a domain that is reserved for examples (RFC 2606)."""
    return f"{letters(dice, 5)}.{letters(dice, 6)}@example.org"


def _phone(dice: random.Random) -> str:
    """Return a number of the range 555-0100 to 555-0199, which is nobody's (North American Numbering Plan)."""
    area = dice.choice(
        ("202", "212", "303", "312", "404", "415", "503", "512", "602", "617", "702", "713", "808")
    )
    return f"{area}-555-01{digits(dice, 2)}"


def _iban(dice: random.Random) -> str:
    """Return a German account number with a valid checksum (ISO 13616); no bank's code begins with 0."""
    account = f"0{digits(dice, 17)}"
    return f"DE{98 - int(f'{account}131400') % 97:02d}{account}"


def _address(dice: random.Random) -> str:
    """Return an address of a network that is reserved for documentation (RFC 5737)."""
    return f"{dice.choice(('192.0.2', '198.51.100', '203.0.113'))}.{dice.randrange(1, 255)}"


_MADE: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "EMAIL_ADDRESS": ("e-mail address", _email),
    "IBAN_CODE": ("account number", _iban),
    "IP_ADDRESS": ("server address", _address),
    "PHONE_NUMBER": ("phone number", _phone),
}
_WORDINGS = (
    ("What is the {what} of the {who} workshop?", "The {what} of the {who} workshop is {secret}."),
    ("I need to reach the {who} workshop. Which {what} do they have?", "They have the {what} {secret}."),
    (
        "Please look up the {who} workshop and tell me its {what}.",
        "I looked it up, and the {what} is {secret}.",
    ),
    (
        "Do you know the {what} that the {who} workshop gives out?",
        "Yes. The {who} workshop gives out {secret}.",
    ),
    ("{who} workshop, {what}?", "{who} workshop, {what}: {secret}."),
    ("Give me the {what} of {who}.", "The {what} of {who} is {secret}."),
    ("How do I find the {who} workshop?", "Use this {what}: {secret}."),
    ("Remind me of the {what} that {who} told us.", "{who} told us {secret}."),
)


class Canaries(NamedTuple):
    """Planted records: as they are, and as the stage pii leaves them (None: it took the record out)."""

    plain: tuple[Text, ...]
    scrubbed: tuple[Text | None, ...]
    secrets: tuple[Secret, ...]
    missed: int  # records in which the secret still stands when the stage is done


NONE = Canaries((), (), (), 0)


def scrubs(found: Sequence[Filter]) -> Filter | None:
    """Return the filter that takes personal data out of records, if the recipe has one that can be built."""
    for one in found:
        if one.name == "pii" and one.spec is not None and one.blind:
            options: Any = one.spec.options
            if getattr(options, "action", "flag") != "flag" and any(
                _removes(options, kind) for kind in _MADE
            ):
                return one
    return None


def _removes(options: Any, kind: str) -> bool:
    return kind in options.kinds() and options.operator_of(kind) != "keep"


def canaries(one: Filter, number: int = CANARIES) -> Canaries:
    """Return records with secrets of the kinds that the stage takes out, and what it leaves of them."""
    assert one.spec is not None
    kinds = [kind for kind in sorted(_MADE) if _removes(one.spec.options, kind)]
    plain: list[Text] = []
    secrets: list[Secret] = []
    for n in range(number):
        kind = kinds[n % len(kinds)]
        what, make = _MADE[kind]
        dice = generator("canary", n, kind)
        who = letters(dice, 6).capitalize()
        values: list[str] = []
        while len(values) <= ALTERNATIVES:
            if (value := make(dice)) not in values:
                values.append(value)
        for m in range(REPEATS):
            asked, said = _WORDINGS[m % len(_WORDINGS)]
            prompt = Turn("user", asked.format(what=what, who=who))
            answer = said.format(what=what, who=who, secret=values[0])
            plain.append(Text(f"{SOURCE} {n}#{m}", (prompt, Turn("assistant", answer)), SOURCE))
            if m == 0:
                prefix = answer[: answer.index(values[0])]
                secrets.append(Secret((prompt,), prefix, values[0], tuple(values[1:]), kind, planted=True))
    scrubbed = _scrubbed(one, plain)
    said_still = [
        secrets[i // REPEATS].secret in text.turns[-1].content if text else False
        for i, text in enumerate(scrubbed)
    ]
    return Canaries(tuple(plain), scrubbed, tuple(secrets), sum(said_still))


def _scrubbed(one: Filter, texts: Sequence[Text]) -> tuple[Text | None, ...]:
    stage: Any = one.stage
    left = acted(Task(stage, one.place + 1, _batch(texts)))
    found: list[Text | None] = [None] * len(texts)
    for row, content in zip(
        left.column("_row").to_pylist(), left.column("messages").to_pylist(), strict=True
    ):
        text = texts[row]
        found[row] = Text(text.key, turns_of(content), text.source)
    return tuple(found)


def _batch(texts: Sequence[Text]) -> Batch:
    n = len(texts)
    columns = {
        "id": pa.array([text.key for text in texts], pa.string()),
        "source": pa.repeat(pa.scalar(SOURCE), n),
        "messages": pa.array([[turn._asdict() for turn in text.turns] for text in texts], MESSAGES),
        **{field.name: pa.nulls(n, field.type) for field in (*DESCRIPTION, *BOOKKEEPING)},
        "_row": pa.array(range(n), pa.int64()),
    }
    return pa.RecordBatch.from_pydict(columns)
