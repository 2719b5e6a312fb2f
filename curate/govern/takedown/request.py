"""What a take-down is asked to erase."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from curate.errors import RecipeError
from curate.govern.disclosures.volume import suffix_list
from curate.stages.suppressing import suppression
from curate.stages.suppressing.suppression import Secret


@dataclass(frozen=True)
class Request:
    """A take-down request. At least one of ids, authors, urls, hosts and texts names something."""

    ids: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()  # as suppression.author writes them
    urls: tuple[str, ...] = ()  # as suppression.url writes them
    hosts: tuple[str, ...] = ()  # domains, with all below them
    texts: tuple[str, ...] = ()
    contained: bool = False  # also what contains a text
    reference: str = ""  # the user's own, such as a ticket's number
    received: str | None = None  # ISO time

    @classmethod
    def of(
        cls,
        ids: Sequence[str] = (),
        authors: Sequence[str] = (),
        urls: Sequence[str] = (),
        match: Path | None = None,
        *,
        contained: bool = False,
        reference: str = "",
        received: str | None = None,
    ) -> Request:
        """Check a request. Raises RecipeError with all that is wrong with it."""
        problems = [] if ids or authors or urls or match else [
            "takedown needs to know what to erase: give --id, --author, --url or --match"
        ]  # fmt: skip
        problems += [f"--author {name!r}: is blank" for name in authors if not suppression.author(name)]
        exact, hosts = [], []
        for address in urls:
            whole, place = suppression.url(address)
            if not place:
                problems.append(
                    f"--url {address!r}: is no URL or domain, such as example.org/page or example.org"
                )
            elif whole != place:
                exact.append(whole)
            elif _is_public_suffix(place):
                problems.append(
                    f"--url {address!r}: is a public suffix, under which anybody has a domain; name a domain"
                )
            else:
                hosts.append(place)
        if contained and match is None:
            problems.append("--contained: goes with --match, whose texts may be contained in a record")
        found: tuple[str, ...] = ()
        try:
            found = _texts(match) if match else ()
        except RecipeError as error:
            problems += error.problems
        try:
            at = None if received is None else _time(received)
        except ValueError:
            problems.append(
                f"--received {received}: is no time; write it like 2026-11-21 or 2026-11-21T09:30:00+01:00"
            )
        if problems:
            raise RecipeError(problems)
        names = tuple(sorted({suppression.author(name) for name in authors}))
        return cls(tuple(sorted(set(ids))), names, tuple(sorted(set(exact))), tuple(sorted(set(hosts))), found,
                   contained, reference, at)  # fmt: skip

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of criteria, without what they name."""
        named = {"id": self.ids, "author": self.authors, "url": self.urls or self.hosts, "text": self.texts}
        return [kind for kind, values in named.items() if values]

    def criteria(self) -> Iterator[tuple[str, str]]:
        """Yield every criterion: its kind and its value."""
        kinds = {"id": self.ids, "author": self.authors, "url": self.urls, "domain": self.hosts}
        for kind, values in kinds.items():
            yield from ((kind, value) for value in values)
        for text in self.texts:
            yield "passage", hashlib.sha256(text.encode()).hexdigest()

    def hashed(self, secret: Secret) -> list[dict[str, str]]:
        """Return the criteria as keyed hashes, which alone may be written down."""
        return [{"kind": kind, "value": secret.value(kind, value).hex()} for kind, value in self.criteria()]

    def fingerprint(self, secret: Secret) -> str:
        """Return what tells this request from another, to go on with one that was stopped."""
        told = orjson.dumps([self.hashed(secret), self.contained])
        return secret.value("request", told).hex()


def _is_public_suffix(place: str) -> bool:
    """Tell by the Public Suffix List that tldextract carries, never from the network."""
    found = suffix_list()(place)
    return bool(found.suffix) and not found.domain


def _time(text: str) -> str:
    """Return an ISO time, in UTC where it names no zone."""
    time = datetime.datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).isoformat(timespec="seconds")


def _texts(path: Path) -> tuple[str, ...]:
    """Read the texts of a file: each line of a .jsonl file (a string, or an object with ``text``), else the whole."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecipeError(
            f"--match {path}: cannot be read ({(error.strerror or 'unknown').lower()})"
        ) from None
    except UnicodeDecodeError:
        raise RecipeError(f"--match {path}: is not UTF-8; save it as UTF-8") from None
    if path.suffix not in (".jsonl", ".ndjson"):
        found = [content]
    else:
        found = []
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                found.append(_text_of(line, f"--match {path}:{number}"))
    if blank := [number for number, text in enumerate(found, 1) if not text.strip()] or not found:
        which = f"text {blank[0]} of it is" if isinstance(blank, list) else "it is"
        raise RecipeError(f"--match {path}: {which} blank, which would match nothing; take it out")
    return tuple(sorted(set(found)))


def _text_of(line: str, where: str) -> str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise RecipeError(
            f"{where}: is not JSON; write each text as a JSON string on a line of its own"
        ) from None
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise RecipeError(f"{where}: holds no text; allowed: a JSON string, or an object with the key 'text'")
    return text
