"""Texts made to trip up whoever looks for personal data in parts of a text only."""

from __future__ import annotations

import random
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from typing import Any

FRAGMENTS = [
    *("4111 1111 1111 1111", "4012-8888-8888-1881", "378282246310005", "6011111111111117", "123456789012"),
    *("536-90-4399", "536 90 4399", "078-05-1120", "912-70-1234", "912803456", "99999", "1,000,000"),
    *("9434765919", "943 476 5919", "A1234567", "D123", "AB123456", "AB1234563", "BB9123456", "H12234567"),
    *(
        "212-555-0199",
        "(415) 555-2671",
        "+44 20 7946 0958",
        "+49 30 123456",
        "030 1234567",
        "+1-800-555-0199 ext 12",
    ),
    *(
        "x123",
        "00441234567890",
        "011 49 1641",
        "1680",
        "2023",
        "1641",
        "3.14",
        "+44",
        "60 x 60",
        "10/12/2020 08:30",
    ),
    *("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNab"),
    *("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "550e8400-e29b-41d4-a716-446655440000"),
    *(
        "john.doe@example.com",
        "a@b.co.uk",
        "@handle",
        "DE89 3704 0044 0532 0130 00",
        "GB82WEST12345698765432",
    ),
    *(
        "10.0.0.1",
        "192.168.1.256",
        "::1",
        "2001:db8::ff00:42:8329",
        "std::vector",
        "fe80::1/64",
        "::ffff:10.0.0.1",
    ),
    *("2024-01-31", "31/12/1999", "1/2", "12/25", "3-JAN-2020", "Jan-20", "2024-01-31T10:20:30Z"),
    *("2024-01-31T10:20:30.5+01:00", "00:1A:2B:3C:4D:5E", "0012.3456.789A"),
    *(
        "http://example.com/a?b=c",
        "www.foo.org",
        "self.name",
        "os.path",
        "e.g.",
        "foo.is",
        '"https://x.io/y"',
        "'a.com'",
    ),
    *(
        "phone",
        "call",
        "call me",
        "credit card",
        "ssn",
        "passport",
        "driver license",
        "lic",
        "public",
        "bank account",
    ),
    *(
        "ip",
        "number",
        "mac address",
        "birth",
        "date",
        "email",
        "url:",
        "link",
        "the",
        "is",
        "be",
        "of",
        "and",
    ),
    *(
        "a:b",
        "is:x",
        "1:the",
        "the:1",
        "be:2",
        "time:10:30",
        ":",
        "::",
        '":',
        ":)",
        ":D",
        "(*_*)",
        "</3",
        "> .",
        "'s",
    ),
    *("it's", "cannot", "10a.m.", "Jan.", "I'm", "can't", "U.S.", "\n", "\n\n", "  ", "\t", "\r\n", " \n "),
    *("\u00a0", "\u2011", "\u2028", "\x1c", "\x85", "\u200b", "\u00ad", "\0"),
    *(
        "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669\u0660",
        "\uff11\uff12\uff13\uff14\uff15",
        "0\uff11\uff12",
    ),
    *("\u212a", "\u017f", "\u0130", "\u0131", "ON.\u0130N", "x.\u0131s", "3-\u017fEP-2020", "OK\u212a.uk"),
    *(
        "é",
        "中文",
        "電話",
        "😀",
        "👩\u200d👧",
        "e\u0301",
        ".",
        ",",
        "-",
        "/",
        "(",
        ")",
        "#",
        '"',
        "'",
        "_",
        "x",
        "[",
        "]",
        "＋",
        "€",
    ),
]
GAPS = ["", "", " ", " ", " ", " ", "\n", "-", ".", ":", ", "]


def texts(seed: int, count: int) -> list[str]:
    """Return texts of 1 to 14 fragments."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice(FRAGMENTS) + rng.choice(GAPS) for _ in range(rng.randint(1, 14)))
        for _ in range(count)
    ]


def likely_match(pattern: str, rng: random.Random) -> str:
    """Return a text that a regular expression matches but for its assertions."""
    return _made(parser.parse(pattern.replace("(?i)", "")), rng, {})


def _made(tree: Any, rng: random.Random, groups: dict[int, str]) -> str:
    return "".join(_node(name, argument, rng, groups) for name, argument in tree)


def _node(name: Any, argument: Any, rng: random.Random, groups: dict[int, str]) -> str:
    if name is op.LITERAL:
        return rng.choice([chr(argument), chr(argument).swapcase()])
    if name is op.IN:
        return _member(argument, rng)
    if name is op.BRANCH:
        return _made(rng.choice(argument[1]), rng, groups)
    if name is op.SUBPATTERN:
        text = _made(argument[3], rng, groups)
        groups[argument[0]] = text
        return text
    if name in (op.MAX_REPEAT, op.MIN_REPEAT):
        least, most, inner = argument
        times = rng.choice([least, rng.randint(least, min(most, least + 4))])
        return "".join(_made(inner, rng, groups) for _ in range(times))
    return groups.get(argument, "") if name is op.GROUPREF else ""


def _member(options: Any, rng: random.Random) -> str:
    if options[0][0] is op.NEGATE:
        return rng.choice("aZ09-é")
    kind, value = rng.choice(options)
    if kind is op.LITERAL:
        return chr(value)
    if kind is op.RANGE:
        return rng.choice([chr(rng.randint(*value)), chr(rng.randint(*value)).swapcase()])
    if value is op.CATEGORY_DIGIT:
        return rng.choice("0123456789012345678901234567890123456789\u0663\uff17")
    return rng.choice(" \t\u00a0\n" if value is op.CATEGORY_SPACE else "aZ_9é中")
