"""Texts whose language is known, and texts that are no English however much they look it, for language.py."""

from __future__ import annotations

import io
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import zstandard

Labelled: TypeAlias = list[tuple[str, str]]  # text, ISO 639-1 code

SEED = 20_261_121


def pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


# The codes of the 75 languages of lingua's test data in the Universal Declaration of Human Rights (ISO 639-3).
UDHR = pairs(
    """afr:af arb:ar azj:az bel:be bul:bg ben:bn bos:bs cat:ca ces:cs cym:cy dan:da deu:de ell:el eng:en epo:eo spa:es
    ekk:et est:et eus:eu pes:fa fin:fi fra:fr gle:ga guj:gu heb:he hin:hi hrv:hr hun:hu hye:hy ind:id isl:is ita:it
    jpn:ja kat:ka kaz:kk kor:ko lat:la lug:lg lit:lt lav:lv lvs:lv mri:mi mkd:mk khk:mn mar:mr zlm:ms nob:no nld:nl
    nno:nn pan:pa pol:pl por:pt ron:ro rus:ru slk:sk slv:sl sna:sn som:so als:sq srp:sr sot:st swe:sv swh:sw tam:ta
    tel:te tha:th tgl:tl tsn:tn tur:tr tso:ts ukr:uk urd:ur vie:vi xho:xh yor:yo cmn:zh zul:zu"""
)
# Documents left out: those without a code in their name (dialects and other languages under the code of a large
# one), and those in a script that is not the language's usual one.
UNUSUAL = re.compile(r"udhr-(\d.*|azj_cyrl|bos_cyrl|mly_arab|srp_latn|tgl_tglg|vie_han)")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        yield from (orjson.loads(line) for line in io.BufferedReader(stream) if line.strip())


def lingua(data: Path, name: str) -> Labelled:
    found = [(row["text"], row["lang"]) for row in rows(data / "language" / f"lingua_{name}.jsonl.zst")]
    return [(text, "no" if code == "nb" else code) for text, code in found]


def every(labelled: Labelled, most: int) -> Labelled:
    """Return at most so many texts of each language, spread evenly."""
    by_code: dict[str, list[str]] = defaultdict(list)
    for text, code in labelled:
        by_code[code].append(text)
    spread = {code: range(0, len(texts) * most, max(len(texts), most)) for code, texts in by_code.items()}
    return [(texts[at // most], code) for code, texts in by_code.items() for at in spread[code]]


def udhr(data: Path, size: int = 1000) -> Labelled:
    """Return the Declaration in pieces of that many characters, the last of each document at least half."""
    found = []
    for row in rows(data / "language" / "udhr_docs.jsonl.zst"):
        code = UDHR.get(row["lang"])
        if code and not UNUSUAL.fullmatch(row["id"]):
            pieces = [row["text"][at : at + size] for at in range(0, len(row["text"]), size)]
            found += [(piece, code) for piece in pieces if len(piece) >= size // 2]
    return found


def instructions(data: Path, name: str, *fields: str) -> list[str]:
    wanted = fields or ("instruction", "input", "output")
    found = rows(data / "instruct" / f"{name}.jsonl.zst")
    return ["\n".join(row[field] for field in wanted if row[field]) for row in found]


def kilobytes(data: Path, count: int) -> list[str]:
    """Return texts of 1,000 bytes: half instructions, half documents of many languages and code."""
    joined = "\n\n".join(
        text for name in ("dolly_3k_alpagasus", "pubmedqa_pqal") for text in instructions(data, name)
    )
    halves: tuple[list[str], list[str]] = ([], [])
    sources = ([joined], (row["text"] for row in rows(data / "corpus" / "permissive-47mb.jsonl.zst")))
    for half, source in zip(halves, sources, strict=True):
        for text in source:
            raw = text.encode()[: 1 << 24]
            at = range(0, len(raw) - 999, 1000)
            half += [raw[i : i + 1000].decode(errors="ignore") for i in (at if half is halves[0] else at[:4])]
    random.Random(SEED).shuffle(halves[0])
    random.Random(SEED).shuffle(halves[1])
    return [text for pair in zip(*halves, strict=False) for text in pair][:count]


# --- no English ---

_CONSONANTS = pairs(
    """क:k ख:kh ग:g घ:gh ङ:n च:ch छ:chh ज:j झ:jh ञ:n ट:t ठ:th ड:d ढ:dh ण:n त:t थ:th द:d ध:dh न:n प:p फ:ph ब:b भ:bh म:m
    य:y र:r ल:l व:v श:sh ष:sh स:s ह:h"""
)
_VOWELS = pairs("अ:a आ:aa इ:i ई:ee उ:u ऊ:oo ऋ:ri ए:e ऐ:ai ऑ:o ओ:o औ:au")
_SIGNS = pairs("ा:A ि:i ी:i ु:u ू:u ृ:ri े:e ै:ai ॉ:o ो:o ौ:au")
_DOTTED = pairs("d:r dh:rh j:z ph:f k:q")
_RUSSIAN = pairs(
    """а:a б:b в:v г:g д:d е:e ё:yo ж:zh з:z и:i й:y к:k л:l м:m н:n о:o п:p р:r с:s т:t у:u ф:f х:kh ц:ts ч:ch ш:sh
    щ:shch ъ: ы:y ь: э:e ю:yu я:ya"""
)


def romanised_hindi(text: str) -> str:
    """Spell Hindi as chats do: no diacritics, and no a that is not spoken.

    Dropped is the inherent a at a word's end, and that of a consonant between two syllables with vowels.
    """
    return re.sub("[\u0900-\u097f]+", lambda word: _romanised(word[0]), re.sub("[\u200c\u200d]", "", text))


def _romanised(word: str) -> str:
    parts: list[list[str]] = []  # consonants, vowel; the inherent vowel is a, the long one A
    for char in word:
        if char in _CONSONANTS:
            parts.append([_CONSONANTS[char], "a"])
        elif char in _VOWELS:
            parts.append(["", _VOWELS[char]])
        elif char in _SIGNS and parts:
            parts[-1][1] = _SIGNS[char]
        elif char == "्" and parts:
            parts[-1][1] = ""
        elif char == "़" and parts:
            parts[-1][0] = _DOTTED.get(parts[-1][0], parts[-1][0])
        elif char in "ंँ" and parts:
            parts[-1][1] += "n"
        elif char == "।":
            parts.append([".", ""])
    if len(parts) > 1 and parts[-1][0] and parts[-1][1] == "a":
        parts[-1][1] = ""
    for at in range(len(parts) - 2, 0, -1):
        (_, before), (consonants, vowel), (behind, after) = parts[at - 1 : at + 2]
        if vowel == "a" and consonants and before and behind and after:
            parts[at][1] = ""
    return "".join(consonants + vowel for consonants, vowel in parts).replace("A", "a")


def romanised_russian(text: str) -> str:
    small = "".join(_RUSSIAN.get(char.lower(), char) for char in text)
    return small[:1].upper() + small[1:]


def no_english(data: Path) -> dict[str, list[str]]:
    """Return texts that are no English, by what they are; those of English words are made of lingua's."""
    sentences = lingua(data, "sentences")
    rng = random.Random(SEED)
    words = sorted(
        {word.lower() for text, code in sentences if code == "en" for word in text.split() if word.isalpha()}
    )

    def word() -> str:
        return rng.choice(words)

    def address() -> str:
        host = f"{rng.choice(['https://', 'http://', 'www.', ''])}{word()}.{rng.choice(['com', 'org', 'io'])}"
        return "/".join(
            [
                host,
                *(
                    rng.choice([word(), f"{word()}-{word()}", f"{word()}_{rng.randrange(99)}"])
                    for _ in range(3)
                ),
            ]
        )

    def table() -> str:
        gap = rng.choice([",", "\t", " | ", ";"])
        width = rng.randrange(2, 6)
        numbers = [[f"{rng.random() * 100:.2f}" for _ in range(width)] for _ in range(rng.randrange(4, 30))]
        return "\n".join(gap.join(line) for line in [[word() for _ in range(width)], *numbers])

    def letters() -> str:
        return "".join(
            rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randrange(6, 13))
        )

    return {
        "romanised Hindi": [romanised_hindi(text) for text, code in sentences if code == "hi"],
        "romanised Russian": [romanised_russian(text) for text, code in sentences if code == "ru"],
        "URLs": ["\n".join(address() for _ in range(rng.randrange(1, 8))) for _ in range(500)],
        "number tables": [table() for _ in range(500)],
        "hexadecimal": [
            " ".join(f"{rng.getrandbits(64):x}" for _ in range(rng.randrange(1, 12))) for _ in range(500)
        ],
        "letters at random": [" ".join(letters() for _ in range(rng.randrange(3, 15))) for _ in range(500)],
        "dotted names": [" ".join(f"{word()}.{word()}-{word()}" for _ in range(8)) for _ in range(500)],
        "English words at random": [
            " ".join(word() for _ in range(rng.randrange(6, 40))) for _ in range(500)
        ],
    }
