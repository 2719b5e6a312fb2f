"""Secrets: what is found, what is left alone, and that the quick way finds what the slow way finds.

No token here is one: all are made up, and are put together at run time, so that what searches repositories for
secrets is not alarmed.
"""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache

import pyarrow as pa
import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.filters import heuristic
from detect_secrets.plugins.base import RegexBasedDetector

from curate import rules
from curate.stages.finders import Finds
from curate.stages.finders.secrets import Secrets

PACK = rules.load("secrets")
KINDS = [{"id": rule.id, **rule.data} for rule in PACK.rules]
EXAMPLES = [
    "".join(example) if isinstance(example, list) else example
    for rule in PACK.rules
    for example in (*rule.match, *rule.no_match)
]
GITHUB = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx"
AWS = "AKIA" + "QYLPMN5HHHFPZAM2"
BODY = "MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu"


@cache
def finder(hyperscan: bool | None = None) -> Secrets:
    return Secrets(KINDS, hyperscan)


def find(*texts: str | None, hyperscan: bool | None = None) -> list[Finds]:
    return finder(hyperscan).find(pa.array(texts, pa.string()))


def values(text: str) -> list[tuple[str, str]]:
    [found] = find(text)
    assert not isinstance(found, Exception)
    return [(span.type, text[span.start : span.end]) for span in found]


def pem(kind: str, body: str, end: bool = True) -> str:
    label = f"{kind} PRIVATE KEY".strip()
    return f"-----BEGIN {label}-----{body}" + (f"-----END {label}-----" if end else "")


# --- the pack ---


def test_every_kind_finds_its_examples_and_leaves_the_lookalikes() -> None:
    assert rules.check(PACK) == []


def test_every_token_detector_has_a_rule() -> None:
    detectors = {
        detector.__name__
        for detector in get_mapping_from_secret_type_to_class().values()
        if issubclass(detector, RegexBasedDetector)
    }
    assert detectors - {rule.data.get("detector") for rule in PACK.rules} == {"IPPublicDetector"}


def test_a_detector_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="no token detector Unknown"):
        Secrets([{"id": "A", "detector": "Unknown", "score": 1.0}])


# --- the value, all of it and nothing else ---


@pytest.mark.parametrize("around", ["{}", "token={}", 'export T="{}"', "a\n  {};\nb", "\U0001f600é {} é"])
def test_a_find_is_the_value_alone_whatever_stands_around_it(around: str) -> None:
    assert values(around.format(GITHUB)) == [("SECRET_GITHUB_TOKEN", GITHUB)]


def test_the_name_it_is_assigned_to_and_the_host_are_not_part_of_it() -> None:
    password = "q8Zr5" + "vT1"
    assert values(f"postgres://app:{password}@db.example.com/x") == [("SECRET_BASIC_AUTH", password)]
    key = "wJalrXUtnFEMI/K7" + "MDENG/bPxRfiCYzQ8mN1pLk3"
    assert values(f"aws_secret_access_key = '{key}'") == [("SECRET_AWS_KEY", key)]


def test_what_follows_in_the_same_word_belongs_to_it() -> None:
    stripe = "sk_" + "live_ReTllpYQYfIZu2Jnf2lAPFjD" + "9Zb7Yc5X"
    assert values(f"key {stripe}.") == [("SECRET_STRIPE_KEY", stripe)]
    token = (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiJqYW5lIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"
    )
    assert values(f"Bearer {token}, see") == [("SECRET_JWT", token)]


@pytest.mark.parametrize("kind", ["", "RSA", "EC", "OPENSSH", "ENCRYPTED"])
def test_a_private_key_is_taken_out_to_its_end_line(kind: str) -> None:
    key = pem(kind, f"\n{BODY}\n{BODY}\nAgMBAAE=\n")
    assert values(f"before\n{key}\nafter") == [("SECRET_PRIVATE_KEY", key)]


def test_a_private_key_on_one_line_of_code_too() -> None:
    key = pem("RSA", rf"\n{BODY}\n{BODY}\n")
    assert values(f'KEY = "{key}\\n"') == [("SECRET_PRIVATE_KEY", key)]


def test_two_private_keys_are_two_and_what_stands_between_them_stays() -> None:
    first, second = pem("RSA", f"\n{BODY}\n"), pem("EC", f"\n{BODY}\n")
    assert [value for _, value in values(f"{first}\nand\n{second}")] == [first, second]


def test_a_private_key_without_an_end_line_ends_with_its_base64() -> None:
    key = pem("RSA", f"\nProc-Type: 4,ENCRYPTED\n\n{BODY}\n{BODY}\nAgMBAAE=", end=False)
    assert values(f"{key}\nThis is how such a key begins.") == [("SECRET_PRIVATE_KEY", key)]


@pytest.mark.parametrize(
    "text",
    [
        "if 'BEGIN RSA " + "PRIVATE KEY' in text:",
        "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN " + "PRIVATE KEY-----\n<your key here>\n-----END PRIVATE KEY-----",
    ],
)
def test_a_first_line_without_a_key_is_none(text: str) -> None:
    assert values(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "token: <SECRET_GITHUB_TOKEN>",
        "https://user:<SECRET_BASIC_AUTH>@example.com",
        "https://user:<SECRET_BASIC_AUTH:0a1b2c3d4e5f6a7b>@example.com",
        "https://user:********@example.com",
        "https://user:$PASSWORD@example.com and https://user:{password}@example.com",
        "AKIA" + "IOSFODNN7EXAMPLE",
        "x" * 500 + "-" * 200 + "=" * 200 + "0" * 200,
    ],
)
def test_placeholders_and_what_stands_in_a_secrets_place_are_left_alone(text: str) -> None:
    assert values(text) == []


# --- the quick way and the slow way ---

PIECES = [
    *(
        GITHUB,
        AWS,
        pem("RSA", f"\n{BODY}\n"),
        pem("", "\n", end=False),
        "-----BEGIN RSA ",
        "PRIVATE KEY-----",
    ),
    *(
        "://u:",
        "p4ss",
        "@host",
        "aws_key",
        '"' + "a1" * 20 + '"',
        "f0" * 32,
        "cloudant_api_key = ",
        "sl_key:",
    ),
    *(
        "eyJhbGciOiJIUzI1NiJ9",
        ".",
        "eyJzdWIiOiJqIn0",
        "AP" + "6" * 40,
        "sk_" + "live_",
        "xoxb-" + "1-",
        "a" * 30,
    ),
    *("٤", "ſ", "\u212a", "é", "\U0001f600", "\u00a0", "\x00"),
]
GAPS = ["", " ", "\n", "\r\n", "\t", "\v", "=", ": ", '"', "-", "_"]


def fuzz(rng: random.Random) -> str:
    parts = (rng.choice(PIECES) + rng.choice(GAPS) for _ in range(rng.randrange(8)))
    return "".join(parts) + (rng.choice(EXAMPLES) if rng.random() < 0.5 else "")


@pytest.mark.parametrize("hyperscan", [True, False])
def test_the_quick_way_finds_what_every_pattern_on_every_line_finds(hyperscan: bool) -> None:
    if hyperscan:
        pytest.importorskip("hyperscan")
    rng = random.Random(11)
    texts = [*EXAMPLES, *(fuzz(rng) for _ in range(1500))]
    texts += ["\n".join(rng.sample(texts, 9)) for _ in range(100)]
    slow = [finder(False).read(text) for text in texts]
    assert sum(map(bool, slow)) > 500
    assert find(*texts, hyperscan=hyperscan) == slow


def test_what_detect_secrets_reports_is_found() -> None:
    rng = random.Random(12)
    detectors = {
        c.__name__: c()
        for c in get_mapping_from_secret_type_to_class().values()
        if c.__name__ != "IPPublicDetector"
    }
    rulings = [rule for rule in PACK.rules if "detector" in rule.data and "block" not in rule.data]
    seen = 0
    for rule in rulings:
        one = Secrets([{"id": rule.id, **rule.data, "except": {}}], hyperscan=False)
        for example in rule.match:
            text = f"{fuzz(rng)}\n{''.join(example)}\n"
            spans = one.read(text)
            for line in text.split("\n"):
                for secret in detectors[rule.data["detector"]].analyze_string(line):
                    if heuristic.is_templated_secret(secret) or "value" in rule.data:
                        continue
                    assert any(secret in text[span.start : span.end] for span in spans), rule.id
                    seen += 1
    assert seen > 15


def test_nothing_and_null_hold_nothing() -> None:
    assert find() == []
    assert find(None, "", GITHUB)[:2] == [[], []]


def test_a_text_that_cannot_be_read_is_reported_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError

    one = Secrets(KINDS)
    monkeypatch.setattr(one, "_read", fail)
    clean, found = one.find(pa.array(["nothing", AWS]))
    assert clean == []
    assert isinstance(found, RecursionError)


def test_nothing_is_asked_of_the_network() -> None:
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('the network was asked for')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import pyarrow as pa\n"
        "from curate import rules\n"
        "from curate.stages.finders.secrets import Secrets\n"
        "kinds = [{'id': rule.id, **rule.data} for rule in rules.load('secrets').rules]\n"
        f"print(len(Secrets(kinds).find(pa.array([{AWS!r}]))[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
