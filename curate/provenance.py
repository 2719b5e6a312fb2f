"""What a source manifest says of where its records come from, beyond the files: crawlers, signals, models.

Nothing here changes what a run does with a record, but for ``sha256``, to which the files are held.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from curate.yamlread import shown

Category = Literal["public", "licensed", "private", "crawled", "user", "synthetic", "other"]
Heeded = Literal["respected", "partly", "ignored", "unknown"]


class Part(BaseModel):
    """Base of every part of a recipe: frozen, strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Crawler(Part):
    """The program that collected a crawled source, and how it behaved."""

    name: str | None = Field(None, description="name that the crawler gives itself (its user agent)")
    operator: str | None = Field(None, description="person or organisation that ran it")
    purpose: str | None = Field(None, description="what it was run for")
    robots: Heeded | None = Field(None, description="robots.txt (RFC 9309): was it followed?")
    protocols: str | None = Field(None, description="other opt-out protocols that it followed, by name")
    captchas: Heeded | None = Field(None, description="captchas: respected means that none was solved")
    paywalls: Heeded | None = Field(None, description="paywalls: respected means that none was passed")
    logins: Heeded | None = Field(
        None, description="pages behind a login: respected means that it never logged in"
    )
    region: str | None = Field(None, description="countries or parts of the web that it covered")


class Signal(Part):
    """A rights holder's wish about the source, as it was seen when the records were collected."""

    kind: Literal["robots.txt", "tdmrep", "aipref", "ai.txt", "meta", "header", "other"] = Field(
        description="where the wish stood"
    )
    says: str = Field(description="what it said, in its own words", min_length=1)
    checked: datetime.date | None = Field(None, description="when it was looked at")
    where: str | None = Field(None, description="URL at which it stood")


class Generator(Part):
    """A model that wrote records of the source, or parts of them."""

    model: str = Field(description="the model's name", min_length=1)
    version: str | None = Field(None, description="the model's version or date")
    provider: str | None = Field(None, description="who offers the model")
    terms: str | None = Field(None, description="what the provider's terms say of its output")
    terms_url: str | None = Field(None, description="URL of these terms")
    summary_url: str | None = Field(
        None, description="URL of the summary of the model's own training content"
    )
    wrote: Literal["prompts", "responses", "both"] | None = Field(
        None, description="which side of the records it wrote"
    )


def _hexadecimal(value: dict[str, str]) -> dict[str, str]:
    for name, digest in value.items():
        if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise ValueError(
                f"{name}: found {shown(digest)}; allowed: the file's SHA-256 as 64 hex digits; "
                f"print it with: sha256sum {name}"
            )
    return {name: digest.lower() for name, digest in sorted(value.items())}


def _language(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", value):
        raise ValueError(f"found {shown(value)}; allowed: language codes like en, nb or zh-Hant; correct it")
    return value


Digests = Annotated[dict[str, str], AfterValidator(_hexadecimal)]
Language = Annotated[str, AfterValidator(_language)]
