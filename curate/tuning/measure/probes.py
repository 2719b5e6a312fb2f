"""All that a trained model is asked beside the held-out items themselves, in tokens: built once, for every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curate.tuning.contract import DOCUMENT, Arm, Corpus, Floats, Ints, Item, Secret, Setup
from curate.tuning.measure import choices, privacy
from curate.tuning.measure.asked import Ids, Questions, digest

if TYPE_CHECKING:
    from curate.stages.scrubbing.options import PiiOptions
    from curate.tuning.measure.heard import Personal

TRAIN = 100  # texts of training whose loss is compared with that of held-out ones
ABLE = 100_000_000  # parameters from which a base is asked to follow instructions: smaller ones cannot
MAIN = 0.2  # share of the raw held-out texts told for sure from which a language is one of the data's own
SHORT = 96  # tokens of a prompt that is answered freely, where there are enough: half the cost of any 64 of dolly's
CONFIDING = 48  # prompts whose records held secrets
CHECKED = 100  # items with instructions
SPOKEN = 256  # tokens of an answer to one
_FIRST = 32  # tokens of a document that are given for it to be continued


@dataclass(frozen=True)
class Prompts:
    """What is answered freely."""

    ids: tuple[Ids, ...] = ()
    keys: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))  # for random numbers
    references: tuple[str, ...] = ()  # the records' own responses


@dataclass(frozen=True)
class Probes:
    """All that a trained model is asked, and what is needed to judge its answers."""

    tokenizer: Any
    stops: frozenset[int]  # tokens that end an answer
    train: Ints  # places in Bench.train of texts that every arm trains on
    choices: choices.Choices
    planted: Questions  # secrets of ours
    scrubbed: Questions  # secrets found in the data
    usual: Floats  # [scrubbed] z of these under the base, before any training
    prompts: Prompts
    confiding: Prompts  # prompts of records that held secrets
    personal: Personal
    languages: tuple[str, ...]  # that answers may be in without being foreign
    duplicated: tuple[str, ...]
    checked: Prompts = Prompts()  # prompts with instructions that a program checks …
    instructions: tuple[tuple[tuple[str, dict[str, Any]], ...], ...] = ()  # … and these
    tasks: tuple[Path, ...] = ()  # of lm-evaluation-harness
    asked: dict[str, int] = field(default_factory=dict)  # metric of a task → its number of documents
    length: int = 0  # of a row
    notes: tuple[str, ...] = ()  # for the report: what was left out


def build(
    corpus: Corpus,
    base: Any,
    setup: Setup,
    *,
    pii: PiiOptions | None = None,
    languages: Sequence[str] | None = None,
    tasks: Sequence[Path] = (),
) -> Probes:
    """Return the probes of a corpus for a base.

    pii: the release's own stage's options, for what counts as personal data in answers; none given: the defaults.
    languages: that the recipe allows; none given: those that at least MAIN of the raw held-out texts are in.
    tasks: YAML files of lm-evaluation-harness tasks, or folders of them. The loss of secrets that the data held is
    measured once here under the base itself, since real values need not be random. Raises what
    :func:`curate.tuning.harness.tasks` does.
    """
    from curate.tuning import harness
    from curate.tuning.measure.heard import Personal

    tokens = max(1, setup.length - setup.sample_tokens)
    planted = [secret for secret in corpus.secrets if secret.planted and _enough(secret.alternatives)]
    found = [secret for secret in corpus.secrets if not secret.planted and _enough(secret.alternatives)]
    scrubbed = privacy.questions(found, base, setup.length)
    checked, instructions, unknown = _checked(corpus.items, base, setup.length)
    left = len(corpus.secrets) - len(planted) - len(found)
    return Probes(
        tokenizer=base.tokenizer,
        stops=_stops(corpus.items, base, setup.length),
        train=common(corpus),
        choices=choices.build(corpus.items, base, setup.length),
        planted=privacy.questions(planted, base, setup.length),
        scrubbed=scrubbed,
        usual=_usual(base, setup, scrubbed),
        prompts=_prompts(corpus.items, base, setup.samples, tokens),
        confiding=_confiding(corpus.secrets, base, tokens) if setup.samples else Prompts(),
        personal=Personal.of(pii),
        languages=tuple(sorted(languages or _own(corpus.items))),
        duplicated=corpus.duplicated,
        checked=checked,
        instructions=instructions,
        tasks=tuple(tasks),
        asked=harness.count(tuple(tasks), base.tokenizer) if tasks else {},
        length=setup.length,
        notes=(
            *(
                [f"{unknown} instructions cannot be checked: unknown, or with faulty kwargs"]
                if unknown
                else []
            ),
            *([f"{left} secrets have fewer than {privacy.FEWEST} alternatives"] if left else []),
        ),
    )


def common(corpus: Corpus) -> Ints:
    """Return up to TRAIN texts that every arm trains on with every seed, drawn by their keys.

    Where there are none, of every arm whose texts no chance decides: random_drop and planted are then left out.
    """
    for arms in (corpus.arms, [arm for arm in corpus.arms if arm.kind not in ("random", "planted")]):
        if len(shared := _in_all(arms, len(corpus.texts))):
            order = sorted(shared.tolist(), key=lambda place: digest(corpus.texts[place].key))
            return np.array(sorted(order[:TRAIN]), np.int64)
    return np.zeros(0, np.int64)


def _in_all(arms: Sequence[Arm], texts: int) -> Ints:
    """Return the places that every arm has with every seed."""
    counts = np.zeros(texts, np.int64)
    members = [places for arm in arms for places in arm.members.values()]
    for places in members:
        counts[places] += 1
    return np.flatnonzero(counts == len(members)) if members else np.zeros(0, np.int64)


def _enough(alternatives: Sequence[str]) -> bool:
    return len(alternatives) >= privacy.FEWEST


def _usual(base: Any, setup: Setup, scrubbed: Questions) -> Floats:
    if not scrubbed:
        return np.zeros(0)
    z: Floats = privacy.leaks(base.model(setup.dtype, setup.device), 1, scrubbed).z[0]
    return z


def _stops(items: Sequence[Item], base: Any, length: int) -> frozenset[int]:
    """Return the tokens that end an answer: the tokenizer's, and the one that ends a turn in the chat template."""
    from curate.tuning import encoding

    stops = {base.tokenizer.eos_token_id} - {None}
    texts = [item.text for item in items[:TRAIN] if item.text.turns[-1].role == "assistant"]
    encoded = encoding.encode(base, texts, length)
    special = set(base.tokenizer.all_special_ids) | set(base.tokenizer.added_tokens_decoder)
    last: Counter[int] = Counter()
    for place in range(len(encoded)):
        ids, learnt = encoded.of(place)
        last.update([token for token in ids[learnt][-2:].tolist() if token in special][-1:])
    return frozenset(stops | {token for token, _ in last.most_common(1)})


def _prompts(items: Sequence[Item], base: Any, number: int, tokens: int) -> Prompts:
    """Return prompts of raw held-out items, drawn by their keys; those of up to SHORT tokens first.

    A prompt that is longer than ``tokens`` loses its beginning.
    """
    raw = [item for item in items if "raw" in item.sets]
    drawn = sorted(raw, key=lambda item: digest(item.text.key))
    ids = [_prompt(item, base, tokens) for item in drawn]
    able = [place for place, own in enumerate(ids) if own]
    chosen = sorted(able, key=lambda place: len(ids[place]) > SHORT)[:number]
    return Prompts(
        tuple(np.array(ids[place], np.int32) for place in chosen),
        np.array([digest(drawn[place].text.key) for place in chosen], np.uint64),
        tuple(drawn[place].text.turns[-1].content for place in chosen),
    )


def _confiding(secrets: Sequence[Secret], base: Any, tokens: int) -> Prompts:
    """Return each prompt after which a record told a secret, once: planted ones first, at most CONFIDING."""
    from curate.tuning import encoding

    turns = dict.fromkeys(s.turns for s in sorted(secrets, key=lambda s: not s.planted) if s.turns)
    chosen = list(turns)[:CONFIDING]
    ids = tuple(np.array(encoding.prompt(base, one, tokens), np.int32) for one in chosen)
    keys = np.array([digest(repr(one)) for one in chosen], np.uint64)
    return Prompts(ids, keys, ("",) * len(ids))


def _prompt(item: Item, base: Any, tokens: int) -> list[int]:
    """Return what an item asks, or the beginning of a document."""
    from curate.tuning import encoding

    if item.text.turns[-1].role == DOCUMENT:
        whole = encoding.prompt(base, item.text.turns)
        return whole[: min(_FIRST, len(whole) // 2)]
    turns = choices.asks(item)
    return encoding.prompt(base, turns, tokens) if turns else []


def _own(items: Sequence[Item]) -> list[str]:
    """Return the languages of raw held-out texts that are no exception among them."""
    from curate.tuning.measure import heard

    texts = [item.text.turns[-1].content for item in items if "raw" in item.sets]
    told = Counter(language for language in heard.languages(texts) if language) if texts else Counter()
    return [language for language, count in told.items() if count >= MAIN * told.total()]


def spoken(length: int) -> int:
    """Return the most tokens of an answer to a prompt with instructions, in rows of so many: half of them at most."""
    return max(1, min(SPOKEN, length // 2))


def _checked(
    items: Sequence[Item], base: Any, length: int
) -> tuple[Prompts, tuple[tuple[tuple[str, dict[str, Any]], ...], ...], int]:
    """Return prompts, their instructions, and how many instructions cannot be checked."""
    from curate.tuning import encoding, following

    asked = [item for item in items if item.extra.get("instruction_id_list") and choices.asks(item)]
    if base.parameters < ABLE or not asked:
        return Prompts(), (), 0
    told = [following.instructions(item.extra) for item in asked]
    able = [(item, pairs) for item, (pairs, _) in zip(asked, told, strict=True) if pairs][:CHECKED]
    room = length - spoken(length)
    ids = tuple(np.array(encoding.prompt(base, choices.asks(item), room), np.int32) for item, _ in able)
    keys = np.array([digest(item.text.key) for item, _ in able], np.uint64)
    instructions = tuple(tuple((name, dict(given)) for name, given in pairs) for _, pairs in able)
    return Prompts(ids, keys, ("",) * len(ids)), instructions, sum(count for _, count in told)
