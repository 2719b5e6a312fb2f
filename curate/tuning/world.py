"""A small world to ask about: seven families of tasks, each with one right answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

words = str.split

NAMES = words("Anna Ben Carla David Elena Frank Greta Hugo")
PLACES = words("Paris Rome Oslo Lima Cairo Delhi Tokyo Quito")
JOBS = words("baker doctor pilot teacher farmer nurse")
BUILDINGS = words("bridge market library garden tower school")
EVENTS = ("opened early", "closed today", "burned down", "was repaired")
NOUNS = {"cat": "gato", "dog": "perro", "bird": "pajaro", "horse": "caballo", "tree": "arbol", "boy": "chico"}
ADJECTIVES = {
    "red": "rojo",
    "blue": "azul",
    "small": "pequeno",
    "big": "grande",
    "old": "viejo",
    "new": "nuevo",
}
VERBS = {
    "sleeps": "duerme",
    "runs": "corre",
    "eats": "come",
    "sings": "canta",
    "falls": "cae",
    "waits": "espera",
}
THEMES = {"sea": ("waves", "sails"), "forest": ("leaves", "owls"), "city": ("lights", "towers")}
MOODS = {"happy": ("bright", "golden"), "sad": ("grey", "lonely"), "calm": ("soft", "gentle")}
LETTERS = "abcdefghijklmnopqrst"
SIGNS = {"adds": "+", "subtracts": "-"}
GERMAN = words(
    "der die und nicht mit sich auf eine auch nach wird bei einer einem noch wie oder aber vor zur durch haben sind "
    "werden kann wurde gegen schon wenn mehr immer sehr zwischen jahr stadt leben"
)


class Task(NamedTuple):
    """One question with its right answer."""

    family: str
    question: str
    context: str
    answer: str


def reading(chance: random.Random) -> Task:
    """Ask for one of two facts."""
    people, places, jobs = (chance.sample(names, 2) for names in (NAMES, PLACES, JOBS))
    facts = " ".join(
        f"{who} lives in {where} and is a {job}."
        for who, where, job in zip(people, places, jobs, strict=True)
    )
    who, where = chance.choice(list(zip(people, places, strict=True)))
    return Task("reading", f"Where does {who} live?", facts, f"{who} lives in {where}.")


def summary(chance: random.Random) -> Task:
    """Ask for the first of three sentences."""
    what, event = chance.choice(BUILDINGS), chance.choice(EVENTS)
    where, who = chance.choice(PLACES), chance.choice(NAMES)
    told = f"The {what} in {where} {event}."
    return Task("summary", "Summarize the text.", f"{told} {who} saw it and told everyone.", told)


def translation(chance: random.Random) -> Task:
    """Ask for a sentence in Spanish."""
    adjective, noun, verb = (chance.choice(list(lexicon)) for lexicon in (ADJECTIVES, NOUNS, VERBS))
    spanish = f"el {NOUNS[noun]} {ADJECTIVES[adjective]} {VERBS[verb]}"
    return Task("translation", "Translate to Spanish.", f"the {adjective} {noun} {verb}", spanish)


def code(chance: random.Random) -> Task:
    """Ask for a function of one line."""
    name, variable = chance.choice(("run", "step", "pick", "load")), chance.choice("xyz")
    number, (verb, sign) = chance.randrange(1, 10), chance.choice(list(SIGNS.items()))
    does = f"adds {number} to {variable}" if verb == "adds" else f"subtracts {number} from {variable}"
    answer = f"def {name}({variable}):\n    return {variable} {sign} {number}"
    return Task("code", f"Write a Python function named {name} that {does}.", "", answer)


def verse(chance: random.Random) -> Task:
    """Ask for a line in a mood."""
    theme, mood = chance.choice(list(THEMES)), chance.choice(list(MOODS))
    answer = f"The {chance.choice(MOODS[mood])} {chance.choice(THEMES[theme])} of the {theme}."
    return Task("verse", f"Write a {mood} line about the {theme}.", "", answer)


def letters(chance: random.Random) -> Task:
    """Ask for the two letters that follow one."""
    place = chance.randrange(len(LETTERS) - 2)
    after = " ".join(LETTERS[place + 1 : place + 3])
    return Task("letters", f"Which letters follow {LETTERS[place]}?", "", after)


def arithmetic(chance: random.Random) -> Task:
    """Ask for a sum or a difference of digits."""
    low, high = sorted((chance.randrange(6), chance.randrange(6)))
    if chance.random() < 0.5:
        return Task("arithmetic", f"What is {low} plus {high}?", "", str(low + high))
    return Task("arithmetic", f"What is {high} minus {low}?", "", str(high - low))


FAMILIES: tuple[Callable[[random.Random], Task], ...] = (
    reading, summary, translation, code, verse, letters, arithmetic,
)  # fmt: skip
FEW = frozenset({"arithmetic", "letters", "verse"})  # have too few questions for held-out ones to be all new
