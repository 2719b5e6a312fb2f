"""Stand-ins that look real and are nobody's: made by a secret key, from ranges that were set aside for examples.

================  =============================================================================  ============
kind              range                                                                          how many
================  =============================================================================  ============
EMAIL_ADDRESS     a common name and a number at example.com, .net or .org (RFC 2606, RFC 6761)   1,500,000
URL               a word at example.com, .net or .org (RFC 2606, RFC 6761)                       192
IP_ADDRESS        192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737)                       762
IP_ADDRESS        2001:db8::/32 where the value is IPv6 (RFC 3849)                               2.8e14
MAC_ADDRESS       00-00-5E-00-53-00 to 00-00-5E-00-53-FF (RFC 7042, section 2.1.2)               256
PHONE_NUMBER      555-0100 to 555-0199 of 16 North American area codes (ATIS-0300115)            1,600
PHONE_NUMBER      numbers for drama (Ofcom) where the value begins with +44 or 0044              3,000
CREDIT_CARD       numbers that payment companies publish for tests; they pass the Luhn check     14
IBAN_CODE         country ZZ, which ISO 3166-1 leaves to users; right check digits (ISO 13616)   1e18
US_SSN            area 666, which the Social Security Administration never issues                989,901
UK_NHS            999 000 0000 to 999 999 9999, for test patients; right check digit (mod 11)    about 900,000
UK_NINO           prefix QQ, which is never allocated                                            4,000,000
PERSON            a common given name and family name, one in eight of the pairs                 512
================  =============================================================================  ============

Where the range is small two values may share a stand-in. Every other kind has no such range: it is replaced by
``<KIND>``. Every form here can be told from other text (:data:`FORMS`), so that it is left alone when it is met
again; a value that has the form already is nobody's. For names nothing is reserved: one in eight of the pairs of the
64 given and 64 family names below is left alone wherever it is met.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from curate.stages.operators.values import same

T = TypeVar("T")

_GIVEN_NAMES = """
Adam Alice Amir Anna Antonio Arjun Astrid Ben Carla Carlos Chen Clara Daniel David Diana Elena Emma Erik Fatima
Felix Grace Hana Hannah Hassan Ines Ingrid Ivan James Jan Joan Jonas Jorge Julia Karen Kenji Laura Lea Leo Linda
Lucas Maria Marie Mark Martin Maya Mei Mira Nadia Nina Noah Nora Olga Omar Paul Peter Priya Rosa Ruth Samuel Sara
Simon Sofia Thomas Yusuf
"""
_FAMILY_NAMES = """
Ahmed Andersen Bauer Becker Berg Brown Campbell Chen Clark Cohen Costa Davies Diaz Dubois Evans Fischer Garcia
Green Hall Hansen Harris Hill Hughes Ibrahim Ivanov Jackson Jensen Johnson Jones Kaya Khan Kim King Kowalski Larsen
Lee Lewis Lopez Martin Meyer Miller Mori Murphy Nguyen Novak Olsen Park Patel Pereira Popov Roberts Rossi Sato Scott
Silva Singh Smith Tanaka Taylor Walker Weber White Wilson Young
"""
_GIVEN, _FAMILY = _GIVEN_NAMES.split(), _FAMILY_NAMES.split()
_SHARE = 8  # one pair in so many is ours: those whose places in the lists have one remainder
_DOMAINS = ("example.com", "example.net", "example.org")
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_AREAS = (
    "202",
    "212",
    "303",
    "305",
    "312",
    "404",
    "415",
    "503",
    "512",
    "602",
    "617",
    "619",
    "702",
    "713",
    "718",
    "808",
)
# As the test pages of Stripe, PayPal and Adyen print them.
CARDS = (
    *("4111 1111 1111 1111", "4242 4242 4242 4242", "4012 8888 8888 1881", "5555 5555 5555 4444"),
    *("5105 1051 0510 5100", "2223 0031 2200 3222", "6011 1111 1111 1117", "6011 0009 9013 9424"),
    *("3530 1113 3330 0000", "3566 0020 2036 0505", "3782 822463 10005", "3714 496353 98431"),
    *("3056 930902 5904", "3852 000002 3237"),
)
_UK = ("20 7946 0", "7700 900", "1632 960")  # each before three digits


class _Draw:
    """Numbers drawn from a key and a value: the same for the same, whoever draws."""

    def __init__(self, key: bytes, kind: str, value: str, attempt: int) -> None:
        message = f"surrogate\0{kind}\0{same(kind, value)}\0{attempt}".encode()
        self._left = int.from_bytes(
            hmac.new(key, message, hashlib.sha512).digest()
        )  # 512 bits, far more than used

    def below(self, n: int) -> int:
        self._left, drawn = divmod(self._left, n)
        return drawn

    def digits(self, n: int) -> str:
        return f"{self.below(10**n):0{n}d}"

    def one(self, among: tuple[T, ...] | list[T]) -> T:
        return among[self.below(len(among))]


def surrogate(key: bytes, kind: str, value: str) -> str | None:
    """Return a stand-in for the value, never the value itself; None for a kind without a range of its own."""
    if (make := _MAKERS.get(kind)) is None:
        return None
    for attempt in range(256):
        made = make(_Draw(key, kind, value, attempt), value)
        if same(kind, made) != same(kind, value):
            return made
    raise AssertionError("256 draws in a row gave the value itself")


def _name(draw: _Draw) -> tuple[str, str]:
    given = draw.below(len(_GIVEN))
    return _GIVEN[given], _FAMILY[_SHARE * draw.below(len(_FAMILY) // _SHARE) + given % _SHARE]


def _person(draw: _Draw, value: str) -> str:
    return " ".join(_name(draw))


def _email(draw: _Draw, value: str) -> str:
    given, family = _name(draw)
    return f"{given}.{family}{draw.below(999) + 1}@{draw.one(_DOMAINS)}".lower()


def _url(draw: _Draw, value: str) -> str:
    scheme = "https://" if "://" in value else ""
    return f"{scheme}{draw.one(_FAMILY).lower()}.{draw.one(_DOMAINS)}"


def _ip(draw: _Draw, value: str) -> str:
    if ":" in value:
        return "2001:db8:{:x}:{:x}::{:x}".format(*(draw.below(2**16 - 1) + 1 for _ in range(3)))
    return f"{draw.one(_NETWORKS)}.{draw.below(254) + 1}"


def _mac(draw: _Draw, value: str) -> str:
    sign = "-" if "-" in value else ":"
    return sign.join(["00", "00", "5E", "00", "53", f"{draw.below(256):02X}"])


def _phone(draw: _Draw, value: str) -> str:
    if re.match(r"\W*(?:\+|00)44", value):
        return f"+44 {draw.one(_UK)}{draw.digits(3)}"
    last = f"555-01{draw.digits(2)}"
    return f"+1 {draw.one(_AREAS)} {last}" if "+" in value else f"({draw.one(_AREAS)}) {last}"


def _card(draw: _Draw, value: str) -> str:
    digits = sum(map(str.isdecimal, value))
    alike = [card for card in CARDS if len(card.replace(" ", "")) == digits]
    card = draw.one(alike or [*CARDS])
    sign = next((sign for sign in " -" if sign in value.strip()), "")
    return card.replace(" ", sign)


def _iban(draw: _Draw, value: str) -> str:
    account = draw.digits(18)
    # ISO 7064 MOD 97-10 over account, country (Z is 35) and two noughts
    check = 98 - int(f"{account}353500") % 97
    bare = f"ZZ{check:02d}{account}"
    return " ".join(bare[i : i + 4] for i in range(0, len(bare), 4)) if " " in value.strip() else bare


def _ssn(draw: _Draw, value: str) -> str:
    return f"666-{draw.below(99) + 1:02d}-{draw.below(9999) + 1:04d}"


def _nhs(draw: _Draw, value: str) -> str:
    for attempt in range(10):  # one number in eleven has no check digit
        digits = f"999{(draw.below(10**6) + attempt) % 10**6:06d}"
        check = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        if check < 10:
            break
    return f"{digits[:3]} {digits[3:6]} {digits[6:]}{check}"


def _nino(draw: _Draw, value: str) -> str:
    return f"QQ {draw.digits(2)} {draw.digits(2)} {draw.digits(2)} {draw.one([*'ABCD'])}"


_MAKERS: Mapping[str, Callable[[_Draw, str], str]] = {
    "CREDIT_CARD": _card,
    "EMAIL_ADDRESS": _email,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "MAC_ADDRESS": _mac,
    "PERSON": _person,
    "PHONE_NUMBER": _phone,
    "UK_NHS": _nhs,
    "UK_NINO": _nino,
    "URL": _url,
    "US_SSN": _ssn,
}


def _forms() -> dict[str, str]:
    given, family = ([_either(names[rest::_SHARE]) for rest in range(_SHARE)] for names in (_GIVEN, _FAMILY))
    domain, network, area = (_either(map(re.escape, names)) for names in (_DOMAINS, _NETWORKS, _AREAS))
    mailbox = _either(rf"{a}\.{b}" for a, b in zip(given, family, strict=True)).lower()
    group = "[0-9a-f]{1,4}"
    return {
        "CREDIT_CARD": _either(card.replace(" ", "[ -]?") for card in CARDS),
        "EMAIL_ADDRESS": rf"{mailbox}[1-9]\d{{0,2}}@{domain}",
        "IBAN_CODE": r"ZZ\d\d(?: \d{4}){4} \d\d|ZZ\d{20}",
        "IP_ADDRESS": rf"{network}\.\d{{1,3}}|2001:db8:{group}:{group}::{group}",
        "MAC_ADDRESS": r"00:00:5E:00:53:[0-9A-F]{2}|00-00-5E-00-53-[0-9A-F]{2}",
        "PERSON": "|".join(f"{a} {b}" for a, b in zip(given, family, strict=True)),
        "PHONE_NUMBER": rf"(?:\+1 {area} |\({area}\) )555-01\d\d|\+44 {_either(_UK)}\d{{3}}",
        "UK_NHS": r"999 \d{3} \d{4}",
        "UK_NINO": r"QQ \d\d \d\d \d\d [ABCD]",
        "URL": rf"(?:https://)?{_either(_FAMILY).lower()}\.{domain}",
        "US_SSN": r"666-\d\d-\d{4}",
    }


def _either(forms: Iterable[str]) -> str:
    return f"(?:{'|'.join(forms)})"


FORMS: Mapping[str, str] = _forms()
"""Regular expressions: what :func:`surrogate` writes for each kind, and little else."""


def pattern(kinds: frozenset[str]) -> re.Pattern[str] | None:
    """Return the form of the stand-ins of these kinds, as whole words; None if none of them has stand-ins."""
    forms = [FORMS[kind] for kind in sorted(kinds & FORMS.keys())]
    return re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)") if forms else None
