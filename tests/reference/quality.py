"""What the quality rules measure of a text, in plain Python (curate.kernels.measuring)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from fractions import Fraction

from curate.kernels.chars import ALONE, MARK, SPACE, WORD, classes
from curate.kernels.counting import COUNTS, SCANT, SHORT
from curate.kernels.marks import BULLETS, CLOSERS, CODE_SIGNS, FULL_STOPS, LINE_ENDS, SENTENCE_ENDS
from curate.kernels.runs import COPIED


def kind(char: str) -> int:
    return int(classes()[ord(char)])


def of_word(char: str) -> bool:
    return kind(char) in (WORD, ALONE, MARK)


def tokens_of(line: str) -> list[str]:
    tokens: list[str] = []
    apart = True  # whether the next character begins a token
    for char in line:
        if kind(char) == SPACE:
            apart = True
        elif kind(char) == MARK and not apart:
            tokens[-1] += char
        elif apart or kind(char) == ALONE or any(kind(one) == ALONE for one in tokens[-1]):
            tokens.append(char)
            apart = False
        else:
            tokens[-1] += char
    return tokens


def stripped(line: str) -> str:
    while line and kind(line[0]) == SPACE:
        line = line[1:]
    while line and kind(line[-1]) == SPACE:
        line = line[:-1]
    return line


def without_code(text: str) -> tuple[list[str], int, bool]:
    """Return the lines that are no fenced code, the characters of those that are, whether the fence is open."""
    lines, fenced, inside = [], 0, False
    for line in map(stripped, text.split("\n")):
        fence = line.startswith(("```", "~~~"))
        if fence or (inside and line):
            fenced += sum(kind(char) != SPACE for char in line)
        else:
            lines.append(line)
        inside ^= fence
    return lines, fenced, inside


def again(found: Sequence[Hashable], sizes: Sequence[int]) -> tuple[int, int]:
    """Return how many have stood before, and their sizes together."""
    late = [place for place, one in enumerate(found) if one in found[:place]]
    return len(late), sum(sizes[place] for place in late)


def top(tokens: list[str], n: int) -> int:
    grams = Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
    count, size = max(((c, sum(map(len, gram))) for gram, c in grams.items()), default=(0, 0))
    return min(count * size, sum(map(len, tokens))) if count > 1 else 0


def repeated(tokens: list[str], n: int) -> int:
    seen, covered = set(), set()
    for i in range(len(tokens) - n + 1):
        gram = tuple(tokens[i : i + n])
        if gram in seen:
            covered |= {*range(i, i + n)}
        seen.add(gram)
    return sum(len(tokens[place]) for place in covered)


def ends_sentence(token: str) -> bool:
    while token and token[-1] in CLOSERS and not of_word(token[-1]):
        token = token[:-1]
    return token[-1:] != "" and token[-1] in SENTENCE_ENDS


def points_in_a_row(line: str) -> list[int]:
    runs = [0]
    for char in line:
        if char == ".":
            runs[-1] += 1
        else:
            runs.append(0)
    return runs


def copied(prompts: list[str], answers: list[str]) -> int:
    """Return how many characters of the answers stand in runs of COPIED tokens that a prompt has, too."""

    def runs(text: str) -> list[tuple[str, ...]]:
        tokens = [token for line in without_code(text)[0] for token in tokens_of(line)]
        return [tuple(tokens[i : i + COPIED]) for i in range(len(tokens) - COPIED + 1)]

    asked = {run for prompt in prompts for run in runs(prompt)}
    found = 0
    for answer in answers:
        tokens = [token for line in without_code(answer)[0] for token in tokens_of(line)]
        covered = {i + k for i, run in enumerate(runs(answer)) if run in asked for k in range(COPIED)}
        found += sum(len(tokens[place]) for place in covered)
    return found


def measure(text: str, stop_words: Collection[str]) -> dict[str, int]:
    lines, fenced, inside = without_code(text)
    found: dict[str, int] = dict.fromkeys(COUNTS, 0)
    by_line = [tokens_of(line) for line in lines]
    tokens = [token for line in by_line for token in line]
    words = [token for token in tokens if any(map(of_word, token))]
    chars = "".join(tokens)
    found["tokens"] = len(tokens)
    found["words"] = len(words)
    found["word_characters"] = sum(map(of_word, chars))
    found["lettered"] = sum(any(map(str.isalpha, token)) for token in tokens)
    found["alone"] = sum(any(kind(char) == ALONE for char in token) for token in tokens)
    found["characters"] = len(chars)
    found["letters"] = sum(map(str.isalpha, chars))
    found["capitals"] = sum(map(str.isupper, chars))
    found["cased"] = sum(char.isupper() or char.islower() for char in chars)
    found["signs"] = sum(char in CODE_SIGNS for char in chars)
    found["hashes"] = chars.count("#")
    found["braces"] = chars.count("{") + chars.count("}")
    runs = [run for line in by_line for token in line for run in points_in_a_row(token)]
    found["ellipses"] = sum(run >= 3 for run in runs) + chars.count("…")
    found["sentences"] = sum(map(ends_sentence, tokens)) + sum(char in FULL_STOPS for char in chars)
    plain = ("".join(filter(of_word, token)) for token in words)
    found["stop_words"] = len({word.lower() for word in plain if word.isascii()} & {*stop_words})
    full = [(line, one) for line, one in zip(lines, by_line, strict=True) if line]
    found["lines"] = len(full)
    found["bullet_lines"] = sum(line[0] in BULLETS for line, _ in full)
    found["ellipsis_lines"] = sum(line.endswith(("...", "…")) for line, _ in full)
    found["ended_lines"] = sum(line[-1] in LINE_ENDS for line, _ in full)
    found["short_lines"] = sum(len(line) < SHORT for line, _ in full)
    found["scant_lines"] = sum(sum(any(map(of_word, token)) for token in one) < SCANT for _, one in full)
    sizes = [sum(map(len, one)) for _, one in full]
    found["repeated_lines"], found["repeated_line_characters"] = again([tuple(one) for _, one in full], sizes)
    paragraphs: list[list[tuple[str, ...]]] = [[]]
    for line, one in zip(lines, by_line, strict=True):
        if line:
            paragraphs[-1].append(tuple(one))
        elif paragraphs[-1]:
            paragraphs.append([])
    paragraphs = [one for one in paragraphs if one]
    sizes = [sum(len(token) for line in one for token in line) for one in paragraphs]
    found["paragraphs"] = len(paragraphs)
    count, characters = again([tuple(one) for one in paragraphs], sizes)
    found["repeated_paragraphs"], found["repeated_paragraph_characters"] = count, characters
    for n in (2, 3, 4):
        found[f"top_{n}"] = top(tokens, n)
    for n in range(5, 11):
        found[f"again_{n}"] = repeated(tokens, n)
    found["fenced"], found["open_fence"] = fenced, int(inside)
    return found


def ratio(over: int, under: int) -> float | None:
    """Return over / under, rounded half up to four decimals."""
    if under == 0:
        return None
    return float(math.floor(Fraction(over, under) * 10_000 + Fraction(1, 2))) / 10_000


def scores(turns: list[tuple[str, str]] | str, stop_words: Collection[str]) -> dict[str, float | None]:
    """Return the scores of a document, or of a conversation of (role, content) pairs."""
    document = isinstance(turns, str)
    answers = [turns] if isinstance(turns, str) else [text for role, text in turns if role == "assistant"]
    prompts = [] if isinstance(turns, str) else [text for role, text in turns if role != "assistant"]
    each = [measure(text, stop_words) for text in answers]
    total = {name: sum(one[name] for one in each) for name in COUNTS}
    found: dict[str, float | None] = dict.fromkeys(NAMES)
    if answers:
        found |= {name: float(total[name]) for name in ("words", "stop_words", "sentences", "braces")}
        found |= {name: ratio(total[over], total[under]) for name, (over, under) in SHARES.items()}
        found["fenced"] = ratio(total["fenced"], total["fenced"] + total["characters"])
        for name, (over, under) in REPEATED.items():
            values = [value for one in each if (value := ratio(one[over], one[under])) is not None]
            found[name] = max(values, default=None)
    if document:
        for name, phrases in PHRASES.items():
            lines = [line.lower() for line in answers[0].split("\n")]
            hits = sum(any(phrase in line for phrase in phrases) for line in lines)
            found[name] = ratio(min(hits, total["lines"]), total["lines"])
        return found
    found["prompt_words"] = float(sum(measure(text, stop_words)["words"] for text in prompts))
    found["copied"] = ratio(copied(prompts, answers), total["characters"])
    found["open_fence"] = float(any(one["open_fence"] for one in each))
    opened = (max(0, text.count(a) - text.count(b)) for text in answers for a, b in ("[]", "{}"))
    found["open_brackets"] = float(sum(opened))
    return found


PHRASES = {
    "lorem_ipsum": ["lorem ipsum"],
    "javascript_lines": ["javascript"],
    "policy_lines": [
        *("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
    ],
}
SHARES = {
    "word_length": ("word_characters", "words"),
    "hashes": ("hashes", "words"),
    "ellipses": ("ellipses", "words"),
    "lettered": ("lettered", "tokens"),
    "unspaced": ("alone", "tokens"),
    "letters": ("letters", "characters"),
    "code_signs": ("signs", "characters"),
    "capitals": ("capitals", "cased"),
    **{
        f"{kind}_lines": (f"{kind}_lines", "lines")
        for kind in ("bullet", "ellipsis", "ended", "short", "scant")
    },
}
REPEATED = {
    "repeated_lines": ("repeated_lines", "lines"),
    "repeated_line_characters": ("repeated_line_characters", "characters"),
    "repeated_paragraphs": ("repeated_paragraphs", "paragraphs"),
    "repeated_paragraph_characters": ("repeated_paragraph_characters", "characters"),
    **{f"top_{n}_gram": (f"top_{n}", "characters") for n in (2, 3, 4)},
    **{f"repeated_{n}_grams": (f"again_{n}", "characters") for n in range(5, 11)},
}
NAMES = (
    *("words", "stop_words", "sentences", "braces", *SHARES, *REPEATED, "fenced", *PHRASES),
    *("prompt_words", "copied", "open_fence", "open_brackets"),
)
