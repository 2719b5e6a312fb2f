"""Public summary of training content: EU AI Act, Regulation (EU) 2024/1689, article 53(1)(d).

The sections follow the template of the Commission's explanatory notice of 24 July 2025, issued again as C(2025) 8311
on 5 December 2025; the questions are put in our own words. A summary is about a model; this one covers the part of its
training content that is this release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.govern.disclosures import eu_sources
from curate.govern.disclosures.form import Form, resolve
from curate.govern.disclosures.known import (
    COUNSEL,
    PROVIDER,
    STEWARD,
    Used,
    languages,
    month,
    named,
    pointers,
    share,
    size,
    stage,
    used,
)
from curate.govern.disclosures.tongues import EU_OFFICIAL
from curate.govern.facts import published

NAME = "eu-art53"
TITLE = "Public summary of training content (EU AI Act, Article 53(1)(d))"
BASIS = (
    "Regulation (EU) 2024/1689, Article 53(1)(d); template of the European Commission, C(2025) 8311 of "
    "5 December 2025. It covers the part of a model's training content that is this release; a provider joins it with "
    "the summaries of everything else that the model was trained on."
)


def fields(manifest: Mapping[str, Any]) -> Form:
    """Return the summary's fields."""
    form = Form(manifest, NAME)
    sources = used(manifest)
    _summary(form)
    _provider(form)
    _model(form)
    _size(form, sources)
    _languages(form, sources)
    eu_sources.add(form, sources)
    _rights(form, sources)
    _removal(form)
    return form


def _summary(form: Form) -> None:
    m = form.manifest
    form.section = "0 The summary"
    form.derived("0.1", "Version of this summary", str(m["version"]), ["/version", "/root"])
    if form.has("/recipe/about/published"):
        form.declared("0.2", "Date of the last update", published(m), ["/recipe/about/published"])
    else:
        note = "The day of the run, `created` in the manifest; no date of publication is declared."
        form.derived("0.2", "Date of the last update", published(m), [], note)
    if form.has("/supersedes"):
        said = "; ".join(f"{key} {value}" for key, value in sorted(m["supersedes"].items()))
        form.derived(
            "0.3", "Earlier versions", f"This version replaces the release with {said}.", ["/supersedes"]
        )
    else:
        text = "No earlier version is recorded."
        form.derived("0.3", "Earlier versions", text, ["/version"], "The manifest has no `supersedes`.")


def _provider(form: Form) -> None:
    form.section = "1.1 Provider"
    why = "Declared for the release; the provider of the model may be someone else."
    form.stated("1.1.1", "Name of the provider", "/recipe/about/creator", PROVIDER, as_proposal=why)
    form.stated("1.1.2", "Contact of the provider", "/recipe/about/contact", PROVIDER, as_proposal=why)
    note = "Only a provider established outside of the European Union needs one."
    form.stated("1.1.3", "Authorised representative", "/recipe/about/representative", PROVIDER, note)


def _model(form: Form) -> None:
    form.section = "1.2 Model"
    needed = "A release of data does not know which models will be trained on it."
    form.unanswered("1.2.1", "Names and versions of the models that this summary covers", PROVIDER, needed)
    note = f"{needed} Name the base model and link its own summary, where it has one."
    form.unanswered("1.2.2", "Models that these were made from", PROVIDER, note)
    form.unanswered("1.2.3", "Date of placing on the Union market", PROVIDER, needed)


def _size(form: Form, sources: list[Used]) -> None:
    m = form.manifest
    form.section = "1.3 Training data overall"
    kept = m["counts"]["kept"]
    form.measured("1.3.1", "Modalities", "Text", ["/counts/kept"], f"All {kept:,} records are text.")
    for number, modality in (("1.3.2", "Image"), ("1.3.3", "Audio"), ("1.3.4", "Video")):
        form.not_applicable(
            number, f"{modality} data", "Every record of the release is text.", ["/counts/kept"]
        )
    _band(form, m["volume"]["bytes"])
    formats = {source["name"]: source["format"] for source in m["sources"]}
    kinds = {
        "documents" if formats[s.name] == "text" else "instructions and conversations with answers"
        for s in sources
    }
    form.proposed(
        "1.3.7",
        "Types of content",
        [
            {
                "source": s.label,
                "content": s.about.get("description", "not declared"),
                "records": s.records,
                "text": size(s.bytes),
                "share": share(s.bytes, m["volume"]["bytes"]),
            }
            for s in sources
        ],
        ["/sources", "/volume/sources", *pointers(sources, "title", "description")],
        f"By the sources' format: {'; '.join(sorted(kinds))}. Share: of all text.",
        PROVIDER,
    )
    days = [(s.about["collected"], s) for s in sources if s.about.get("collected")]
    question = "Latest month of acquisition"
    if days:
        missing = len(sources) - len(days)
        note = f"{missing} of {len(sources)} sources declare no date." if missing else ""
        form.declared(
            "1.3.8", question, month(max(day for day, _ in days)), pointers(sources, "collected"), note
        )
    else:
        form.unanswered("1.3.8", question, STEWARD, "Write `collected` in the source manifests.")
    _ongoing(form, sources)
    text = "No token was counted; text was measured in bytes of UTF-8."
    form.measured("1.3.10", "Tokenizer that the size was measured with", text, ["/volume/bytes"])


def _band(form: Form, nbytes: int) -> None:
    said = (
        f"{size(nbytes)} of text ({nbytes:,} bytes of UTF-8) in {form.manifest['counts']['kept']:,} records"
    )
    form.measured("1.3.5", "Size of the text, as measured", said, ["/volume/bytes", "/counts/kept"])
    question = "Size of the text in tokens: band of the template"
    if nbytes < 10**9:
        note = "Follows from the bytes: a byte-level tokenizer makes no more tokens than there are bytes."
        form.derived("1.3.6", question, "Less than 1 billion tokens", ["/volume/bytes"], note)
        return
    band = "1 billion to 10 trillion tokens" if nbytes < 4 * 10**13 else "More than 10 trillion tokens"
    if nbytes < 4 * 10**9:
        band = "Less than 1 billion tokens"
    note = "An estimate at four bytes a token, the rule of thumb for English; count with the model's own tokenizer."
    form.proposed("1.3.6", question, band, ["/volume/bytes"], note, PROVIDER)


def _ongoing(form: Form, sources: list[Used]) -> None:
    question = "Does collecting go on, so that the model is trained on new data later?"
    told = [s for s in sources if "ongoing" in s.about]
    note = "Whether a model is trained further is for its provider to say."
    if any(s.about["ongoing"] for s in told):
        going = ", ".join(s.name for s in told if s.about["ongoing"])
        form.proposed(
            "1.3.9", question, "Yes", pointers(told, "ongoing"), f"Goes on: {going}. {note}", PROVIDER
        )
    elif told and len(told) == len(sources):
        form.proposed(
            "1.3.9", question, "No", pointers(told, "ongoing"), f"No source is ongoing. {note}", PROVIDER
        )
    else:
        form.unanswered("1.3.9", question, PROVIDER, "Write `ongoing` in the source manifests. " + note)


def _languages(form: Form, sources: list[Used]) -> None:
    question = "Languages, official ones of the European Union first"
    found = languages(form.manifest)
    if found:
        total = sum(found.values())
        order = sorted(found, key=lambda code: (code not in EU_OFFICIAL, -found[code], code))
        rows = [
            {
                "language": named(code),
                "official in the EU": "official" if code in EU_OFFICIAL else "not official",
                "records": found[code],
                "share": share(found[code], total),
            }
            for code in order
        ]
        note = "By the language stage, which names one main language per record."
        form.measured("1.3.11", question, rows, ["/statistics/languages"], note)
    elif told := pointers(sources, "languages"):
        codes = sorted({code for s in sources for code in s.about.get("languages") or ()})
        form.declared("1.3.11", question, ", ".join(named(code) for code in codes), told)
    else:
        form.unanswered(
            "1.3.11", question, STEWARD, "Add the stage `language`, or `languages` to the source manifests."
        )
    places = pointers(sources, "jurisdiction")
    question = "Regional, demographic or other traits of the data"
    if places:
        said = sorted({str(s.about["jurisdiction"]) for s in sources if s.about.get("jurisdiction")})
        note = "Only where it was collected is declared; traits of the people are for a person to describe."
        form.proposed(
            "1.3.12", question, f"Collected under the law of: {', '.join(said)}", places, note, PROVIDER
        )
    else:
        form.unanswered("1.3.12", question, PROVIDER, "No stage can tell whom the data is about.")


def _rights(form: Form, sources: list[Used]) -> None:
    form.section = "3.1 Respect of rights reservations (text and data mining)"
    form.unanswered(
        "3.1.1",
        "Is the provider a signatory of the Code of Practice?",
        PROVIDER,
        "It is for the provider to say.",
    )
    question = "Opt-out signals that were seen, and when"
    rows = [
        {
            "source": s.name,
            "signal": signal["kind"],
            "says": signal["says"],
            "checked": signal.get("checked", "not declared"),
            "where": signal.get("where", "not declared"),
        }
        for s in sources
        for signal in s.about.get("signals") or ()
    ]
    if rows:
        form.declared("3.1.2", question, rows, pointers(sources, "signals"))
    else:
        note = "Write what robots.txt, TDMRep and their like said under `signals` in the source manifests."
        form.unanswered("3.1.2", question, STEWARD, note)
    question = "Measures to respect reservations, before and after collection"
    if form.has("/takedowns/0"):
        said = f"Take-downs carried out on this release: {len(resolve(form.manifest, '/takedowns'))}"
        note = "What was done before and while collecting is for a person to describe."
        form.proposed("3.1.3", question, said, ["/takedowns"], note, COUNSEL)
    else:
        note = "Describe the policy. What curate offers: take-downs, and a list of what must not come back."
        form.unanswered("3.1.3", question, COUNSEL, note)
    form.unanswered(
        "3.1.4", "How these measures are kept up to date", COUNSEL, "Describe who checks what, and how often."
    )


def _removal(form: Form) -> None:
    m = form.manifest
    form.section = "3.2 Illegal and unwanted content"
    ran = ", ".join(s["name"] for s in m["recipe"]["stages"])
    foreign = [s["name"] for s in m["recipe"]["stages"] if "class" in s]
    said = (
        f"Stages that ran: {ran}. {_ours(foreign)} looks for illegal content as such, for example depictions of abuse "
        "or incitement; quality filters do not count as such measures."
    )
    form.proposed("3.2.1", "Measures to remove illegal content", said, ["/recipe/stages"], "", COUNSEL)
    form.section = "3.3 Other"
    done = []
    where = []
    for name, what in (
        ("exact", "equal records removed, which lowers memorisation"),
        ("minhash", "near-duplicates removed, which lowers memorisation"),
        ("semantic", "records alike in meaning removed"),
        ("pii", "personal data found by rule replaced, masked or removed"),
        ("license", "records set aside by license"),
    ):
        if (place := stage(m, name)) is not None:
            done.append(f"{name}: {what}")
            where += [f"/recipe/stages/{place}/name", f"/stages/{place + 1}/reasons"]
    if done:
        form.proposed("3.3.1", "Other processing worth telling", "; ".join(done), where, "", PROVIDER)
    else:
        form.unanswered(
            "3.3.1", "Other processing worth telling", PROVIDER, "No stage removed or edited records."
        )


def _ours(foreign: list[str]) -> str:
    """Return the subject of what is said of the stages: of those that others wrote, nothing is known."""
    return (
        f"What {', '.join(foreign)} does is for its author to say; none of the others"
        if foreign
        else "None of them"
    )
